//! bpf-linker, built from source where it is missing: with the LLVM that Debian's compiler uses.

use std::io;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The version that goes with the LLVM below.
pub(super) const VERSION: &str = "0.13.0";

/// What a person types.
pub(super) const COMMAND: &str = "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22";

/// Debian packages that it is built with, and a file of each.
pub(super) const LIBRARIES: [(&str, &str); 4] = [
    (
        "llvm-22-dev",
        "/usr/lib/llvm-22/include/llvm/Config/llvm-config.h",
    ),
    ("libpolly-22-dev", "/usr/lib/llvm-22/lib/libPolly.a"),
    ("zlib1g-dev", "/usr/include/zlib.h"),
    ("libzstd-dev", "/usr/include/zstd.h"),
];

/// Builds and installs it for this user.
pub(super) fn install() -> Result<()> {
    eprintln!("setup: building bpf-linker (a minute or two): {COMMAND}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["install", "--quiet", "bpf-linker", "--version", VERSION])
        .args(["--no-default-features", "--features", "llvm-22"])
        .env("LLVM_PREFIX", "/usr/lib/llvm-22")
        // Meant for the probes or for this workspace, not for a program of the host.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .current_dir(std::env::temp_dir())
        .stdout(io::stderr())
        .status()
        .context("cannot run cargo")?;
    ensure!(
        status.success(),
        "bpf-linker was not built; by hand: {COMMAND}"
    );
    Ok(())
}
