//! Findings: says why something failed, from the pipeline's own events and the inventory at that time. Pure.
//!
//! Owns the rules ([`rules`], one file each, in their order of precedence), what they need to remember ([`memory`]) and
//! how a finding lives: told once its evidence is complete, again with a new count, resolved once ([`ledger`]). Input:
//! identified events, changes of the inventory, time. It never guesses: what the evidence or the inventory does not show is
//! left out or called possible.
//!
//! The way through: an event becomes a [`Case`](case::Case); the first rule of [`catalogue::RULES`] that makes a
//! [`Claim`](claim::Claim) of it has the say; the [`Ledger`] folds claims of one cause into one finding. An event that
//! shows something working is held against the cures that open findings wait for.

mod attempt;
mod case;
pub mod catalogue;
mod claim;
mod gone;
mod ledger;
mod looked;
mod memory;
mod missing;
mod names;
mod policies;
mod rule;
mod rules;
mod server;
mod services;
mod settings;
mod words;

use std::time::Duration;

use crate::identity::{Index, Owner};
use crate::model::connection::{TcpConnection, TcpState};
use crate::model::event::{Body, Ends, Event};
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::Role;
use crate::model::lookup::{Lookup, Step};
use crate::model::loss::Losses;
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

use self::case::{Case, Symptom};
use self::claim::Sign;
use self::ledger::Ledger;
use self::looked::Looked;
pub use self::rule::Rule;
pub use self::settings::{DiagnosisSettings, RuleThresholds, Silence};

use self::memory::{Balance, Course, Failed, Memory, Pace, Visit};

/// All rules and what they know.
#[derive(Debug)]
pub struct Diagnosis {
    dns_ports: Vec<u16>,
    /// A lookup without a new candidate for so long is over, whatever it may have left to try.
    lookup_idle: Duration,
    /// The input ends: what is told now was not decided.
    ending: bool,
    thresholds: RuleThresholds,
    memory: Memory,
    ledger: Ledger,
}

impl Diagnosis {
    /// With nothing seen yet.
    pub fn new(
        settings: &DiagnosisSettings,
        dns_ports: Vec<u16>,
        lookup_idle: Duration,
    ) -> Diagnosis {
        Diagnosis {
            dns_ports,
            lookup_idle,
            ending: false,
            thresholds: settings.thresholds.clone(),
            memory: Memory::new(settings.remembered, &settings.thresholds),
            ledger: Ledger::new(settings),
        }
    }

    /// From now on rules speak by these thresholds, and these findings are silenced. How much is kept, and how findings are
    /// told, stays.
    pub fn set(&mut self, settings: &DiagnosisSettings) {
        self.thresholds = settings.thresholds.clone();
        self.memory.set(&settings.thresholds);
        self.ledger.silence(&settings.silences);
    }

    /// A pod asked a DNS server, before anything is told of it. Who it is may be known only when the answer comes.
    pub fn asked(&mut self, at: Timestamp, ends: &Ends, index: &Index) {
        if ends.pod.identity.is_err() && index.has_inventory() {
            self.memory.unnamed.add(at, ends);
        }
    }

    /// Takes an event in, as it is told at `now`.
    pub fn event(&mut self, now: Timestamp, event: &Event, index: &Index, out: &mut Vec<Event>) {
        let Some(ends) = &event.ends else { return };
        match &event.body {
            Body::IcmpError(error) => self.icmp(now, event.time, ends, error, index, out),
            // What a pod is asked is told from the side of who asks.
            _ if ends.role == Role::Server => {}
            Body::Dns(exchange, place) => {
                if place.is_some() {
                    self.memory
                        .exchanges
                        .add(now, Owner::from_ends(ends), exchange);
                }
                if exchange.connection.is_some() {
                    self.memory.failed_tcp.explained(ends);
                }
                self.answered(now, ends, exchange, index, out);
            }
            Body::Lookup(lookup) => self.lookup(now, event.time, ends, lookup, index, out),
            Body::Tcp(connection) => {
                if let Some(handshake) = connection.handshake {
                    self.connected(event.time, ends);
                    let moment = Moment {
                        at: event.time.after(handshake),
                        now,
                    };
                    self.ledger
                        .cure(moment, ends, &Sign::Connected(handshake), out);
                }
                self.tcp(now, event.time, ends, connection, index, out);
            }
            Body::Udp(flow) => {
                let span = Span::of(now, event.time, flow.last);
                self.judge(span, ends, Symptom::Udp(flow), index, out);
            }
            Body::Echo(echo) => {
                if echo.received > 0 {
                    let moment = Moment { at: echo.last, now };
                    self.ledger.cure(moment, ends, &Sign::Replied(echo), out);
                }
                let span = Span {
                    at: echo.last,
                    ..Span::of(now, event.time, echo.last)
                };
                self.judge(span, ends, Symptom::Echo(echo, event.time), index, out);
            }
            Body::Finding(_) | Body::Lost(_) => {}
        }
    }

