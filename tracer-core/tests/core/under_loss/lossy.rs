//! Traffic from which records are missing, and the reports of that.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tracer_common::{FlowKey, socket_hash};
use tracer_core::decode::Decoder;
use tracer_core::model::flow::{Flow, Ifindex};
use tracer_core::model::loss::{InterfaceLoss, Missing, Thinning};
use tracer_core::model::record::Record;
use tracer_core::pipeline::Input;

const SECOND: u64 = 1_000_000_000;
/// The program ticks at least as often.
const TICK: Duration = Duration::from_millis(250);

/// How losses are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    /// By the count of each record.
    InBand,
    /// Before what follows.
    BeforeTicks,
    Both,
    /// Not at all, to show that the report matters.
    Never,
}

/// Inputs, and what separates their records.
pub struct Traffic {
    inputs: Vec<Input>,
    /// The places of the records.
    records: Vec<usize>,
    /// The conversation of each input that is a record and can be decoded.
    flows: Vec<Option<Flow>>,
}

/// The records that are missing.
pub struct Loss {
    what: String,
    dropped: Vec<bool>,
    /// The thinning at each input.
    levels: Vec<Thinning>,
    report: Report,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped = (0..self.dropped.len()).filter(|at| self.dropped[*at]);
        let dropped: Vec<usize> = dropped.collect();
        write!(f, "{}, {:?}, inputs {dropped:?}", self.what, self.report)
    }
}

impl Traffic {
    pub fn new(inputs: Vec<Input>) -> Traffic {
        let mut decoder = Decoder::new(vec![53]);
        let mut flow = |input: &Input| match input {
            Input::Record(record) => decoder.decode(record).ok().map(|packet| packet.flow),
            _ => None,
        };
        let flows = inputs.iter().map(&mut flow).collect();
        let is_record = |at: &usize| matches!(inputs[*at], Input::Record(_));
        let records = (0..inputs.len()).filter(is_record).collect();
        Traffic {
            inputs,
            records,
            flows,
        }
    }

    fn record(&self, at: usize) -> &Record {
        match &self.inputs[at] {
            Input::Record(record) => record,
            other => panic!("{other:?} is no record"),
        }
    }

    /// Chooses what is lost.
    pub fn lose(&self, random: &mut StdRng) -> Loss {
        let report = [Report::InBand, Report::BeforeTicks, Report::Both][random.random_range(0..3)];
        let mut loss = Loss {
            what: String::new(),
            dropped: vec![false; self.inputs.len()],
            levels: vec![Thinning(0); self.inputs.len()],
            report,
        };
        if self.records.is_empty() {
            return loss;
        }
        let chosen = self.records[random.random_range(0..self.records.len())];
        let one = self.record(chosen);
        let from = one.time.0;
        let period = from..from + random.random_range(0..10 * SECOND);
        let share = random.random_range(0.05..0.9);
        let kind = random.random_range(0..7);
        let burst = random.random_range(2..6);
        loss.what = [
            "one",
            "burst",
            "share",
            "period",
            "direction",
            "socket",
            "thinning",
        ][kind]
            .to_owned();
        for &at in &self.records {
            let record = self.record(at);
            let here = record.ifindex == one.ifindex;
            let then = period.contains(&record.time.0);
            loss.dropped[at] = match kind {
                0 => at == chosen,
                1 => here && at >= chosen && at < chosen + burst,
                2 => random.random_bool(share),
                3 => here && then,
                4 => here && record.direction == one.direction && record.time.0 >= from,
                5 => self.flows[at] == self.flows[chosen],
                _ => {
                    let level = thinning(record.time.0, from, 3);
                    if here {
                        loss.levels[at] = level;
                    }
                    let passes = self.flows[at].as_ref().map_or(0, passes);
                    here && u32::from(level.0) > passes
                }
            };
        }
        if report == Report::InBand {
            self.keep_what_nothing_reports(&mut loss);
        }
        loss
    }

