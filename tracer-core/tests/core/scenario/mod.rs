//! Reads a scenario file, plays it and compares the events (see `tests/scenarios/README.md`).

mod cluster;
pub mod filter;
mod message;
pub mod packet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tracer_core::diagnose::catalogue::rule;
use tracer_core::diagnose::{DiagnosisSettings, Silence};
use tracer_core::model::cluster::{ClusterChange, Inventory, Kind, PodScope};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::flow::{
    Direction, Flow, FlowSnapshot, FlowTotals, Ifindex, Protocol, SeenFlags, Traffic,
};
use tracer_core::model::loss::{InterfaceLoss, Losses, Missing, Stage, Thinning};
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};
use tracer_core::view::Encode as _;
use tracer_core::view::filter::{Filter, FilterConfig};
use tracer_core::view::json::Json;

/// The latency of the answer to an `ask`.
const ANSWERED_AFTER_NS: u64 = 500_000;

/// One scenario, played once: tests look at the parts that concern them.
pub struct Played {
    /// What the packets and changes were, for a pipeline of one's own.
    pub inputs: Vec<Input>,
    /// The events, whatever is expected.
    pub events: Vec<Event>,
    /// What the header declares about rules.
    pub declared: Declared,
    /// Whether the events are the expected ones. The error has the difference and all events.
    pub expected: Result<(), String>,
}

/// Plays one scenario.
pub fn play(text: &str) -> Result<Played, String> {
    let mut story = Story::new();
    story.read(text)?;
    let expected = story.compare();
    Ok(Played {
        inputs: story.inputs,
        events: story.events,
        declared: story.declared,
        expected,
    })
}

/// What the header of a scenario declares about rules.
#[derive(Debug, Default)]
pub struct Declared {
    /// `fires`: exactly these rules fire.
    pub fires: BTreeSet<&'static str>,
    /// `silent`: these must not fire, though the packets look similar.
    pub silent: BTreeSet<&'static str>,
}

impl Declared {
    /// Whether the scenario declares nothing.
    pub fn is_empty(&self) -> bool {
        self.fires.is_empty() && self.silent.is_empty()
    }

    /// Takes one `fires` or `silent` statement.
    fn add(&mut self, statement: &str, ids: &[&str]) -> Result<(), String> {
        if ids.is_empty() {
            return Err(format!("{statement} names no rule"));
        }
        for id in ids {
            let rule = rule(id).ok_or_else(|| format!("{id:?} is no rule"))?;
            if self.fires.contains(rule.id) || self.silent.contains(rule.id) {
                return Err(format!("{id} is declared twice"));
            }
            match statement {
                "fires" => self.fires.insert(rule.id),
                _ => self.silent.insert(rule.id),
            };
        }
        Ok(())
    }
}

impl Played {
    /// The rules that fire.
    pub fn fired(&self) -> BTreeSet<&'static str> {
        let fired = self.events.iter().filter_map(|event| match &event.body {
            Body::Finding(finding) => Some(finding.rule),
            _ => None,
        });
        fired.collect()
    }
}

/// The part of a packet that is captured.
enum Captured<'a> {
    Whole,
    /// The first bytes, as with a snap length.
    Cut(usize),
    /// The first IPv4 fragment, with this many bytes of the packet's payload.
    Fragment(usize),
    /// Cut as the probe cuts a long segment: `all`, or the numbers of the chunks that arrive.
    Chunks(&'a str),
}

