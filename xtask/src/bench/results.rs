//! What a run measured, with medians and ratios over its rounds.

use std::path::Path;

use testbed::bench::{Load, Measured, Tool};

use super::figure::Figure;

/// A measurement in a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it was measured for.
    pub figure: Figure,
    /// The load.
    pub load: Load,
    /// The pods that sent it.
    pub pods: usize,
    /// Its round: runs with the same figure, load and round are neighbours in time.
    pub round: u32,
    /// The tool.
    pub tool: Tool,
    /// The figures.
    pub measured: Measured,
    /// Whether others used so much CPU that the figures may be wrong, and repeating did not help.
    pub contaminated: bool,
}

/// A figure that is one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// Nanoseconds over an empty program: UDP of a known flow.
    KnownFlow,
    /// Nanoseconds over an empty program: TCP bulk.
    BulkPacket,
    /// Nanoseconds over an empty program: the first packet of a flow.
    NewFlow,
    /// iperf3's rate, of untraced.
    Iperf,
    /// MiB with 250 pods and the inventory.
    Resident,
    /// CPU at rest with 250 pods, share of one CPU.
    RestCpu,
    /// CPU at rest that conntrack takes: of an agent with it, less of one without.
    RestCpuConntrack,
    /// The same of the node's own traffic.
    RestCpuNode,
    /// The same of processes.
    RestCpuProcesses,
    /// The same of drops.
    RestCpuDrops,
    /// The same of segments that are sent again.
    RestCpuRetransmits,
    /// MiB that conntrack takes, in the same way.
    ResidentConntrack,
    /// The same of the node's own traffic.
    ResidentNode,
    /// The same of processes.
    ResidentProcesses,
    /// The same of drops.
    ResidentDrops,
    /// The same of segments that are sent again.
    ResidentRetransmits,
    /// Seconds until 250 pods are traced.
    Start,
    /// Seconds from SIGINT to the end.
    Stop,
    /// Seconds until the first interface is traced.
    FirstInterface,
    /// Seconds from packet to line without an inventory, p99 after the first second.
    Delay,
    /// The same, in the first second.
    DelayFirst,
    /// The same, p50 of all.
    DelayMedian,
    /// Seconds from packet to line with the inventory, p99 after the first second.
    DelayNamed,
    /// The same, in the first second.
    DelayNamedFirst,
    /// The same, p50 of all.
    DelayNamedMedian,
    /// Nanoseconds of the helper that reads a packet's sender.
    Sender,
    /// Nanoseconds of the helper that reads a packet's socket.
    Socket,
    /// Nanoseconds of the probe of connecting sockets for a connection.
    Connect,
    /// Nanoseconds that a UDP socket's send takes longer.
    Send,
    /// The same for a socket's first send.
    FirstSend,
    /// The same for sends of a socket that is neither UDP's nor ICMP's.
    ForeignSend,
    /// Nanoseconds of the probe of a dropped packet.
    Drop,
    /// Microseconds of CPU time of an agent for each new translated flow.
    TranslatedFlow,
    /// The same, of that with `--no-conntrack`.
    Translation,
    /// Nanoseconds of the program at the uplink for a pod's TCP packet on its way out.
    ForwardedOut,
    /// The same for one that comes in, to the pod's address.
    ForwardedIn,
    /// The same to the node's address, for a masqueraded pod.
    Masqueraded,
    /// The same for a DNS answer to a pod's address.
    ForwardedDns,
}

/// One measured number.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Sample {
    /// What it is.
    pub name: Name,
    /// The number, in the unit that the name documents.
    pub value: f64,
    /// Share of the machine that others used meanwhile, 0 to 1.
    pub foreign: f64,
    /// Whether that is too much, and repeating did not help.
    pub contaminated: bool,
}

impl Sample {
    /// A number that is not known to be contaminated.
    pub fn new(name: Name, value: f64, foreign: f64) -> Sample {
        Sample {
            name,
            value,
            foreign,
            contaminated: false,
        }
    }
}

/// How the measured program was built.
#[derive(Clone, Debug)]
pub struct Origin {
    /// In words.
    pub text: String,
}

impl Origin {
    /// A given program.
    pub fn binary(path: &Path) -> Origin {
        Origin {
            text: format!("--binary {}", path.display()),
        }
    }

