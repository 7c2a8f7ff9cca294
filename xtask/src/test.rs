//! `cargo xtask test`: all that needs no more than this machine.

use std::env;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{build, setup};

/// All tests; those with real probes need root
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only tests whose name has this in it
    filter: Option<String>,
}

/// Runs the tests. As root with the real probes in network namespaces; else it says what did not run, and fails in CI.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = rustix::process::geteuid().is_root();
    setup::ensure(if root {
        setup::Needs::Everything
    } else {
        setup::Needs::Probes
    })?;
    let mut cargo = build::cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    if root {
        cargo.args(["--features", "tracer/privileged-tests"]);
    }
    cargo.args(&arguments.filter);
    let passed = cargo.status().context("cannot run cargo")?.success();
    if !root {
        eprintln!(
            "\nNOT RUN: the tests with real probes (tracer/tests/privileged_*, capture). They need root, for network \
             namespaces and BPF.\nRun `sudo -E cargo xtask test` for them."
        );
        if env::var_os("CI").is_some() {
            eprintln!("In CI that is a failure.");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