    /// The inventory changed, and with it, perhaps, which `services` there are.
    pub fn changed(&mut self, now: Timestamp, services: bool, index: &Index, out: &mut Vec<Event>) {
        if services {
            self.memory.births.update(now, index);
        }
        self.ledger.inventory(now, index, out);
    }

    /// Tells what is due.
    pub fn advance(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        self.memory.advance(now);
        while let Some(failed) = self.memory.failed_tcp.due(now) {
            self.failed_tcp(now, &failed, index, out);
        }
        self.ledger.advance(now, out);
    }

    /// The input ends: the events to come are of what is not decided.
    pub fn ending(&mut self) {
        self.ending = true;
    }

    /// The input ended: counts that were not told yet are told.
    pub fn end(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        while let Some(failed) = self.memory.failed_tcp.rest() {
            self.failed_tcp(now, &failed, index, out);
        }
        self.ledger.end(out);
    }

    fn failed_tcp(&mut self, now: Timestamp, failed: &Failed, index: &Index, out: &mut Vec<Event>) {
        let Failed {
            started,
            ends,
            connection,
        } = failed;
        let span = Span::of(now, *started, connection.last);
        self.judge(span, ends, Symptom::Tcp(connection), index, out);
    }

    /// Findings that were silenced.
    pub fn silenced(&self) -> u64 {
        self.ledger.silenced()
    }

    /// What the limits cost so far.
    pub fn losses(&self) -> Losses {
        let mut losses = self.memory.losses();
        losses.merge(self.ledger.losses());
        losses
    }

    /// A packet of the pod, in whatever role, was too big for its path.
    fn icmp(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        ends: &Ends,
        error: &IcmpError,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        if error.is_too_big() && error.about.src.ip() == ends.pod.ip {
            let told = self
                .memory
                .too_big
                .add(at, Owner::from_ends(ends), error.about.dst.ip());
            let span = Span {
                at,
                ..Span::of(now, told.first, told.last)
            };
            self.judge(span, ends, Symptom::TooBig(*error, told), index, out);
        }
    }

    fn tcp(
        &mut self,
        now: Timestamp,
        started: Timestamp,
        ends: &Ends,
        connection: &TcpConnection,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        let failed = matches!(connection.state, TcpState::Refused(_) | TcpState::Timeout);
        let to_dns = ends
            .peer
            .port
            .is_some_and(|port| self.dns_ports.contains(&port));
        if failed && to_dns {
            let failed = Failed {
                started,
                ends: ends.clone(),
                connection: connection.clone(),
            };
            self.memory.failed_tcp.add(now, failed);
        } else if failed {
            let span = Span::of(now, started, connection.last);
            self.judge(span, ends, Symptom::Tcp(connection), index, out);
        }
    }

    fn visit(ends: &Ends, at: Timestamp) -> Visit {
        Visit {
            owner: Owner::from_ends(ends),
            pod: ends.pod.clone(),
            at,
        }
    }

    fn connected(&mut self, at: Timestamp, ends: &Ends) {
        if let Some(port) = ends.peer.port {
            let visit = Diagnosis::visit(ends, at);
            self.memory.reached.add((ends.peer.ip, port), visit);
        }
    }

    /// A DNS server said something.
    fn answered(
        &mut self,
        now: Timestamp,
        ends: &Ends,
        exchange: &Exchange,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        if exchange.rcode.is_none() || exchange.late || exchange.asked_peer.is_some() {
            return;
        }
        let moment = Moment {
            at: words::ended(exchange),
            now,
        };
        self.ledger
            .cure(moment, ends, &Sign::Answered(exchange), out);
        if let Some(port) = ends.peer.port {
            let visit = Diagnosis::visit(ends, moment.at);
            self.memory.answered.add((ends.peer.ip, port), visit);
        }
        let (Some(latency), Some(question), 1) =
            (exchange.latency, &exchange.question, exchange.attempts)
        else {
            return;
        };
        let course = Course {
            owner: Owner::from_ends(ends),
            server: ends.peer.ip,
            of_cluster: question.name.below(index.cluster_domain()).is_some(),
        };
        let of_cluster = course.of_cluster;
        match self.memory.paces.add(moment.at, course, latency) {
            Pace::Ordinary => {}
            Pace::Again => self.ledger.cure(moment, ends, &Sign::Fast(of_cluster), out),
            pace @ Pace::Slow { first, .. } => {
                let span = Span {
                    at: moment.at,
                    ..Span::of(now, first, moment.at)
                };
                let symptom = Symptom::Paced(exchange, pace, of_cluster);
                self.judge(span, ends, symptom, index, out);
            }
        }
    }

