#!/usr/bin/env bash
# Tries the steps of a release on a copy of deploy/, with small programs in place of the real ones. deploy/check.sh runs it.
set -euo pipefail
cd "$(dirname "$0")/../.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
release() { python3 deploy/release/release.py --root "$work/tree" "$@"; }
fail() {
    echo "deploy/release/test.sh: $*" >&2
    exit 1
}
refused() {
    local because="$1" message
    shift
    if message="$(release "$@" 2>&1)"; then fail "accepted: $*"; fi
    [[ "$message" == *"$because"* ]] || fail "$*: $message"
}

mkdir -p "$work/tree" "$work/dist"
cp -r deploy docs CHANGELOG.md Cargo.toml "$work/tree"
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)"
homepage=https://github.com/owner/tracer
digest="sha256:$(printf x | sha256sum | cut -d' ' -f1)"

[ "$(release version "v$version")" = "$version" ] || fail "another version than $version"
refused "must be v$version" version v9.9.9

# Archives: the same bytes again, and the program in them can be started.
printf '#!/bin/sh\necho works\n' > "$work/tracer"
printf 'MZ' > "$work/tracer.exe"
for platform in linux-amd64 linux-arm64 darwin-amd64 darwin-arm64; do
    release archive "$work/tracer" --out "$work/dist/tracer-$version-$platform.tar.gz" --time 1700000000 --text about.hbs
done
touch "$work/tracer"
release archive "$work/tracer" --out "$work/again.tar.gz" --time 1700000000 --text about.hbs
cmp "$work/again.tar.gz" "$work/dist/tracer-$version-linux-amd64.tar.gz"
mkdir "$work/unpacked"
tar -xzf "$work/again.tar.gz" -C "$work/unpacked"
[ "$("$work/unpacked/tracer")" = works ] || fail "the archived program does not start"
[ -f "$work/unpacked/LICENSE-MIT" ] || fail "no licence in the archive"
cmp about.hbs "$work/unpacked/about.hbs"

refused "needs the archives of all platforms" krew "$work/dist" --out "$work/krew.yaml" --homepage "$homepage"
release archive "$work/tracer.exe" --out "$work/dist/tracer-$version-windows-amd64.zip" --time 1700000000
python3 -m zipfile --extract "$work/dist/tracer-$version-windows-amd64.zip" "$work/unpacked"
cmp "$work/tracer.exe" "$work/unpacked/tracer.exe"

release krew "$work/dist" --out "$work/dist/tracer-krew.yaml" --homepage "$homepage"
for file in "$work/dist"/*.tar.gz "$work/dist"/*.zip; do
    grep -q "/releases/download/v$version/$(basename "$file")\$" "$work/dist/tracer-krew.yaml" || fail "krew lacks $file"
    grep -q "$(sha256sum "$file" | cut -d' ' -f1)" "$work/dist/tracer-krew.yaml" || fail "another checksum of $file"
done
if grep -E 'VERSION|HOMEPAGE|DOWNLOADS|SHA256' "$work/dist/tracer-krew.yaml"; then fail "words are left"; fi
# krew's own program judges the manifest; it finds the plugin's name in the file's.
cp "$work/dist/tracer-krew.yaml" "$work/tracer.yaml"
validate-krew-manifest -manifest "$work/tracer.yaml" -skip-install > "$work/log" 2>&1 || { cat "$work/log"; fail "krew refuses it"; }

release checksums "$work/dist"
(cd "$work/dist" && sha256sum --check --quiet SHA256SUMS)
[ "$(wc -l < "$work/dist/SHA256SUMS")" = 6 ] || fail "SHA256SUMS does not list everything"

# deploy/ names the published image by its digest, everywhere, and the chart is still what kustomize gives.
refused "no capitals" stamp --image ghcr.io/Owner/tracer --digest "$digest" --homepage "$homepage"
refused "not a digest" stamp --image ghcr.io/owner/tracer --digest latest --homepage "$homepage"
release stamp --image ghcr.io/owner/tracer --digest "$digest" --homepage "$homepage"
if grep -rn -e 'tracer\.example' -e 'image.*registry\.example' "$work/tree/deploy/base" "$work/tree/deploy/alerts/tracer.rules.yaml" \
    "$work/tree/deploy/alerts/prometheusrule.yaml"; then fail "a placeholder is left"; fi
rendered="$(kubectl kustomize "$work/tree/deploy")"
[ "$(grep -c "image: ghcr.io/owner/tracer@$digest" <<< "$rendered")" = 2 ] || fail "kustomize gives another image"
bash "$work/tree/deploy/check.sh" kustomize chart > "$work/log" 2>&1 || { cat "$work/log"; fail "the stamped chart is wrong"; }
refused "stamped before" stamp --image ghcr.io/owner/tracer --digest "$digest" --homepage "$homepage"

refused "no section" notes
printf '# Changelog\n\n## Unreleased\n\n- later\n\n## %s - 2026-12-01\n\n- this\n\n## 0.0.1\n\n- before\n' "$version" > "$work/tree/CHANGELOG.md"
[ "$(release notes)" = "- this" ] || fail "other notes: $(release notes)"
echo "the steps of a release: as they should be"
