//! One stage with its input ready, so that only the stage is measured.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use tracer_core::correlate::Correlator;
use tracer_core::decode::Decoder;
use tracer_core::diagnose::Diagnosis;
use tracer_core::identity::{Index, ResolverConfig};
use tracer_core::lookup::{ClientQuery, Decided, Folder};
use tracer_core::model::correlated::{Asked, Correlated, CorrelatedEvent};
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::exchange::Exchange;
use tracer_core::model::flow::Flow;
use tracer_core::model::observation::Observation;
use tracer_core::model::record::Record;
use tracer_core::model::settings::{Limits, Thresholds};
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};
use tracer_core::view::Encode;
use tracer_core::view::json::Json;
use tracer_core::view::text::{Text, TextSettings};

use crate::workload::{Mix, cluster, records};

/// A stage with its input, to be run once. Returns the size of its output.
pub type Run = Box<dyn FnOnce() -> usize>;

/// A mix, with or without an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub mix: Mix,
    pub inventory: bool,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mix {
            Mix::Answered => "ok",
            Mix::Mixed => "mix",
            Mix::Search => "search",
        })?;
        if self.inventory {
            f.write_str("/inventory")?;
        }
        Ok(())
    }
}

/// A stage of the pipeline, or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Record to observation.
    Decode,
    /// Observation to exchange.
    Correlate,
    /// The ends of queries and exchanges.
    Identify,
    /// Queries and exchanges to lookups.
    Lookup,
    /// Events to findings.
    Diagnose,
    /// Events to JSON.
    Json,
    /// Events to text.
    Text,
    /// Record to event, all of the above but the encoding.
    Pipeline,
    /// Record to JSON.
    Whole,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Decode => "decode",
            Stage::Correlate => "correlate",
            Stage::Identify => "identify",
            Stage::Lookup => "lookup",
            Stage::Diagnose => "diagnose",
            Stage::Json => "json",
            Stage::Text => "text",
            Stage::Pipeline => "pipeline",
            Stage::Whole => "whole",
        })
    }
}

impl Stage {
    pub const ALL: [Stage; 9] = [
        Stage::Decode,
        Stage::Correlate,
        Stage::Identify,
        Stage::Lookup,
        Stage::Diagnose,
        Stage::Json,
        Stage::Text,
        Stage::Pipeline,
        Stage::Whole,
    ];

    pub fn prepare(self, load: Load, queries: u64) -> Run {
        let records = records(load.mix, queries);
        match self {
            Stage::Decode => decode(records),
            Stage::Correlate => correlate(observations(&records), index(load)),
            Stage::Identify => identify(correlated(&records), index(load)),
            Stage::Lookup => lookup(named(&records, &mut index(load))),
            Stage::Diagnose => diagnose(records, load),
            Stage::Json => encode(Json::new(Arc::from("node")), events(records, load)),
            Stage::Text => encode(text(), events(records, load)),
            Stage::Pipeline => {
                let (mut pipeline, inputs) = warm(load, queries);
                Box::new(move || {
                    let (mut out, mut count) = (Vec::new(), 0);
                    for input in inputs {
                        pipeline.step(input, &mut out);
                        count += out.drain(..).map(black_box).count();
                    }
                    // What it keeps is not dropped under load.
                    std::mem::forget(pipeline);
                    count
                })
            }
            Stage::Whole => {
                let (mut pipeline, inputs) = warm(load, queries);
                let mut json = Json::new(Arc::from("node"));
                Box::new(move || {
                    let (mut out, mut lines, mut bytes) = (Vec::new(), String::new(), 0);
                    for input in inputs {
                        pipeline.step(input, &mut out);
                        bytes += written(&mut json, &mut out, &mut lines);
                    }
                    std::mem::forget(pipeline);
                    bytes
                })
            }
        }
    }
}

fn decode(records: Vec<Record>) -> Run {
    let mut decoder = decoder();
    Box::new(move || {
        records
            .iter()
            .filter(|record| black_box(decoder.decode(record)).is_ok())
            .count()
    })
}

