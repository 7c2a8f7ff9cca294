//! Findings: why something failed, from the pipeline's own events and the inventory at that time. Pure.
//!
//! Owns the rules ([`rules`], one file each), what they remember ([`memory`]) and the life of a finding
//! ([`ledger`]): it is emitted once its evidence is complete, again with a new count, and once when it is
//! resolved. Input: identified events, changes of the inventory, time. It never guesses: what neither the
//! evidence nor the inventory shows is left out, or marked as possible.
//!
//! An event becomes a [`Case`](case::Case). The first rule of [`catalogue::RULES`] that applies makes a
//! [`Claim`](claim::Claim) of it: typed facts and commands, without sentences. The [`Ledger`] folds claims
//! with one cause into one finding, and [`wording`] writes its sentences. An event that shows something
//! working is a [`Sign`](cure::Sign), which is compared with the cures that open findings wait for.
//!
//! To add a rule: write `rules/new_rule.rs`, list it in [`catalogue::RULES`] at its place in the order of
//! precedence, add the variants it needs to [`claim::Summary`], [`fact`] and [`command`], and their sentences
//! to [`wording`] (the compiler names each match that lacks one).

mod attempt;
mod case;
pub mod catalogue;
mod claim;
mod command;
mod connections;
mod cure;
mod cures;
mod drops;
mod endpoint;
mod examination;
mod fact;
mod filters;
mod gone;
mod headline;
mod holder;
mod ledger;
mod logs_of;
mod lookup_evidence;
mod lookups;
mod memory;
mod missing;
mod names;
mod open;
mod open_findings;
mod pods;
mod policies;
mod repeated;
mod route;
mod rule;
mod rules;
mod search_domains;
mod server;
mod services;
mod settings;
mod settled;
mod shell;
mod stretches;
mod suspects;
mod tally;
mod traffic_policy;
mod wording;

use std::time::Duration;

use crate::identity::{Index, Owner};
use crate::model::correlated::Asked;
use crate::model::echo::EchoState;
use crate::model::event::{Body, Ends, Event};
use crate::model::flow::Role;
use crate::model::loss::Losses;
use crate::model::settings::Thresholds;
use crate::model::signal::ConntrackCounters;
use crate::model::time::Timestamp;

use self::case::Symptom;
use self::cure::Sign;
pub(crate) use self::drops::is_deliberate as is_deliberate_drop;
use self::examination::{Examination, Span};
use self::ledger::Ledger;
use self::memory::{FailedConnection, Memory, Target, TargetKey};
pub(crate) use self::names::{below as below_domain, shortest as shortest_name};
pub(crate) use self::policies::{of_identity as party_of_identity, of_pod as party_of_pod};
pub(crate) use self::route::target as target_port;
pub use self::rule::{Rule, can_be_followed};
pub use self::settings::{DiagnosisSettings, RuleThresholds, Silence};
pub use self::settled::settled;
pub(crate) use self::settled::shown_by;
pub(crate) use self::wording::drop_means;

/// All rules and their memory.
#[derive(Debug)]
pub struct Diagnosis {
    dns_ports: Vec<u16>,
    /// A lookup without a new candidate for this long is over.
    lookup_idle: Duration,
    /// A connection whose SYN is unanswered for this long has had its event.
    tcp_timeout: Duration,
    /// The input has ended: events from now on are about undecided things.
    ending: bool,
    thresholds: RuleThresholds,
    memory: Memory,
    ledger: Ledger,
    /// Rises with every change of the inventory and the settings: verdicts on earlier lookups may no longer hold.
    generation: u64,
    /// The targets of one lookup. Kept, so that no lookup needs memory for them.
    targets: Vec<TargetKey>,
}

impl Diagnosis {
    /// A diagnosis without events.
    pub fn new(
        settings: &DiagnosisSettings,
        dns_ports: Vec<u16>,
        thresholds: &Thresholds,
    ) -> Diagnosis {
        Diagnosis {
            dns_ports,
            lookup_idle: thresholds.lookup_idle,
            tcp_timeout: thresholds.tcp_timeout,
            ending: false,
            thresholds: settings.thresholds.clone(),
            memory: Memory::new(settings.memory),
            ledger: Ledger::new(settings),
            generation: 0,
            targets: Vec::new(),
        }
    }

    /// Applies new thresholds and silences. The limits and intervals stay.
    pub fn set(&mut self, settings: &DiagnosisSettings) {
        self.generation += 1;
        self.thresholds = settings.thresholds.clone();
        self.ledger.set_silences(&settings.silences);
    }

