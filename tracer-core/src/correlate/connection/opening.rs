//! How a connection opens: its SYNs, their answer, and the reaction to it.

use std::time::Duration;

use super::life::{Connection, Phase, answerer, opener};
use crate::model::connection::TcpState;
use crate::model::correlated::Correlated;
use crate::model::flow::{Flow, Role};
use crate::model::observation::{Observation, TcpSegment};
use crate::model::time::Timestamp;

/// From this time on the opener may have given up before the SYN-ACK came, which then does not establish the
/// connection. No program is less patient.
const PATIENCE: Duration = Duration::from_millis(100);
/// The opener resets a SYN-ACK that it no longer expects at once; it is on this node.
const REACTION: Duration = Duration::from_millis(50);
/// Retransmissions of a SYN are twice as far apart each time, give or take a timer's inaccuracy.
const BACKOFF: f64 = 2.5;

impl Connection {
    /// Counts a repeated SYN, and reports the connection as opening once enough were repeated.
    pub(super) fn retransmitted(
        &mut self,
        observation: &Observation,
        opening_retransmits: u32,
        out: &mut Vec<Correlated>,
    ) {
        if opener(observation.direction) != self.role {
            return;
        }
        let now = observation.time;
        if self.picked_up {
            self.began_before_its_answer(observation, out);
            return;
        }
        self.syn_pending = true;
        if !self.unanswered() {
            return;
        }
        let interval = now.since(self.last_syn).max(Duration::from_secs(1));
        self.syn_due = now.after(interval.mul_f64(BACKOFF));
        self.last_syn = self.last_syn.max(now);
        self.given_up = None;
        self.syn_retransmits = self.syn_retransmits.saturating_add(1);
        if self.syn_retransmits == opening_retransmits && self.phase == Phase::Opening {
            out.push(self.event(observation.flow, TcpState::Opening, None));
        }
    }

    /// The SYN of a connection whose SYN-ACK was seen first: the capture has them in the wrong order.
    fn began_before_its_answer(&mut self, observation: &Observation, out: &mut Vec<Correlated>) {
        self.picked_up = false;
        self.last_syn = observation.time;
        let apart = observation.time.since(self.started);
        self.handshake = Some(apart.max(self.started.since(observation.time)));
        self.started = self.started.min(observation.time);
        self.establish(observation.flow, out);
    }

    /// Takes a SYN-ACK.
    pub(super) fn answered(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        out: &mut Vec<Correlated>,
    ) {
        if !self.answered_by(observation, segment) {
            return;
        }
        let now = observation.time;
        if !self.unanswered() {
            if self.handshake.is_none() && !self.picked_up && self.late_answer.is_none() {
                // The opener's acknowledgment was seen first.
                self.handshake = Some(now.since(self.started));
            }
            let repeats = !std::mem::take(&mut self.syn_pending);
            if repeats && !matches!(self.phase, Phase::Closing { .. }) {
                self.syn_ack_repeats = self.syn_ack_repeats.saturating_add(1);
            }
            return;
        }
        self.syn_pending = false;
        self.given_up = None;
        let handshake = now.since(self.started);
        self.handshake = Some(handshake);
        // Only a pod's reaction is at once; another end's takes a round trip, and live only resets are seen.
        if self.role == Role::Client && handshake >= PATIENCE && self.phase != Phase::Rejected {
            self.phase = Phase::Answered {
                until: now.after(REACTION),
                timed_out: self.phase == Phase::TimedOut,
            };
        } else {
            self.establish(observation.flow, out);
        }
    }

    /// It is established: reports it once, unless it was first seen in the middle.
    pub(super) fn establish(&mut self, flow: Flow, out: &mut Vec<Correlated>) {
        self.phase = Phase::Established;
        if !self.picked_up && !self.announced {
            self.announced = true;
            out.push(self.event(flow, TcpState::Established, None));
        }
    }

    /// Notes that the SYN was not repeated when that was due.
    pub(super) fn overdue(&mut self, now: Timestamp) {
        if now > self.syn_due {
            self.given_up.get_or_insert(self.syn_due);
        }
    }

    /// Whether a SYN-ACK or RST answers the observed SYN.
    pub(super) fn answered_by(&self, observation: &Observation, segment: &TcpSegment) -> bool {
        answerer(observation.direction) == self.role
            && (!segment.ack || accepts_acknowledgment(self, segment.acknowledgment))
    }

    /// Whether the opener continues as if its SYN had been answered. Another opener than the pod is believed
    /// only after the pod's answer.
    pub(super) fn continues_unanswered(
        &self,
        observation: &Observation,
        segment: &TcpSegment,
    ) -> bool {
        let waits = match self.phase {
            Phase::Opening | Phase::TimedOut | Phase::Rejected => self.role == Role::Client,
            Phase::Answered { .. } => true,
            Phase::Established | Phase::Closing { .. } => false,
        };
        waits
            && segment.ack
            && !segment.syn
            && !segment.rst
            && opener(observation.direction) == self.role
    }

    /// Whether a SYN opens another connection on the same ports.
    pub(super) fn replaced_by(&self, observation: &Observation, segment: &TcpSegment) -> bool {
        let same_direction = opener(observation.direction) == self.role;
        match self.isn {
            Some(isn) => match same_direction {
                true => isn != segment.sequence,
                // While both ends try, it is a simultaneous open (RFC 9293 section 3.5); afterwards it is a
                // new connection.
                false => !self.unanswered(),
            },
            None => true,
        }
    }

    pub(super) fn unanswered(&self) -> bool {
        matches!(
            self.phase,
            Phase::Opening | Phase::TimedOut | Phase::Rejected
        )
    }
}

/// Whether a SYN-ACK or RST with this number answers the connection's SYN.
pub(super) fn accepts_acknowledgment(connection: &Connection, number: u32) -> bool {
    connection
        .isn
        .is_none_or(|isn| number.wrapping_sub(isn.wrapping_add(1)) <= connection.syn_data)
}