fn correlate(observations: Vec<Observation>, index: Index) -> Run {
    let mut correlator = correlator();
    Box::new(move || {
        let (mut out, mut count) = (Vec::new(), 0);
        for observation in observations {
            correlator.observe_among(observation, &index, &mut out);
            count += out.drain(..).map(black_box).count();
        }
        count
    })
}

fn identify(correlated: Vec<(Timestamp, Correlated)>, mut index: Index) -> Run {
    Box::new(move || {
        for (_, item) in &correlated {
            black_box(Named::new(item, &mut index));
        }
        correlated.len()
    })
}

fn lookup(steps: Vec<(Timestamp, Named)>) -> Run {
    let mut folder = folder();
    Box::new(move || {
        let (mut out, mut count) = (Vec::new(), 0);
        for (now, step) in &steps {
            black_box(step.fold(*now, &mut folder, &mut out));
            count += out.drain(..).map(black_box).count();
        }
        count
    })
}

/// What the diagnosis takes in.
enum Evidence {
    Asked(Timestamp, Ends, Asked),
    Event(Timestamp, Event),
}

fn diagnose(records: Vec<Record>, load: Load) -> Run {
    let mut index = index(load);
    let steps = named(&records, &mut index);
    let mut folder = folder();
    let mut evidence = Vec::new();
    for (now, step) in steps {
        let mut decided = Vec::new();
        let place = step.fold(now, &mut folder, &mut decided);
        evidence.push(match step {
            Named::Query {
                at, ends, asked, ..
            } => Evidence::Asked(at, ends, asked),
            Named::Exchange { ends, exchange } => Evidence::Event(
                now,
                Event {
                    time: exchange.asked,
                    ends: Some(ends),
                    incomplete: false,
                    body: Body::Dns(exchange, place),
                },
            ),
        });
        evidence.extend(decided.into_iter().map(|decided| {
            let event = Event {
                time: decided.time,
                ends: Some(decided.ends),
                incomplete: false,
                body: Body::Lookup(Box::new(decided.lookup)),
            };
            Evidence::Event(now, event)
        }));
    }
    let settings = Settings::default();
    let mut diagnosis = Diagnosis::new(
        &settings.diagnosis,
        settings.dns_ports,
        &settings.thresholds,
    );
    Box::new(move || {
        let (mut out, mut count) = (Vec::new(), 0);
        for item in &evidence {
            let now = match item {
                Evidence::Asked(at, ends, asked) => {
                    diagnosis.asked(*at, ends, asked, &index);
                    *at
                }
                Evidence::Event(now, event) => {
                    diagnosis.event(*now, event, &index, &mut out);
                    *now
                }
            };
            diagnosis.advance(now, &index, &mut out);
            count += out.drain(..).map(black_box).count();
        }
        count
    })
}

fn encode(mut encoder: impl Encode + 'static, mut events: Vec<Event>) -> Run {
    Box::new(move || written(&mut encoder, &mut events, &mut String::new()))
}

/// Encodes events as an output does: into one reused buffer.
fn written(encoder: &mut impl Encode, events: &mut Vec<Event>, lines: &mut String) -> usize {
    let clock = |at: Timestamp| {
        jiff::Timestamp::from_nanosecond(1_790_000_000_000_000_000 + i128::from(at.0))
            .unwrap_or_default()
    };
    let mut bytes = 0;
    for event in events.drain(..) {
        lines.clear();
        encoder
            .encode(&event, &clock, lines)
            .expect("every event has lines");
        bytes += black_box(&*lines).len();
    }
    bytes
}

/// A correlated query or exchange with its ends.
enum Named {
    Query {
        at: Timestamp,
        flow: Flow,
        ends: Ends,
        asked: Asked,
        resolver: Option<Arc<ResolverConfig>>,
    },
    Exchange {
        ends: Ends,
        exchange: Arc<Exchange>,
    },
}