impl Captured<'_> {
    fn records(&self, record: Record) -> Result<Vec<Record>, String> {
        const CHUNK: usize = 2048;
        match *self {
            Captured::Whole => Ok(vec![record]),
            Captured::Cut(length) => {
                let mut record = record;
                record.bytes.truncate(length);
                Ok(vec![record])
            }
            Captured::Fragment(length) => {
                const IPV4_HEADER: usize = 20;
                const MORE_FRAGMENTS: u8 = 0x20;
                let mut record = record;
                let total = IPV4_HEADER + length;
                if record.bytes.first() != Some(&0x45) || length % 8 != 0 {
                    return Err("a fragment is of IPv4, with a multiple of 8 bytes".to_owned());
                }
                record.bytes.truncate(total);
                let announced = u16::try_from(total).map_err(|error| error.to_string())?;
                record.bytes[2..4].copy_from_slice(&announced.to_be_bytes());
                record.bytes[6] = MORE_FRAGMENTS;
                record.wire_len = u32::from(announced);
                Ok(vec![record])
            }
            Captured::Chunks(which) => {
                let parts = record.bytes.chunks(CHUNK).enumerate();
                let mut chunks = Vec::new();
                for (index, part) in parts.map(|(index, part)| (index, part.to_vec())) {
                    chunks.push(Record {
                        chunk_offset: u32::try_from(index * CHUNK)
                            .map_err(|error| error.to_string())?,
                        bytes: part,
                        ..record.clone()
                    });
                }
                if which == "all" {
                    return Ok(chunks);
                }
                let chunk = |which| {
                    let chunk: Option<&Record> = chunks.get(number::<usize>(which)?);
                    chunk
                        .cloned()
                        .ok_or_else(|| format!("there are {} chunks", chunks.len()))
                };
                which.split(',').map(chunk).collect()
            }
        }
    }
}

struct Expectation {
    kind: String,
    fields: Vec<(String, Value)>,
    /// The texts that a field must contain, or must not.
    texts: Vec<(String, bool, String)>,
}

struct Story {
    declared: Declared,
    pipeline: Pipeline,
    inventory: Inventory,
    /// Changes arrive object by object, as from a watch, instead of as a whole file.
    watched: bool,
    /// What the later records of an interface count as lost.
    missing: BTreeMap<Ifindex, Missing>,
    inputs: Vec<Input>,
    events: Vec<Event>,
    /// The view without a filter first, then one for each filter.
    views: Vec<View>,
    lost: Losses,
}

/// The events that a filter shows, and the expected ones.
struct View {
    options: String,
    filter: Filter,
    expected: Vec<Expectation>,
}

impl Story {
    fn new() -> Story {
        Story {
            declared: Declared::default(),
            pipeline: Pipeline::new(Settings::default()),
            inventory: Inventory::default(),
            watched: false,
            missing: BTreeMap::new(),
            inputs: Vec::new(),
            events: Vec::new(),
            views: Vec::new(),
            lost: Losses::default(),
        }
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
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
                flags @ ..,
            ] => {
                let at = time(at)?;
                let traffic = |packets: &str| {
                    let packets = number(packets)?;
                    Ok::<_, String>(Traffic {
                        packets,
                        bytes: packets * 100,
                    })
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
                        protocol: match *protocol {
                            "tcp" => Protocol::Tcp,
                            "udp" => Protocol::Udp,
                            "icmp" => Protocol::Icmp,
                            other => return Err(format!("no flow is counted of {other:?}")),
                        },
                        pod: number(pod)?,
                        peer: number(peer)?,
                    },
                    totals: FlowTotals {
                        tx: traffic(sent)?,
                        rx: traffic(received)?,
                    },
                    first: Timestamp(0),
                    last: at,
                    tcp_flags,
                };
                self.step(Input::Counters(at, vec![snapshot]));
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