    /// `cargo build --release`, with the settings that the environment changes.
    pub fn release() -> Origin {
        let mut text = "cargo build --release".to_owned();
        let changed =
            std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PROFILE_RELEASE_"));
        for (name, value) in changed {
            text.push_str(&format!(", {name}={value}"));
        }
        Origin { text }
    }
}

/// All that was measured.
#[derive(Clone, Debug)]
pub struct Results {
    /// The program.
    pub origin: Origin,
    /// Whether repetitions were few.
    pub quick: bool,
    /// The runs, in the order in which they were made.
    pub runs: Vec<Run>,
    /// The figures that are one number.
    pub samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub missing: Vec<(Figure, String)>,
    /// Runs that were discarded because others used the CPU, and repeated.
    pub discarded: usize,
}

/// A median with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// The median.
    pub value: f64,
    /// The lowest and the highest value.
    pub spread: (f64, f64),
    /// How many values.
    pub count: usize,
    /// Whether one of them is contaminated.
    pub contaminated: bool,
}

impl Median {
    /// The median of values, each with whether it is contaminated; `None` of none. Clean values are taken
    /// alone where there are any.
    pub fn of(values: impl IntoIterator<Item = (f64, bool)>) -> Option<Median> {
        let all: Vec<(f64, bool)> = values.into_iter().collect();
        let contaminated = all.iter().all(|(_, contaminated)| *contaminated);
        let mut values: Vec<f64> = all
            .into_iter()
            .filter(|(_, dirty)| contaminated || !dirty)
            .map(|(value, _)| value)
            .collect();
        values.sort_by(f64::total_cmp);
        let middle = |index: usize| values.get(index).copied();
        let value = f64::midpoint(
            middle((values.len().checked_sub(1)?) / 2)?,
            middle(values.len() / 2)?,
        );
        Some(Median {
            value,
            spread: (*values.first()?, *values.last()?),
            count: values.len(),
            contaminated,
        })
    }
}

/// Which runs.
pub type Selection<'a> = &'a dyn Fn(&Run) -> bool;

impl Results {
    /// The median of a value over the selected runs of a tool.
    pub fn median(
        &self,
        which: Selection<'_>,
        tool: Tool,
        value: impl Fn(&Measured) -> f64,
    ) -> Option<Median> {
        let runs = self
            .runs
            .iter()
            .filter(|run| run.tool == tool && which(run));
        Median::of(runs.map(|run| (value(&run.measured), run.contaminated)))
    }

    /// The median of a number.
    pub fn sample(&self, name: Name) -> Option<Median> {
        let samples = self.samples.iter().filter(|sample| sample.name == name);
        Median::of(samples.map(|sample| (sample.value, sample.contaminated)))
    }

    /// The worst, which is the highest, value over the selected runs of a tool.
    pub fn worst(
        &self,
        which: Selection<'_>,
        tool: Tool,
        value: impl Fn(&Measured) -> f64,
    ) -> Option<Median> {
        let median = self.median(which, tool, value)?;
        Some(Median {
            value: median.spread.1,
            ..median
        })
    }

    /// The median of the ratios of two tools' values, each ratio of one round.
    pub fn ratio(
        &self,
        which: Selection<'_>,
        tool: Tool,
        to: Tool,
        value: impl Fn(&Measured) -> f64,
    ) -> Option<Median> {
        let pairs = self
            .runs
            .iter()
            .filter(|run| run.tool == tool && which(run));
        Median::of(pairs.filter_map(|run| {
            let other = self.runs.iter().find(|other| {
                other.tool == to
                    && other.figure == run.figure
                    && other.load == run.load
                    && other.pods == run.pods
                    && other.round == run.round
            })?;
            let divisor = value(&other.measured);
            let ratio = value(&run.measured) / divisor;
            (divisor > 0.0).then_some((ratio, run.contaminated || other.contaminated))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_leaves_contaminated_values_out_where_it_can() {
        let median = Median::of([(9.0, true), (1.0, false), (3.0, false)]).expect("values");
        assert_eq!(
            (median.value, median.count, median.contaminated),
            (2.0, 2, false)
        );
        let median = Median::of([(9.0, true)]).expect("a value");
        assert_eq!((median.value, median.contaminated), (9.0, true));
        assert_eq!(Median::of([]), None);
    }
}
