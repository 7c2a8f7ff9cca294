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
mod fact;
mod gone;
mod headline;
mod holder;
mod ledger;
mod logs_of;
mod lookup_evidence;
mod memory;
mod missing;
mod names;
mod pods;
mod policies;
mod route;
mod rule;
mod rules;
mod search_domains;
mod server;
mod services;
mod settings;
mod shell;
mod suspects;
mod tally;
mod traffic_policy;
mod wording;

use std::sync::Arc;
use std::time::Duration;

use crate::identity::{Index, Owner};
use crate::model::correlated::Asked;
use crate::model::echo::EchoState;
use crate::model::event::{Body, Ends, Event};
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::{Protocol, Role};
use crate::model::identity::Workload;
use crate::model::lookup::{Lookup, Step};
use crate::model::loss::Losses;
use crate::model::observation::IcmpError;
use crate::model::settings::Thresholds;
use crate::model::time::Timestamp;

use self::case::{Case, Symptom};
use self::cure::Sign;
use self::ledger::Ledger;
use self::lookup_evidence::LookupEvidence;
use self::memory::{
    Contact, FailedConnection, LatencyChange, LatencyKey, Memory, NameScope, Share, Target,
    WasteChange, exchange_end,
};
pub use self::rule::Rule;
pub use self::settings::{DiagnosisSettings, RuleThresholds, Silence};
use self::tally::Record;

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
            memory: Memory::new(settings.remembered, &settings.thresholds),
            ledger: Ledger::new(settings),
        }
    }

    /// Applies new thresholds and silences. The limits and intervals stay.
    pub fn set(&mut self, settings: &DiagnosisSettings) {
        self.thresholds = settings.thresholds.clone();
        self.memory.set(&settings.thresholds);
        self.ledger.set_silences(&settings.silences);
    }

    /// Takes in a query that a pod sent to a DNS server, or that it got as one, before its exchange has an
    /// event: the pod's name may be known only when the answer comes.
    pub fn asked(&mut self, at: Timestamp, ends: &Ends, asked: &Asked, index: &Index) {
        let owner = Owner::from_ends(ends);
        if ends.role == Role::Server {
            if asked.attempt <= 1 {
                let plausible = may_be_own_question(ends, index);
                let loops = &mut self.memory.loops;
                loops.received(at, owner, &asked.question, ends.peer.ip, plausible);
            }
            return;
        }
        self.memory
            .loops
            .sent(at, &owner, &asked.question, ends.peer.ip);
        if ends.pod.identity.is_err() && index.has_inventory() {
            self.memory.unnamed.add(at, ends);
        }
    }

    /// Takes in an event that is emitted at `now`.
    pub fn event(&mut self, now: Timestamp, event: &Event, index: &Index, out: &mut Vec<Event>) {
        let Some(ends) = &event.ends else { return };
        let mut run = Examination {
            diagnosis: self,
            ends,
            now,
            index,
            out,
        };
        match &event.body {
            Body::IcmpError(error) => run.icmp(event.time, error),
            // The client's side has its own events.
            _ if ends.role == Role::Server => {}
            Body::Dns(exchange, place) => run.exchange(exchange, place.is_some()),
            Body::Lookup(lookup) => run.lookup(event.time, lookup),
            Body::Tcp(connection) => run.tcp(event.time, connection),
            Body::Udp(flow) => run.udp(event.time, flow),
            Body::Echo(echo) => {
                if echo.state == EchoState::Done {
                    run.attempted(Target::Ping(ends.peer.ip));
                }
                let span = Span::from_start(event.time, echo.last).about(echo.last);
                let failed = run.judge(span, Symptom::Echo(echo, event.time));
                if echo.received > 0 {
                    run.cure(echo.last, &Sign::Replied(echo), failed.as_ref());
                }
            }
            Body::Finding(_) | Body::Lost(_) => {}
        }
    }

    /// Takes in evidence on a connection or flow whose state has not changed, and that is not shown.
    pub fn progress(&mut self, now: Timestamp, event: &Event, index: &Index, out: &mut Vec<Event>) {
        let Some(ends) = &event.ends else { return };
        if ends.role == Role::Server {
            return;
        }
        let mut run = Examination {
            diagnosis: self,
            ends,
            now,
            index,
            out,
        };
        match &event.body {
            Body::Tcp(connection) => run.tcp_progress(event.time, connection),
            Body::Udp(flow) => run.udp_progress(event.time, flow),
            _ => {}
        }
    }

    /// Takes in a change of the inventory; `services`: Services may have changed.
    pub fn changed(&mut self, now: Timestamp, services: bool, index: &Index, out: &mut Vec<Event>) {
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
        let mut run = Examination {
            diagnosis: self,
            ends,
            now,
            index,
            out,
        };
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
        losses.merge(&self.ledger.losses());
        losses
    }
}

