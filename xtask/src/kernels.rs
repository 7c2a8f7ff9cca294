//! `cargo xtask kernels`: the capture tests inside QEMU, on older kernels than the machine's own.
//!
//! Owns the order of the steps and the report: a kernel from Debian's archive ([`archive`]), an initramfs
//! with the test program in it ([`image`]), a machine that runs it ([`machine`]). Nothing is installed, and
//! the machine has no network device. docs/kernels.md says what the tests show for which feature.

mod archive;
mod image;
mod machine;

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::machine::Ended;
use crate::setup;
use crate::test::outcome::{Outcome, Verdict};
use crate::test::programs;

/// A kernel that Debian has a package of.
#[derive(Clone, Copy, Debug)]
struct Kernel {
    /// The kernel's first two numbers.
    version: &'static str,
    /// The archive's suites that have it.
    suites: &'static [&'static str],
    /// Parts of the names of tests that are left out on it, and why.
    without: &'static [(&'static str, &'static str)],
}

impl Kernel {
    /// All that are left out.
    fn without(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        self.without.iter().chain(&EVERYWHERE)
    }
}

const NO_TCX: (&str, &str) = ("with_tcx", "TCX came with Linux 6.6");
const NO_REDIRECT: (&str, &str) = (
    "no_silence_is_reported",
    "its redirecting program needs TCX",
);
/// Not a test: a process that tests start.
const CHILD: &str = "::child::";
const EVERYWHERE: [(&str, &str); 5] = [
    (
        "of_two_hundred_pods",
        "in emulation 200 pods start too slowly",
    ),
    (
        "a_pod_over_its_share",
        "an emulated pod is too slow to fill the ring buffer",
    ),
    (
        "at_full_speed_through_a_small_ring",
        "an emulated pod is too slow to fill the ring buffer",
    ),
    ("of_a_forked_child", "Python is not in the image"),
    (
        "that_two_processes_send_from",
        "in emulation a packet takes longer than the reader waits",
    ),
];

const NO_REASON: (&str, &str) = (
    "by_nftables",
    "the kernel gives drops a reason from Linux 5.17 on",
);

const NO_EGRESS: (&str, &str) = (
    "nftables_counts",
    "nftables' egress hook came with Linux 5.16",
);

const KERNELS: [Kernel; 3] = [
    Kernel {
        version: "5.10",
        suites: &["bullseye", "bullseye-security"],
        without: &[NO_TCX, NO_REDIRECT, NO_REASON, NO_EGRESS],
    },
    Kernel {
        version: "6.1",
        suites: &["bookworm", "bookworm-security"],
        without: &[NO_TCX, NO_REDIRECT],
    },
    Kernel {
        version: "6.12",
        suites: &["trixie", "trixie-security"],
        without: &[],
    },
];

/// Run the capture tests on older kernels in QEMU
///
/// Debian's cloud kernels are downloaded once to target/kernels and not installed; remove that directory to
/// get newer ones. The machine is emulated: it needs no KVM and takes some minutes per kernel. Failed tests
/// run again, alone, as in `cargo xtask test`. Exit code 1: a test failed; 2: the tests could not run.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these kernels, such as 5.10
    #[arg(value_name = "VERSION", value_parser = KERNELS.map(|kernel| kernel.version))]
    versions: Vec<String>,
    /// List the kernels and the tests left out on each, and run nothing
    #[arg(long)]
    list: bool,
    /// Only tests whose name contains this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Time limit for the tests of one kernel
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    time_limit: u64,
}

