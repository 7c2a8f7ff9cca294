//! `cargo xtask test`: every test that this machine can run.
//!
//! Runs the test programs that cargo builds, one after another, and judges failures. libtest's output is
//! shown as it comes. Tests with real probes measure time on a machine that may be busy: a failed one runs a
//! second time, alone. If it passes then, it is reported as UNSTABLE; it never passes silently.

pub(crate) mod outcome;
pub(crate) mod programs;

use std::env;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use self::outcome::{Outcome, Verdict};
use self::programs::Program;
use crate::{build, setup};

/// Run all tests; those with real probes need root
///
/// A failed test with real probes runs again, alone. If it passes then, it counts as passed and is reported
/// as UNSTABLE.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Runs the tests. Without root it lists what did not run, and fails in CI.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = rustix::process::geteuid().is_root();
    setup::ensure(if root {
        setup::Needs::Everything
    } else {
        setup::Needs::Probes
    })?;
    let features: &[&str] = if root {
        &["--workspace", "--features", "tracer/privileged-tests"]
    } else {
        &["--workspace"]
    };
    let Some(programs) = programs::build(features)? else {
        return Ok(ExitCode::FAILURE);
    };
    let filter: Vec<&str> = arguments.filter.iter().map(String::as_str).collect();
    let mut verdicts = Vec::new();
    for program in &programs {
        verdicts.push((program, judged(program, &filter)?));
    }
    let examples = documentation(features, &filter)?;
    let client = client_builds()?;
    let mut passed = examples && client;
    for (program, verdict) in &verdicts {
        passed &= verdict.passed();
        for line in verdict.lines() {
            eprintln!("{program}: {line}");
        }
    }
    if !examples {
        eprintln!("FAILED: the examples in the documentation");
    }
    if !client {
        eprintln!("FAILED: the tracer does not compile with the feature `client` alone");
    }
    if !root {
        eprintln!(
            "\nNOT RUN: the tests with real probes (tracer/tests/privileged and slow). They need root, for network \
             namespaces and BPF.\nTo run them: `sudo -E cargo xtask test`"
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

/// Runs a program, and its failed tests a second time if they depend on the load of the machine.
fn judged(program: &Program, filter: &[&str]) -> Result<Verdict> {
    let first = once(program, filter)?;
    let again = match &first {
        Outcome::Failed(names) if program.has_probes() => {
            eprintln!(
                "\n{program}: {} failed; running them again, alone",
                names.len()
            );
            let names = names.iter().map(String::as_str);
            let alone = ["--exact", "--test-threads=1"];
            Some(once(
                program,
                &alone.into_iter().chain(names).collect::<Vec<_>>(),
            )?)
        }
        _ => None,
    };
    Ok(Verdict::of(first, again))
}

/// Runs a program, shows its output and reads it.
fn once(program: &Program, arguments: &[&str]) -> Result<Outcome> {
    eprintln!("\n     Running {program}");
    let mut command = Command::new(&program.path);
    if io::stdout().is_terminal() {
        command.arg("--color=always");
    }
    let mut child = command
        .args(arguments)
        .current_dir(&program.directory)
        .env("CARGO_MANIFEST_DIR", &program.directory)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.path.display()))?;
    let mut printed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line)? > 0 {
            io::stdout().write_all(&line)?;
            printed.append(&mut line);
        }
    }
    let status = child.wait()?;
    let printed = String::from_utf8_lossy(&printed);
    Ok(Outcome::read(status.code(), &status.to_string(), &printed))
}

/// Whether the tracer compiles as a client: without the probes, aya and netlink.
fn client_builds() -> Result<bool> {
    let client = ["check", "--package", "tracer", "--no-default-features"];
    let status = build::cargo()
        .args(client)
        .args(["--features", "client"])
        .status()
        .context("cannot run cargo")?;
    Ok(status.success())
}

/// The examples in the documentation: rustdoc runs them.
fn documentation(features: &[&str], filter: &[&str]) -> Result<bool> {
    let status = build::cargo()
        .args(["test", "--no-fail-fast", "--doc"])
        .args(features)
        .args(filter)
        .status()
        .context("cannot run cargo")?;
    Ok(status.success())
}
