//! `cargo xtask image --verify`: is the image what its sources make it, wherever and whenever it is built?
//! Two copies of the sources in two directories, nothing shared but the downloaded crates, two images, one
//! comparison.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use testbed::image::compare;

use crate::build;

use super::{Platform, Sources};

/// The copies' names: of different lengths, so that a path that gets into a program moves what is behind it.
const COPIES: [&str; 2] = ["first", "another-directory"];

/// Builds and compares. 1: the images differ; both are kept then.
pub(super) fn run(sources: &Sources, platforms: &[Platform]) -> Result<ExitCode> {
    let directory = std::path::absolute(build::target_directory())?.join("verify");
    clear(&directory)?;
    // Both before the slow builds: the sources may change meanwhile.
    for name in COPIES {
        let tree = directory.join(name);
        copy(&sources.tree, &tree)
            .with_context(|| format!("cannot copy the sources to {}", tree.display()))?;
    }
    let mut written = Vec::new();
    for name in COPIES {
        let tree = directory.join(name);
        eprintln!("image: building in {}", tree.display());
        let copied = Sources {
            tree: tree.clone(),
            ..sources.clone()
        };
        let mut programs = Vec::new();
        for platform in platforms {
            programs.push(copied.program(*platform, &tree.join("target"))?);
        }
        let archive = directory.join(format!("{name}.tar"));
        written.push((copied.write(&programs, &archive)?, archive));
        // Some 2 GB, of which nothing is needed any more; the second build must not find it either.
        fs::remove_dir_all(&tree)?;
    }
    let [(first, one), (second, other)] = written.as_slice() else {
        unreachable!("as many as there are names");
    };
    match compare::first_difference(&fs::read(one)?, &fs::read(other)?)? {
        None => {
            eprintln!(
                "image: the same from two directories: {} for {}, {}, {:.1} MB",
                first.reference,
                first.platforms,
                first.digest,
                first.bytes as f64 / 1e6
            );
            println!("{}", first.digest);
            clear(&directory)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(difference) => {
            eprintln!(
                "image: two builds of the same sources differ: {} and {}\n  {difference}\n  both are kept: {} and {}",
                first.digest,
                second.digest,
                one.display(),
                other.display()
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

fn clear(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The sources, as they are: without what was built of them and without the repository's history.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type()?;
        if name == ".git" || (kind.is_dir() && (name == "target" || path == to)) {
            continue;
        }
        let to: PathBuf = to.join(&name);
        if kind.is_dir() {
            copy(&path, &to)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path)?, &to)?;
        } else {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_sources_and_nothing_that_was_built() {
        let directory = std::env::temp_dir().join(format!("xtask-verify-{}", std::process::id()));
        clear(&directory).expect("it can be removed");
        let from = directory.join("from");
        for path in [
            "src/main.rs",
            ".cargo/config.toml",
            "target/debug/x",
            "probes/target/y",
            ".git/HEAD",
        ] {
            let path = from.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
            fs::write(path, "text").expect("a file");
        }
        copy(&from, &directory.join("to")).expect("it can be copied");
        let there = |path: &str| directory.join("to").join(path).exists();
        assert!(there("src/main.rs") && there(".cargo/config.toml"));
        assert!(!there("target") && !there("probes/target") && !there(".git"));
        clear(&directory).expect("it can be removed");
    }
}