/// The examination of one event of a pod: the context that every step of it needs.
struct Examination<'a> {
    diagnosis: &'a mut Diagnosis,
    ends: &'a Ends,
    now: Timestamp,
    index: &'a Index,
    out: &'a mut Vec<Event>,
}

impl Examination<'_> {
    /// A packet of the pod, in either role, was too big for its path; or an error is about no flow of the pod.
    fn icmp(&mut self, at: Timestamp, error: &IcmpError) {
        if error.is_too_big() && error.about.src.ip() == self.ends.pod.ip {
            let owner = Owner::from_ends(self.ends);
            let memory = &mut self.diagnosis.memory;
            let errors = memory.too_big.add(at, owner, error.about.dst.ip());
            let span = Span::from_start(errors.first, errors.last).about(at);
            self.judge(span, Symptom::TooBig(*error, errors));
        } else if error.about.protocol == Protocol::Tcp && error.about.src.ip() == self.ends.pod.ip
        {
            let owner = Owner::from_ends(self.ends);
            self.diagnosis.memory.stray_errors.add(at, owner, error);
        }
    }

    fn contact(&self, at: Timestamp) -> Contact {
        Contact {
            owner: Owner::from_ends(self.ends),
            pod: self.ends.pod.clone(),
            at,
        }
    }

    /// An exchange ended; `of_lookup`: it belongs to a lookup, which has an event of its own.
    fn exchange(&mut self, exchange: &Exchange, of_lookup: bool) {
        let memory = &mut self.diagnosis.memory;
        if of_lookup && exchange.outcome != Outcome::Undecided {
            let owner = Owner::from_ends(self.ends);
            memory.exchanges.add(self.now, owner, exchange);
        }
        if exchange.asked_peer.is_some() {
            let owner = Owner::from_ends(self.ends);
            memory.misdirected.add(self.now, owner, exchange);
        }
        if exchange.connection.is_some() {
            memory.failed_tcp.explained(self.ends);
        }
        if exchange.rcode.is_some() && !exchange.late && exchange.asked_peer.is_none() {
            self.answer(exchange);
        }
    }

    /// A DNS server answered.
    fn answer(&mut self, exchange: &Exchange) {
        let at = exchange_end(exchange);
        let owner = Owner::from_ends(self.ends);
        let server = self.ends.peer.ip;
        let memory = &mut self.diagnosis.memory;
        if let Some(question) = &exchange.question {
            memory.loops.answered(&owner, question);
            if exchange.outcome == Outcome::Answered {
                memory.found_names.add(at, &question.name);
            }
        }
        if matches!(
            exchange.outcome,
            Outcome::Answered | Outcome::Nodata | Outcome::Nxdomain | Outcome::Truncated
        ) {
            memory.answers.add(at, owner, server);
        }
        if let Some(port) = self.ends.peer.port {
            let contact = self.contact(at);
            let peer = (self.ends.peer.ip, port);
            self.diagnosis.memory.answered.add(peer, contact);
        }
        let (Some(latency), Some(question)) = (exchange.latency, &exchange.question) else {
            return;
        };
        // A failure says nothing about the pace: the server waited for others, and a rule reports that.
        if exchange.outcome.failed() && exchange.outcome != Outcome::Nxdomain {
            return;
        }
        let scope = match question.name.below(self.index.cluster_domain()) {
            Some(_) => NameScope::Cluster,
            None => NameScope::External,
        };
        let key = LatencyKey {
            owner: Owner::from_ends(self.ends),
            server: self.ends.peer.ip,
            scope,
        };
        let latencies = &mut self.diagnosis.memory.latencies;
        let Some(latency) = latencies.measured(&key, exchange, at, latency) else {
            return;
        };
        match latencies.add(at, key, latency) {
            LatencyChange::None => {}
            LatencyChange::Recovered => self.cure(at, &Sign::NormalLatency(scope), None),
            LatencyChange::Slow(slow) => {
                let span = Span::from_start(slow.first, at).about(at);
                self.judge(span, Symptom::SlowAnswer(exchange, slow, scope));
            }
        }
    }

    fn lookup(&mut self, started: Timestamp, lookup: &Lookup) {
        let ends = self.ends;
        let ended = started.after(lookup.duration);
        // Silence after that moment is evidence only once it has lasted long enough.
        let last_packet = lookup.last_packet().unwrap_or(ended);
        let Diagnosis {
            memory,
            ending,
            lookup_idle,
            ..
        } = &mut *self.diagnosis;
        let evidence = LookupEvidence {
            event: lookup,
            exchanges: memory.exchanges.take(&Owner::from_ends(ends), lookup),
            misdirected: memory.misdirected.take(&Owner::from_ends(ends), lookup),
            resolver: ends
                .pod
                .identity
                .as_ref()
                .ok()
                .and_then(|pod| self.index.resolver(pod)),
            cut_short: *ending && self.now.since(last_packet) < *lookup_idle,
            begun_unnamed: ends.pod.identity.is_ok()
                && memory.unnamed.began(ends, started, *lookup_idle),
        };
        if !evidence.cut_short {
            self.attempted_lookup(&evidence);
        }
        let last = evidence
            .exchanges
            .iter()
            .map(|exchange| exchange.last)
            .max();
        let last = last.map_or(ended, |last| last.max(ended));
        let span = Span::from_start(started, last).about(ended);
        let failed = self.judge(span, Symptom::Lookup(&evidence));
        self.cure(ended, &Sign::LookupEnded(&evidence), failed.as_ref());
        self.waste(ended, lookup);
    }

    /// Counts the queries that the search path wasted in a lookup that found a record.
    fn waste(&mut self, at: Timestamp, lookup: &Lookup) {
        let (Some(asked), Outcome::Answered) = (&lookup.asked, lookup.outcome) else {
            return;
        };
        let found = |step: &&Step| step.outcome == Some(Outcome::Answered);
        let Some(name) = lookup.steps.iter().find(found).map(|step| &step.name) else {
            return;
        };
        let wasted = lookup.steps.iter().filter(|step| {
            step.name != *name && matches!(step.outcome, Some(Outcome::Nxdomain | Outcome::Nodata))
        });
        let wasted = wasted.map(|step| u64::from(step.attempts)).sum();
        let workload = workload(self.ends);
        let queries = u64::from(lookup.queries);
        let wastes = &mut self.diagnosis.memory.wastes;
        match wastes.add(at, workload.clone(), asked, queries, wasted) {
            WasteChange::None => {}
            WasteChange::Recovered => self.cure(at, &Sign::FewWasted(&workload), None),
            WasteChange::Wasted(window) => {
                let span = Span::from_start(window.started, at).about(at);
                self.judge(span, Symptom::Waste(&workload, &window));
            }
        }
    }

    /// The pod tried something.
    fn attempted(&mut self, target: Target) {
        let owner = Owner::from_ends(self.ends);
        self.diagnosis.ledger.attempt(self.now, &owner, target);
    }

    /// A lookup is an attempt at its name, at each server that it asked, and at each domain of its candidates.
    fn attempted_lookup(&mut self, lookup: &LookupEvidence<'_>) {
        let cluster = self.index.cluster_domain();
        let mut targets: Vec<Target> = Vec::new();
        let mut add = |target: Target| {
            if !targets.contains(&target) {
                targets.push(target);
            }
        };
        if let Some(asked) = lookup.asked() {
            add(Target::Name(asked.name.to_owned()));
        }
        let server = self.ends.peer.ip;
        for name in lookup.names() {
            let asked = lookup.asked().map(|asked| asked.name);
            let domain = asked.and_then(|asked| search_domains::domain_behind(name, asked));
            // Every lookup tries the cluster's: counting them would fill the table.
            let foreign =
                domain.filter(|domain| domain != cluster && domain.below(cluster).is_none());
            if let Some(domain) = foreign {
                add(Target::SearchDomain(domain));
            }
        }
        let sent = lookup.event.steps.iter().flat_map(|step| &step.sent);
        let servers = sent.map(|query| query.server);
        for server in servers.chain([server]) {
            add(Target::Server(server));
            for name in lookup.names() {
                add(Target::Domain(server, names::domain(name, cluster)));
            }
        }
        for target in targets {
            self.attempted(target);
        }
    }

    /// Something worked at `at`. `failed`: the finding that the same attempt led to.
    fn cure(&mut self, at: Timestamp, sign: &Sign<'_>, failed: Option<&Arc<str>>) {
        let moment = Moment { at, now: self.now };
        self.diagnosis
            .ledger
            .cure(moment, self.ends, sign, failed, self.out);
    }

    /// Applies the first rule that fits, and returns the id of the finding.
    fn judge(&mut self, span: Span, symptom: Symptom<'_>) -> Option<Arc<str>> {
        self.judge_share(span, symptom, Share::default())
    }

    /// The same, where several failures make a finding: their share so far.
    fn judge_share(&mut self, span: Span, symptom: Symptom<'_>, share: Share) -> Option<Arc<str>> {
        let Diagnosis {
            thresholds,
            memory,
            dns_ports,
            ledger,
            tcp_timeout,
            ..
        } = &mut *self.diagnosis;
        let record = match &symptom {
            Symptom::Tcp(connection) => {
                let target = Target::Socket(connection.flow.peer, "TCP");
                ledger.record(&Owner::from_ends(self.ends), &target)
            }
            _ => Record::default(),
        };
        let case = Case {
            at: span.at,
            now: self.now,
            first: span.first,
            last: span.last,
            ends: self.ends,
            index: self.index,
            thresholds,
            memory,
            share,
            tcp_timeout: *tcp_timeout,
            record,
            dns_ports,
            symptom,
        };
        let claim = catalogue::RULES
            .iter()
            .find_map(|rule| (rule.check)(&case).map(|claim| (*rule, claim)));
        let (rule, claim) = claim?;
        let claim = missing::stale(&case, claim);
        Some(ledger.claim(&case, rule, claim, self.out))
    }
}