    /// Takes in a query that a pod sent to a DNS server, or that it got as one, before its exchange has an
    /// event: the pod's name may be known only when the answer comes.
    pub fn asked(&mut self, at: Timestamp, ends: &Ends, asked: &Asked, index: &Index) {
        let owner = Owner::from_ends(ends);
        let pods = &mut self.memory.pods;
        if ends.role == Role::Server {
            if asked.attempt <= 1 {
                let plausible = may_be_own_question(ends, index);
                let place = pods.place(at, &owner, ends);
                let loops = &mut pods.get_mut(place).loops;
                loops.received(at, &asked.question, ends.peer.ip, plausible);
            }
            return;
        }
        if let Some(memory) = pods.of_mut(&owner) {
            memory.loops.sent(at, &asked.question, ends.peer.ip);
        }
        if ends.pod.identity.is_err() && index.has_inventory() {
            let place = pods.place(at, &owner, ends);
            pods.get_mut(place).unnamed.add(at);
        }
    }

    /// Takes in the counters of the node's conntrack.
    pub fn conntrack(&mut self, at: Timestamp, counters: ConntrackCounters) {
        self.memory.conntrack.add(at, counters);
    }

    /// Takes in an event that is emitted at `now`.
    pub fn event(&mut self, now: Timestamp, event: &Event, index: &Index, out: &mut Vec<Event>) {
        let Some(ends) = &event.ends else { return };
        let is_error = matches!(event.body, Body::IcmpError(_));
        if ends.role == Role::Server && !is_error {
            // The client's side has its own events.
            return;
        }
        let mut run = Examination::new(self, now, ends, index, out);
        match &event.body {
            Body::IcmpError(error) => run.icmp(event.time, error),
            Body::Dns(exchange, _) if exchange.is_unsolicited() => {}
            Body::Dns(exchange, place) => run.exchange(exchange, place.is_some()),
            Body::Lookup(lookup) => run.lookup(event.time, lookup),
            Body::Tcp(connection) => run.tcp(event.time, connection),
            Body::Udp(flow) => run.udp(event.time, flow),
            Body::Echo(echo) => {
                if echo.state == EchoState::Done {
                    run.attempted(Target::Ping(ends.peer.ip).key());
                }
                let span = Span::from_start(event.time, echo.last).about(echo.last);
                let failed = run.judge(span, Symptom::Echo(echo, event.time));
                if echo.received > 0 {
                    run.cure(echo.last, &Sign::Replied(echo), failed.as_ref());
                }
            }
            Body::Drop(dropped) => run.dropped(event.time, dropped),
            Body::Finding(_) | Body::Lost(_) => {}
        }
    }

    /// Takes in evidence on a connection or flow whose state has not changed, and that is not shown.
    pub fn progress(&mut self, now: Timestamp, event: &Event, index: &Index, out: &mut Vec<Event>) {
        let Some(ends) = &event.ends else { return };
        if ends.role == Role::Server {
            return;
        }
        let mut run = Examination::new(self, now, ends, index, out);
        match &event.body {
            Body::Tcp(connection) => run.tcp_progress(event.time, connection),
            Body::Udp(flow) => run.udp_progress(event.time, flow),
            _ => {}
        }
    }

    /// Takes in a change of the inventory; `services`: Services may have changed.
    pub fn changed(&mut self, now: Timestamp, services: bool, index: &Index, out: &mut Vec<Event>) {
        self.generation += 1;
        if services {
            self.memory.service_creations.update(now, index);
        }
        self.ledger.inventory(now, index, out);
    }

    /// Emits what is due.
    pub fn advance(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        self.memory.advance(now);
        while let Some(failed) = self.memory.failed_tcp.due(now) {
            self.failed_tcp(now, &failed, index, out);
        }
        self.ledger.advance(now, out);
    }

    /// The input ends: the events that follow are about undecided things.
    pub fn ending(&mut self) {
        self.ending = true;
    }

    /// The input has ended: emits all new counts.
    pub fn end(&mut self, now: Timestamp, index: &Index, out: &mut Vec<Event>) {
        while let Some(failed) = self.memory.failed_tcp.rest() {
            self.failed_tcp(now, &failed, index, out);
        }
        self.ledger.end(out);
    }

    /// A connection to a DNS server failed, and no truncated exchange explains it.
    fn failed_tcp(
        &mut self,
        now: Timestamp,
        failed: &FailedConnection,
        index: &Index,
        out: &mut Vec<Event>,
    ) {
        let FailedConnection {
            started,
            ends,
            connection,
        } = failed;
        let mut run = Examination::new(self, now, ends, index, out);
        let span = Span::from_start(*started, connection.last);
        run.judge(span, Symptom::Tcp(connection));
    }

    /// The number of silenced findings.
    pub fn silenced(&self) -> u64 {
        self.ledger.silenced()
    }

    /// What the limits have dropped so far.
    pub fn losses(&self) -> Losses {
        let mut losses = self.memory.losses();
        losses.merge(self.ledger.losses());
        losses
    }
}

/// Whether a query that a pod got can be one that it sent: it comes from the pod's own address, from a node, or
/// from an address of the node that no object has (a bridge's, to which packets to itself are masqueraded).
fn may_be_own_question(ends: &Ends, index: &Index) -> bool {
    let peer = &ends.peer;
    let unknown = peer.pod.is_none() && peer.service.is_none() && index.has_inventory();
    peer.ip == ends.pod.ip || unknown
}
