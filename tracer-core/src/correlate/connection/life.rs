//! The state of one TCP connection, and the meaning of a segment to it.

use std::time::Duration;

use crate::correlate::meter::Meter;
use crate::model::connection::{RefusedBy, TcpConnection, TcpState};
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::evidence::TcpEvidence;
use crate::model::flow::{Direction, Flow, Role};
use crate::model::observation::{IcmpError, Observation, TcpSegment};
use crate::model::time::Timestamp;

/// How long an ended connection is remembered, so that its last segments do not open a new one.
pub(super) const LINGER: Duration = Duration::from_secs(60);
/// The SYN-ACK acknowledges data in a SYN (TCP Fast Open), which is at most a window.
const MAX_SYN_DATA: u32 = 65_535;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// SYN seen, no answer.
    Opening,
    /// As `Opening`, and reported as a timeout.
    TimedOut,
    /// As `Opening`, and reported as refused by an ICMP error. The opener may retry: Linux does if the error
    /// arrives before connect(2) leaves the socket.
    Rejected,
    /// Established, or first seen in the middle.
    Established,
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) role: Role,
    /// Time of the first SYN, or of the first packet seen.
    pub(super) started: Timestamp,
    /// The first SYN's sequence number; `None` if it was not seen.
    pub(super) isn: Option<u32>,
    pub(super) syn_retransmits: u32,
    pub(super) handshake: Option<Duration>,
    pub(super) phase: Phase,
    pub(super) fin_from_pod: bool,
    pub(super) fin_to_pod: bool,
    pub(super) last: Timestamp,
    pub(super) meter: Meter,
}

impl Connection {
    pub(super) fn opened(observation: &Observation, segment: &TcpSegment) -> Connection {
        Connection {
            role: opener(observation.direction),
            started: observation.time,
            isn: Some(segment.sequence),
            syn_retransmits: 0,
            handshake: None,
            phase: Phase::Opening,
            fin_from_pod: false,
            fin_to_pod: false,
            last: observation.time,
            meter: Meter::starting(observation),
        }
    }

    /// First seen in the middle. A SYN-ACK shows the opener; otherwise the lower port is taken for the
    /// server's.
    pub(super) fn picked_up(observation: &Observation, segment: &TcpSegment) -> Connection {
        let flow = &observation.flow;
        let role = if segment.syn {
            answerer(observation.direction)
        } else if flow.pod.port() < flow.peer.port() {
            Role::Server
        } else {
            Role::Client
        };
        Connection {
            role,
            started: observation.time,
            isn: None,
            syn_retransmits: 0,
            handshake: None,
            phase: Phase::Established,
            fin_from_pod: false,
            fin_to_pod: false,
            last: observation.time,
            meter: Meter::picked_up(observation),
        }
    }

    pub(super) fn event(&self, flow: Flow, state: TcpState, icmp: Option<IcmpError>) -> Correlated {
        let connection = TcpConnection {
            flow,
            role: self.role,
            state,
            handshake: self.handshake,
            syn_retransmits: self.syn_retransmits,
            totals: self.meter.totals(),
            icmp,
            last: self.last,
            evidence: TcpEvidence::default(),
        };
        Correlated {
            time: self.started,
            flow,
            role: self.role,
            event: CorrelatedEvent::Tcp(Box::new(connection)),
        }
    }

    /// Counts a repeated SYN, and reports the connection as opening once enough were repeated.
    pub(super) fn retransmitted(
        &mut self,
        observation: &Observation,
        opening_retransmits: u32,
        out: &mut Vec<Correlated>,
    ) {
        if !self.unanswered() || opener(observation.direction) != self.role {
            return;
        }
        self.syn_retransmits = self.syn_retransmits.saturating_add(1);
        if self.syn_retransmits == opening_retransmits && self.phase == Phase::Opening {
            out.push(self.event(observation.flow, TcpState::Opening, None));
        }
    }

    /// Takes a RST. Returns whether it ends the connection.
    pub(super) fn reset(
        &self,
        observation: &Observation,
        segment: &TcpSegment,
        out: &mut Vec<Correlated>,
    ) -> bool {
        let state = if self.unanswered() {
            if self.answered_by(observation, segment) {
                TcpState::Refused(RefusedBy::Rst)
            } else if opener(observation.direction) == self.role {
                // The opener withdrew its SYN.
                TcpState::Reset
            } else {
                // It acknowledges another SYN than the pending one.
                return false;
            }
        } else if self.fin_from_pod || self.fin_to_pod {
            // One side had finished: an abrupt close, not a broken connection.
            TcpState::Closed
        } else {
            TcpState::Reset
        };
        // An ICMP error already reported the connection as refused.
        if self.phase != Phase::Rejected {
            out.push(self.event(observation.flow, state, None));
        }
        true
    }

    pub(super) fn unanswered(&self) -> bool {
        matches!(
            self.phase,
            Phase::Opening | Phase::TimedOut | Phase::Rejected
        )
    }

    /// Whether a SYN-ACK or RST answers the observed SYN.
    pub(super) fn answered_by(&self, observation: &Observation, segment: &TcpSegment) -> bool {
        let from_answerer = answerer(observation.direction) == self.role;
        let acknowledged = match self.isn {
            Some(isn) if segment.ack => {
                segment.acknowledgment.wrapping_sub(isn.wrapping_add(1)) <= MAX_SYN_DATA
            }
            _ => true,
        };
        from_answerer && acknowledged
    }

    /// Whether the opener continues as if its SYN had been answered.
    pub(super) fn continues_unanswered(
        &self,
        observation: &Observation,
        segment: &TcpSegment,
    ) -> bool {
        self.unanswered()
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
                false => self.phase == Phase::Established,
            },
            None => true,
        }
    }

    /// When the passage of time alone changes the connection's state.
    pub(super) fn due(&self, timeout: Duration, idle: Duration) -> Timestamp {
        match self.phase {
            Phase::Opening => self.started.after(timeout),
            Phase::Rejected => self.last.after(LINGER),
            Phase::TimedOut | Phase::Established => self.last.after(idle),
        }
    }
}

/// The pod's role if this packet opens a connection.
pub(in crate::correlate) fn opener(direction: Direction) -> Role {
    match direction {
        Direction::FromPod => Role::Client,
        Direction::ToPod => Role::Server,
    }
}

/// The pod's role if this packet answers one that opened a connection.
fn answerer(direction: Direction) -> Role {
    match direction {
        Direction::FromPod => Role::Server,
        Direction::ToPod => Role::Client,
    }
}
