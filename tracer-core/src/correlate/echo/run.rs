//! One run of echo requests: the requests that may still be answered, and the counts.

use std::collections::VecDeque;
use std::time::Duration;

use super::Key;
use crate::correlate::meter::Meter;
use crate::correlate::round_trip::RoundTrips;
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::echo::{Echo, EchoState};
use crate::model::flow::{FlowTotals, Role};
use crate::model::heap_bytes::ALLOCATION;
use crate::model::observation::{IcmpError, Observation};
use crate::model::time::Timestamp;

/// Minimum number of requests of a flood.
const FLOOD_FROM: u64 = 100;
/// Minimum requests per second of a flood.
const FLOOD_PER_SECOND: u32 = 50;

/// A request that may still get its reply, or a duplicate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The sequence number, extended beyond 16 bits.
    pub(super) number: u64,
    pub(super) sent: Timestamp,
    pub(super) answered: bool,
    pub(super) failed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) started: Timestamp,
    pub(super) last_request: Timestamp,
    /// The latest request, reply or error.
    pub(super) last: Timestamp,
    pub(super) next_report: Timestamp,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) errors: u64,
    pub(super) last_error: Option<IcmpError>,
    pub(super) round_trips: RoundTrips,
    /// By number; nearly always the order of arrival.
    pub(super) requests: VecDeque<Request>,
    /// The highest number so far.
    pub(super) highest: u64,
    /// Unanswered requests dropped to make room: replies with numbers below `requests` may belong to them.
    pub(super) forgotten: u64,
    /// Replies without a known request while the kernel had counted requests without a record.
    pub(super) credited: u64,
    pub(super) meter: Meter,
}

impl Run {
    /// Starts with this request.
    pub(super) fn new(first: &Observation, sequence: u16, report: Duration) -> Run {
        let at = first.time;
        Run {
            started: at,
            last_request: at,
            last: at,
            next_report: at.after(report),
            sent: 0,
            received: 0,
            duplicates: 0,
            errors: 0,
            last_error: None,
            round_trips: RoundTrips::default(),
            requests: VecDeque::new(),
            // Starts one wrap up, so that a request from just before the first one has a number too.
            highest: (1 << 16) + u64::from(sequence),
            forgotten: 0,
            credited: 0,
            meter: Meter::starting(first),
        }
    }

    /// The number nearest to the highest so far with this sequence number.
    pub(super) fn number(&self, sequence: u16) -> u64 {
        // The cast takes the lower 16 bits: the sequence number on the wire.
        let ahead = sequence.wrapping_sub(self.highest as u16);
        // As a signed distance: up to half the range ahead, else behind.
        let ahead = i64::from(ahead.cast_signed());
        self.highest.saturating_add_signed(ahead)
    }

    /// Memory of the requests.
    pub(super) fn heap_bytes(&self) -> usize {
        ALLOCATION + self.requests.capacity() * size_of::<Request>()
    }

    /// The request with this number, if it is still kept.
    pub(super) fn request(&mut self, number: u64) -> Option<&mut Request> {
        let index = self
            .requests
            .binary_search_by_key(&number, |request| request.number)
            .ok()?;
        self.requests.get_mut(index)
    }

    /// Requests and replies that the kernel counted without a record.
    pub(super) fn unseen(&self, role: Role) -> (u64, u64) {
        let FlowTotals { tx, rx, .. } = self.meter.unseen();
        match role {
            Role::Client => (tx.packets, rx.packets),
            Role::Server => (rx.packets, tx.packets),
        }
    }

    /// Whether requests come so fast that the probes may have suppressed records.
    pub(super) fn is_flood(&self, role: Role) -> bool {
        let enough = self.last_request.since(self.started) * FLOOD_PER_SECOND;
        let sent = Duration::from_secs(self.sent);
        self.unseen(role) != (0, 0) || self.sent >= FLOOD_FROM && sent >= enough
    }

    /// Totals so far. The kernel's counters include every packet but cannot identify a duplicate reply
    /// without a record.
    pub(super) fn event(&self, key: &Key, state: EchoState) -> Correlated {
        let (requests, replies) = self.unseen(key.role);
        let sent = self.sent + requests;
        let received = self.received + self.credited.min(requests) + replies;
        let echo = Echo {
            flow: key.flow,
            role: key.role,
            id: key.flow.pod.port(),
            sent,
            received: received.min(sent),
            duplicates: self.duplicates,
            errors: self.errors,
            last_error: self.last_error,
            samples: self.round_trips.samples(),
            rtt: self.round_trips.rtt(),
            last: self.last.max(self.last_request),
            state,
        };
        Correlated {
            time: self.started,
            flow: key.flow,
            role: key.role,
            event: CorrelatedEvent::Echo(Box::new(echo)),
        }
    }
}
