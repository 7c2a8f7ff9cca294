//! `cargo xtask cost`: the agent's memory and CPU at work, by its own metrics and by the kernel.
//!
//! The release build runs as agent on two nodes of a lab, with metrics on, under the soak's traffic. It
//! compares both: exit code 1 if `/metrics` and /proc disagree.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Pid;

use testbed::lab::{Inventory, Lab, Options, ProxyMode};
use testbed::scenario::NODES;
use testbed::soak::tally::Figures;
use testbed::soak::traffic::Traffic;
use testbed::watch::Watch;

use crate::{build, setup};

/// Measure the agent's memory and CPU under ordinary traffic in the lab, by its metrics and by /proc
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Duration in minutes
    #[arg(long, default_value_t = 5, value_name = "N")]
    minutes: u64,
    /// Pause between two actions of the clients, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    rest: u64,
    /// Measure this program instead of a release build
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Both are read one after the other while the agent runs, which explains a small difference.
const TOLERANCE: f64 = 0.1;

/// An agent with what it had used when the traffic began.
struct Agent {
    node: &'static str,
    watch: Watch,
    before: Reading,
}

/// What an agent has used, by its metrics and by /proc.
struct Reading {
    metrics: String,
    cpu: f64,
    rss: f64,
    proc: Figures,
}

impl Reading {
    fn of(lab: &Lab, node: &str, pid: Pid) -> Result<Reading> {
        let curl = ["curl", "-sSf", "http://127.0.0.1:9095/metrics"];
        let output = lab.exec_node(node, &curl)?.output()?;
        ensure!(output.status.success(), "no metrics of {node}: {output:?}");
        let metrics = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Reading {
            cpu: value(&metrics, "process_cpu_seconds_total")?,
            rss: value(&metrics, "process_resident_memory_bytes")?,
            proc: Figures::of(pid)?,
            metrics,
        })
    }
}

fn value(metrics: &str, name: &str) -> Result<f64> {
    let mut lines = metrics.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.with_context(|| format!("no metric {name}"))?;
    value.parse().with_context(|| format!("{name} is {value}"))
}

/// The sum of a family's series.
fn total(metrics: &str, name: &str) -> f64 {
    let of_family = |line: &&str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    let values = metrics.lines().filter(of_family);
    values
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// The most that was resident at a time, and what the kernel holds for the maps: it counts in the container,
/// too.
fn kernel_side(pid: Pid) -> Result<(u64, u64)> {
    let directory = format!("/proc/{}", pid.as_raw_nonzero());
    let status = fs::read_to_string(format!("{directory}/status"))?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .and_then(|peak| peak.trim().parse::<u64>().ok())
        .context("no VmHWM in status")?;
    let mut maps = std::collections::BTreeMap::new();
    for entry in fs::read_dir(format!("{directory}/fdinfo"))? {
        // A descriptor can be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok((peak, maps.values().sum::<u64>() / 1024))
}

/// Runs it. 0: both sources of the figures agree.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(setup::Needs::Everything)?;
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => release()?,
    };
    let program = program.canonicalize().context("the program")?;
    note("raising the lab");
    let mut lab = Lab::up(Options {
        name: "tracer-cost".to_owned(),
        proxy_mode: ProxyMode::Iptables,
        inventory: Inventory::scenario_with_near_misses()?,
    })?
    .temporary();
    let sockets = tempfile::tempdir()?;
    let mut agents = Vec::new();
    for node in NODES {
        let program = program.to_str().context("a program path that is UTF-8")?;
        let mut command = lab.exec_node(node, &[program, "agent", "--node-name", node])?;
        command.arg("--inventory").arg(lab.inventory_file());
        command.arg("--socket").arg(sockets.path().join(node));
        let watch = Watch::spawn(command)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        let before = loop {
            match Reading::of(&lab, node, watch.pid()) {
                Ok(reading) if total(&reading.metrics, "tracer_attached_interfaces") > 0.0 => {
                    break reading;
                }
                _ if Instant::now() < deadline => sleep(Duration::from_millis(100)),
                Ok(_) => bail!("the agent of {node} traces nothing"),
                Err(error) => return Err(error),
            }
        };
        agents.push(Agent {
            node,
            watch,
            before,
        });
    }
    note(&format!("{} min of traffic", arguments.minutes));
    let started = Instant::now();
    let end = started + Duration::from_secs(60 * arguments.minutes);
    let mut traffic = Traffic::default();
    while Instant::now() < end {
        traffic.step(&mut lab)?;
        sleep(Duration::from_millis(arguments.rest));
    }
    traffic.finish(&mut lab)?;
    let lasted = started.elapsed().as_secs_f64();
    let mut report = String::new();
    let mut agree = true;
    for agent in agents {
        let after = Reading::of(&lab, agent.node, agent.watch.pid())?;
        let (peak_kib, maps_kib) = kernel_side(agent.watch.pid())?;
        let cpu = after.cpu - agent.before.cpu;
        let cpu_proc = (after.proc.cpu - agent.before.proc.cpu).as_secs_f64();
        let rss_proc = after.proc.memory_kib as f64 * 1024.0;
        let counted = |name: &str| total(&after.metrics, name) - total(&agent.before.metrics, name);
        writeln!(
            report,
            "{}: {:.0} packets and {:.0} events in {lasted:.0} s, {:.0} lost\n  \
             CPU       {:.1} m by its metrics, {:.1} m by /proc   (thousandths of a CPU)\n  \
             resident  {:.1} MiB by its metrics, {:.1} MiB by /proc, {:.1} MiB at most\n  \
             BPF maps  {:.1} MiB by /proc/PID/fdinfo; pages of the ring that were read are resident, too",
            agent.node,
            counted("tracer_packets_total"),
            counted("tracer_events_total"),
            counted("tracer_lost_total"),
            cpu / lasted * 1000.0,
            cpu_proc / lasted * 1000.0,
            mebi(after.rss),
            mebi(rss_proc),
            mebi(peak_kib as f64 * 1024.0),
            mebi(maps_kib as f64 * 1024.0),
        )?;
        // /proc counts CPU in hundredths of a second.
        agree &= (cpu - cpu_proc).abs() <= 0.05 + TOLERANCE * cpu_proc
            && (after.rss - rss_proc).abs() <= TOLERANCE * rss_proc;
        agent.watch.stop().context("the agent did not last")?;
    }
    print!("{report}");
    if !agree {
        eprintln!("error: the metrics and /proc differ by more than a tenth");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn release() -> Result<PathBuf> {
    let build = ["build", "--release", "--package", "tracer"];
    let status = build::cargo().args(build).status()?;
    ensure!(status.success(), "the tracer does not build");
    Ok(build::target_directory().join("release/tracer"))
}

fn mebi(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

fn note(text: &str) {
    eprintln!("cost: {text}");
}
