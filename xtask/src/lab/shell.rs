//! Runs other programs, here or in a network namespace, and turns their failure into an error that shows what they said.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A command that finds the system's programs too: a plain user's PATH lacks the sbin directories.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env(
        "PATH",
        format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"),
    );
    command
}

/// Runs it to its end and returns its output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let what = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {what}"))?;
    if !output.status.success() {
        bail!(
            "{what}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a shell script inside a network namespace. It stops at its first error.
pub(crate) fn script_in(netns: &Path, script: &str) -> Result<()> {
    let mut command = command("nsenter");
    command
        .arg(format!("--net={}", netns.display()))
        .args(["--", "sh", "-e"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run nsenter")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A script that stops early closes its input; its status says more than this error would.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "in {}: {}\n{script}",
            netns.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
