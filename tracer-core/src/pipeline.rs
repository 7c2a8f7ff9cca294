//! The pure composition of all stages: a closed enum of inputs goes in, events come out.
//!
//! No sockets, no clock, no tokio. One task owns a [`Pipeline`] and calls [`Pipeline::step`]; the input
//! carries the time. Start reading here, then follow a record through [`decode`](crate::decode),
//! [`correlate`](crate::correlate), [`identity`](crate::identity), [`lookup`](crate::lookup) and
//! [`diagnose`](crate::diagnose).

use std::sync::Arc;

use crate::correlate::{Correlator, Declared, HalfSeen};
use crate::decode::Decoder;
use crate::diagnose::{Diagnosis, DiagnosisSettings};
use crate::fair_table::Room;
use crate::identity::{Index, IndexSettings};
use crate::lookup::{ClientQuery, Decided, Folder};
use crate::model::cluster::{ClusterChange, Kind};
use crate::model::connection::UdpState;
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::dns::OpCode;
use crate::model::event::{Body, Ends, Event};
use crate::model::exchange::Exchange;
use crate::model::flow::{Direction, Flow, FlowSnapshot, Ifindex, Role};
use crate::model::loss::{InterfaceLoss, Losses, Stage};
use crate::model::record::Record;
use crate::model::settings::{Limits, Thresholds};
use crate::model::signal::Signal;
use crate::model::time::Timestamp;

mod causes;
mod doubt;
mod dropped;
mod incomplete;
mod known_ends;
mod local_peers;
mod one_way;
mod senders;
mod translations;
mod waiting;

use self::causes::{Causes, Seen};
use self::doubt::{Doubt, Sockets};
use self::dropped::LocalAddresses;
use self::incomplete::Item;
use self::known_ends::KnownEnds;
use self::local_peers::LocalPeers;
use self::one_way::OneWay;
use self::senders::Senders;
use self::translations::Translations;
use self::waiting::Waiting;

/// Every input of a pipeline. Recording the inputs makes a run repeatable.
#[derive(Clone, Debug)]
pub enum Input {
    /// A packet.
    Record(Record),
    /// A sweep of the kernel's flow counters.
    Counters(Timestamp, Vec<FlowSnapshot>),
    /// The cluster, or this node's interfaces, changed.
    Change(Timestamp, ClusterChange),
    /// Both directions of an interface are visible from that time on. Repeated when its name changes.
    Attached(Timestamp, Ifindex),
    /// Records were lost up to that time. It precedes every later [`Input::Tick`], and every later record of
    /// these interfaces.
    Lost(Timestamp, Vec<InterfaceLoss>),
    /// An interface cannot be traced: what its pod sends and receives is not seen.
    Untraced(Timestamp, Ifindex),
    /// An interface is no longer traced.
    Gone(Timestamp, Ifindex),
    /// What the kernel says about a flow or a packet.
    Signal(Timestamp, Signal),
    /// New rule thresholds and silences.
    Rules(Timestamp, Box<DiagnosisSettings>),
    /// Time passed: everything before it has been put in.
    Tick(Timestamp),
    /// No more input.
    End(Timestamp),
}

impl Input {
    /// When the input happened, and so the time of the events it causes.
    pub fn time(&self) -> Timestamp {
        match self {
            Input::Record(record) => record.time,
            Input::Counters(at, _)
            | Input::Change(at, _)
            | Input::Attached(at, _)
            | Input::Lost(at, _)
            | Input::Untraced(at, _)
            | Input::Gone(at, _)
            | Input::Signal(at, _)
            | Input::Rules(at, _)
            | Input::Tick(at)
            | Input::End(at) => *at,
        }
    }
}

/// The settings of a pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Ports that carry DNS, on either side.
    pub dns_ports: Vec<u16>,
    /// The records are those of all pods of a node and of the node itself; none is left out by an option or a filter.
    pub all_clients: bool,
    /// How long each stage waits.
    pub thresholds: Thresholds,
    /// How much each stage keeps.
    pub limits: Limits,
    /// Cluster facts that no object states.
    pub index: IndexSettings,
    /// Settings of the rules and their findings.
    pub diagnosis: DiagnosisSettings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            dns_ports: vec![53],
            all_clients: false,
            thresholds: Thresholds::default(),
            limits: Limits::default(),
            index: IndexSettings::default(),
            diagnosis: DiagnosisSettings::default(),
        }
    }
}

/// What the stages before the diagnosis emit.
#[derive(Debug)]
enum Emission {
    /// An event to be shown.
    Event(Event),
    /// An event for the rules alone: the state of its flow has not changed.
    Progress(Event),
}