    fn compare(&self) -> Result<(), String> {
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

impl View {
    fn unfiltered() -> View {
        View {
            options: String::new(),
            filter: Filter::from(FilterConfig::default()),
            expected: Vec::new(),
        }
    }

    fn compare(&self, events: &[Event]) -> Result<(), String> {
        // Findings count only in scenarios that expect some.
        let mut kinds = self.expected.iter().map(|expected| expected.kind.as_str());
        let findings = kinds.any(|kind| kind == "finding") || self.options.contains("finding");
        let lines: Vec<Value> = events
            .iter()
            .filter(|event| findings || !matches!(event.body, Body::Finding(_)))
            .filter(|event| self.options.is_empty() || self.filter.matches(event))
            .map(encode)
            .collect::<Result<_, _>>()?;
        let listed = || {
            lines
                .iter()
                .map(|line| format!("  {line}\n"))
                .collect::<String>()
        };
        if lines.len() != self.expected.len() {
            return Err(format!(
                "expected {} events, got {}:\n{}",
                self.expected.len(),
                lines.len(),
                listed()
            ));
        }
        for (number, (line, expected)) in (1..).zip(lines.iter().zip(&self.expected)) {
            check(line, expected)
                .map_err(|error| format!("event {number}: {error}; the events:\n{}", listed()))?;
        }
        Ok(())
    }
}

/// An event as a line of JSON.
pub fn encode(event: &Event) -> Result<Value, String> {
    let wall =
        |time: Timestamp| jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
    let mut line = String::new();
    Json::new("a-node".into())
        .encode(event, &wall, &mut line)
        .map_err(|error| error.to_string())?;
    serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))
}

fn check(line: &Value, expected: &Expectation) -> Result<(), String> {
    if line["type"] != expected.kind.as_str() {
        return Err(format!("expected {}, got {}", expected.kind, line["type"]));
    }
    for (key, wanted) in &expected.fields {
        let pointer = format!("/{}", key.replace('.', "/"));
        let found = line.pointer(&pointer).unwrap_or(&Value::Null);
        if found != wanted {
            return Err(format!("{key} is {found}, expected {wanted}"));
        }
    }
    for (key, said, text) in &expected.texts {
        let pointer = format!("/{}", key.replace('.', "/"));
        let found = match line.pointer(&pointer).unwrap_or(&Value::Null) {
            Value::String(found) => found.clone(),
            Value::Array(lines) => {
                let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
                lines.join("\n")
            }
            other => other.to_string(),
        };
        if found.contains(text.as_str()) != *said {
            let says = if *said { "does not say" } else { "says" };
            return Err(format!("{key} {says} {text:?}: {found}"));
        }
    }
    Ok(())
}

fn time(text: &str) -> Result<Timestamp, String> {
    let (digits, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1e6),
        (None, Some(digits)) => (digits, 1e9),
        (None, None) => return Err(format!("{text:?} is not a time like 0.8ms or 6s")),
    };
    let value: f64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is not a time like 0.8ms or 6s"))?;
    // Scenario times are a few seconds with a few decimals: exact enough as f64, then rounded to a
    // nanosecond.
    Ok(Timestamp((value * unit).round() as u64))
}

fn seen_flags(text: &str) -> Result<u8, String> {
    if text == "none" {
        return Ok(0);
    }
    text.split('+').try_fold(0, |flags, word| {
        Ok(flags
            | match word {
                "syn" => SeenFlags::SYN,
                "ack" => SeenFlags::ACK,
                "fin" => SeenFlags::FIN,
                "rst" => SeenFlags::RST,
                "psh" => SeenFlags::PSH,
                other => return Err(format!("{other:?} is no TCP flag")),
            })
    })
}

/// The stage at which the pipeline lost something.
fn lost_at(stage: &str) -> Result<Stage, String> {
    const STAGES: [Stage; 5] = [
        Stage::Kernel,
        Stage::Ring,
        Stage::Decode,
        Stage::Table,
        Stage::Queue,
    ];
    let known = STAGES.into_iter().find(|known| known.as_str() == stage);
    known.ok_or_else(|| format!("the pipeline loses nothing at {stage:?}"))
}

/// Reasons are literals in the program. A test can leak a few.
fn leaked(reason: &[&str]) -> &'static str {
    reason.join(" ").leak()
}

/// The level of a thinning, if one is given.
fn level(words: &[&str]) -> Result<Option<Thinning>, String> {
    match words {
        [] => Ok(None),
        ["thinning", level] => Ok(Some(Thinning(number(level)?))),
        other => Err(format!("{:?} is not a thinning", other.join(" "))),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number here"))
}
