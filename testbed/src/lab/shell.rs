//! Runs other programs, here or in a network namespace. Their failure becomes an error that shows their
//! standard error.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A command that finds the system's programs too: a plain user's PATH lacks the sbin directories.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env(
        "PATH",
        format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"),
    );
    command
}

/// A command that runs in a network namespace.
pub fn in_netns(netns: &Path, argv: &[&str]) -> Command {
    let mut command = command("nsenter");
    command
        .arg(format!("--net={}", netns.display()))
        .arg("--")
        .args(argv);
    command
}

/// A word as it would be typed in a shell. In single quotes, where a backslash stays one: the crate shlex
/// prefers double quotes, in which curl's format would be harder to read.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The program and its arguments, without the environment: `{command:?}` shows all that was set in it.
fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    words.collect::<Vec<_>>().join(" ")
}

/// Runs it to its end and returns its output.
pub fn run(command: &mut Command) -> Result<String> {
    let what = words(command);
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

/// Runs it to its end with that text as its input, and returns its output.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    let what = words(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {what}"))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(mut stdin) = stdin {
                // A program that stops early closes its input; its status says more than this error would.
                let _ = stdin.write_all(input.as_bytes());
            }
        });
        child.wait_with_output()
    })?;
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
pub fn script_in(netns: &Path, script: &str) -> Result<()> {
    feed(&mut in_netns(netns, &["sh", "-e"]), script)
        .map(drop)
        .with_context(|| format!("the script was\n{script}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_beyond_a_pipes_size_reaches_a_program_that_answers_at_once() {
        let input = "a line\n".repeat(100_000);
        assert!(feed(&mut command("cat"), &input).expect("cat") == input);
    }

    #[test]
    fn a_program_that_fails_is_reported_with_what_it_said_though_it_read_nothing() {
        let mut failing = command("sh");
        failing.args(["-c", "echo no such thing >&2; exit 3"]);
        let error = feed(&mut failing, &"x".repeat(1_000_000)).expect_err("it fails");
        assert_eq!(
            error.to_string(),
            "sh -c 'echo no such thing >&2; exit 3': exit status: 3: no such thing"
        );
    }
}