/// All stages and their state.
#[derive(Debug)]
pub struct Pipeline {
    decoder: Decoder,
    correlator: Correlator,
    index: Index,
    known_ends: KnownEnds,
    local_addresses: LocalAddresses,
    translations: Translations,
    senders: Senders,
    local_peers: LocalPeers,
    causes: Causes,
    waiting: Waiting,
    folder: Folder,
    one_way: OneWay,
    doubt: Doubt,
    diagnosis: Diagnosis,
    records: u64,
    losses: Losses,
    /// Empty between two steps; kept for its capacity.
    correlated: Vec<Correlated>,
    /// Empty between two steps; kept for its capacity.
    emissions: Vec<Emission>,
}

impl Pipeline {
    /// Creates a pipeline without state.
    pub fn new(settings: Settings) -> Pipeline {
        let Settings {
            dns_ports,
            all_clients,
            thresholds,
            limits,
            index,
            diagnosis,
        } = settings;
        Pipeline {
            decoder: Decoder::new(dns_ports.clone()),
            known_ends: KnownEnds::default(),
            local_addresses: LocalAddresses::default(),
            translations: Translations::default(),
            senders: Senders::default(),
            local_peers: LocalPeers::default(),
            causes: Causes::new(all_clients),
            index: Index::bounded(index, limits.memory.names),
            waiting: Waiting::new(
                thresholds.identity_wait,
                Room {
                    entries: limits.waiting_events,
                    bytes: limits.memory.waiting_events,
                },
            ),
            folder: Folder::new(&thresholds, &limits),
            diagnosis: Diagnosis::new(&diagnosis, dns_ports, &thresholds),
            correlator: Correlator::new(thresholds, &limits),
            one_way: OneWay::default(),
            doubt: Doubt::default(),
            records: 0,
            losses: Losses::default(),
            correlated: Vec::new(),
            emissions: Vec::new(),
        }
    }

    /// Takes one input and appends the events it causes, each followed by its findings.
    pub fn step(&mut self, input: Input, out: &mut Vec<Event>) {
        let now = input.time();
        let (changed, services) = match &input {
            Input::Change(_, change) => (change.of_cluster(), change.concerns(Kind::Service)),
            _ => (false, false),
        };
        let end = matches!(input, Input::End(_));
        let mut emissions = std::mem::take(&mut self.emissions);
        self.follow(input, &mut emissions);
        if changed {
            self.diagnosis.changed(now, services, &self.index, out);
        }
        if end {
            self.diagnosis.ending();
        }
        for emission in emissions.drain(..) {
            let mut findings = Vec::new();
            match emission {
                Emission::Event(event) => {
                    // What was lost is never evidence.
                    if !event.incomplete {
                        self.diagnosis
                            .event(now, &event, &self.index, &mut findings);
                    }
                    out.push(event);
                }
                Emission::Progress(event) => {
                    self.diagnosis
                        .progress(now, &event, &self.index, &mut findings);
                }
            }
            out.append(&mut findings);
        }
        self.emissions = emissions;
        self.diagnosis.advance(now, &self.index, out);
        if end {
            self.diagnosis.end(now, &self.index, out);
        }
    }

