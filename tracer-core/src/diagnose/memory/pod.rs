//! What earlier events of one pod left. An event finds it once, by the pod.

use super::answers::Answers;
use super::attempts::Attempts;
use super::contacts::Contacts;
use super::drops::Drops;
use super::endpoints::Endpoints;
use super::exchanges::Exchanges;
use super::found_names::FoundNames;
use super::latency::Latencies;
use super::loops::Loops;
use super::misdirected::MisdirectedReplies;
use super::mishaps::Mishaps;
use super::stray_errors::StrayErrors;
use super::too_big::TooBig;
use super::unnamed::Unnamed;
use super::verdicts::Verdicts;
use super::waste::Waste;
use crate::model::flow::Ifindex;
use crate::model::identity::PodEnd;
use crate::model::time::Timestamp;

/// The memory of one pod. Each part has a most of its own.
#[derive(Debug)]
pub(in crate::diagnose) struct PodMemory {
    /// The pod as it was seen last.
    pub(super) end: PodEnd,
    /// The interface on which it was seen last.
    pub(super) ifindex: Ifindex,
    /// The time of its last event.
    pub(super) used: Timestamp,
    /// Exchanges whose lookup is undecided.
    pub exchanges: Exchanges,
    /// Answers from addresses that were not asked.
    pub misdirected: MisdirectedReplies,
    /// How often DNS servers answered the pod.
    pub answers: Answers,
    /// The latency of DNS servers.
    pub latencies: Latencies,
    /// Questions that it forwards.
    pub loops: Loops,
    /// Names that it found.
    pub found_names: FoundNames,
    /// Addresses that it connected to.
    pub connected: Contacts,
    /// DNS servers that answered it.
    pub answered: Contacts,
    /// What it tried, and how often.
    pub attempts: Attempts,
    /// How it went, by endpoint.
    pub endpoints: Endpoints,
    /// Mishaps of connections that are no finding by themselves.
    pub mishaps: Mishaps,
    /// ICMP errors about packets that are too big.
    pub too_big: TooBig,
    /// ICMP errors that quote an endpoint instead of the Service.
    pub stray_errors: StrayErrors,
    /// Its packets that the kernel dropped.
    pub drops: Drops,
    /// Queries before its name was known.
    pub unnamed: Unnamed,
    /// Queries that the search path wastes, if it belongs to no workload.
    pub waste: Waste,
    /// What the rules made of its latest lookups.
    pub verdicts: Verdicts,
}

impl PodMemory {
    pub(super) fn new(end: PodEnd, ifindex: Ifindex, used: Timestamp) -> PodMemory {
        PodMemory {
            end,
            ifindex,
            used,
            exchanges: Exchanges::default(),
            misdirected: MisdirectedReplies::default(),
            answers: Answers::new(),
            latencies: Latencies::new(),
            loops: Loops::new(),
            found_names: FoundNames::new(),
            connected: Contacts::new(),
            answered: Contacts::new(),
            attempts: Attempts::new(),
            endpoints: Endpoints::new(),
            mishaps: Mishaps::new(),
            too_big: TooBig::new(),
            stray_errors: StrayErrors::new(),
            drops: Drops::new(),
            unnamed: Unnamed::default(),
            waste: Waste::default(),
            verdicts: Verdicts::new(),
        }
    }

    /// Drops what is too old to matter.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.exchanges.expire(now);
        self.misdirected.expire(now);
        self.answers.expire(now);
        self.latencies.expire(now);
        self.loops.expire(now);
        self.found_names.expire(now);
        self.connected.expire(now);
        self.answered.expire(now);
        self.attempts.expire(now);
        self.endpoints.expire(now);
        self.mishaps.expire(now);
        self.too_big.expire(now);
        self.stray_errors.expire(now);
        self.drops.expire(now);
        self.unnamed.expire(now);
        self.waste.expire(now);
        self.verdicts.expire(now);
    }

    /// Gives up about half of what is large.
    pub(super) fn shrink(&mut self) {
        self.exchanges.shrink();
        self.found_names.shrink();
        self.connected.shrink();
        self.attempts.shrink();
        self.endpoints.shrink();
        self.loops.shrink();
        self.verdicts.shrink();
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
            && self.misdirected.is_empty()
            && self.answers.is_empty()
            && self.latencies.is_empty()
            && self.loops.is_empty()
            && self.found_names.is_empty()
            && self.connected.is_empty()
            && self.answered.is_empty()
            && self.attempts.is_empty()
            && self.endpoints.is_empty()
            && self.mishaps.is_empty()
            && self.too_big.is_empty()
            && self.stray_errors.is_empty()
            && self.drops.is_empty()
            && self.unnamed.is_empty()
            && self.waste.is_empty()
            && self.verdicts.is_empty()
    }

    /// The memory that it uses.
    pub(super) fn bytes(&self) -> usize {
        size_of::<PodMemory>()
            + self.exchanges.bytes()
            + self.misdirected.bytes()
            + self.answers.bytes()
            + self.latencies.bytes()
            + self.loops.bytes()
            + self.found_names.bytes()
            + self.connected.bytes()
            + self.answered.bytes()
            + self.attempts.bytes()
            + self.endpoints.bytes()
            + self.mishaps.bytes()
            + self.too_big.bytes()
            + self.stray_errors.bytes()
            + self.drops.bytes()
            + self.waste.bytes()
            + self.verdicts.bytes()
    }
}
