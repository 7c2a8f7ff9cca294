//! What rules need beyond one event: a memory for each pod, and little that belongs to no pod.

mod answers;
mod attempts;
mod conntrack;
mod contacts;
mod drops;
mod endpoints;
mod exchanges;
mod failed_tcp;
mod found_names;
mod latency;
mod loops;
mod lost_syns;
mod misdirected;
mod mishaps;
mod pod;
mod pods;
mod recent;
mod service_creations;
mod stray_errors;
mod too_big;
mod unnamed;
mod verdicts;
mod waste;

use crate::model::loss::Losses;
use crate::model::time::Timestamp;

pub(super) use self::attempts::{Target, TargetKey};
pub(super) use self::conntrack::{Conntrack, Rise};
pub(super) use self::drops::FlowDrops;
pub(super) use self::endpoints::{Outcomes, Use};
pub(super) use self::exchanges::{
    ExchangeEvidence, exchange_end, is_answered, last_alias, was_truncated,
};
pub(super) use self::failed_tcp::{FailedConnection, FailedTcp};
pub(super) use self::latency::{LatencyChange, LatencyKey, NameScope, SlowAnswers};
pub(super) use self::lost_syns::LostSyns;
pub(super) use self::misdirected::Misdirected;
pub(super) use self::mishaps::{Mishap, Share};
pub(super) use self::pod::PodMemory;
pub(super) use self::pods::{PodPlace, Pods};
pub(super) use self::service_creations::ServiceCreations;
pub(super) use self::too_big::TooBigErrors;
pub(super) use self::verdicts::{EventKey, Verdict};
pub(super) use self::waste::{WasteChange, WasteWindow, Wastes};

/// What earlier events left.
#[derive(Debug)]
pub(super) struct Memory {
    /// By pod.
    pub pods: Pods,
    /// When Services were created.
    pub service_creations: ServiceCreations,
    /// Queries that the search path wastes, by workload.
    pub wastes: Wastes,
    /// Connections to DNS servers that failed within the last second.
    pub failed_tcp: FailedTcp,
    /// Destinations that lost SYNs just now.
    pub lost_syns: LostSyns,
    /// The counters of the node's conntrack.
    pub conntrack: Conntrack,
}

impl Memory {
    /// No memory yet, and at most about this many bytes of it.
    pub fn new(budget: usize) -> Memory {
        Memory {
            pods: Pods::new(budget),
            service_creations: ServiceCreations::default(),
            wastes: Wastes::new(),
            failed_tcp: FailedTcp::new(),
            lost_syns: LostSyns::default(),
            conntrack: Conntrack::default(),
        }
    }

    /// Drops entries that have expired.
    pub fn advance(&mut self, now: Timestamp) {
        if self.pods.advance(now) {
            self.wastes.expire(now);
        }
    }

    /// What gave way to the limits so far.
    pub fn losses(&self) -> Losses {
        let mut losses = self.pods.losses().clone();
        losses.merge(self.failed_tcp.losses());
        losses
    }
}
