//! One pod floods its node while another pod has ordinary traffic: what the tracer reports about the second one.
//!
//! The tracer runs in a memory cgroup of the size that the DaemonSet has. Owns the verdict: [`Report::faults`]
//! lists what must not be. The oracles are dig, curl and ping in the second pod, and the kernel's figures of the
//! tracer's process.

pub mod attack;
pub mod bystander;
pub mod memory_limit;

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::lab::Lab;
use crate::watch::Watch;

use self::attack::Attack;
use self::bystander::{Bystander, Seen};
use self::memory_limit::MemoryLimit;

/// The node that is flooded and traced.
const NODE: &str = "k8s-worker03";
/// The pod that floods.
const EVIL: &str = "default/nginx-ds-v2qf5";
/// The pod whose traffic is compared.
const BYSTANDER: &str = "default/deb-ubuntu";

/// The memory limit of the DaemonSet's container.
const LIMIT_BYTES: u64 = 256 << 20;
/// The tracer's own memory must stay below this: the rest of the limit is for the kernel's share (sockets, maps).
const MAX_RESIDENT_KIB: u64 = 160 << 10;
/// The share of the bystander's successes that must be reported as such; the others may be undecided.
const MIN_REPORTED: f64 = 0.9;
/// Pause between two rounds of the bystander.
const REST: Duration = Duration::from_millis(500);
/// Timeouts and the ends of pings are reported by then.
const AFTERMATH: Duration = Duration::from_secs(12);

/// What happened.
#[derive(Debug)]
pub struct Report {
    /// Packets that the flood sent.
    pub sent: u64,
    /// The bystander's traffic, by its clients and by the tracer.
    pub seen: Seen,
    /// The tracer's largest resident memory.
    pub resident_kib: u64,
    /// Its closing summary.
    pub log: Vec<String>,
    /// What must not be.
    pub faults: Vec<String>,
}

/// Floods a node of the lab for some time.
pub fn run(lab: &Lab, program: &Path, lasting: Duration) -> Result<Report> {
    let limit = MemoryLimit::new(&format!("tracer-flood-{}", std::process::id()), LIMIT_BYTES)?;
    let mut watch = Watch::start_within(lab, &limit.wrapper(), program, NODE, &["-o", "json"])?;
    let pid = watch.pid();
    let silence = attack::Silence::new(lab, NODE)?;
    let attack = Attack::start(&lab.pod_netns(EVIL)?, lab.inventory().cluster_dns())?;
    let mut bystander = Bystander::new(BYSTANDER);
    let end = Instant::now() + lasting;
    let mut faults = Vec::new();
    while Instant::now() < end {
        bystander.round(lab)?;
        if let Err(error) = poll(&mut watch, &mut bystander, REST) {
            faults.push(format!("the tracer ended: {error:#}"));
            break;
        }
    }
    let sent = attack.stop();
    drop(silence);
    let resident_kib = peak(pid.as_raw_nonzero().get());
    let mut log = Vec::new();
    if faults.is_empty() {
        poll(&mut watch, &mut bystander, AFTERMATH)?;
        let ended = watch.stop()?;
        if ended.code != Some(0) {
            faults.push(format!("the tracer ended with {:?}", ended.code));
        }
        for line in &ended.lines {
            hear(&mut bystander, line)?;
        }
        log = ended.log;
    }
    if limit.killed()? {
        faults.push("the kernel killed the tracer for its memory".to_owned());
    }
    match &resident_kib {
        Ok(kib) if *kib <= MAX_RESIDENT_KIB => {}
        Ok(kib) => faults.push(format!(
            "{} MiB resident, at most {} are allowed",
            kib >> 10,
            MAX_RESIDENT_KIB >> 10
        )),
        Err(error) => faults.push(format!("no figure of its memory: {error:#}")),
    }
    let seen = bystander.seen();
    faults.extend(seen.faults(MIN_REPORTED));
    Ok(Report {
        sent,
        seen,
        resident_kib: resident_kib.unwrap_or_default(),
        log,
        faults,
    })
}

/// Passes new events to the bystander for some time.
fn poll(watch: &mut Watch, bystander: &mut Bystander, lasting: Duration) -> Result<()> {
    let end = Instant::now() + lasting;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match watch.line(left)? {
            Some(line) => hear(bystander, &line)?,
            None => return Ok(()),
        }
        if left.is_zero() {
            return Ok(());
        }
    }
}

/// Passes an event to the bystander. Most are the flood's, and not worth a parse.
fn hear(bystander: &mut Bystander, line: &str) -> Result<()> {
    if line.contains("deb-ubuntu") {
        let event = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        bystander.hear(event);
    }
    Ok(())
}

/// The largest resident memory of a process so far.
fn peak(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .context("no VmHWM in status")?
        .trim()
        .parse()
        .context("VmHWM is no number")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "flood: {} packets sent", self.sent)?;
        writeln!(
            f,
            "memory: {} MiB resident at most",
            self.resident_kib >> 10
        )?;
        write!(f, "{}", self.seen)?;
        for line in &self.log {
            writeln!(f, "tracer: {line}")?;
        }
        for fault in &self.faults {
            writeln!(f, "FAULT: {fault}")?;
        }
        Ok(())
    }
}

/// The text of a JSON field.
fn word<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}
