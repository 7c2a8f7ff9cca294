//! `cargo xtask soak`: ordinary traffic in the lab for as long as is wanted, and what the tracer makes of it.
//!
//! The false-alarm test on real packets: real clients in the pods do at a low rate what works (the `traffic`
//! module), while two tracers watch. Nothing fails, so nothing may be reported that sounds as if it had: a
//! finding of severity warning or error, or a loss, ends it with 1. A client that fails ends it with 1, too:
//! then the traffic was not ordinary.

pub mod cost;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use testbed::flood;
use testbed::lab::{Inventory, Lab, Options, ProxyMode};
use testbed::scenario::NODES;
use testbed::soak::Traced;
use testbed::soak::tally::{Figures, Tally};
use testbed::soak::traffic::Traffic;
use testbed::watch::Watch;

use crate::{build, setup};

/// Check that the tracer finds nothing wrong with ordinary traffic in the lab
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Duration in minutes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 60,
        default_value_if("flood", "true", "10")
    )]
    minutes: u64,
    /// Let one pod flood its node, and check the reports about another
    #[arg(long)]
    flood: bool,
    /// kube-proxy's mode on the lab's nodes
    #[arg(long, value_enum, default_value_t = ProxyMode::Iptables)]
    proxy_mode: ProxyMode,
    /// Write the tracers' JSON lines to this file
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Pause between two actions of the clients, in milliseconds
    #[arg(long, default_value_t = 700, value_name = "MS")]
    rest: u64,
}

/// Interval of the progress lines.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);
/// After the traffic: lookups, connections and pings that were not answered would be reported by then.
const AFTERMATH: Duration = Duration::from_secs(10);

/// Runs the soak. Exit code 0: no false alarm, no loss, no failed client.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(setup::Needs::Everything)?;
    let program = build::tracer()?;
    if arguments.flood {
        return flooded(arguments, &program);
    }
    note("raising the lab");
    let mut lab = Lab::up(Options {
        name: "tracer-soak".to_owned(),
        proxy_mode: arguments.proxy_mode,
        inventory: Inventory::scenario_with_near_misses()?,
    })?
    .temporary();
    let mut tally = Tally::new(arguments.events.as_deref())?;
    let mut tracers = Vec::new();
    for node in NODES {
        // The machine has better things to do than this.
        let wrapper = ["nice", "-n", "10"];
        let watch = Watch::start_within(&lab, &wrapper, &program, node, &["-o", "json"])?;
        let first = Figures::of(watch.pid())?;
        tracers.push(Traced { node, watch, first });
    }
    note(&format!(
        "{} min of ordinary traffic, traced on {}",
        arguments.minutes,
        NODES.join(" and ")
    ));
    let started = Instant::now();
    let end = started + Duration::from_secs(60 * arguments.minutes);
    let mut progress = started + PROGRESS_EVERY;
    let mut traffic = Traffic::default();
    while Instant::now() < end {
        traffic.step(&mut lab)?;
        tally.drain(&mut tracers)?;
        if Instant::now() >= progress {
            progress += PROGRESS_EVERY;
            note(&tally.line(started.elapsed(), &traffic, &tracers)?);
        }
        sleep(Duration::from_millis(arguments.rest));
    }
    traffic.finish(&mut lab)?;
    let settled = Instant::now() + AFTERMATH;
    while Instant::now() < settled {
        tally.drain(&mut tracers)?;
        sleep(Duration::from_millis(100));
    }
    let lasted = started.elapsed();
    let costs = tracers
        .iter()
        .map(|traced| Ok((traced.node, traced.first, Figures::of(traced.watch.pid())?)))
        .collect::<Result<Vec<_>>>()?;
    for traced in tracers {
        let ended = traced.watch.stop().context("the tracer did not last")?;
        tally.end(traced.node, &ended)?;
    }
    drop(lab);
    let (report, well) = tally.report(lasted, arguments.proxy_mode, &traffic, &costs);
    print!("{report}");
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The flood test of `cargo xtask test`, for longer.
fn flooded(arguments: &Arguments, program: &Path) -> Result<ExitCode> {
    note("raising the lab");
    let lab = Lab::up(Options {
        name: "tracer-soak".to_owned(),
        proxy_mode: arguments.proxy_mode,
        inventory: Inventory::scenario()?,
    })?
    .temporary();
    note(&format!("{} min of a flood", arguments.minutes));
    let lasting = Duration::from_secs(60 * arguments.minutes);
    let report = flood::run(&lab, program, lasting)?;
    print!("{report}");
    Ok(if report.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn note(text: &str) {
    eprintln!("soak: {text}");
}
