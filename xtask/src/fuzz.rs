//! `cargo xtask fuzz`: runs the fuzz targets of `tracer-core/fuzz` with libFuzzer, and reports what they
//! found.
//!
//! It needs a nightly compiler and cargo-fuzz, which it installs. `cargo xtask test` runs the same targets
//! without either, on the seeds and a few mutations of them (`tracer-core/tests/core/fuzz_smoke`).
//! docs/fuzzing.md lists each target's assertions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};

use self::inputs::{TARGETS, Target};
use crate::{build, setup};

// Beside the targets, because the smoke test reads it, too.
#[path = "../../tracer-core/fuzz/inputs.rs"]
mod inputs;

/// Run the fuzz targets under libFuzzer
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these targets
    #[arg(value_name = "TARGET", value_parser = TARGETS.map(|target| target.name))]
    targets: Vec<String>,
    /// Seconds per target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// The sanitizer: `address` finds errors in the unsafe code of libraries, `none` is faster
    #[arg(long, default_value = "address", value_parser = ["address", "none"])]
    sanitizer: String,
}

/// Runs the targets one after another; exit code 1 if one of them found something.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(setup::Needs::Probes)?;
    ensure_tools()?;
    same_versions()?;
    let chosen: Vec<Target> = TARGETS
        .into_iter()
        .filter(|target| {
            arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target.name)
        })
        .collect();
    build_targets(&arguments.sanitizer)?;
    let mut findings = Vec::new();
    for target in &chosen {
        eprintln!("\n{} for {} s", target.name, arguments.seconds);
        findings.extend(fuzz(target, arguments)?);
    }
    if findings.is_empty() {
        eprintln!("\nNo finding.");
        return Ok(ExitCode::SUCCESS);
    }
    for (target, artifact) in findings {
        eprintln!(
            "\nFinding of {target}: {path}\n  again:    cargo +nightly fuzz run --fuzz-dir tracer-core/fuzz --sanitizer {sanitizer} {target} {path}\n  \
             smaller:  cargo +nightly fuzz tmin --fuzz-dir tracer-core/fuzz --sanitizer {sanitizer} {target} {path}\n  \
             to keep:  copy it to tracer-core/fuzz/seeds/{target} under a name that describes it; `cargo xtask test` runs it",
            path = artifact.display(),
            sanitizer = arguments.sanitizer,
        );
    }
    Ok(ExitCode::FAILURE)
}

fn directory_of_targets() -> PathBuf {
    build::root().join("tracer-core/fuzz")
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", directory.display());
    fs::read_dir(directory)
        .with_context(cannot)?
        .map(|entry| Ok(entry.with_context(cannot)?.path()))
        .collect()
}

/// cargo of the nightly compiler, whatever cargo this program was started by.
fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo"])
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(build::root());
    command
}

fn ensure_tools() -> Result<()> {
    let answers = |command: &mut Command| {
        let outcome = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        outcome.is_ok_and(|status| status.success())
    };
    if !answers(nightly().arg("--version")) {
        bail!(
            "libFuzzer needs a nightly compiler: `rustup toolchain install nightly --profile minimal`"
        );
    }
    if answers(nightly().args(["fuzz", "--version"])) {
        return Ok(());
    }
    eprintln!("installing cargo-fuzz");
    let status = build::cargo()
        .args(["install", "--locked", "cargo-fuzz"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo-fuzz does not install");
    Ok(())
}

/// Fuzzed and shipped versions are the same: those of the workspace's lock file. cargo adds what only fuzzing
/// needs.
fn same_versions() -> Result<()> {
    let (ours, theirs) = (
        build::root().join("Cargo.lock"),
        directory_of_targets().join("Cargo.lock"),
    );
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let stale = match (changed(&ours), changed(&theirs)) {
        (Ok(ours), Ok(theirs)) => ours > theirs,
        _ => true,
    };
    if stale {
        fs::copy(&ours, &theirs)
            .with_context(|| format!("cannot copy {} to {}", ours.display(), theirs.display()))?;
    }
    Ok(())
}

fn build_targets(sanitizer: &str) -> Result<()> {
    let status = nightly()
        .args(["fuzz", "build", "--fuzz-dir", "tracer-core/fuzz"])
        .args(["--sanitizer", sanitizer])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the fuzz targets do not build");
    Ok(())
}

/// Runs one target from its seeds and what earlier runs found; gives what made it fail.
fn fuzz(target: &Target, arguments: &Arguments) -> Result<Vec<(&'static str, PathBuf)>> {
    let corpus = directory_of_targets().join("corpus").join(target.name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    for seed in target.seed_files(&directory_of_targets())? {
        let name = seed.file_name().unwrap_or_default();
        fs::copy(&seed, corpus.join(name))
            .with_context(|| format!("cannot copy {}", seed.display()))?;
    }
    let start = SystemTime::now();
    let status = nightly()
        .args(["fuzz", "run", "--fuzz-dir", "tracer-core/fuzz"])
        .args(["--sanitizer", &arguments.sanitizer, target.name, "--"])
        .arg(format!("-max_total_time={}", arguments.seconds))
        .arg(format!("-max_len={}", target.max_len))
        // The function takes milliseconds, so both mean that something is unbounded.
        .args(["-timeout=10", "-rss_limit_mb=1024"])
        .arg("-print_final_stats=1")
        .status()
        .context("cannot run cargo")?;
    let artifacts = directory_of_targets().join("artifacts").join(target.name);
    let mut found = Vec::new();
    if artifacts.is_dir() {
        for path in entries(&artifacts)? {
            // A slow unit is an input that was slow and no failure.
            let slow = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"slow-unit"));
            let fresh = fs::metadata(&path)
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|modified| modified >= start);
            if fresh && !slow {
                found.push((target.name, path));
            }
        }
    }
    ensure!(
        status.success() || !found.is_empty(),
        "{} ended with {status} and left no finding",
        target.name
    );
    Ok(found)
}