    /// Takes one input and appends the events it causes, without findings.
    fn follow(&mut self, input: Input, out: &mut Vec<Emission>) {
        let mut correlated = std::mem::take(&mut self.correlated);
        match input {
            Input::Record(record) => {
                self.records += 1;
                let now = record.time;
                // Before time advances: its count is about what precedes it.
                self.doubt.record(&record);
                match self.decoder.decode(&record) {
                    // `observe` advances to the packet's time first.
                    Ok(mut observation) => {
                        self.translations.restore(&mut observation, &self.index);
                        let ifindex = observation.flow.ifindex;
                        // An address of the node is also that of masqueraded pods.
                        if !self.index.is_of_node(ifindex, now) {
                            self.local_addresses.learn(&observation);
                        }
                        let process = record.sender_process;
                        self.senders
                            .learn(&observation, record.sender_cgroup, process);
                        self.local_peers.learn(&observation, record.sender_cgroup);
                        self.correlator
                            .observe_among(observation, &self.index, &mut correlated);
                    }
                    Err(fault) => {
                        self.losses.add(Stage::Decode, fault.as_str(), 1);
                        self.correlator.advance(now, &mut correlated);
                    }
                }
                self.identify(now, &mut correlated, out);
            }
            Input::Counters(now, mut snapshots) => {
                self.translations
                    .restore_all(&mut snapshots, &self.index, now);
                self.correlator.counters(now, &snapshots, &mut correlated);
                self.identify(now, &mut correlated, out);
            }
            Input::Change(now, change) => {
                if let ClusterChange::NodeInterface(ifindex) | ClusterChange::Loopback(ifindex) =
                    &change
                {
                    self.senders.is_of_node(*ifindex);
                    self.doubt.is_of_node(*ifindex);
                }
                match &change {
                    ClusterChange::NodeInterface(ifindex) => self.one_way.is_uplink(*ifindex),
                    ClusterChange::Loopback(ifindex) => self.causes.is_loopback(*ifindex),
                    _ => {}
                }
                self.index.apply(now, change);
                // Cluster changes overtake records, which may still be in flight, so they end no lookup.
                self.release(now, out);
            }
            Input::Attached(since, ifindex) => {
                self.one_way.attached(since, ifindex);
                self.causes.attached(since, ifindex);
            }
            Input::Untraced(_, ifindex) => self.causes.untraced(ifindex),
            Input::Lost(_, losses) => losses.iter().for_each(|loss| self.doubt.lost(loss)),
            Input::Gone(_, ifindex) => {
                self.one_way.forget(ifindex);
                self.doubt.forget(ifindex);
                self.local_addresses.forget(ifindex);
                self.senders.forget(ifindex);
                self.causes.forget(ifindex);
                self.index.gone(ifindex);
            }
            Input::Signal(_, Signal::Dropped(dropped)) if dropped::is_ordinary(&dropped) => {}
            Input::Signal(at, Signal::Dropped(dropped)) => {
                match self.local_addresses.event(&self.index, at, dropped) {
                    Some(event) => out.push(Emission::Event(event)),
                    // The probe knew one of its addresses as a pod's.
                    None => self.losses.add(Stage::Decode, "drop of an unknown pod", 1),
                }
            }
            Input::Signal(at, Signal::Translated(translation)) => {
                if self.translations.insert(at, &translation, &self.index) {
                    self.doubt.incomplete_of_node(at);
                }
            }
            Input::Signal(at, Signal::TranslationsComplete(false)) => {
                self.translations.interrupted(at);
                self.doubt.incomplete_of_node(at);
            }
            Input::Signal(_, Signal::TranslationsComplete(true) | Signal::DropsSeen(_)) => {}
            Input::Signal(at, Signal::Conntrack(counters)) => {
                self.diagnosis.conntrack(at, counters);
            }
            Input::Signal(at, Signal::Container(found)) => {
                let change = ClusterChange::Containers(vec![found]);
                self.follow(Input::Change(at, change), out);
            }
            Input::Signal(at, Signal::NodeInterface(ifindex, is_loopback)) => {
                let change = match is_loopback {
                    true => ClusterChange::Loopback(ifindex),
                    false => ClusterChange::NodeInterface(ifindex),
                };
                self.follow(Input::Change(at, change), out);
            }
            Input::Rules(_, settings) => self.diagnosis.set(&settings),
            Input::Tick(now) => {
                self.correlator.advance(now, &mut correlated);
                self.identify(now, &mut correlated, out);
            }
            Input::End(now) => {
                self.correlator.end(now, &mut correlated);
                self.identify(now, &mut correlated, out);
                for held in self.waiting.all() {
                    self.name(now, held, out);
                }
                self.lookups(out, |folder, decided| folder.end(decided));
            }
        }
        self.correlated = correlated;
    }

    /// The identity index, for filters that name a pod, Service or namespace.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Interfaces and directions that are not visible: no verdict rests on silence there.
    pub fn unseen(&self) -> impl Iterator<Item = (Ifindex, Direction)> {
        self.one_way.unseen()
    }

    /// Whether packets came from cgroups of unknown containers since the last call. A
    /// [`ClusterChange::Containers`] answers.
    pub fn take_unknown_cgroups(&mut self) -> bool {
        self.senders.take_unknown()
    }

    /// Findings that the settings silence.
    pub fn silenced(&self) -> u64 {
        self.diagnosis.silenced()
    }

    /// Records taken so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Losses and undecided items so far, at all stages.
    pub fn losses(&self) -> Losses {
        let mut losses = self.losses.clone();
        for stage in [
            &self.correlator.losses(),
            self.index.losses(),
            self.waiting.losses(),
            self.one_way.losses(),
            self.folder.losses(),
            self.translations.losses(),
            self.local_peers.losses(),
            self.causes.losses(),
            self.senders.losses(),
            &self.diagnosis.losses(),
        ] {
            losses.merge(stage);
        }
        losses
    }

