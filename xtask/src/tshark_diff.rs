//! `cargo xtask tshark-diff FILE...`: DNS as the tracer and as tshark decode it, exchange by exchange.
//!
//! Owns running both and saying what came of it. Both sides are read as JSON: the tracer's events ([`ours`]) and tshark's
//! packets ([`theirs`]); [`compare`] knows what may differ and why. Without a file it makes a capture in the lab
//! ([`session`]).

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::lab::{Inventory, Lab, Options, ProxyMode};
use crate::{build, setup};

pub mod compare;
pub mod copies;
pub mod message;
pub mod ours;
pub mod session;
pub mod theirs;

use self::compare::Report;

/// Compare how the tracer and tshark decode the DNS of captures; without FILE, of a session in the lab
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits 1 on a difference that is not intended. docs/tshark-diff.md explains the intended ones."
)]
pub struct Arguments {
    /// pcap or pcapng files, gzipped or not
    files: Vec<PathBuf>,
    /// Keep the captures that are made in the lab: pod.pcap, at the pod's interface, and all.pcap, at all of the node's
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

/// Whether `program` and tshark agree about all files. Says on standard output where not.
pub fn agree(program: &Path, files: &[PathBuf]) -> Result<bool> {
    let mut agree = true;
    for file in files {
        let report = diff(program, file)?;
        agree &= report.unexplained.is_empty();
        println!("{}: {report}", file.display());
    }
    Ok(agree)
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

/// Both sides of one file, compared.
pub fn diff(program: &Path, file: &Path) -> Result<Report> {
    let theirs = theirs::decode(file)?;
    let ours = replay(program, file)?;
    let report = of_texts(&ours, &theirs)?;
    ensure!(
        report.messages > 0,
        "{} holds no DNS message: nothing was compared",
        file.display()
    );
    Ok(report)
}

/// The same of what both said.
pub fn of_texts(ours: &str, theirs: &str) -> Result<Report> {
    let ours = ours::read(ours).context("the tracer's events")?;
    let theirs = theirs::read(theirs).context("tshark's packets")?;
    Ok(compare::compare(&ours, &theirs))
}

/// The tracer's JSON lines for a file.
pub fn replay(program: &Path, file: &Path) -> Result<String> {
    let output = Command::new(program)
        .args(["observe", "-o", "json", "--type", "dns", "--replay"])
        .arg(file)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "the tracer cannot read {}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).context("the tracer's JSON is not UTF-8")
}
