//! What the events of DNS exchanges and lookups mean: attempts, successes, and failures for the rules.

use super::case::Symptom;
use super::cure::Sign;
use super::examination::{Examination, Span};
use super::lookup_evidence::LookupEvidence;
use super::memory::{LatencyChange, LatencyKey, NameScope, Target, WasteChange, exchange_end};
use super::{Diagnosis, fact, names, search_domains, wording};
use crate::identity::Owner;
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::identity::Workload;
use crate::model::lookup::{Lookup, Step};
use crate::model::time::Timestamp;

impl Examination<'_> {
    /// An exchange ended; `of_lookup`: it belongs to a lookup, which has an event of its own.
    pub(super) fn exchange(&mut self, exchange: &Exchange, of_lookup: bool) {
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
    pub(super) fn answer(&mut self, exchange: &Exchange) {
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

    pub(super) fn lookup(&mut self, started: Timestamp, lookup: &Lookup) {
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
    pub(super) fn waste(&mut self, at: Timestamp, lookup: &Lookup) {
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

    /// A lookup is an attempt at its name, at each server that it asked, and at each domain of its candidates.
    pub(super) fn attempted_lookup(&mut self, lookup: &LookupEvidence<'_>) {
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
}

/// The pod's workload, `DaemonSet default/nginx-ds`; the pod itself if it has none.
fn workload(ends: &Ends) -> String {
    let pod = ends.pod.identity.as_ref().ok();
    match pod.and_then(|pod| Some((pod, pod.workload.as_ref()?))) {
        Some((pod, Workload { kind, name })) => format!("{kind} {}/{name}", pod.namespace),
        None => wording::who(&fact::Who::from(&ends.pod)),
    }
}
