//! Counts packets and bytes per flow, as the probes do live, so that what follows need not know the difference.
//!
//! The kernel's table never gives up an entry by itself, and user space removes flows that were silent for long. Here it
//! is the same: a full table has no room for a new flow unless another has been silent for long, and then that flow has
//! no totals rather than wrong ones.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::headers::Headers;
use crate::model::flow::{Direction, FlowTotals, Ifindex, Protocol, Traffic};
use crate::model::loss::{Losses, Stage};
use crate::model::record::Record;
use crate::model::time::Timestamp;

type FlowKey = (Ifindex, Protocol, SocketAddr, SocketAddr);

/// Flow counters.
#[derive(Debug)]
pub struct Meter {
    flows: LruCache<FlowKey, (FlowTotals, Timestamp)>,
    idle: Duration,
    uncounted: u64,
    expired: u64,
}

impl Meter {
    /// For `flows` flows at a time; one that was silent for `idle` may be forgotten.
    pub fn new(flows: usize, idle: Duration) -> Meter {
        Meter {
            flows: LruCache::new(NonZeroUsize::new(flows).unwrap_or(NonZeroUsize::MIN)),
            idle,
            uncounted: 0,
            expired: 0,
        }
    }

    /// Counts a record and sets its `totals`. Call it once for each record of a packet.
    pub fn count(&mut self, record: &mut Record) {
        let one = Traffic {
            packets: 1,
            bytes: u64::from(record.wire_len),
        };
        self.count_as(record, one);
    }

    /// The same for a packet that was `wire` on the wire: several fragments.
    pub fn count_as(&mut self, record: &mut Record, wire: Traffic) {
        record.totals = self.totals(record, wire);
    }

    /// How many flows were forgotten after a long silence.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// What the limit cost.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        losses.add(Stage::Table, "replay flow table full", self.uncounted);
        losses
    }

    fn totals(&mut self, record: &Record, wire: Traffic) -> Option<FlowTotals> {
        // Whether it is DNS makes no difference to the counters.
        let headers = Headers::read(&record.bytes, &[])?;
        let (src, dst) = headers.ends();
        let (mut pod, peer) = match record.direction {
            Direction::FromPod => (src, dst),
            Direction::ToPod => (dst, src),
        };
        // Whoever pings whom, the identifier stands at the pod.
        if let Some(id) = headers.echo_id {
            pod.set_port(id);
        }
        let key = (record.ifindex, headers.protocol, pod, peer);
        if !self.flows.contains(&key) && !self.make_room(record.time) {
            self.uncounted += 1;
            return None;
        }
        let (totals, last) = self.flows.get_or_insert_mut(key, Default::default);
        let traffic = match record.direction {
            Direction::FromPod => &mut totals.tx,
            Direction::ToPod => &mut totals.rx,
        };
        traffic.packets += wire.packets;
        traffic.bytes += wire.bytes;
        *last = record.time;
        Some(*totals)
    }

    /// Whether there is room for one more flow.
    fn make_room(&mut self, now: Timestamp) -> bool {
        if self.flows.len() < self.flows.cap().get() {
            return true;
        }
        // The first is the one that was silent for longest.
        let over = self
            .flows
            .peek_lru()
            .is_some_and(|(_, (_, last))| now.since(*last) >= self.idle);
        if over {
            self.flows.pop_lru();
            self.expired += 1;
        }
        over
    }
}
