#!/usr/bin/env python3
"""The steps of a release that are not a build: .github/workflows/release.yml runs them, test.sh tries them.

Needs nothing but Python. Each step reads and writes files that its arguments name, and fails with a message
instead of writing half of a release.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import sys
import tarfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LICENSES = ["LICENSE-APACHE", "LICENSE-MIT"]
# What a repository that published nothing has in place of its image and its documentation.
IMAGE = "registry.example/tracer"
DOCUMENTS = "https://tracer.example/docs/"
# Every file that names them.
NAMED = {
    "deploy/base/kustomization.yaml": IMAGE,
    "deploy/helm/tracer/values.yaml": IMAGE,
    "deploy/alerts/tracer.rules.yaml": DOCUMENTS,
    "deploy/alerts/prometheusrule.yaml": DOCUMENTS,
}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def cargo_version(root):
    found = re.search(r'^version = "(.+)"$', read(os.path.join(root, "Cargo.toml")), re.MULTILINE)
    if not found:
        sys.exit("Cargo.toml has no version")
    return found.group(1)


def version(arguments):
    """Prints the version of a tag, which must be Cargo.toml's."""
    wanted = cargo_version(arguments.root)
    if arguments.tag != f"v{wanted}":
        sys.exit(f"the tag is {arguments.tag}, and the version in Cargo.toml {wanted}: the tag must be v{wanted}")
    print(wanted)


def stamp(arguments):
    """Writes the published image and the address of the documentation into deploy/."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", arguments.digest):
        sys.exit(f"not a digest: {arguments.digest!r}")
    if arguments.image != arguments.image.lower():
        sys.exit(f"an image's name has no capitals: {arguments.image}")
    documents = f"{arguments.homepage}/blob/v{cargo_version(arguments.root)}/docs/"
    for name, placeholder in NAMED.items():
        path = os.path.join(arguments.root, name)
        text = read(path)
        if placeholder not in text:
            sys.exit(f"{name} does not have {placeholder}: it was stamped before, or the placeholder was renamed")
        write(path, text.replace(IMAGE, arguments.image).replace(DOCUMENTS, documents))
    # By its digest: a tag can be moved, and the signature is over the digest.
    path = os.path.join(arguments.root, "deploy/base/kustomization.yaml")
    write(path, replace_once(read(path), r"^    newTag: .*$", f"    digest: {arguments.digest}"))
    path = os.path.join(arguments.root, "deploy/helm/tracer/values.yaml")
    write(path, replace_once(read(path), r'^  digest: ""$', f"  digest: {arguments.digest}"))


def replace_once(text, pattern, by):
    changed, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    if count != 1:
        sys.exit(f"{pattern} is there {count} times instead of once")
    return changed


def archive(arguments):
    """Puts a program, the licences and other texts into an archive, the same bytes for the same files."""
    names = [(arguments.program, os.path.basename(arguments.program), 0o755)]
    names += [(os.path.join(ROOT, name), name, 0o644) for name in LICENSES]
    names += [(path, os.path.basename(path), 0o644) for path in arguments.text]
    if arguments.out.endswith(".tar.gz"):
        content = tar(names, arguments.time)
    elif arguments.out.endswith(".zip"):
        content = zipped(names)
    else:
        sys.exit(f"not an archive's name: {arguments.out}")
    with open(arguments.out, "wb") as file:
        file.write(content)


def tar(names, time):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for path, name, mode in names:
            with open(path, "rb") as file:
                content = file.read()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), mode, time
            out.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def zipped(names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for path, name, mode in names:
            # A ZIP archive has no time before 1980, and no time zone: one time for all.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            with open(path, "rb") as file:
                archive_file.writestr(entry, file.read())
    return out.getvalue()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def krew(arguments):
    """Writes krew's manifest for the archives of a directory."""
    text = read(os.path.join(ROOT, "deploy/krew/tracer.yaml"))
    # Its head is about the template.
    text = text[text.index("apiVersion:") :]
    number = cargo_version(arguments.root)
    downloads = f"{arguments.homepage}/releases/download/v{number}"
    for word, value in [("HOMEPAGE", arguments.homepage), ("DOWNLOADS", downloads), ("VERSION", number)]:
        text = text.replace(word, value)

    def checksum(match):
        path = os.path.join(arguments.directory, match.group(1))
        if not os.path.exists(path):
            sys.exit(f"no {path}: krew's manifest needs the archives of all platforms")
        return sha256(path)

    write(arguments.out, re.sub(r"SHA256\((.+)\)", checksum, text))


def checksums(arguments):
    """Writes SHA256SUMS, for `sha256sum --check`, over every other file of a directory."""
    names = sorted(os.listdir(arguments.directory))
    names = [name for name in names if not name.startswith("SHA256SUMS")]
    if not names:
        sys.exit(f"{arguments.directory} has no file")
    lines = [f"{sha256(os.path.join(arguments.directory, name))}  {name}\n" for name in names]
    write(os.path.join(arguments.directory, "SHA256SUMS"), "".join(lines))


def notes(arguments):
    """Prints the section of CHANGELOG.md for the version."""
    number = cargo_version(arguments.root)
    text = read(os.path.join(arguments.root, "CHANGELOG.md"))
    found = re.search(rf"^## \[?{re.escape(number)}\]?.*\n((?:.*\n)*?)(?=^## |\Z)", text, re.MULTILINE)
    if not found or not found.group(1).strip():
        sys.exit(f"CHANGELOG.md has no section \"## {number}\": rename \"## Unreleased\" before you set the tag")
    print(found.group(1).strip())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=ROOT, help="the repository [default: this one]")
    steps = parser.add_subparsers(required=True)

    def step(function, *options):
        one = steps.add_parser(function.__name__, help=function.__doc__)
        for option, keywords in options:
            one.add_argument(option, **({"required": True} if option.startswith("--") else {}) | keywords)
        one.set_defaults(run=function)

    homepage = ("--homepage", {"help": "such as https://github.com/OWNER/tracer"})
    step(version, ("tag", {}))
    step(stamp, ("--image", {}), ("--digest", {}), homepage)
    texts = ("--text", {"action": "append", "default": [], "required": False, "help": "a file to add; repeatable"})
    times = ("--time", {"type": int, "help": "of the files in it, in seconds"})
    step(archive, ("program", {}), ("--out", {}), times, texts)
    step(krew, ("directory", {}), ("--out", {}), homepage)
    step(checksums, ("directory", {}))
    step(notes)
    arguments = parser.parse_args()
    arguments.run(arguments)


main()
