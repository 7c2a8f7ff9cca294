//! The examination of one event: the context that each step needs, and the steps that all kinds of events share.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Diagnosis;
use super::case::{Case, Symptom};
use super::cure::Sign;
use super::memory::{PodMemory, PodPlace, Share, Target, TargetKey, Use};
use super::tally::Record;
use super::{catalogue, endpoint, missing};
use crate::identity::{Index, Owner};
use crate::model::event::{Ends, Event};
use crate::model::flow::Protocol;
use crate::model::observation::IcmpError;
use crate::model::signal::PacketDrop;
use crate::model::time::Timestamp;

/// The examination of one event of a pod: the context that every step of it needs.
pub(super) struct Examination<'a> {
    pub diagnosis: &'a mut Diagnosis,
    pub ends: &'a Ends,
    /// The pod, and the place of its memory.
    pub owner: Owner,
    pub place: PodPlace,
    pub now: Timestamp,
    pub index: &'a Index,
    pub out: &'a mut Vec<Event>,
}

impl<'a> Examination<'a> {
    pub(super) fn new(
        diagnosis: &'a mut Diagnosis,
        now: Timestamp,
        ends: &'a Ends,
        index: &'a Index,
        out: &'a mut Vec<Event>,
    ) -> Examination<'a> {
        let owner = Owner::from_ends(ends);
        let place = diagnosis.memory.pods.place(now, &owner, ends);
        Examination {
            diagnosis,
            ends,
            owner,
            place,
            now,
            index,
            out,
        }
    }
}

impl Examination<'_> {
    /// What earlier events of the pod left.
    pub(super) fn memory(&mut self) -> &mut PodMemory {
        self.diagnosis.memory.pods.get_mut(self.place)
    }

    /// Failures of the pod were forgotten to make room.
    pub(super) fn gave_way(&mut self, count: u64) {
        if count > 0 {
            self.diagnosis.memory.pods.count_lost(self.place, count);
        }
    }

    /// A packet of the pod, in either role, was too big for its path; or an error is about no flow of the pod.
    pub(super) fn icmp(&mut self, at: Timestamp, error: &IcmpError) {
        if error.unconfirmed {
            return;
        }
        if error.is_too_big() && error.about.src.ip() == self.ends.pod.ip {
            let (errors, gave_way) = self.memory().too_big.add(at, error.about.dst.ip());
            self.gave_way(gave_way);
            let span = Span::from_start(errors.first, errors.last).about(at);
            self.judge(span, Symptom::TooBig(*error, errors));
        } else if error.about.protocol == Protocol::Tcp && error.about.src.ip() == self.ends.pod.ip
        {
            let gave_way = self.memory().stray_errors.add(at, error);
            self.gave_way(gave_way);
        }
    }

    /// The kernel dropped a packet of the pod.
    pub(super) fn dropped(&mut self, at: Timestamp, dropped: &PacketDrop) {
        let ip = self.ends.pod.ip;
        let ends = [dropped.tuple.src, dropped.tuple.dst];
        if let Some(pod) = ends.into_iter().find(|end| end.ip() == ip) {
            let gave_way = self.memory().drops.add(at, pod, dropped);
            self.gave_way(gave_way);
        }
    }

    /// A failure of the pod was not examined, as there are too many.
    pub(super) fn not_examined(&mut self) {
        self.diagnosis.memory.pods.count_unexamined(self.place);
    }

    /// The pod tried something.
    pub(super) fn attempted(&mut self, target: TargetKey) {
        let now = self.now;
        self.memory().attempts.add(now, target);
        self.diagnosis.ledger.attempt(&self.owner, &[target]);
    }

    /// An attempt at a Service ended, at the endpoint that conntrack shows; `failed`: when it began, if it
    /// failed.
    pub(super) fn at_endpoint(&mut self, what: Use, failed: Option<Timestamp>) {
        let peer = &self.ends.peer;
        let Some((backend, port)) = peer.backend.as_ref().zip(peer.port) else {
            return;
        };
        let service = SocketAddr::new(peer.ip, port);
        let endpoint = SocketAddr::new(backend.ip, backend.port.unwrap_or_default());
        let now = self.now;
        let endpoints = &mut self.memory().endpoints;
        let gave_way = endpoints.add(now, (service, what), endpoint, failed);
        self.gave_way(gave_way);
    }

    /// Something worked at `at`. `failed`: the finding that the same attempt led to.
    pub(super) fn cure(&mut self, at: Timestamp, sign: &Sign<'_>, failed: Option<&Arc<str>>) {
        let moment = Moment { at, now: self.now };
        self.diagnosis
            .ledger
            .cure(moment, &self.owner, self.ends, sign, failed, self.out);
    }

    /// Applies the first rule that fits, and returns the id of the finding.
    pub(super) fn judge(&mut self, span: Span, symptom: Symptom<'_>) -> Option<Arc<str>> {
        self.judge_share(span, symptom, Share::default())
    }

    /// The same, where several failures make a finding: their share so far.
    pub(super) fn judge_share(
        &mut self,
        span: Span,
        symptom: Symptom<'_>,
        share: Share,
    ) -> Option<Arc<str>> {
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
                let target = Target::Socket(connection.flow.peer, "TCP").key();
                Record {
                    failures: ledger.failures(&self.owner, target),
                    attempts: memory.pods.get(self.place).attempts.count(target),
                }
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
            own: memory.pods.get(self.place),
            owner: &self.owner,
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
        let claim = missing::stale(&case, endpoint::explain(&case, claim));
        Some(ledger.claim(&case, rule, claim, self.out))
    }
}

/// When something happened, and when it is examined. The two differ: silence takes time, and a pod's name may
/// come later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// On the wire.
    pub at: Timestamp,
    /// The pipeline's time.
    pub now: Timestamp,
}

/// The time that evidence covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The time that facts are relative to.
    pub at: Timestamp,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Span {
    /// Facts are relative to its start.
    pub fn from_start(first: Timestamp, last: Timestamp) -> Span {
        Span {
            at: first,
            first,
            last: last.max(first),
        }
    }

    /// Facts are relative to this time.
    pub fn about(self, at: Timestamp) -> Span {
        Span { at, ..self }
    }
}
