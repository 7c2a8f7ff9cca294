//! `cargo xtask chart`: checks the manifests, the Helm chart, the alerts and the release's steps, without a cluster.
//!
//! deploy/check.sh does it, so that it runs without a Rust build, too; this only finds it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::build;

/// Check the manifests, the Helm chart, the alerts and the steps of a release
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask chart
  cargo xtask chart alerts
  sudo -E cargo xtask chart api
  cargo xtask chart --bless

It needs promtool (Debian: prometheus), python3 with PyYAML and kubectl; helm and actionlint are built as Go modules where \
they are missing, and kept in $XDG_CACHE_HOME/tracer/tools/bin.

Exit code 0: all is as it should be; 1: something is not.")]
pub struct Arguments {
    /// Only these: alerts, kustomize, chart, workflows, release; or api, as root, on a real API server
    checks: Vec<String>,
    /// First write again what is derived from other files
    #[arg(long)]
    bless: bool,
}

/// Runs the script and passes on its exit code.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let checks: Vec<&str> = arguments.checks.iter().map(String::as_str).collect();
    let mut command = check(&checks);
    if arguments.bless {
        command.arg("--bless");
    }
    let status = command.status().context("cannot run deploy/check.sh")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The script with these checks.
pub(crate) fn check(checks: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command
        .arg(build::root().join("deploy/check.sh"))
        .args(checks);
    command
}

/// helm, where `cargo xtask chart` has built it, else that on the PATH.
pub(crate) fn helm() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    let built = base.map(|base| base.join("tracer/tools/bin/helm"));
    built
        .filter(|helm| helm.is_file())
        .or_else(|| testbed::debian::program("helm"))
        .context("no helm: `cargo xtask chart` builds it")
}
