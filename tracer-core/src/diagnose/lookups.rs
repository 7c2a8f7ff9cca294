//! What the events of DNS exchanges and lookups mean: attempts, successes, and failures for the rules.

use std::cell::OnceCell;
use std::sync::Arc;

use super::case::Symptom;
use super::cure::Sign;
use super::examination::{Examination, Span};
use super::lookup_evidence::LookupEvidence;
use super::memory::{
    LatencyChange, LatencyKey, NameScope, Target, TargetKey, Use, WasteChange, exchange_end,
};
use super::{Diagnosis, fact, names, search_domains, wording};
use crate::identity::Owner;
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::identity::Workload;
use crate::model::lookup::{Lookup, Step};
use crate::model::time::Timestamp;

impl Examination<'_> {
    /// An exchange ended; `of_lookup`: it belongs to a lookup, which has an event of its own.
    pub(super) fn exchange(&mut self, exchange: &Arc<Exchange>, of_lookup: bool) {
        let memory = self.memory();
        if of_lookup && exchange.outcome != Outcome::Undecided {
            memory.exchanges.add(exchange);
        }
        if exchange.asked_peer.is_some() {
            let gave_way = memory.misdirected.add(exchange);
            self.gave_way(gave_way);
        }
        if exchange.connection.is_some() {
            let failed_tcp = &mut self.diagnosis.memory.failed_tcp;
            failed_tcp.explained(self.ends, &self.owner);
        }
        if !exchange.late && exchange.outcome != Outcome::Undecided {
            let silent = matches!(exchange.outcome, Outcome::Timeout | Outcome::IcmpError);
            self.at_endpoint(Use::Dns, silent.then_some(exchange.asked));
        }
        if exchange.rcode.is_some() && !exchange.late && exchange.asked_peer.is_none() {
            self.answer(exchange);
        }
    }

    /// A DNS server answered.
    pub(super) fn answer(&mut self, exchange: &Exchange) {
        let at = exchange_end(exchange);
        let server = self.ends.peer.ip;
        let port = self.ends.peer.port;
        let memory = self.memory();
        if let Some(question) = &exchange.question {
            memory.loops.answered(question);
            if exchange.outcome == Outcome::Answered {
                memory.found_names.add(at, &question.name);
            }
        }
        if matches!(
            exchange.outcome,
            Outcome::Answered | Outcome::Nodata | Outcome::Nxdomain | Outcome::Truncated
        ) {
            memory.answers.add(at, server);
        }
        if let Some(port) = port {
            memory.answered.add(at, (server, port));
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
        let key = LatencyKey { server, scope };
        let Diagnosis {
            memory, thresholds, ..
        } = &mut *self.diagnosis;
        let latencies = &mut memory.pods.get_mut(self.place).latencies;
        let Some(latency) = latencies.measured(&key, exchange, at, latency, thresholds) else {
            return;
        };
        match latencies.add(at, key, latency, thresholds) {
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
        let named = ends.pod.identity.is_ok();
        let begun_unnamed = named && {
            let unnamed = memory.pods.of(&Owner::Address(ends.ifindex, ends.pod.ip));
            unnamed.is_some_and(|memory| memory.unnamed.began(started, *lookup_idle))
        };
        let own = memory.pods.get_mut(self.place);
        let mut evidence = LookupEvidence {
            event: lookup,
            taken: own.exchanges.take(lookup),
            exchanges: OnceCell::new(),
            misdirected: own.misdirected.take(lookup),
            resolver: None,
            cut_short: *ending && self.now.since(last_packet) < *lookup_idle,
            begun_unnamed,
        };
        if !evidence.cut_short {
            self.attempted_lookup(&evidence);
        }
        let taken = evidence.taken.iter();
        let last = taken.map(|exchange| exchange_end(exchange)).max();
        let last = last.map_or(ended, |last| last.max(ended));
        let span = Span::from_start(started, last).about(ended);
        let failed = self.lookup_verdict(span, &mut evidence);
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
        let queries = u64::from(lookup.queries);
        let Diagnosis {
            memory, thresholds, ..
        } = &mut *self.diagnosis;
        let pod = self.ends.pod.identity.as_ref().ok();
        let workload = pod.and_then(|pod| Some((&*pod.namespace, pod.workload.as_ref()?)));
        let window = match workload {
            Some((namespace, workload)) => memory.wastes.window(at, namespace, workload),
            None => Some(&mut memory.pods.get_mut(self.place).waste),
        };
        let change = window.map_or(WasteChange::None, |window| {
            window.add(at, asked, queries, wasted, thresholds)
        });
        match change {
            WasteChange::None => {}
            WasteChange::Recovered => {
                let workload = workload_name(self.ends);
                self.cure(at, &Sign::FewWasted(&workload), None);
            }
            WasteChange::Wasted(window) => {
                let workload = workload_name(self.ends);
                let span = Span::from_start(window.started, at).about(at);
                self.judge(span, Symptom::Waste(&workload, &window));
            }
        }
    }

    /// A lookup is an attempt at its name, at each server that it asked, and at each domain of its candidates.
    pub(super) fn attempted_lookup(&mut self, lookup: &LookupEvidence<'_>) {
        let mut targets = std::mem::take(&mut self.diagnosis.targets);
        targets.clear();
        self.targets(lookup, &mut targets);
        let now = self.now;
        let attempts = &mut self.memory().attempts;
        for target in &targets {
            attempts.add(now, *target);
        }
        self.diagnosis.ledger.attempt(&self.owner, &targets);
        self.diagnosis.targets = targets;
    }

    fn targets(&self, lookup: &LookupEvidence<'_>, targets: &mut Vec<TargetKey>) {
        let cluster = self.index.cluster_domain();
        let mut add = |target: Target<'_>| {
            let key = target.key();
            if !targets.contains(&key) {
                targets.push(key);
            }
        };
        let asked = lookup.asked().map(|asked| asked.name);
        if let Some(asked) = asked {
            add(Target::Name(asked));
        }
        let steps = &lookup.event.steps;
        let sent = steps.iter().flat_map(|step| &step.sent);
        let server = self.ends.peer.ip;
        let others = || {
            sent.clone()
                .map(|query| query.server)
                .filter(|other| *other != server)
        };
        let mut before = None;
        for step in steps {
            // A and AAAA of a name are neighbours.
            if before.replace(&step.name) == Some(&step.name) {
                continue;
            }
            let behind =
                asked.and_then(|asked| search_domains::domain_behind_str(&step.name, asked));
            // Every lookup tries the cluster's: counting them would fill the table.
            let foreign = behind.filter(|domain| {
                *domain != cluster.relative() && names::below(domain, cluster).is_none()
            });
            if let Some(domain) = foreign {
                add(Target::SearchDomain(domain));
            }
            let domain = names::domain(&step.name, cluster);
            for server in [server].into_iter().chain(others()) {
                add(Target::Domain(server, domain));
            }
        }
        for server in [server].into_iter().chain(others()) {
            add(Target::Server(server));
        }
    }
}

/// The pod's workload, `DaemonSet default/nginx-ds`; the pod itself if it has none.
fn workload_name(ends: &Ends) -> String {
    let pod = ends.pod.identity.as_ref().ok();
    match pod.and_then(|pod| Some((pod, pod.workload.as_ref()?))) {
        Some((pod, Workload { kind, name })) => format!("{kind} {}/{name}", pod.namespace),
        None => wording::who(&fact::Who::from(&ends.pod)),
    }
}
