//! `cargo xtask bench`: what the tracer costs and loses under load, beside other tools in the same run.
//!
//! Measures, prints each goal as met or not met, and writes text, JSON and SVG to `target/bench`. A goal that
//! is not met is no failure of the command.

mod curve;
mod figure;
mod goals;
mod plan;
mod progress;
mod relay;
mod report;
mod results;
mod session;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::{build, setup};
use figure::Figure;
use goals::Verdict;
use results::Origin;
use session::Session;

/// Measure loss, CPU, memory and latency under load, beside other tools in the same run
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Every figure with few repetitions, in three minutes; the full run takes about 40
    #[arg(long)]
    quick: bool,
    /// Measure only this figure; may be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Figure>,
    /// Measure this program instead of a release build
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Rounds of each comparison instead of the plan's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Run the core's micro-benchmarks instead; needs neither root nor probes
    #[arg(long, conflicts_with_all = ["quick", "only", "binary", "rounds", "docs"])]
    micro: bool,
    /// Measure one relay with 500 agents and 50 watchers instead; needs neither root nor probes
    #[arg(long, conflicts_with_all = ["quick", "only", "rounds", "docs", "micro"])]
    relay: bool,
    /// Write the summary to docs/benchmarks.md, as a full run does
    #[arg(long, conflicts_with = "only")]
    docs: bool,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.micro {
        return micro();
    }
    if arguments.relay {
        let tracer = match &arguments.binary {
            Some(path) => path.clone(),
            None => release()?,
        };
        let tracer = tracer
            .canonicalize()
            .with_context(|| format!("no program {}", tracer.display()))?;
        relay::run(&tracer)?;
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(setup::Needs::Everything)?;
    ensure!(
        rustix::process::geteuid().is_root(),
        "bench needs root: it makes network namespaces and loads probes"
    );
    let (tracer, origin) = match &arguments.binary {
        Some(path) => (path.clone(), Origin::binary(path)),
        None => (release()?, Origin::release()),
    };
    let tracer = tracer
        .canonicalize()
        .with_context(|| format!("no program {}", tracer.display()))?;
    let mut figures = arguments.only.clone();
    if figures.is_empty() {
        figures = Figure::ALL.to_vec();
    }
    let directory = build::target_directory().join("bench");
    let mut session = Session::begin(&directory, tracer, arguments.quick)?;
    let blocks = plan::blocks(&figures, arguments.quick, arguments.rounds);
    let steps = plan::steps(&figures, arguments.quick, arguments.rounds);
    session.measure(&blocks, &steps)?;
    let results = session.end(origin);
    let mut goals = goals::all(&results);
    if !arguments.only.is_empty() {
        goals.retain(|goal| goal.verdict != Verdict::not_in_this_run());
    }
    report::write(&directory, &results, &goals)?;
    curve::write(&directory, &results)?;
    print!("{}", report::text(&results, &goals));
    if arguments.docs || (!arguments.quick && arguments.only.is_empty()) {
        report::write_docs(&build::root().join("docs/benchmarks.md"), &results, &goals)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn micro() -> Result<ExitCode> {
    let status = build::cargo()
        .args(["bench", "--package", "tracer-core", "--all-features"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "a micro-benchmark failed");
    Ok(ExitCode::SUCCESS)
}

fn release() -> Result<PathBuf> {
    let status = build::cargo()
        .args(["build", "--release", "--package", "tracer"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the tracer does not build");
    Ok(build::target_directory().join("release/tracer"))
}
