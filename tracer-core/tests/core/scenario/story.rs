//! Plays a scenario file: each statement is an input of the pipeline, or an expectation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tracer_core::diagnose::{DiagnosisSettings, Silence};
use tracer_core::model::cluster::{ClusterChange, ContainerCgroup, Inventory, Kind, PodScope};
use tracer_core::model::event::Event;
use tracer_core::model::flow::{
    Direction, Flow, FlowSnapshot, FlowTotals, Ifindex, Protocol, SeenFlags, Traffic,
};
use tracer_core::model::loss::{InterfaceLoss, Losses, Missing};
use tracer_core::model::record::Record;
use tracer_core::model::signal::{DropPlace, PacketDrop, Signal, Tuple};
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};
use tracer_core::view::filter::Filter;

use super::captured::Captured;
use super::expected::{Expectation, View};
use super::words::{leaked, level, lost_at, number, seen_flags, time};
use super::{Declared, cluster, filter, packet, signal};

/// The latency of the answer to an `ask`.
const ANSWERED_AFTER_NS: u64 = 500_000;

pub(super) struct Story {
    pub declared: Declared,
    pipeline: Pipeline,
    inventory: Inventory,
    /// Changes arrive object by object, as from a watch, instead of as a whole file.
    watched: bool,
    /// What the later records of an interface count as lost.
    missing: BTreeMap<Ifindex, Missing>,
    /// The cgroup that sends the later packets.
    sender: u64,
    pub inputs: Vec<Input>,
    pub events: Vec<Event>,
    /// The view without a filter first, then one for each filter.
    views: Vec<View>,
    lost: Losses,
}

impl Story {
    pub(super) fn new() -> Story {
        Story {
            declared: Declared::default(),
            pipeline: Pipeline::new(Settings {
                all_clients: true,
                ..Settings::default()
            }),
            inventory: Inventory::default(),
            watched: false,
            missing: BTreeMap::new(),
            sender: 0,
            inputs: Vec::new(),
            events: Vec::new(),
            views: Vec::new(),
            lost: Losses::default(),
        }
    }

