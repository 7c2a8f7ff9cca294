//! One run: a tool is started, load is put on, the tool drains and stops; what it recorded and used, and what
//! the rest of the machine did meanwhile.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::bed::Bed;
use super::cpu::Window;
use super::load::{Answered, Load, Transport};
use super::recorded::Recorded;
use super::tool::{Programs, Running, Tool};

/// The load begins this long after the tool captures.
const WARM_UP: Duration = Duration::from_secs(1);
/// A tool that uses less CPU than this in [`DRAIN_STEP`] has drained.
const DRAINED: Duration = Duration::from_millis(4);
const DRAIN_STEP: Duration = Duration::from_millis(100);
/// tshark needs many seconds for what it spooled.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Measurement {
    /// The tool.
    pub tool: Tool,
    /// The load.
    pub load: Load,
    /// How long the tool runs on after it has drained: a timeout is reported six seconds after the query.
    pub settle: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// What the generator counted.
    pub answered: Answered,
    /// DNS messages on the wire.
    pub wire: u64,
    /// What the tool recorded.
    pub recorded: Recorded,
    /// CPU time of the tool, from the beginning of the load until it has drained.
    pub tool: Duration,
    /// CPU time of tool, generator, server and network threads while there was load.
    pub own: Duration,
    /// The most memory that the tool had resident.
    pub peak_kib: u64,
    /// Share of the machine that others used while there was load, 0 to 1.
    pub foreign: f64,
}

impl Measured {
    /// The tool's CPU time for each message on the wire, in microseconds.
    pub fn us_per_message(&self) -> f64 {
        per_message(self.tool, self.wire)
    }

    /// The tool's CPU time for each message that it recorded, in microseconds: on a busy machine tools lose
    /// messages, and a lost one costs little.
    pub fn us_per_recorded(&self) -> f64 {
        per_message(self.tool, self.recorded.messages)
    }

    /// All CPU time of the measurement for each message on the wire, in microseconds.
    pub fn host_us_per_message(&self) -> f64 {
        per_message(self.own, self.wire)
    }

    /// Share of the messages on the wire that the tool recorded, 0 to 1.
    pub fn share_recorded(&self) -> f64 {
        self.recorded.messages as f64 / self.wire.max(1) as f64
    }

    /// Messages that were neither recorded nor reported as lost; negative if more were reported.
    pub fn unaccounted(&self) -> Option<i64> {
        let lost = i64::try_from(self.recorded.lost?).ok()?;
        let recorded = i64::try_from(self.recorded.messages).ok()?;
        Some(i64::try_from(self.wire).ok()? - recorded - lost)
    }
}

fn per_message(used: Duration, messages: u64) -> f64 {
    used.as_secs_f64() * 1e6 / messages.max(1) as f64
}

impl Measurement {
    /// Runs it.
    pub fn run(self, bed: &Bed, programs: &Programs) -> Result<Measured> {
        let running = Running::start(bed, programs, self.tool)?;
        if running.is_some() {
            sleep(WARM_UP);
        }
        let wire_before = bed.wire()?;
        let window = Window::begin(bed)?;
        let answered = self.load.run(bed)?;
        let (lasted, loaded) = window.end(bed)?;
        let mut tool = loaded.tool;
        let mut peak_kib = 0;
        let mut recorded = Recorded::default();
        if let Some(running) = running {
            tool += drain(bed)?;
            peak_kib = peak(bed)?;
            sleep(self.settle);
            recorded = running.stop(bed)?;
        }
        let forwarded = bed.wire()?;
        let wire = match self.load.transport {
            Transport::Udp => {
                recorded = recorded.by_records();
                forwarded.messages() - wire_before.messages()
            }
            // One segment may carry several messages, so the generator's count is the truth.
            Transport::Tcp => answered.sent + answered.completed,
        };
        Ok(Measured {
            answered,
            wire,
            recorded,
            tool,
            own: loaded.own,
            peak_kib,
            foreign: loaded.foreign_share(lasted),
        })
    }
}

/// Waits until the tool has nothing left to do, and returns the CPU time that it needed for it.
fn drain(bed: &Bed) -> Result<Duration> {
    let first = bed.usage()?;
    let deadline = Instant::now() + DRAIN_LIMIT;
    let mut last = first;
    loop {
        sleep(DRAIN_STEP);
        let now = bed.usage()?;
        if now.since(last).tool < DRAINED || Instant::now() > deadline {
            return Ok(now.since(first).tool);
        }
        last = now;
    }
}

/// The sum of the peaks of the tool's processes.
fn peak(bed: &Bed) -> Result<u64> {
    let group = bed.accounts().group("tool")?;
    let processes = fs::read_to_string(group.join("cgroup.procs"))?;
    let peaks = processes.lines().filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    Ok(peaks.sum())
}
