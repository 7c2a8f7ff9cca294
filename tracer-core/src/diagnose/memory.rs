//! What rules need beyond one event: a bounded table for each kind of memory.

mod answers;
mod attempts;
mod contacts;
mod exchanges;
mod failed_tcp;
mod found_names;
mod latency;
mod loops;
mod lost_syns;
mod misdirected;
mod mishaps;
mod service_creations;
mod stray_errors;
mod too_big;
mod unnamed;
mod waste;

use super::settings::RuleThresholds;
use crate::model::loss::Losses;
use crate::model::time::Timestamp;

pub(super) use self::answers::Answers;
pub(super) use self::attempts::{Attempts, Target};
pub(super) use self::contacts::{Contact, Contacts};
pub(super) use self::exchanges::{ExchangeEvidence, Exchanges, exchange_end};
pub(super) use self::failed_tcp::{FailedConnection, FailedTcp};
pub(super) use self::found_names::FoundNames;
pub(super) use self::latency::{Latencies, LatencyChange, LatencyKey, NameScope, SlowAnswers};
pub(super) use self::loops::Loops;
pub(super) use self::lost_syns::LostSyns;
pub(super) use self::misdirected::{Misdirected, MisdirectedReplies};
pub(super) use self::mishaps::{Mishap, Mishaps, Share};
pub(super) use self::service_creations::ServiceCreations;
pub(super) use self::stray_errors::StrayErrors;
pub(super) use self::too_big::{TooBig, TooBigErrors};
pub(super) use self::unnamed::Unnamed;
pub(super) use self::waste::{WasteChange, WasteWindow, Wastes};

/// What earlier events left.
#[derive(Debug)]
pub(super) struct Memory {
    /// Exchanges whose lookup is undecided.
    pub exchanges: Exchanges,
    /// When Services were created.
    pub service_creations: ServiceCreations,
    /// Addresses that pods connected to.
    pub connected: Contacts,
    /// DNS servers that answered pods.
    pub answered: Contacts,
    /// How often DNS servers answered each pod.
    pub answers: Answers,
    /// Questions that servers forward.
    pub loops: Loops,
    /// Names that pods found.
    pub found_names: FoundNames,
    /// Answers from addresses that were not asked.
    pub misdirected: MisdirectedReplies,
    /// The latency of DNS servers.
    pub latencies: Latencies,
    /// Queries that the search path wastes.
    pub wastes: Wastes,
    /// Connections to DNS servers that failed within the last second.
    pub failed_tcp: FailedTcp,
    /// Mishaps of connections that are no finding by themselves.
    pub mishaps: Mishaps,
    /// Destinations that lost SYNs just now.
    pub lost_syns: LostSyns,
    /// ICMP errors about packets that are too big.
    pub too_big: TooBig,
    /// ICMP errors that quote an endpoint instead of the Service.
    pub stray_errors: StrayErrors,
    /// Pods that asked before their name was known.
    pub unnamed: Unnamed,
}

impl Memory {
    pub fn new(limit: usize, thresholds: &RuleThresholds) -> Memory {
        Memory {
            exchanges: Exchanges::new(limit),
            service_creations: ServiceCreations::default(),
            connected: Contacts::new(limit),
            answered: Contacts::new(limit),
            answers: Answers::new(limit),
            loops: Loops::new(limit),
            found_names: FoundNames::new(limit),
            misdirected: MisdirectedReplies::new(limit),
            latencies: Latencies::new(thresholds, limit),
            wastes: Wastes::new(thresholds, limit),
            failed_tcp: FailedTcp::new(limit),
            mishaps: Mishaps::new(limit),
            lost_syns: LostSyns::default(),
            too_big: TooBig::new(limit),
            stray_errors: StrayErrors::new(limit),
            unnamed: Unnamed::new(limit),
        }
    }

    /// Applies new thresholds for slow answers and wasted queries.
    pub fn set(&mut self, thresholds: &RuleThresholds) {
        self.latencies.set(thresholds);
        self.wastes.set(thresholds);
    }

    /// Drops entries that have expired.
    pub fn advance(&mut self, now: Timestamp) {
        self.exchanges.advance(now);
        self.connected.advance(now);
        self.too_big.advance(now);
        self.stray_errors.advance(now);
        self.mishaps.advance(now);
        self.answered.advance(now);
        self.answers.advance(now);
        self.loops.advance(now);
        self.found_names.advance(now);
        self.misdirected.advance(now);
        self.latencies.advance(now);
        self.wastes.advance(now);
        self.unnamed.advance(now);
    }

    /// Entries that the limits have dropped so far.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        for table in [
            self.exchanges.losses(),
            self.connected.losses(),
            self.answered.losses(),
            self.answers.losses(),
            self.loops.losses(),
            self.found_names.losses(),
            self.misdirected.losses(),
            self.latencies.losses(),
            self.wastes.losses(),
            self.failed_tcp.losses(),
            self.too_big.losses(),
            self.stray_errors.losses(),
            self.mishaps.losses(),
            self.unnamed.losses(),
        ] {
            losses.merge(table);
        }
        losses
    }
}
