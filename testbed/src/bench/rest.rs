//! An agent with many pods and no traffic: how long it takes to start and to stop, and what it uses
//! meanwhile.
//!
//! The kernel's list of the process's links says when an interface is traced, not the tracer. That needs TCX
//! (Linux 6.6).

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::bed::Bed;
use super::cpu::Window;
use super::tool::{Output, Programs, Running, Tool, Tracer};

/// The inventory is read and the interfaces' pods are known by then.
const SETTLE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// From the start of the process until the first interface is traced.
    pub first_interface: Duration,
    /// From the start of the process until every interface is traced, in both directions.
    pub start: Duration,
    /// From SIGINT to the end of the process.
    pub stop: Duration,
    /// Share of one CPU.
    pub cpu: f64,
    /// Resident memory.
    pub resident_kib: u64,
    /// Share of the machine that others used while the CPU was measured, 0 to 1.
    pub foreign: f64,
}

/// Measures it. `at_rest` is how long the CPU is measured.
pub fn rest(bed: &Bed, programs: &Programs, at_rest: Duration) -> Result<Rest> {
    let tool = Tool::Tracer(Tracer {
        output: Output::Agent,
        inventory: true,
    });
    let started = Instant::now();
    let Some(running) = Running::spawn(bed, programs, tool)? else {
        bail!("the agent is a program");
    };
    let pid = running.pid().as_raw_nonzero().get();
    let links = 2 * bed.addresses().len();
    let (mut first, mut all) = (None, None);
    while all.is_none() {
        let count = tcx_links(pid, if first.is_none() { 1 } else { links });
        let now = started.elapsed();
        first = first.or((count > 0).then_some(now));
        all = (count >= links).then_some(now);
        if now > PATIENCE {
            bail!("after {PATIENCE:?} only {count} of {links} links exist");
        }
        sleep(Duration::from_millis(2));
    }
    sleep(SETTLE);
    let window = Window::begin(bed)?;
    sleep(at_rest);
    let (lasted, used) = window.end(bed)?;
    let resident_kib = resident(pid);
    let stopping = Instant::now();
    running.stop(bed)?;
    Ok(Rest {
        first_interface: first.unwrap_or_default(),
        start: all.unwrap_or_default(),
        stop: stopping.elapsed(),
        cpu: used.tool.as_secs_f64() / lasted.as_secs_f64(),
        resident_kib,
        foreign: used.foreign_share(lasted),
    })
}

/// The process's TCX links, counted up to `most`.
fn tcx_links(pid: i32, most: usize) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo"));
    let files = entries.into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let links = texts.filter(|text| text.contains("link_type:\ttcx"));
    links.take(most).count()
}

fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    number
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_default()
}