    /// A lookup that found something: what did the search path cost?
    fn spent(
        &mut self,
        moment: Moment,
        ends: &Ends,
        lookup: &Lookup,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        let (Some(asked), Outcome::Answered) = (&lookup.asked, lookup.outcome) else {
            return;
        };
        let found = |step: &&Step| step.outcome == Some(Outcome::Answered);
        let Some(name) = lookup.steps.iter().find(found).map(|step| &step.name) else {
            return;
        };
        let in_vain = lookup.steps.iter().filter(|step| {
            step.name != *name && matches!(step.outcome, Some(Outcome::Nxdomain | Outcome::Nodata))
        });
        let in_vain = in_vain.map(|step| u64::from(step.attempts)).sum();
        let workload = words::workload(ends);
        let queries = u64::from(lookup.queries);
        let wastes = &mut self.memory.wastes;
        match wastes.add(moment.at, workload.clone(), asked, queries, in_vain) {
            Balance::Nothing => {}
            Balance::Thrifty => {
                self.ledger
                    .cure(moment, ends, &Sign::Thrifty(&workload), out);
            }
            Balance::Wasteful(spent) => {
                let symptom = Symptom::Wasteful(&workload, &spent);
                let span = Span {
                    at: moment.at,
                    ..Span::of(moment.now, spent.started, moment.at)
                };
                self.judge(span, ends, symptom, index, out);
            }
        }
    }

    fn lookup(
        &mut self,
        now: Timestamp,
        started: Timestamp,
        ends: &Ends,
        lookup: &Lookup,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        let ended = started.after(lookup.duration);
        let looked = Looked {
            lookup,
            seen: self
                .memory
                .exchanges
                .take(&Owner::from_ends(ends), lookup, ended),
            resolver: ends
                .pod
                .identity
                .as_ref()
                .ok()
                .and_then(|pod| index.resolver(pod)),
            cut_short: self.ending && now.since(ended) < self.lookup_idle,
            begun_unnamed: ends.pod.identity.is_ok()
                && self.memory.unnamed.began(ends, started, self.lookup_idle),
        };
        let moment = Moment { at: ended, now };
        self.ledger.cure(moment, ends, &Sign::Found(lookup), out);
        let last = looked.seen.iter().map(|seen| seen.last).max();
        let span = Span {
            at: ended,
            ..Span::of(now, started, last.map_or(ended, |last| last.max(ended)))
        };
        self.judge(span, ends, Symptom::Lookup(&looked), index, out);
        self.spent(moment, ends, lookup, index, out);
    }

    /// Puts a case before the rules; the first that claims it has it.
    fn judge(
        &mut self,
        span: Span,
        ends: &Ends,
        symptom: Symptom<'_>,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        let case = Case {
            at: span.at,
            now: span.now,
            first: span.first,
            last: span.last,
            ends,
            index,
            thresholds: &self.thresholds,
            memory: &self.memory,
            dns_ports: &self.dns_ports,
            symptom,
        };
        let claim = catalogue::RULES
            .iter()
            .find_map(|rule| (rule.check)(&case).map(|claim| (*rule, claim)));
        if let Some((rule, claim)) = claim {
            let claim = missing::stale(&case, claim);
            self.ledger.claim(span.now, &case, rule, claim, out);
        }
    }
}

/// When evidence happened, and when it is looked at. The two differ: silence takes time to be one, a pod's name may come later.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// On the wire.
    at: Timestamp,
    /// As the pipeline goes.
    now: Timestamp,
}

/// The same of evidence that took time.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The moment that sentences are about.
    at: Timestamp,
    first: Timestamp,
    last: Timestamp,
    now: Timestamp,
}

impl Span {
    /// Sentences are about its beginning.
    fn of(now: Timestamp, first: Timestamp, last: Timestamp) -> Span {
        Span {
            at: first,
            first,
            last: last.max(first),
            now,
        }
    }
}
