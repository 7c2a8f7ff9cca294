//! Packages of Debian's archive, fetched with apt's own tools into a directory of ours and unpacked there.
//!
//! Installs nothing and needs no root: apt gets its own lists, sources and cache. Downloads are kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::build;

/// Where Debian's packages are: as in every Debian's own list of sources.
const MIRROR: &str = "http://deb.debian.org";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel, unpacked.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    /// As `uname -r` gives it.
    pub release: String,
    /// The kernel itself.
    pub image: PathBuf,
    /// The directory of its modules.
    pub modules: PathBuf,
}

/// Below cargo's target directory.
pub(super) fn directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| build::root().join("target"), PathBuf::from)
        .join("kernels")
}

/// The kernel of this version that was fetched before.
pub(super) fn kept(version: &str) -> Option<Fetched> {
    let root = directory().join(version);
    let (release, image) = fs::read_dir(root.join("boot"))
        .ok()?
        .flatten()
        .find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_prefix("vmlinuz-")?.to_owned(), entry.path()))
        })?;
    let modules = ["lib/modules", "usr/lib/modules"]
        .map(|directory| root.join(directory).join(&release))
        .into_iter()
        .find(|directory| directory.is_dir())?;
    Some(Fetched {
        release,
        image,
        modules,
    })
}

/// The newest kernel of this version that these suites have.
pub(super) fn kernel(version: &str, suites: &[&str]) -> Result<Fetched> {
    if let Some(kept) = kept(version) {
        return Ok(kept);
    }
    let archive = Archive::open(version, suites)?;
    let pattern = format!(
        r"^linux-image-{}\..*-cloud-amd64$",
        version.replace('.', r"\.")
    );
    let package = archive.newest(&pattern)?;
    archive.unpack(&package, version)?;
    kept(version).with_context(|| format!("no kernel and modules in {package}"))
}

/// busybox, which needs no library: it starts the machine's userland.
pub(super) fn busybox() -> Result<PathBuf> {
    let path = directory().join("busybox/bin/busybox");
    if !path.exists() {
        let archive = Archive::open("busybox", &["bookworm"])?;
        archive.unpack("busybox-static", "busybox")?;
    }
    ensure!(path.exists(), "no {}", path.display());
    Ok(path)
}

/// Some suites, with lists of their own.
struct Archive {
    /// Made for one fetch, named after what it is for.
    work: PathBuf,
}

impl Archive {
    fn open(what: &str, suites: &[&str]) -> Result<Archive> {
        for tool in ["apt-get", "dpkg-deb"] {
            let there = Command::new(tool).arg("--version").output();
            ensure!(
                there.is_ok_and(|output| output.status.success()),
                "no {tool} here: kernels come as packages of Debian's archive. Run this on Debian or Ubuntu"
            );
        }
        ensure!(
            Path::new(KEYRING).exists(),
            "no {KEYRING}, by which apt knows Debian's archive: apt-get install debian-archive-keyring"
        );
        let work = directory().join(format!("fetch-{what}"));
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(work.join(part))
                .with_context(|| format!("cannot make {}", work.display()))?;
        }
        let sources: String = suites
            .iter()
            .map(|suite| {
                let part = if suite.ends_with("-security") {
                    "debian-security"
                } else {
                    "debian"
                };
                format!("deb [signed-by={KEYRING}] {MIRROR}/{part} {suite} main\n")
            })
            .collect();
        fs::write(work.join("sources.list"), sources).context("cannot write apt's sources")?;
        let archive = Archive { work };
        eprintln!("fetching the list of packages of {}", suites.join(", "));
        archive.apt("apt-get", &["-qq", "update"])?;
        Ok(archive)
    }

    fn apt(&self, tool: &str, arguments: &[&str]) -> Result<String> {
        let option = |name: &str, path: &str| format!("{name}={}", self.work.join(path).display());
        let output = Command::new(tool)
            .args(["-o", &option("Dir::Etc::sourcelist", "sources.list")])
            .args(["-o", "Dir::Etc::sourceparts=/dev/null"])
            .args(["-o", &option("Dir::State::lists", "lists")])
            .args(["-o", &option("Dir::Cache", "cache")])
            // Its own user for downloads may not write here.
            .args(["-o", "APT::Sandbox::User=root"])
            .args(arguments)
            .current_dir(&self.work)
            .output()
            .with_context(|| format!("cannot run {tool}"))?;
        if !output.status.success() {
            bail!(
                "{tool} {} failed: {}\nWithout Debian's archive ({MIRROR}) there is no kernel to try",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The package of the highest version among those whose name fits.
    fn newest(&self, pattern: &str) -> Result<String> {
        let found = self.apt("apt-cache", &["search", "--names-only", pattern])?;
        let names = found.lines().filter_map(|line| line.split(' ').next());
        names
            .max_by_key(|name| numbers(name))
            .map(str::to_owned)
            .with_context(|| format!("Debian has no package {pattern} any more"))
    }

    /// Fetches a package and unpacks it below our directory, complete or not at all.
    fn unpack(self, package: &str, name: &str) -> Result<()> {
        eprintln!("fetching {package}");
        self.apt("apt-get", &["-qq", "download", package])?;
        let file = fs::read_dir(&self.work)
            .context("cannot read what apt fetched")?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt fetched no package {package}"))?;
        let unpacked = self.work.join("unpacked");
        let status = Command::new("dpkg-deb")
            .arg("-x")
            .args([&file, &unpacked])
            .status()
            .context("cannot run dpkg-deb")?;
        ensure!(status.success(), "cannot unpack {}", file.display());
        let place = directory().join(name);
        fs::rename(&unpacked, &place)
            .with_context(|| format!("cannot move it to {}", place.display()))?;
        fs::remove_dir_all(&self.work).context("cannot remove what is left of the fetch")
    }
}

/// The numbers in a name, in order: what versions are compared by.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_is_newer_than_nine() {
        let old = numbers("linux-image-5.10.0-9-cloud-amd64");
        let new = numbers("linux-image-5.10.0-46-cloud-amd64");
        assert_eq!(old, [5, 10, 0, 9, 64]);
        assert!(new > old);
    }
}
