//! `cargo xtask tshark-diff FILE...`: runs the comparison of [`testbed::tshark_diff`]. Without a file it
//! makes captures in the lab.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use testbed::lab::{Inventory, Lab, Options, ProxyMode};
use testbed::tshark_diff::{agree, session};

use crate::{build, setup};

/// Compare how the tracer and tshark decode the DNS of captures; without FILE, of a session in the lab
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits 1 on a difference that is not intended. docs/tshark-diff.md explains the intended ones."
)]
pub struct Arguments {
    /// pcap or pcapng files, gzipped or not
    files: Vec<PathBuf>,
    /// Keep the lab's captures here: pod.pcap, from the pod's interface, and all.pcap, from all of the node's
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "files")]
    keep: Option<PathBuf>,
}

/// Compares. 0: they agree.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(if arguments.files.is_empty() {
        setup::Needs::Everything
    } else {
        setup::Needs::Probes
    })?;
    let program = build::tracer()?;
    let agree = if arguments.files.is_empty() {
        let made = tempfile::tempdir().context("cannot make a temporary directory")?;
        let directory = arguments.keep.as_deref().unwrap_or(made.path());
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let session::Captures { pod, all } = lab_session(directory)?;
        agree(&program, &[pod, all])?
    } else {
        agree(&program, &arguments.files)?
    };
    Ok(if agree {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn lab_session(directory: &Path) -> Result<session::Captures> {
    eprintln!("raising the lab for a session of about half a minute");
    let lab = Lab::up(Options {
        name: "tracer-tshark-diff".to_owned(),
        proxy_mode: ProxyMode::Iptables,
        inventory: Inventory::scenario()?,
    })?
    .temporary();
    session::capture(&lab, directory)
}
