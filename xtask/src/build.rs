//! Builds the programs that other tasks run.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where cargo builds.
pub fn target_directory() -> PathBuf {
    let usual = || {
        let root = root();
        root.canonicalize().unwrap_or(root).join("target")
    };
    env::var_os("CARGO_TARGET_DIR").map_or_else(usual, PathBuf::from)
}

/// cargo, in the repository's root.
pub fn cargo() -> Command {
    cargo_called(&env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The given cargo, in the repository's root.
pub fn cargo_called(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // The variables that `cargo xtask` sets for xtask must not reach this build: some build scripts watch
    // these variables, and half of the dependencies would be built again whenever cargo is started in the
    // other way.
    let of_xtask = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|own| name.starts_with(own))
    };
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(of_xtask) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds the tracer with its probes and gives its path. Cargo shows its progress.
pub fn tracer() -> Result<PathBuf> {
    // With the whole workspace's features, so that the tests' build can use it again.
    let status = cargo()
        .args(["build", "--workspace", "--bin", "tracer"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the tracer does not build");
    let program = target_directory().join("debug/tracer");
    program
        .canonicalize()
        .with_context(|| format!("no program {}", program.display()))
}