/// Whether a query that a pod got can be one that it sent: it comes from the pod's own address, from a node, or
/// from an address of the node that no object has (a bridge's, to which packets to itself are masqueraded).
fn may_be_own_question(ends: &Ends, index: &Index) -> bool {
    let peer = &ends.peer;
    let unknown = peer.pod.is_none() && peer.service.is_none() && index.has_inventory();
    peer.ip == ends.pod.ip || unknown
}

/// The pod's workload, `DaemonSet default/nginx-ds`; the pod itself if it has none.
fn workload(ends: &Ends) -> String {
    let pod = ends.pod.identity.as_ref().ok();
    match pod.and_then(|pod| Some((pod, pod.workload.as_ref()?))) {
        Some((pod, Workload { kind, name })) => format!("{kind} {}/{name}", pod.namespace),
        None => wording::who(&fact::Who::from(&ends.pod)),
    }
}

/// When something happened, and when it is examined. The two differ: silence takes time, and a pod's name may
/// come later.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// On the wire.
    at: Timestamp,
    /// The pipeline's time.
    now: Timestamp,
}

/// The time that evidence covers.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The time that facts are relative to.
    at: Timestamp,
    first: Timestamp,
    last: Timestamp,
}

impl Span {
    /// Facts are relative to its start.
    fn from_start(first: Timestamp, last: Timestamp) -> Span {
        Span {
            at: first,
            first,
            last: last.max(first),
        }
    }

    /// Facts are relative to this time.
    fn about(self, at: Timestamp) -> Span {
        Span { at, ..self }
    }
}