impl Named {
    fn new(item: &Correlated, index: &mut Index) -> Named {
        let ends = index.ends(item.time, &item.flow, item.role);
        match &item.event {
            CorrelatedEvent::Asked(asked) => Named::Query {
                at: item.time,
                flow: item.flow,
                asked: asked.clone(),
                resolver: ends
                    .pod
                    .identity
                    .as_ref()
                    .ok()
                    .and_then(|pod| index.resolver(pod)),
                ends,
            },
            CorrelatedEvent::Exchange(exchange) => {
                index.resolved(item.time, &ends, exchange);
                Named::Exchange {
                    ends,
                    exchange: exchange.clone(),
                }
            }
            other => panic!("the mixes have only DNS: {other:?}"),
        }
    }

    fn fold(
        &self,
        now: Timestamp,
        folder: &mut Folder,
        out: &mut Vec<Decided>,
    ) -> Option<tracer_core::model::lookup::Place> {
        let place = match self {
            Named::Query {
                at,
                flow,
                ends,
                asked,
                resolver,
            } => {
                let query = ClientQuery {
                    at: *at,
                    flow,
                    ends,
                    asked,
                };
                folder.query(&query, || resolver.clone(), out);
                None
            }
            Named::Exchange { exchange, .. } => folder.exchange(now, exchange, out),
        };
        folder.advance(now, out);
        place
    }
}

fn decoder() -> Decoder {
    Decoder::new(Settings::default().dns_ports)
}

fn correlator() -> Correlator {
    Correlator::new(Thresholds::default(), &Limits::default())
}

fn folder() -> Folder {
    Folder::new(&Thresholds::default(), &Limits::default())
}

fn text() -> Text {
    Text::new(TextSettings {
        wide: false,
        color: false,
        width: None,
        header: false,
        time_zone: jiff::tz::TimeZone::UTC,
    })
}

fn index(load: Load) -> Index {
    let mut index = Index::new(Settings::default().index);
    if load.inventory {
        for input in cluster::inputs() {
            if let Input::Change(at, change) = input {
                index.apply(at, change);
            }
        }
    }
    index
}

fn pipeline(load: Load) -> Pipeline {
    let mut pipeline = Pipeline::new(Settings::default());
    if load.inventory {
        for input in cluster::inputs() {
            pipeline.step(input, &mut Vec::new());
        }
    }
    pipeline
}

/// A pipeline that has run for a second, in which the rules examined most of what they find, and the inputs that
/// follow.
fn warm(load: Load, queries: u64) -> (Pipeline, Vec<Input>) {
    const WARM_UP: u64 = 20_000;
    let mut pipeline = pipeline(load);
    let mut before = records(load.mix, WARM_UP + queries);
    let after = before.split_off(before.len() - usize::try_from(queries * 2).expect("few"));
    let mut out = Vec::new();
    for input in inputs(before) {
        pipeline.step(input, &mut out);
        out.clear();
    }
    (pipeline, inputs(after))
}

/// The records with the ticks of a live capture: one after each batch.
fn inputs(records: Vec<Record>) -> Vec<Input> {
    const BATCH: usize = 100;
    let mut inputs = Vec::with_capacity(records.len() + records.len() / BATCH);
    for (number, record) in records.into_iter().enumerate() {
        let now = record.time;
        inputs.push(Input::Record(record));
        if number % BATCH == BATCH - 1 {
            inputs.push(Input::Tick(now));
        }
    }
    inputs
}

fn observations(records: &[Record]) -> Vec<Observation> {
    let mut decoder = decoder();
    records
        .iter()
        .map(|record| decoder.decode(record).expect("a DNS message"))
        .collect()
}

fn correlated(records: &[Record]) -> Vec<(Timestamp, Correlated)> {
    let (mut correlator, mut all) = (correlator(), Vec::new());
    for observation in observations(records) {
        let (now, mut out) = (observation.time, Vec::new());
        correlator.observe(observation, &mut out);
        all.extend(out.into_iter().map(|item| (now, item)));
    }
    all
}

fn named(records: &[Record], index: &mut Index) -> Vec<(Timestamp, Named)> {
    correlated(records)
        .iter()
        .map(|(now, item)| (*now, Named::new(item, index)))
        .collect()
}

fn events(records: Vec<Record>, load: Load) -> Vec<Event> {
    let (mut pipeline, mut events) = (pipeline(load), Vec::new());
    for input in inputs(records) {
        pipeline.step(input, &mut events);
    }
    events
}
