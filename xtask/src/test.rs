//! `cargo xtask test`: every test that this machine can run.
//!
//! Runs the test programs that cargo builds, one after another, and judges failures. libtest's output is
//! shown as it comes. Tests with real probes mostly wait, so their programs run last and at the same time; the output of
//! all but the first is shown at its end. So is that of what runs beside all of them at low priority: programs with a
//! single test, the examples in the documentation, and the check of the client's build. Tests with real probes measure
//! time on a machine that may be busy: a failed one runs a second time, alone. If it passes then, it is reported as
//! UNSTABLE; it never passes silently.

mod beside;
pub(crate) mod outcome;
pub(crate) mod programs;

use std::env;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use self::outcome::{Outcome, Verdict};
use self::programs::Program;
use crate::setup;

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
    let started = Instant::now();
    let Some(programs) = programs::build(features)? else {
        return Ok(ExitCode::FAILURE);
    };
    let built = started.elapsed();
    let filter: Vec<&str> = arguments.filter.iter().map(String::as_str).collect();
    let mut firsts = Vec::new();
    let mut durations = vec![("build".to_owned(), built)];
    let (single, several) = programs::by_number_of_tests(programs)?;
    let beside = thread::scope(|scope| {
        let beside = scope.spawn(|| beside::run(&single, features, &filter));
        let (probes, others): (Vec<_>, Vec<_>) =
            several.iter().partition(|program| program.has_probes());
        let timed = |program, shown| {
            let started = Instant::now();
            once(program, &filter, shown).map(|outcome| (program, outcome, started.elapsed()))
        };
        let mut done = Vec::new();
        for program in others {
            done.push(timed(program, Shown::AsItComes)?);
        }
        let running: Vec<_> = (probes.into_iter().enumerate())
            .map(|(number, program)| {
                let shown = match number {
                    0 => Shown::AsItComes,
                    _ => Shown::AtTheEnd,
                };
                scope.spawn(move || timed(program, shown))
            })
            .collect();
        for thread in running {
            done.push(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        for (program, outcome, lasted) in done {
            firsts.push((program, outcome));
            durations.push((program.to_string(), lasted));
        }
        beside.join().map_err(|_| anyhow!("a thread panicked"))?
    })?;
    let mut passed = true;
    let mut lines = Vec::new();
    for (program, first) in firsts {
        let again = again(program, &first)?;
        let verdict = Verdict::of(first, again);
        passed &= verdict.passed();
        let of_program = |line| format!("{program}: {line}");
        lines.extend(verdict.lines().into_iter().map(of_program));
    }
    for done in beside {
        passed &= done.failures.is_empty();
        lines.extend(done.failures);
        durations.push((format!("{} (beside the others)", done.name), done.lasted));
    }
    show(&durations);
    for line in lines {
        eprintln!("{line}");
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

/// How long each step took.
fn show(durations: &[(String, Duration)]) {
    eprintln!();
    for (what, lasted) in durations {
        eprintln!("{:>7.1} s  {what}", lasted.as_secs_f64());
    }
}

/// Runs the failed tests of a program a second time, if they depend on the load of the machine.
fn again(program: &Program, first: &Outcome) -> Result<Option<Outcome>> {
    let Outcome::Failed(names) = first else {
        return Ok(None);
    };
    if !program.has_probes() {
        return Ok(None);
    }
    eprintln!(
        "\n{program}: {} failed; running them again, alone",
        names.len()
    );
    let names = names.iter().map(String::as_str);
    let alone = ["--exact", "--test-threads=1"];
    let arguments: Vec<&str> = alone.into_iter().chain(names).collect();
    once(program, &arguments, Shown::AsItComes).map(Some)
}

/// When the output of a program is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    AsItComes,
    AtTheEnd,
}

/// Runs a program, shows its output and reads it.
fn once(program: &Program, arguments: &[&str], shown: Shown) -> Result<Outcome> {
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
            if shown == Shown::AsItComes {
                io::stdout().write_all(&line)?;
            }
            printed.append(&mut line);
        }
    }
    let status = child.wait()?;
    if shown == Shown::AtTheEnd {
        eprintln!("\n     Ran {program}");
        io::stdout().write_all(&printed)?;
    }
    let printed = String::from_utf8_lossy(&printed);
    Ok(Outcome::read(status.code(), &status.to_string(), &printed))
}
