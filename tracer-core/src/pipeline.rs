//! The pure composition: one closed enum of inputs drives every stage, events come out.
//!
//! No sockets, no clock, no tokio. One task owns a [`Pipeline`] and calls [`Pipeline::step`]; time comes with the input.
//! Start reading here, then follow a record through [`decode`](crate::decode), [`correlate`](crate::correlate),
//! [`identity`](crate::identity), [`lookup`](crate::lookup) and [`diagnose`](crate::diagnose).

use crate::correlate::Correlator;
use crate::decode::Decoder;
use crate::diagnose::{Diagnosis, DiagnosisSettings};
use crate::identity::{Index, IndexSettings};
use crate::lookup::{ClientQuery, Decided, Folder};
use crate::model::cluster::{ClusterChange, Kind};
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::dns::OpCode;
use crate::model::event::{Body, Ends, Event};
use crate::model::flow::{Direction, FlowSnapshot, Ifindex, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::record::Record;
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

mod one_way;
mod waiting;

use self::one_way::OneWay;
use self::waiting::Waiting;

/// Everything that can happen to a pipeline. Recording these gives replay.
#[derive(Clone, Debug)]
pub enum Input {
    /// A packet.
    Record(Record),
    /// A sweep of the kernel's flow counters.
    Counters(Timestamp, Vec<FlowSnapshot>),
    /// The cluster, or this node's interfaces, changed.
    Change(Timestamp, ClusterChange),
    /// Both directions of an interface are seen from that moment on. Also told again, when its name changed.
    Attached(Timestamp, Ifindex),
    /// An interface is not traced any more.
    Gone(Timestamp, Ifindex),
    /// Rules speak by other thresholds, and other findings are silenced.
    Rules(Timestamp, Box<DiagnosisSettings>),
    /// Time passed: everything before it has been put in.
    Tick(Timestamp),
    /// No more input.
    End(Timestamp),
}

impl Input {
    /// When it happened; what it leads to is told then.
    pub fn time(&self) -> Timestamp {
        match self {
            Input::Record(record) => record.time,
            Input::Counters(at, _)
            | Input::Change(at, _)
            | Input::Attached(at, _)
            | Input::Gone(at, _)
            | Input::Rules(at, _)
            | Input::Tick(at)
            | Input::End(at) => *at,
        }
    }
}

/// What a pipeline is built from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// DNS is what has one of these ports on either side.
    pub dns_ports: Vec<u16>,
    /// How long it waits.
    pub thresholds: Thresholds,
    /// How much it keeps.
    pub limits: Limits,
    /// What no object of the cluster says.
    pub index: IndexSettings,
    /// How findings are told.
    pub diagnosis: DiagnosisSettings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            dns_ports: vec![53],
            thresholds: Thresholds::default(),
            limits: Limits::default(),
            index: IndexSettings::default(),
            diagnosis: DiagnosisSettings::default(),
        }
    }
}

/// All stages and their state.
#[derive(Debug)]
pub struct Pipeline {
    decoder: Decoder,
    correlator: Correlator,
    index: Index,
    waiting: Waiting,
    folder: Folder,
    one_way: OneWay,
    diagnosis: Diagnosis,
    records: u64,
    losses: Losses,
}

impl Pipeline {
    /// With nothing seen yet.
    pub fn new(settings: Settings) -> Pipeline {
        let Settings {
            dns_ports,
            thresholds,
            limits,
            index,
            diagnosis,
        } = settings;
        Pipeline {
            decoder: Decoder::new(dns_ports.clone()),
            index: Index::new(index),
            waiting: Waiting::new(thresholds.identity_wait, limits.waiting_events),
            folder: Folder::new(&thresholds, &limits),
            diagnosis: Diagnosis::new(&diagnosis, dns_ports, thresholds.lookup_idle),
            correlator: Correlator::new(thresholds, &limits),
            one_way: OneWay::default(),
            records: 0,
            losses: Losses::default(),
        }
    }

