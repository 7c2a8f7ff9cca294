//! Looks for programs and compilers by their files: it runs nothing, so it is quick enough to be done before
//! every task.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use testbed::debian;

/// Below a compiler's directory, a file of the core library's source.
const SOURCE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// A compiler that has the core library's source, in the order in which the build prefers them
/// (`tracer/build/probes.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compiler {
    /// A rustup nightly with the rust-src component.
    Nightly(PathBuf),
    /// The distribution's.
    System,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compiler::Nightly(path) => {
                write!(f, "rustup nightly with rust-src, {}", path.display())
            }
            Compiler::System => f.write_str("the distribution's /usr/bin/rustc with its source"),
        }
    }
}

impl Compiler {
    pub(super) fn find() -> Option<Compiler> {
        Compiler::nightly(&rustup_home()?).or_else(|| Compiler::system(Path::new("/usr")))
    }

    /// "nightly-x86_64-unknown-linux-gnu", but not a dated one: `rustup run nightly` does not take those.
    fn nightly(rustup: &Path) -> Option<Compiler> {
        let mut toolchains = fs::read_dir(rustup.join("toolchains"))
            .into_iter()
            .flatten()
            .flatten();
        let found = toolchains.find(|entry| {
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix("nightly-"));
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
                && entry.path().join(SOURCE).exists()
        });
        found.map(|entry| Compiler::Nightly(entry.path()))
    }

    pub(super) fn system(usr: &Path) -> Option<Compiler> {
        let complete = ["bin/rustc", "bin/cargo", SOURCE]
            .iter()
            .all(|file| usr.join(file).exists());
        complete.then_some(Compiler::System)
    }
}

fn rustup_home() -> Option<PathBuf> {
    env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".rustup")))
}

/// bpf-linker, where the build looks for it.
pub(super) fn bpf_linker() -> Option<PathBuf> {
    let installed = [
        env::var_os("CARGO_HOME").map(PathBuf::from),
        env::home_dir().map(|home| home.join(".cargo")),
    ];
    let installed = installed
        .into_iter()
        .flatten()
        .map(|home| home.join("bin/bpf-linker"));
    debian::program("bpf-linker").or_else(|| installed.into_iter().find(|file| file.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(path, "").expect("a file");
    }

    #[test]
    fn a_nightly_counts_only_with_the_librarys_source_and_without_a_date() {
        let home = env::temp_dir().join(format!("xtask-setup-{}", std::process::id()));
        let toolchain = |name: &str| home.join("toolchains").join(name);
        fs::create_dir_all(toolchain("nightly-x86_64-unknown-linux-gnu")).expect("a directory");
        touch(&toolchain("nightly-2026-01-01-x86_64-unknown-linux-gnu").join(SOURCE));
        touch(&toolchain("stable-x86_64-unknown-linux-gnu").join(SOURCE));
        assert_eq!(Compiler::nightly(&home), None);

        touch(&toolchain("nightly-x86_64-unknown-linux-gnu").join(SOURCE));
        assert_eq!(
            Compiler::nightly(&home),
            Some(Compiler::Nightly(toolchain(
                "nightly-x86_64-unknown-linux-gnu"
            )))
        );
        fs::remove_dir_all(&home).expect("it can be removed");
    }
}