    pub(super) fn read(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split(" #").next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() || words[0].starts_with('#') {
                continue;
            }
            self.statement(&words)
                .map_err(|error| format!("line {number}: {error}"))?;
        }
        Ok(())
    }

    fn statement(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["fires" | "silent", rules @ ..] => self.declared.add(words[0], rules)?,
            ["inventory", files @ ..] => {
                for file in files {
                    cluster::add(&mut self.inventory, file)?;
                }
                self.apply_inventory(Timestamp(0), Inventory::default());
            }
            ["asked", at] => {
                self.watched = true;
                let change = ClusterChange::Asked {
                    kinds: Kind::ALL.to_vec(),
                    pods: PodScope::Cluster,
                };
                self.step(Input::Change(time(at)?, change));
            }
            ["listed", at, files @ ..] => {
                self.inventory = Inventory::default();
                for file in files {
                    cluster::add(&mut self.inventory, file)?;
                }
                let at = time(at)?;
                for listed in cluster::lists(&self.inventory) {
                    self.step(Input::Change(at, ClusterChange::List(listed)));
                }
            }
            ["add", at, file] => {
                let before = self.inventory.clone();
                cluster::add(&mut self.inventory, file)?;
                self.apply_inventory(time(at)?, before);
            }
            ["remove", at, kind, name] => {
                let before = self.inventory.clone();
                cluster::remove(&mut self.inventory, kind, name)?;
                self.apply_inventory(time(at)?, before);
            }
            ["ready" | "unready", at, service] => {
                let before = self.inventory.clone();
                cluster::set_ready(&mut self.inventory, service, words[0] == "ready")?;
                self.apply_inventory(time(at)?, before);
            }
            ["interface", at, ifindex, uid @ ..] => {
                let (at, ifindex) = (time(at)?, Ifindex(number(ifindex)?));
                if uid.is_empty() {
                    self.step(Input::Attached(at, ifindex));
                }
                let uid = uid.first().map(|uid| Arc::from(*uid));
                let change = ClusterChange::Interface { ifindex, uid };
                self.step(Input::Change(at, change));
            }
            ["pod", ifindex, name] => {
                let pods = &self.inventory.pods;
                let pod = pods
                    .iter()
                    .find(|pod| format!("{}/{}", pod.namespace, pod.name) == *name);
                let uid = Some(Arc::clone(
                    &pod.ok_or_else(|| format!("no pod {name} in the inventory"))?
                        .uid,
                ));
                let ifindex = Ifindex(number(ifindex)?);
                self.step(Input::Attached(Timestamp(0), ifindex));
                let change = ClusterChange::Interface { ifindex, uid };
                self.step(Input::Change(Timestamp(0), change));
            }
            ["uplink" | "lo", ifindex] => {
                let ifindex = Ifindex(number(ifindex)?);
                self.step(Input::Attached(Timestamp(0), ifindex));
                let change = match words[0] {
                    "lo" => ClusterChange::Loopback(ifindex),
                    _ => ClusterChange::NodeInterface(ifindex),
                };
                self.step(Input::Change(Timestamp(0), change));
            }
            ["untraced", at, ifindex] => {
                let ifindex = Ifindex(number(ifindex)?);
                self.step(Input::Untraced(time(at)?, ifindex));
            }
            ["sender", cgroup] => self.sender = number(cgroup)?,
            ["container", at, cgroup, uid, container] => {
                let found = ContainerCgroup {
                    id: number(cgroup)?,
                    pod_uid: Arc::from(*uid),
                    container_id: Arc::from(*container),
                };
                let change = ClusterChange::Containers(vec![found]);
                self.step(Input::Change(time(at)?, change));
            }
            ["away" | "back", at] => {
                let at = time(at)?;
                let since = (words[0] == "away").then_some(at);
                self.step(Input::Change(at, ClusterChange::Stale(since)));
            }
            ["refused", at, resource] => {
                let kind = Kind::ALL
                    .into_iter()
                    .find(|kind| kind.resource() == *resource);
                let kind = kind.ok_or_else(|| format!("no kind is called {resource:?}"))?;
                self.step(Input::Change(time(at)?, ClusterChange::Refused(kind)));
            }
            ["rules", at, settings @ ..] => {
                let mut rules = DiagnosisSettings::default();
                for setting in settings {
                    match setting.split_once('=') {
                        Some(("silence", rule)) => rules.silences.push(Silence {
                            rule: Some(
                                rule.parse()
                                    .map_err(|_| format!("{rule:?} is no pattern"))?,
                            ),
                            ..Silence::default()
                        }),
                        Some(("dns-slow", longer)) => {
                            rules.thresholds.slow_dns = Duration::from_nanos(time(longer)?.0);
                        }
                        _ => return Err(format!("{setting:?} is neither silence nor dns-slow")),
                    }
                }
                self.step(Input::Rules(time(at)?, Box::new(rules)));
            }
            ["gone", at, ifindex] => {
                let (at, ifindex) = (time(at)?, Ifindex(number(ifindex)?));
                self.step(Input::Gone(at, ifindex));
                self.step(Input::Change(at, ClusterChange::InterfaceGone(ifindex)));
            }
            ["at", at, ifindex, direction, packet @ ..] => {
                let (captured, packet) = match packet {
                    ["snap", length, packet @ ..] => (Captured::Cut(number(length)?), packet),
                    ["fragment", length, packet @ ..] => {
                        (Captured::Fragment(number(length)?), packet)
                    }
                    ["chunks", which, packet @ ..] => (Captured::Chunks(which), packet),
                    packet => (Captured::Whole, packet),
                };
                let packet = packet::build(packet)?;
                let ifindex = Ifindex(number(ifindex)?);
                let record = Record {
                    time: time(at)?,
                    ifindex,
                    direction: match *direction {
                        "out" => Direction::FromPod,
                        "in" => Direction::ToPod,
                        other => return Err(format!("{other:?} is neither out nor in")),
                    },
                    ethertype: packet.ethertype,
                    wire_len: u32::try_from(packet.bytes.len())
                        .map_err(|error| error.to_string())?,
                    chunk_offset: 0,
                    missing: self.missing.get(&ifindex).copied().unwrap_or_default(),
                    totals: None,
                    sender_cgroup: self.sender,
                    sender_process: None,
                    bytes: packet.bytes,
                };
                for record in captured.records(record)? {
                    self.step(Input::Record(record));
                }
            }
            [
                "counted",
                at,
                ifindex,
                protocol,
                pod,
                peer,
                sent,
                received,
                rest @ ..,
            ] => {
                let at = time(at)?;
                let traffic = |word: &str| {
                    let (packets, bytes) = match word.split_once('/') {
                        Some((packets, bytes)) => (number(packets)?, number(bytes)?),
                        None => (number(word)?, number::<u64>(word)? * 100),
                    };
                    Ok::<_, String>(Traffic { packets, bytes })
                };
                let (flags, retransmits) = match rest {
                    [flags @ .., "again", segments] => (flags, Some(number(segments)?)),
                    flags => (flags, None),
                };
                let tcp_flags = match flags {
                    [] => SeenFlags::default(),
                    [tx, rx] => SeenFlags {
                        tx: seen_flags(tx)?,
                        rx: seen_flags(rx)?,
                    },
                    _ => return Err("flags are of both directions".to_owned()),
                };
                let snapshot = FlowSnapshot {
                    flow: Flow {
                        ifindex: Ifindex(number(ifindex)?),
                        protocol: protocol_of(protocol)?,
                        pod: number(pod)?,
                        peer: number(peer)?,
                    },
                    totals: FlowTotals {
                        tx: traffic(sent)?,
                        rx: traffic(received)?,
                        retransmits,
                    },
                    first: Timestamp(0),
                    last: at,
                    tcp_flags,
                };
                self.step(Input::Counters(at, vec![snapshot]));
            }
            ["drop", at, protocol, src, dst, reason, device @ ..] => {
                let dropped = PacketDrop {
                    tuple: Tuple {
                        protocol: protocol_of(protocol)?,
                        src: number(src)?,
                        dst: number(dst)?,
                    },
                    tcp_flags: None,
                    reason: leaked(&[reason]),
                    function: None,
                    place: DropPlace::Node,
                    device: device.first().map(|device| Arc::from(*device)),
                    unreported: 0,
                };
                self.step(Input::Signal(time(at)?, Signal::Dropped(dropped)));
            }
            // A query and its answer half a millisecond later, as two `at` statements.
            [
                "ask",
                at,
                ifindex,
                src,
                dst,
                id,
                qtype,
                name,
                rcode,
                records @ ..,
            ] => {
                let answered = format!("{}ms", (time(at)?.0 + ANSWERED_AFTER_NS) as f64 / 1e6);
                self.statement(&[
                    "at", at, ifindex, "out", "udp", src, dst, "query", id, qtype, name,
                ])?;
                let answer = [
                    "at", &answered, ifindex, "in", "udp", dst, src, "answer", id, rcode, qtype,
                    name,
                ];
                self.statement(&[&answer[..], records].concat())?;
            }
            ["says" | "omits", key, text @ ..] => {
                let view = self.views.last_mut();
                let expected = view.and_then(|view| view.expected.last_mut());
                expected.ok_or("nothing is expected yet")?.texts.push((
                    (*key).to_owned(),
                    words[0] == "says",
                    text.join(" "),
                ));
            }
            ["translated", at, rest @ ..] => {
                self.step(Input::Signal(time(at)?, signal::translated(rest)?));
            }
            ["conntrack", at, rest @ ..] => {
                self.step(Input::Signal(time(at)?, signal::conntrack(rest)?));
            }
            ["tick", at] => self.step(Input::Tick(time(at)?)),
            ["end", at] => self.step(Input::End(time(at)?)),
            ["filter", options @ ..] => self.views.push(View {
                options: options.join(" "),
                filter: Filter::from(filter::parse(options)?),
                expected: Vec::new(),
            }),
            ["expect", kind, fields @ ..] => {
                let fields = fields.iter().map(|field| {
                    let (key, value) = field
                        .split_once('=')
                        .ok_or_else(|| format!("{field:?} is not KEY=VALUE"))?;
                    let value = match value {
                        "" => Value::Null,
                        value => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
                    };
                    Ok((key.to_owned(), value))
                });
                let fields = fields.collect::<Result<_, String>>()?;
                let expectation = Expectation {
                    kind: (*kind).to_owned(),
                    fields,
                    texts: Vec::new(),
                };
                if self.views.is_empty() {
                    self.views.push(View::unfiltered());
                }
                if let Some(view) = self.views.last_mut() {
                    view.expected.push(expectation);
                }
            }
            ["missing", ifindex, count, thinning @ ..] => {
                let thinning = level(thinning)?.unwrap_or_default();
                let count = number(count)?;
                self.missing
                    .insert(Ifindex(number(ifindex)?), Missing { count, thinning });
            }
            ["loses", at, ifindex, count, thinning @ ..] => {
                let at = time(at)?;
                let loss = InterfaceLoss {
                    ifindex: Ifindex(number(ifindex)?),
                    from: at,
                    until: at,
                    count: number(count)?,
                    thinning: level(thinning)?,
                };
                self.step(Input::Lost(at, vec![loss]));
            }
            ["lost", "on", ifindex, stage, count, reason @ ..] => {
                let (stage, reason) = (lost_at(stage)?, leaked(reason));
                let ifindex = Ifindex(number(ifindex)?);
                self.lost.add_on(ifindex, stage, reason, number(count)?);
            }
            ["lost", stage, count, reason @ ..] => {
                self.lost
                    .add(lost_at(stage)?, leaked(reason), number(count)?);
            }
            other => return Err(format!("unknown statement {:?}", other.join(" "))),
        }
        Ok(())
    }

    /// Passes the inventory on: as a whole, or its changes.
    fn apply_inventory(&mut self, at: Timestamp, before: Inventory) {
        if self.watched {
            for change in cluster::differences(&before, &self.inventory) {
                self.step(Input::Change(at, change));
            }
        } else {
            let change = ClusterChange::Replace(Box::new(self.inventory.clone()));
            self.step(Input::Change(at, change));
        }
    }

    fn step(&mut self, input: Input) {
        self.inputs.push(input.clone());
        self.pipeline.step(input, &mut self.events);
    }

    pub(super) fn compare(&self) -> Result<(), String> {
        let unfiltered = View::unfiltered();
        let views = match self.views.as_slice() {
            [] => std::slice::from_ref(&unfiltered),
            views => views,
        };
        for view in views {
            view.compare(&self.events)
                .map_err(|error| match view.options.as_str() {
                    "" => error,
                    options => format!("filter {options}: {error}"),
                })?;
        }
        let losses = self.pipeline.losses();
        if losses != self.lost {
            return Err(format!("lost {losses:?}, expected {:?}", self.lost));
        }
        Ok(())
    }
}

fn protocol_of(word: &str) -> Result<Protocol, String> {
    match word {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "icmp" => Ok(Protocol::Icmp),
        other => Err(format!("{other:?} is neither tcp, udp nor icmp")),
    }
}