    /// Takes one input in and appends what it leads to, each event followed by what it makes clear.
    pub fn step(&mut self, input: Input, out: &mut Vec<Event>) {
        let now = input.time();
        let (changed, services) = match &input {
            Input::Change(_, change) => (change.of_cluster(), change.concerns(Kind::Service)),
            _ => (false, false),
        };
        let end = matches!(input, Input::End(_));
        let mut events = Vec::new();
        self.follow(input, &mut events);
        if changed {
            self.diagnosis.changed(now, services, &self.index, out);
        }
        if end {
            self.diagnosis.ending();
        }
        for event in events {
            let mut findings = Vec::new();
            self.diagnosis
                .event(now, &event, &self.index, &mut findings);
            out.push(event);
            out.append(&mut findings);
        }
        self.diagnosis.advance(now, &self.index, out);
        if end {
            self.diagnosis.end(now, &self.index, out);
        }
    }

    /// What happened, without findings.
    fn follow(&mut self, input: Input, out: &mut Vec<Event>) {
        let mut correlated = Vec::new();
        match input {
            Input::Record(record) => {
                self.records += 1;
                let now = record.time;
                match self.decoder.decode(&record) {
                    // Advances to the packet's time first.
                    Ok(observation) => self.correlator.observe(observation, &mut correlated),
                    Err(fault) => {
                        self.losses.add(Stage::Decode, fault.as_str(), 1);
                        self.correlator.advance(now, &mut correlated);
                    }
                }
                self.identify(now, correlated, out);
            }
            Input::Counters(now, snapshots) => {
                self.correlator.counters(now, &snapshots, &mut correlated);
                self.identify(now, correlated, out);
            }
            Input::Change(now, change) => {
                self.index.apply(now, change);
                // News of the cluster come past the records, which may be on their way still: no lookup ends by them.
                self.release(now, out);
            }
            Input::Attached(since, ifindex) => self.one_way.attached(since, ifindex),
            Input::Gone(_, ifindex) => self.one_way.forget(ifindex),
            Input::Rules(_, settings) => self.diagnosis.set(&settings),
            Input::Tick(now) => {
                self.correlator.advance(now, &mut correlated);
                self.identify(now, correlated, out);
            }
            Input::End(now) => {
                self.correlator.end(now, &mut correlated);
                self.identify(now, correlated, out);
                for held in self.waiting.all() {
                    self.name(now, held, out);
                }
                self.lookups(out, |folder, decided| folder.end(decided));
            }
        }
    }

    /// Who is who, for those who need to ask (filters that name somebody).
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Directions that cannot be seen, and of which interfaces: no verdict rests on silence there.
    pub fn unseen(&self) -> impl Iterator<Item = (Ifindex, Direction)> {
        self.one_way.unseen()
    }

    /// Findings that nobody was told of, because the settings say so.
    pub fn silenced(&self) -> u64 {
        self.diagnosis.silenced()
    }

    /// How many records came in.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// What was lost or left undecided so far, at all stages.
    pub fn losses(&self) -> Losses {
        let mut losses = self.losses.clone();
        for stage in [
            &self.correlator.losses(),
            self.index.losses(),
            self.waiting.losses(),
            self.one_way.losses(),
            self.folder.losses(),
            &self.diagnosis.losses(),
        ] {
            losses.merge(stage);
        }
        losses
    }