    /// Identifies correlated events. An event whose pod may still become known waits, and so do later events
    /// of its interface. Also decides lookups that time ends.
    fn identify(
        &mut self,
        now: Timestamp,
        correlated: &mut Vec<Correlated>,
        out: &mut Vec<Emission>,
    ) {
        for evidence in self.correlator.take_half_seen() {
            // A lost record is not an invisible direction. The kernel's counters miss none.
            let HalfSeen { flow, started, .. } = &evidence;
            let one = Sockets::One(flow);
            if evidence.counted || !self.doubt.since(*started, flow.ifindex, one) {
                self.one_way.learn(&evidence);
            }
        }
        // Names arrive with cluster changes; between two changes only waiting times expire, and thousands of
        // events may wait.
        if self.waiting.is_due(now) {
            self.release(now, out);
        }
        for item in correlated.drain(..) {
            if item.event == CorrelatedEvent::MadeRoom {
                self.doubt.incomplete(item.flow.ifindex, now);
                continue;
            }
            let Some(item) = Item::new(item, &self.doubt, &mut self.losses) else {
                continue;
            };
            let ifindex = item.ifindex();
            let (index, senders) = (&mut self.index, &mut self.senders);
            let deadline = name_deadline(index, senders, &self.local_peers, now, &item);
            if deadline.is_some() || self.waiting.holds(ifindex) {
                for item in self.waiting.hold(now, deadline.unwrap_or(now), item) {
                    self.name(now, item, out);
                }
            } else {
                self.name(now, item, out);
            }
        }
        // A waiting query may belong to a lookup, so time ends no lookup before the oldest one.
        let until = self.waiting.oldest().map_or(now, |oldest| oldest.min(now));
        self.lookups(out, |folder, decided| folder.advance(until, decided));
    }

    /// Releases the events that need not wait any longer.
    fn release(&mut self, now: Timestamp, out: &mut Vec<Emission>) {
        let (index, senders, peers) = (&mut self.index, &mut self.senders, &self.local_peers);
        let known = |item: &Item| name_deadline(index, senders, peers, now, item).is_none();
        for item in self.waiting.ready(now, known) {
            self.name(now, item, out);
        }
    }

    fn name(&mut self, now: Timestamp, item: Item, out: &mut Vec<Emission>) {
        let Item {
            event:
                Correlated {
                    time,
                    flow,
                    role,
                    event,
                },
            incomplete,
        } = item;
        let Some(role) = self.role(time, &flow, role, &event) else {
            return;
        };
        let mut ends = self.known_ends.ends(&self.index, time, &flow, role);
        // The queries of a lookup may go to several endpoints.
        if !matches!(event, CorrelatedEvent::Asked(_)) {
            let index = &self.index;
            self.translations
                .name(index, (now, time), (&flow, &event), &mut ends);
        }
        self.senders.name(&self.index, time, &flow, &mut ends);
        self.local_peers.name(&self.index, &flow, &mut ends);
        let body = match event {
            CorrelatedEvent::Asked(asked) => {
                if !incomplete {
                    self.causes.asked(&Seen {
                        now,
                        at: time,
                        flow: &flow,
                        ends: &ends,
                        asked: &asked,
                        doubt: &self.doubt,
                        others_wait: self.waiting.oldest().is_some(),
                    });
                    self.diagnosis.asked(time, &ends, &asked, &self.index);
                }
                if role == Role::Client {
                    let query = ClientQuery {
                        at: time,
                        flow: &flow,
                        ends: &ends,
                        asked: &asked,
                    };
                    let mut decided = Vec::new();
                    let pod = ends.pod.identity.as_ref().ok();
                    let resolver = || pod.and_then(|pod| self.index.resolver(pod));
                    self.folder.query(&query, resolver, &mut decided);
                    self.emit_lookups(decided, out);
                }
                return;
            }
            CorrelatedEvent::Exchange(exchange) => {
                return self.exchange(now, (time, incomplete), ends, exchange, out);
            }
            CorrelatedEvent::TcpProgress(connection) => {
                return self.progress(time, ends, Body::Tcp(connection), out);
            }
            CorrelatedEvent::UdpProgress(flow) => {
                return self.progress(time, ends, Body::Udp(flow), out);
            }
            CorrelatedEvent::Tcp(connection) => Body::Tcp(connection),
            CorrelatedEvent::Udp(flow) => Body::Udp(flow),
            CorrelatedEvent::Echo(echo) => Body::Echo(echo),
            CorrelatedEvent::IcmpError(error) => Body::IcmpError(error),
            // It concerns all flows of the interface.
            CorrelatedEvent::MadeRoom => return,
        };
        self.emit(
            Event {
                time,
                ends: Some(ends),
                incomplete,
                body,
            },
            out,
        );
    }

