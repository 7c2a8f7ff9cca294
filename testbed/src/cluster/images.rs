//! The images that a cluster without a registry runs: one that keeps a sandbox alive, CoreDNS, and the tools
//! that the scenario's pods need. Made of programs that are on this machine, with the libraries that they are
//! linked with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::debian;
use crate::image::archive::{self, Compression, File, Image, Variant};
use crate::lab::shell;

use super::components;

/// Holds a sandbox's namespaces.
pub const PAUSE: &str = "tracer.invalid/pause:1";
/// The DNS server.
pub const COREDNS: &str = "tracer.invalid/coredns:1";
/// nslookup, curl, ping, getent, a web server (`httpd`) and a shell.
pub const TOOLS: &str = "tracer.invalid/tools:1";

/// Programs of this machine that the tools' image contains.
const PROGRAMS: [&str; 4] = ["nslookup", "curl", "ping", "getent"];
/// The names of busybox in the image.
const BUSYBOX: [&str; 6] = ["sh", "sleep", "httpd", "cat", "ls", "hostname"];
/// glibc loads these by itself, so no program is linked with them.
const LOADED: [&str; 2] = ["libnss_dns.so.2", "libnss_files.so.2"];

/// Writes those that the cluster itself runs.
pub(super) fn write_all(directory: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let coredns = components::programs()?.join("coredns");
    let images = [
        (
            "pause",
            image(PAUSE, &["/bin/sleep", "infinity"], busybox(&["sleep"])?)?,
        ),
        (
            "coredns",
            image(
                COREDNS,
                &["/coredns"],
                BTreeMap::from([("coredns".to_owned(), program(&coredns)?)]),
            )?,
        ),
    ];
    let images = images
        .iter()
        .map(|(name, image)| write(directory, name, image));
    images.collect()
}

/// Writes the tools' image alone.
pub fn write_tools(directory: &Path) -> Result<PathBuf> {
    write(
        directory,
        "tools",
        &image(TOOLS, &["/bin/sleep", "infinity"], tools()?)?,
    )
}

fn write(directory: &Path, name: &str, image: &Image) -> Result<PathBuf> {
    let path = directory.join(format!("{name}.tar"));
    let file =
        fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    image
        .write(std::io::BufWriter::new(file))
        .with_context(|| format!("cannot write the image {name}"))?;
    Ok(path)
}

fn image(reference: &str, entrypoint: &[&str], files: BTreeMap<String, File>) -> Result<Image> {
    // This machine's programs run on this machine's architecture.
    let architecture = archive::host()?;
    Ok(Image {
        reference: reference.to_owned(),
        created: 0,
        entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
        environment: vec!["PATH=/usr/bin:/bin".to_owned()],
        labels: BTreeMap::new(),
        compression: Compression::fast(),
        variants: vec![Variant {
            architecture,
            files,
        }],
    })
}

fn busybox(names: &[&str]) -> Result<BTreeMap<String, File>> {
    let busybox = debian::program("busybox").context("no busybox (Debian: busybox-static)")?;
    let mut files = BTreeMap::from([("bin/busybox".to_owned(), program(&busybox)?)]);
    for name in names {
        files.insert(format!("bin/{name}"), File::Link("busybox".to_owned()));
    }
    Ok(files)
}

fn tools() -> Result<BTreeMap<String, File>> {
    let mut files = busybox(&BUSYBOX)?;
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let path = debian::program(name).with_context(|| format!("no {name}"))?;
        files.insert(format!("usr/bin/{name}"), program(&path)?);
        libraries.extend(linked(&path)?);
    }
    let glibc = libraries.iter().find(|path| path.ends_with("libc.so.6"));
    let glibc = glibc.and_then(|path| path.parent()).map(Path::to_owned);
    let loaded = glibc
        .iter()
        .flat_map(|directory| LOADED.map(|name| directory.join(name)));
    libraries.extend(loaded.filter(|path| path.exists()));
    for library in libraries {
        // Where the program looks for it, whatever links lead there on this machine.
        let name = library.display().to_string();
        files.insert(name.trim_start_matches('/').to_owned(), program(&library)?);
    }
    let texts = [
        (
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
        ("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("www/index.html", "served\n"),
    ];
    for (path, text) in texts {
        files.insert(path.to_owned(), File::Plain(0o644, text.into()));
    }
    files.insert("tmp".to_owned(), File::Directory(0o1777));
    Ok(files)
}

fn program(path: &Path) -> Result<File> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mode = fs::metadata(path)?.permissions().mode() & 0o755;
    Ok(File::Plain(mode, content))
}

/// The libraries that the loader takes for a program, the loader among them.
fn linked(program: &Path) -> Result<Vec<PathBuf>> {
    let output = shell::run(shell::command("ldd").arg(program))?;
    let paths = output
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}
