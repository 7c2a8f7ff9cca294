//! The figures that no load of DNS queries gives: what each takes, and the samples that come of it.

use std::time::Duration;

use anyhow::Result;
use testbed::bench::{
    Bed, Delay, Output, Packets, Programs, Rest, Source, Tool, Tracer, bulk, delay, packets, rest,
    sources,
};

use super::figure::Figure;
use super::results::{Name, Sample};

/// A step of a run.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Cost of a packet.
    Packets(Packets, Duration),
    /// iperf3 without and with the tracer.
    Bulk(Duration),
    /// No traffic, for this long; also without each of these sources.
    Rest(&'static [Source], Duration),
    /// From packet to line, for this long; with the inventory or without.
    Delay(bool, Duration),
    /// Cost of the signals beside the packets, each for this long.
    Sources(Duration),
}

/// Pods of a busy node: kubelet's limit is 110 by default, 250 where it is raised.
const BUSY_NODE: usize = 250;
/// The first second after a start is judged by itself.
const FIRST: Duration = Duration::from_secs(1);

impl Step {
    /// What it is measured for.
    pub fn figure(self) -> Figure {
        match self {
            Step::Packets(..) => Figure::Packet,
            Step::Bulk(_) => Figure::Bulk,
            Step::Rest(..) => Figure::Rest,
            Step::Delay(..) => Figure::Delay,
            Step::Sources(_) => Figure::Sources,
        }
    }

    /// The pods that it needs.
    pub fn pods(self) -> usize {
        match self {
            // One traced, one with the empty program.
            Step::Packets(..) | Step::Sources(_) => 2,
            Step::Rest(..) => BUSY_NODE,
            Step::Bulk(_) | Step::Delay(..) => 1,
        }
    }

    /// About how long it takes.
    pub fn lasts(self) -> Duration {
        let seconds = Duration::from_secs;
        match self {
            Step::Packets(Packets::Bulk, lasts) => 2 * lasts + seconds(2),
            Step::Packets(_, lasts) | Step::Delay(false, lasts) => lasts + seconds(1),
            Step::Delay(true, lasts) => lasts + seconds(3),
            Step::Bulk(lasts) => 2 * (lasts + seconds(1)),
            Step::Rest([], lasts) => lasts + seconds(15),
            Step::Rest(_, lasts) => lasts + seconds(30),
            Step::Sources(lasts) => 6 * (lasts + seconds(1)),
        }
    }

    /// In words.
    pub fn title(self) -> String {
        match self {
            Step::Packets(packets, _) => format!("cost of a packet: {packets:?}"),
            Step::Bulk(_) => "iperf3, none and tracer json".to_owned(),
            Step::Rest(..) => format!("start, rest and stop with {BUSY_NODE} pods"),
            Step::Sources(_) => "senders, processes, drops and translations".to_owned(),
            Step::Delay(inventory, _) => {
                let with = if inventory { "with" } else { "without" };
                format!("packet to line, {with} the inventory")
            }
        }
    }

    /// Measures it.
    pub fn run(self, bed: &Bed, programs: &Programs) -> Result<Vec<Sample>> {
        Ok(match self {
            Step::Packets(kind, lasts) => {
                let cost = packets(bed, programs, kind, lasts)?;
                let name = match kind {
                    Packets::KnownFlow => Name::KnownFlow,
                    Packets::Bulk => Name::BulkPacket,
                    Packets::NewFlow => Name::NewFlow,
                };
                vec![Sample::new(
                    name,
                    cost.tracer_ns - cost.empty_ns,
                    cost.foreign,
                )]
            }
            Step::Bulk(lasts) => {
                let (untraced, first) = bulk(bed, programs, Tool::None, lasts)?;
                let tool = Tool::tracer(Output::Json);
                let (traced, second) = bulk(bed, programs, tool, lasts)?;
                vec![Sample::new(
                    Name::Iperf,
                    traced / untraced,
                    f64::max(first, second),
                )]
            }
            Step::Rest(sources, lasts) => at_rest(&rest(bed, programs, sources, lasts)?),
            Step::Sources(lasts) => {
                let sources = sources(bed, programs, lasts)?;
                let sample = |name, value| Sample::new(name, value, sources.foreign);
                vec![
                    sample(Name::Sender, sources.sender_ns),
                    sample(Name::Socket, sources.socket_ns),
                    sample(Name::Connect, sources.connect_ns),
                    sample(Name::Send, sources.send_ns),
                    sample(Name::FirstSend, sources.first_send_ns),
                    sample(Name::ForeignSend, sources.foreign_send_ns),
                    sample(Name::Drop, sources.drop_ns),
                    sample(Name::TranslatedFlow, sources.flow_us),
                    sample(Name::Translation, sources.flow_us / sources.flow_without_us),
                    sample(Name::ForwardedOut, sources.uplink.out_ns),
                    sample(Name::ForwardedIn, sources.uplink.in_ns),
                    sample(Name::Masqueraded, sources.uplink.masqueraded_ns),
                    sample(Name::ForwardedDns, sources.uplink.dns_ns),
                ]
            }
            Step::Delay(inventory, lasts) => {
                let tracer = Tracer {
                    output: Output::Json,
                    inventory,
                };
                delays(inventory, &delay(bed, programs, tracer, lasts)?)
            }
        })
    }
}

fn at_rest(rest: &Rest) -> Vec<Sample> {
    let sample = |name, value| Sample::new(name, value, rest.foreign);
    let mib = |kib: u64| kib as f64 / 1024.0;
    let mut samples = vec![
        sample(Name::Resident, mib(rest.agent.resident_kib)),
        sample(Name::RestCpu, rest.agent.cpu),
        sample(Name::Start, rest.start.as_secs_f64()),
        sample(Name::Stop, rest.stop.as_secs_f64()),
        sample(Name::FirstInterface, rest.first_interface.as_secs_f64()),
    ];
    for (source, without) in &rest.without {
        let (cpu, resident) = match source {
            Source::Conntrack => (Name::RestCpuConntrack, Name::ResidentConntrack),
            Source::Node => (Name::RestCpuNode, Name::ResidentNode),
            Source::Processes => (Name::RestCpuProcesses, Name::ResidentProcesses),
            Source::Drops => (Name::RestCpuDrops, Name::ResidentDrops),
            Source::Retransmits => (Name::RestCpuRetransmits, Name::ResidentRetransmits),
        };
        samples.extend([
            sample(cpu, rest.agent.cpu - without.cpu),
            sample(
                resident,
                mib(rest.agent.resident_kib) - mib(without.resident_kib),
            ),
        ]);
    }
    samples
}

fn delays(inventory: bool, delay: &Delay) -> Vec<Sample> {
    let sample = |name, from, to, share| {
        let delay_of = delay.percentile(from, to, share)?;
        Some(Sample::new(name, delay_of.as_secs_f64(), delay.foreign))
    };
    let (zero, end) = (Duration::ZERO, Duration::MAX);
    let samples = if inventory {
        [
            sample(Name::DelayNamedFirst, zero, FIRST, 0.99),
            sample(Name::DelayNamed, FIRST, end, 0.99),
            sample(Name::DelayNamedMedian, zero, end, 0.5),
        ]
    } else {
        [
            sample(Name::DelayFirst, zero, FIRST, 0.99),
            sample(Name::Delay, FIRST, end, 0.99),
            sample(Name::DelayMedian, zero, end, 0.5),
        ]
    };
    samples.into_iter().flatten().collect()
}