    /// The pod's role in an event. What is declared about addresses may have become known only after the flow
    /// was first seen. `None` if the event is wrong then: silence of the end that has no need to answer.
    fn role(
        &self,
        at: Timestamp,
        flow: &Flow,
        role: Role,
        event: &CorrelatedEvent,
    ) -> Option<Role> {
        match event {
            CorrelatedEvent::Tcp(connection) | CorrelatedEvent::TcpProgress(connection)
                if connection.evidence.picked_up =>
            {
                Some(Declared::role(&self.index, at, flow).unwrap_or(role))
            }
            CorrelatedEvent::Udp(udp) | CorrelatedEvent::UdpProgress(udp)
                if role == Role::Server && self.index.is_service(at, flow) =>
            {
                let silent = matches!(udp.state, UdpState::Unanswered | UdpState::Undecided);
                (!silent).then_some(Role::Client)
            }
            _ => Some(role),
        }
    }

    /// Emits an exchange, and then the lookups that it decides.
    fn exchange(
        &mut self,
        now: Timestamp,
        (time, incomplete): (Timestamp, bool),
        ends: Ends,
        mut exchange: Arc<Exchange>,
        out: &mut Vec<Emission>,
    ) {
        if let Some(cause) = self.causes.ended(now, incomplete, &ends, &exchange) {
            Arc::make_mut(&mut exchange).caused_by = Some(cause);
        }
        if ends.role == Role::Client
            && let Some(asked) = (self.causes).upstream(now, &exchange, &self.doubt, &self.one_way)
        {
            Arc::make_mut(&mut exchange).upstream = Some(asked);
        }
        let mut decided = Vec::new();
        let place = match ends.role {
            // Only opcode QUERY asks for a name, and only an answer to a query that was seen gives one.
            Role::Client
                if exchange.details.opcode == OpCode::Query && !exchange.is_unsolicited() =>
            {
                // Without an answer the exchange ends when the silence becomes known.
                let ended = exchange
                    .latency
                    .map_or(now, |latency| exchange.asked.after(latency));
                self.index.resolved(ended, &ends, &exchange);
                self.folder
                    .answered_by(exchange.number, ends.peer.host_pod.as_ref());
                self.folder.exchange(ended, &exchange, &mut decided)
            }
            _ => None,
        };
        let event = Event {
            time,
            ends: Some(ends),
            incomplete,
            body: Body::Dns(exchange, place),
        };
        self.emit(event, out);
        self.emit_lookups(decided, out);
    }

    fn lookups(
        &mut self,
        out: &mut Vec<Emission>,
        act: impl FnOnce(&mut Folder, &mut Vec<Decided>),
    ) {
        let mut decided = Vec::new();
        act(&mut self.folder, &mut decided);
        self.emit_lookups(decided, out);
    }

    /// Emits decided lookups.
    fn emit_lookups(&mut self, decided: Vec<Decided>, out: &mut Vec<Emission>) {
        for mut decided in decided {
            if decided.incomplete {
                let until = decided.time.after(decided.lookup.duration);
                self.doubt.incomplete(decided.ends.ifindex, until);
            }
            let incomplete = incomplete::concerns_lookup(&self.doubt, &decided);
            if incomplete {
                incomplete::weaken_lookup(&mut decided, &mut self.losses);
            }
            let event = Event {
                time: decided.time,
                ends: Some(decided.ends),
                incomplete,
                body: Body::Lookup(Box::new(decided.lookup)),
            };
            self.emit(event, out);
        }
    }

    /// Every event passes through here.
    fn emit(&mut self, event: Event, out: &mut Vec<Emission>) {
        if self.one_way.may_emit(event.ends.as_ref(), &event.body) {
            out.push(Emission::Event(event));
        }
    }

    /// Passes on evidence for the rules alone.
    fn progress(&mut self, time: Timestamp, ends: Ends, body: Body, out: &mut Vec<Emission>) {
        let ends = Some(ends);
        if self.one_way.may_emit(ends.as_ref(), &body) {
            // An incomplete one has no progress.
            out.push(Emission::Progress(Event {
                time,
                ends,
                incomplete: false,
                body,
            }));
        }
    }
}

/// Until when an event waits, because one of its ends may still be identified.
fn name_deadline(
    index: &mut Index,
    senders: &mut Senders,
    peers: &LocalPeers,
    now: Timestamp,
    item: &Item,
) -> Option<Timestamp> {
    let flow = &item.event.flow;
    index
        .name_deadline(now, item.event.time, item.ifindex())
        .or_else(|| senders.deadline(index, now, flow))
        .or_else(|| peers.deadline(senders, index, now, flow))
}
