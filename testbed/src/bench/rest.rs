//! Agents with many pods and no traffic: how long one takes to start and to stop, what it uses meanwhile, and how much of
//! that is due to each source.
//!
//! The kernel's list of the process's links says when an interface is traced, not the tracer. That needs TCX
//! (Linux 6.6). The agents that leave a source run beside the one that has all of them: they share the time and whatever
//! disturbs it.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::bed::Bed;
use super::cpu::Window;
use super::tool::{ALL_DEVICES, Output, Programs, Running, Source, Tool, Tracer};
use super::uplink::with_uplink;

/// The inventory is read and the interfaces' pods are known by then.
const SETTLE: Duration = Duration::from_secs(5);
/// Several agents take turns at the lock under which the kernel attaches.
const PATIENCE: Duration = Duration::from_secs(300);

/// What an agent uses.
#[derive(Clone, Copy, Debug)]
pub struct AtRest {
    /// Share of one CPU.
    pub cpu: f64,
    /// Resident memory.
    pub resident_kib: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Rest {
    /// From the start of the process until the first interface is traced.
    pub first_interface: Duration,
    /// From the start of the process until every interface is traced, in both directions.
    pub start: Duration,
    /// From SIGINT to the end of the process.
    pub stop: Duration,
    /// The agent with all sources.
    pub agent: AtRest,
    /// The same without one, at the same time.
    pub without: Vec<(Source, AtRest)>,
    /// Share of the machine that others used while the CPU was measured, 0 to 1.
    pub foreign: f64,
}

/// Measures it, with an agent without each of these sources. `at_rest` is how long the CPU is measured.
pub fn rest(bed: &Bed, programs: &Programs, sources: &[Source], at_rest: Duration) -> Result<Rest> {
    with_uplink(bed, || measure(bed, programs, sources, at_rest))
}

fn measure(bed: &Bed, programs: &Programs, sources: &[Source], at_rest: Duration) -> Result<Rest> {
    let mut agent = Agent::spawn(bed, programs, Output::Agent)?;
    let (first_interface, start) = agent.wait_until_it_traces()?;
    if !sources.is_empty() {
        // Of those that are compared none is older than the others.
        agent.running.stop(bed)?;
        agent = Agent::spawn(bed, programs, Output::Agent)?;
    }
    let without = sources.iter().map(|source| Output::AgentWithout(*source));
    let others: Vec<Agent> = without
        .map(|output| Agent::spawn(bed, programs, output))
        .collect::<Result<_>>()?;
    for agent in others.iter().chain([&agent]) {
        agent.wait_until_it_traces()?;
    }
    sleep(SETTLE);
    let used = |agent: &Agent| bed.accounts().read_part(&agent.account);
    let all = || others.iter().chain([&agent]);
    let window = Window::begin(bed)?;
    let before: Vec<Duration> = all().map(used).collect::<Result<_>>()?;
    sleep(at_rest);
    let after: Vec<Duration> = all().map(used).collect::<Result<_>>()?;
    let (lasted, machine) = window.end(bed)?;
    let mut found = all()
        .zip(after.iter().zip(before))
        .map(|(agent, (after, before))| AtRest {
            cpu: after.saturating_sub(before).as_secs_f64() / lasted.as_secs_f64(),
            resident_kib: resident(agent.pid()),
        });
    let without = sources.iter().copied().zip(found.by_ref()).collect();
    let Some(of_agent) = found.next() else {
        bail!("the agent was not measured");
    };
    drop(found);
    for other in others {
        other.running.stop(bed)?;
    }
    let stopping = Instant::now();
    agent.running.stop(bed)?;
    Ok(Rest {
        first_interface,
        start,
        stop: stopping.elapsed(),
        agent: of_agent,
        without,
        foreign: machine.foreign_share(lasted),
    })
}

/// An agent with a control group of its own.
struct Agent {
    running: Running,
    account: String,
    /// Its links: one for each direction of an interface.
    links: usize,
    started: Instant,
}

impl Agent {
    fn spawn(bed: &Bed, programs: &Programs, output: Output) -> Result<Agent> {
        let tool = Tool::Tracer(Tracer {
            output,
            inventory: true,
        });
        let uplinks = usize::from(output != Output::AgentWithout(Source::Node));
        let account = format!("tool/{}", output.instance());
        let started = Instant::now();
        let spawned = Running::spawn_on(bed, programs, tool, ALL_DEVICES, &account)?;
        let Some(running) = spawned else {
            bail!("the agent is a program");
        };
        Ok(Agent {
            running,
            account,
            links: 2 * (bed.addresses().len() + uplinks),
            started,
        })
    }

    fn pid(&self) -> i32 {
        self.running.pid().as_raw_nonzero().get()
    }

    /// How long after its start the first interface is traced, and all.
    fn wait_until_it_traces(&self) -> Result<(Duration, Duration)> {
        let mut first = None;
        loop {
            let wanted = if first.is_none() { 1 } else { self.links };
            let count = tcx_links(self.pid(), wanted);
            let now = self.started.elapsed();
            first = first.or((count > 0).then_some(now));
            if count >= self.links {
                return Ok((first.unwrap_or_default(), now));
            }
            if now > PATIENCE {
                bail!(
                    "after {PATIENCE:?} only {count} of {} links exist",
                    self.links
                );
            }
            sleep(Duration::from_millis(2));
        }
    }
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