    /// Names what was correlated, unless its pod's name may still come; then it waits, and what follows it with it. Decides
    /// lookups by time.
    fn identify(&mut self, now: Timestamp, correlated: Vec<Correlated>, out: &mut Vec<Event>) {
        for evidence in self.correlator.take_half_seen() {
            self.one_way.learn(&evidence);
        }
        for item in correlated {
            let ifindex = item.flow.ifindex;
            let held = if self.waiting.holds(ifindex) || self.index.pending(item.time, ifindex) {
                self.waiting.hold(now, item)
            } else {
                Some(item)
            };
            if let Some(item) = held {
                self.name(now, item, out);
            }
        }
        // Names come with changes; between two of them only patience ends, and there may be thousands that wait.
        if self.waiting.is_due(now) {
            self.release(now, out);
        }
        // No lookup is over by time alone while a query of before still waits, which may belong to it.
        let until = self.waiting.oldest().map_or(now, |oldest| oldest.min(now));
        self.lookups(out, |folder, decided| folder.advance(until, decided));
    }

    /// Lets go what need not wait any longer.
    fn release(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        let index = &self.index;
        for item in self
            .waiting
            .ready(now, |item| !index.pending(item.time, item.flow.ifindex))
        {
            self.name(now, item, out);
        }
    }

    fn name(&mut self, now: Timestamp, item: Correlated, out: &mut Vec<Event>) {
        let Correlated {
            time,
            flow,
            role,
            what,
        } = item;
        let ends = self.index.ends(time, &flow, role);
        let body = match what {
            CorrelatedEvent::Asked(asked) => {
                if role == Role::Client {
                    self.diagnosis.asked(time, &ends, &self.index);
                    let resolver = ends
                        .pod
                        .identity
                        .as_ref()
                        .ok()
                        .and_then(|pod| self.index.resolver(pod));
                    let query = ClientQuery {
                        at: time,
                        flow: &flow,
                        ends: &ends,
                        asked: &asked,
                        resolver: resolver.as_ref(),
                    };
                    self.lookups(out, |folder, decided| folder.query(&query, decided));
                }
                return;
            }
            CorrelatedEvent::Exchange(exchange) => {
                return self.exchange(now, time, ends, exchange, out);
            }
            CorrelatedEvent::Tcp(connection) => Body::Tcp(connection),
            CorrelatedEvent::Udp(flow) => Body::Udp(flow),
            CorrelatedEvent::Echo(echo) => Body::Echo(echo),
            CorrelatedEvent::IcmpError(error) => Body::IcmpError(error),
        };
        self.tell(
            Event {
                time,
                ends: Some(ends),
                body,
            },
            out,
        );
    }

    /// Tells an exchange, and after it the lookup that it decided.
    fn exchange(
        &mut self,
        now: Timestamp,
        time: Timestamp,
        ends: Ends,
        exchange: Box<crate::model::exchange::Exchange>,
        out: &mut Vec<Event>,
    ) {
        let mut decided = Vec::new();
        let place = match ends.role {
            // What is not a query asks for no name.
            Role::Client if exchange.details.opcode == OpCode::Query => {
                // Without an answer it ends when that becomes known.
                let ended = exchange
                    .latency
                    .map_or(now, |latency| exchange.asked.after(latency));
                self.index.resolved(ended, &ends, &exchange);
                self.folder.exchange(ended, &exchange, &mut decided)
            }
            _ => None,
        };
        let told = Event {
            time,
            ends: Some(ends),
            body: Body::Dns(exchange, place),
        };
        self.tell(told, out);
        for decided in decided {
            self.tell(lookup_event(decided), out);
        }
    }

    fn lookups(&mut self, out: &mut Vec<Event>, act: impl FnOnce(&mut Folder, &mut Vec<Decided>)) {
        let mut decided = Vec::new();
        act(&mut self.folder, &mut decided);
        for decided in decided {
            self.tell(lookup_event(decided), out);
        }
    }

    /// The one place through which every event passes.
    fn tell(&mut self, event: Event, out: &mut Vec<Event>) {
        if self.one_way.may_tell(event.ends.as_ref(), &event.body) {
            out.push(event);
        }
    }
}

fn lookup_event(decided: Decided) -> Event {
    Event {
        time: decided.time,
        ends: Some(decided.ends),
        body: Body::Lookup(Box::new(decided.lookup)),
    }
}
