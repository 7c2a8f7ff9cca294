//! One run of echo requests: its requests that may still be answered, and what was counted.

use std::collections::VecDeque;
use std::time::Duration;

use super::Key;
use crate::correlate::meter::Meter;
use crate::correlate::round_trip::RoundTrips;
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::echo::{Echo, EchoState};
use crate::model::flow::{FlowTotals, Role};
use crate::model::observation::{IcmpError, Observation};
use crate::model::time::Timestamp;

/// A flood has at least so many requests,
const FLOOD_FROM: u64 = 100;
/// and so many a second.
const FLOOD_PER_SECOND: u32 = 50;

/// A request whose reply, or second reply, may still come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The sequence number, carried on beyond 16 bits.
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
    /// Requests that were given up for want of room and had no reply then: replies below `requests` may be theirs.
    pub(super) forgotten: u64,
    /// Replies that no known request belongs to, while the kernel had counted requests that no record told.
    pub(super) credited: u64,
    pub(super) meter: Meter,
}

impl Run {
    /// Begins with this request.
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
            // One wrap up, so that a request from just before the first seen has a number too.
            highest: (1 << 16) + u64::from(sequence),
            forgotten: 0,
            credited: 0,
            meter: Meter::starting(first),
        }
    }

    /// The number of the request with this sequence number that is nearest to the highest so far.
    pub(super) fn number(&self, sequence: u16) -> u64 {
        // The cast takes the number's lower 16 bits: the sequence number on the wire.
        let ahead = sequence.wrapping_sub(self.highest as u16);
        // As a signed distance: up to half the range ahead, else behind.
        let ahead = i64::from(ahead.cast_signed());
        self.highest.saturating_add_signed(ahead)
    }

    /// The request of this number, if it is still kept.
    pub(super) fn request(&mut self, number: u64) -> Option<&mut Request> {
        let index = self
            .requests
            .binary_search_by_key(&number, |request| request.number)
            .ok()?;
        self.requests.get_mut(index)
    }

    /// Requests and replies that the kernel counted and no record told.
    pub(super) fn unseen(&self, role: Role) -> (u64, u64) {
        let FlowTotals { tx, rx } = self.meter.unseen();
        match role {
            Role::Client => (tx.packets, rx.packets),
            Role::Server => (rx.packets, tx.packets),
        }
    }

    /// Whether requests come so fast that records of them may have been held back.
    pub(super) fn is_flood(&self, role: Role) -> bool {
        let enough = self.last_request.since(self.started) * FLOOD_PER_SECOND;
        let sent = Duration::from_secs(self.sent);
        self.unseen(role) != (0, 0) || self.sent >= FLOOD_FROM && sent >= enough
    }

    /// Totals so far. The kernel's counters know of every packet; that a reply which no record told was a second one they
    /// cannot tell.
    pub(super) fn told(&self, key: &Key, state: EchoState) -> Correlated {
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
            what: CorrelatedEvent::Echo(Box::new(echo)),
        }
    }
}