    /// A loss that only records can report is known with the next one of the interface, which must come before
    /// time passes.
    fn keep_what_nothing_reports(&self, loss: &mut Loss) {
        for at in (0..self.inputs.len()).rev() {
            if !loss.dropped[at] {
                continue;
            }
            let record = self.record(at);
            let next = (at + 1..self.inputs.len()).find(|next| !loss.dropped[*next]);
            loss.dropped[at] = next.is_some_and(|next| {
                matches!(&self.inputs[next], Input::Record(next) if next.ifindex == record.ifindex)
            });
        }
    }

    /// The same, but nothing reports it.
    pub fn lose_silently(&self, random: &mut StdRng) -> Loss {
        Loss {
            report: Report::Never,
            ..self.lose(random)
        }
    }

    /// The inputs that are left, with reports of the loss.
    pub fn without(&self, loss: &Loss) -> Vec<Input> {
        let in_band = matches!(loss.report, Report::InBand | Report::Both);
        let before_ticks = matches!(loss.report, Report::BeforeTicks | Report::Both);
        let mut counts: BTreeMap<Ifindex, u16> = BTreeMap::new();
        let mut pending: BTreeMap<Ifindex, InterfaceLoss> = BTreeMap::new();
        let mut inputs = Vec::new();
        for (at, input) in self.inputs.iter().enumerate() {
            if loss.dropped[at] {
                let record = self.record(at);
                let count = counts.entry(record.ifindex).or_default();
                *count = count.wrapping_add(1);
                let level = Some(loss.levels[at]).filter(|level| level.0 > 0);
                let lost = pending.entry(record.ifindex).or_insert(InterfaceLoss {
                    ifindex: record.ifindex,
                    from: record.time,
                    until: record.time,
                    count: 0,
                    thinning: level,
                });
                lost.until = lost.until.max(record.time);
                lost.count += 1;
                lost.thinning = lost.thinning.max(level);
                continue;
            }
            let concerned = match input {
                Input::Record(record) => Some(record.ifindex),
                _ => None,
            };
            if before_ticks {
                // A tick would have preceded what comes later than that.
                let overdue = |lost: &InterfaceLoss| input.time().since(lost.from) >= TICK;
                let due = pending.iter().filter(|(known, lost)| {
                    concerned.is_none_or(|ifindex| ifindex == **known) || overdue(lost)
                });
                let due: Vec<Ifindex> = due.map(|(ifindex, _)| *ifindex).collect();
                let lost: Vec<InterfaceLoss> = due
                    .iter()
                    .filter_map(|ifindex| pending.remove(ifindex))
                    .collect();
                if let Some(until) = lost.iter().map(|lost| lost.until).max() {
                    inputs.push(Input::Lost(until, lost));
                }
            }
            let mut input = input.clone();
            if let Input::Record(record) = &mut input
                && in_band
            {
                record.missing = Missing {
                    count: counts.get(&record.ifindex).copied().unwrap_or_default(),
                    thinning: loss.levels[at],
                };
            }
            inputs.push(input);
        }
        inputs
    }
}

/// The thinning rises to a level at once and falls by one each second.
fn thinning(at: u64, from: u64, level: u8) -> Thinning {
    let passed = at.saturating_sub(from) / SECOND;
    let passed = u8::try_from(passed).unwrap_or(u8::MAX);
    match at >= from {
        true => Thinning(level.saturating_sub(passed)),
        false => Thinning(0),
    }
}

/// The highest thinning that keeps a conversation.
fn passes(flow: &Flow) -> u32 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let key = FlowKey {
        pod_addr_be: octets(flow.pod.ip()),
        peer_addr_be: octets(flow.peer.ip()),
        ifindex: flow.ifindex.0,
        pod_port: flow.pod.port(),
        peer_port: flow.peer.port(),
        protocol: flow.protocol.number(),
        zero: [0; 3],
    };
    socket_hash(&key).trailing_zeros()
}