/// The result for one kernel.
struct Report {
    kernel: Kernel,
    /// The release that ran.
    release: String,
    counts: (u64, u64),
    verdict: Verdict,
    took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed) = self.counts;
        write!(
            f,
            "{:<6} {:<28} {passed} passed, {failed} failed, {} kinds left out, {} s",
            self.kernel.version,
            self.release,
            self.kernel.without().count(),
            self.took.as_secs()
        )?;
        for line in self.verdict.lines() {
            write!(f, "\n       {line}")?;
        }
        Ok(())
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = KERNELS.into_iter().filter(|kernel| {
        arguments.versions.is_empty()
            || arguments.versions.iter().any(|name| name == kernel.version)
    });
    machine::look()?;
    setup::ensure(setup::Needs::Probes)?;
    let programs = programs::build(&[
        "--package",
        "tracer",
        "--features",
        "privileged-tests",
        "--test",
        "privileged",
    ])?;
    let program = programs.and_then(|programs| {
        let mut programs = programs.into_iter();
        programs.find(programs::Program::has_probes)
    });
    let program = program.context("the tests do not build")?;
    let base = image::Base::new(&program.path, &archive::busybox()?)?;
    let tests = program.tests()?;
    let mut reports = Vec::new();
    for kernel in chosen {
        reports.push(report(kernel, &base, &tests, arguments)?);
    }
    ensure!(!reports.is_empty(), "no kernel to try");
    for report in &reports {
        println!("{report}");
    }
    let passed = reports.iter().all(|report| report.verdict.passed());
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn list() {
    for kernel in KERNELS {
        let state = match archive::kept(kernel.version) {
            Some(kept) => format!("kept: {}", kept.release),
            None => "not fetched yet".to_owned(),
        };
        println!("{:<6} Debian {}, {state}", kernel.version, kernel.suites[0]);
        for (name, why) in kernel.without() {
            println!("       without *{name}*: {why}");
        }
    }
}

/// Fetches a kernel where it is not kept yet, and runs the tests on it.
fn report(
    kernel: Kernel,
    base: &image::Base,
    tests: &[String],
    arguments: &Arguments,
) -> Result<Report> {
    let fetched = archive::kernel(kernel.version, kernel.suites)?;
    let release = fetched.release.clone();
    eprintln!("\n     Booting {release}");
    let begun = Instant::now();
    let limit = Duration::from_secs(arguments.time_limit);
    let alone = |names: &[String]| {
        // A machine of its own is what the ignored tests are waiting for.
        let mut options = ["--test-threads=1", "--include-ignored", "--exact"]
            .map(str::to_owned)
            .to_vec();
        options.extend_from_slice(names);
        machine::run(&fetched, &base.with(&fetched, &options)?, limit)
    };
    let ended = alone(&chosen(tests, kernel, arguments.filter.as_deref()))?;
    let counts = ended.counts();
    let outcome = outcome(&ended);
    let again = match &outcome {
        Outcome::Failed(names) => {
            eprintln!("\n     Booting {release} again for what failed, alone");
            Some(self::outcome(&alone(names)?))
        }
        _ => None,
    };
    Ok(Report {
        kernel,
        release,
        counts,
        verdict: Verdict::of(outcome, again),
        took: begun.elapsed(),
    })
}

/// The capture tests that run on this kernel.
fn chosen(tests: &[String], kernel: Kernel, filter: Option<&str>) -> Vec<String> {
    tests
        .iter()
        .filter(|name| name.starts_with("capture::") && !name.contains(CHILD))
        .filter(|name| filter.is_none_or(|part| name.contains(part)))
        .filter(|name| !kernel.without().any(|(part, _)| name.contains(part)))
        .cloned()
        .collect()
}

fn outcome(ended: &Ended) -> Outcome {
    let how = match ended.code {
        Some(code) => format!("exit code {code}"),
        None => "the machine ended or was ended before the tests did".to_owned(),
    };
    Outcome::read(ended.code, &how, &ended.printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_on_a_kernel_is_a_test_and_says_why() {
        let directory = crate::build::root().join("tracer/tests/privileged/capture");
        let tests: String = std::fs::read_dir(directory)
            .expect("the tests")
            .map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text"))
            .collect();
        for kernel in KERNELS {
            for (name, why) in kernel.without() {
                let named = tests
                    .lines()
                    .any(|line| line.starts_with("fn ") && line.contains(name));
                assert!(named, "{}: no test is named {name}", kernel.version);
                assert!(!why.is_empty());
            }
        }
    }
}
