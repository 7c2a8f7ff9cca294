//! DNS as the tracer and as tshark decode it, exchange by exchange.
//!
//! Runs both and compares. Both sides are read as JSON: the tracer's events ([`ours`]) and tshark's packets
//! ([`theirs`]); [`compare`] knows which differences are intended and why. [`session`] makes captures in the
//! lab.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

pub mod compare;
pub mod copies;
pub mod message;
pub mod ours;
pub mod session;
pub mod theirs;

use self::compare::Report;

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

/// Compares the output of both.
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
