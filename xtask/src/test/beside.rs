//! What runs beside the test programs, one after another, on the processors that they leave idle.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::debian;

use super::outcome::{Outcome, Verdict};
use super::programs::Program;
use crate::{build, chart};

/// Below every other process: tests with real probes measure time.
const LOW_PRIORITY: [&str; 2] = ["-n", "19"];

/// Something that ran.
#[derive(Debug)]
pub(super) struct Done {
    /// In words.
    pub name: String,
    /// A line for each failure.
    pub failures: Vec<String>,
    /// How long it took.
    pub lasted: Duration,
}

/// Runs these programs, the examples in the documentation, the check of the client and the alerts' tests.
pub(super) fn run(programs: &[Program], features: &[&str], filter: &[&str]) -> Result<Vec<Done>> {
    let mut all = Vec::new();
    for program in programs {
        let mut command = Command::new("nice");
        command
            .args(LOW_PRIORITY)
            .arg(&program.path)
            .args(filter)
            .current_dir(&program.directory)
            .env("CARGO_MANIFEST_DIR", &program.directory);
        all.push(done(program.to_string(), command, |output| {
            let printed = String::from_utf8_lossy(&output.stdout);
            let (code, how) = (output.status.code(), output.status.to_string());
            let verdict = Verdict::of(Outcome::read(code, &how, &printed), None);
            let of_program = |line| format!("{program}: {line}");
            verdict.lines().into_iter().map(of_program).collect()
        })?);
    }
    // rustdoc runs them.
    let mut examples = cargo();
    examples
        .args(["test", "--no-fail-fast", "--doc"])
        .args(features)
        .args(filter);
    all.push(done(
        "examples in the documentation".to_owned(),
        examples,
        failed("FAILED: the examples in the documentation"),
    )?);
    // Without the probes, aya and netlink.
    let mut client = cargo();
    client.args(["check", "--package", "tracer", "--no-default-features"]);
    client.args(["--features", "client"]);
    all.push(done(
        "check of the client".to_owned(),
        client,
        failed("FAILED: the tracer does not compile with the feature `client` alone"),
    )?);
    // A second, and no network. `setup` installs promtool for root.
    if debian::program("promtool").is_some() {
        all.push(done(
            "tests of the alerts".to_owned(),
            chart::check(&["alerts"]),
            failed("FAILED: deploy/check.sh alerts"),
        )?);
    }
    Ok(all)
}

fn cargo() -> Command {
    let mut command = build::cargo_called("nice".as_ref());
    command.args(LOW_PRIORITY).arg(build::cargo().get_program());
    command
}

/// One line if it failed.
fn failed(line: &str) -> impl Fn(&Output) -> Vec<String> + '_ {
    |output| match output.status.success() {
        true => Vec::new(),
        false => vec![line.to_owned()],
    }
}

/// Runs a command and shows its output at its end.
fn done(
    name: String,
    mut command: Command,
    failures: impl Fn(&Output) -> Vec<String>,
) -> Result<Done> {
    let started = Instant::now();
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let lasted = started.elapsed();
    eprintln!(
        "\n     Ran {name}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Done {
        name,
        failures: failures(&output),
        lasted,
    })
}
