//! Counts packets and bytes per flow, as the probes do in a live run, so that later stages see no difference.
//!
//! In a live run the kernel's table never evicts an entry, and user space removes flows after a long silence.
//! This table behaves the same: when it is full, a new flow gets a place only if another one has been silent
//! for long enough. Otherwise the flow has no totals rather than wrong ones.

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
    /// A meter for `flows` flows at a time; a flow silent for `idle` may be dropped.
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

    /// Counts a record whose packet was `wire` on the wire, in several fragments.
    pub fn count_as(&mut self, record: &mut Record, wire: Traffic) {
        record.totals = self.totals(record, wire);
    }

    /// The number of flows dropped after a long silence.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Losses caused by the limit.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        losses.add(Stage::Table, "replay flow table full", self.uncounted);
        losses
    }

    fn totals(&mut self, record: &Record, wire: Traffic) -> Option<FlowTotals> {
        // The counters do not depend on DNS ports.
        let headers = Headers::read(&record.bytes, &[])?;
        let (src, dst) = headers.ends();
        let (mut pod, peer) = match record.direction {
            Direction::FromPod => (src, dst),
            Direction::ToPod => (dst, src),
        };
        // Whichever end pings, the identifier takes the place of the pod's port.
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
        // The first entry is the one that was silent for longest.
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
