//! TCP connections: opening, established, refused, timed out, reset, closed.
//!
//! Live, only segments with SYN, FIN or RST and the first packet of a flow arrive here; the rest of a connection's life is
//! seen in sweeps of the kernel's flow counters. From a capture file every segment arrives. Sequence numbers are used to
//! tell a retransmitted SYN from a new connection on the same ports, and for nothing else.

use std::time::Duration;

use super::meter::Meter;
use super::table::Table;
use crate::model::connection::{RefusedBy, TcpConnection, TcpState};
use crate::model::correlated::{Correlated, Happening};
use crate::model::flow::{Flow, FlowSnapshot, Role, Way};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{IcmpError, Observation, TcpSegment};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

/// A connection that ended is remembered for so long, so that its last segments are not taken for a new one.
const LINGER: Duration = Duration::from_secs(60);
/// Data in a SYN (TCP Fast Open) is acknowledged with it; more than a window cannot be.
const MAX_SYN_DATA: u32 = 65_535;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// SYN seen, no answer.
    Opening,
    /// As `Opening`, and told as a timeout.
    TimedOut,
    /// As `Opening`, and told as refused by an ICMP error. The opener may try on: Linux does where the error comes back
    /// before connect(2) has left the socket.
    Rejected,
    /// Established, or seen only from the middle on.
    Established,
}

#[derive(Clone, Debug)]
struct Connection {
    role: Role,
    /// The first SYN, or the first packet that was seen.
    started: Timestamp,
    /// The first SYN's sequence number; `None` if it was not seen.
    isn: Option<u32>,
    syn_retransmits: u32,
    handshake: Option<Duration>,
    phase: Phase,
    fin_from_pod: bool,
    fin_to_pod: bool,
    last: Timestamp,
    meter: Meter,
}

impl Connection {
    fn opened(observation: &Observation, segment: &TcpSegment) -> Connection {
        Connection {
            role: opener(observation.way),
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

    /// Seen from the middle on. Who opened it is told by a SYN-ACK, else it is guessed: servers have the lower port.
    fn picked_up(observation: &Observation, segment: &TcpSegment) -> Connection {
        let flow = &observation.flow;
        let role = if segment.syn {
            answerer(observation.way)
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

    fn told(&self, flow: Flow, state: TcpState, icmp: Option<IcmpError>) -> Correlated {
        let connection = TcpConnection {
            flow,
            role: self.role,
            state,
            handshake: self.handshake,
            syn_retransmits: self.syn_retransmits,
            totals: self.meter.totals(),
            icmp,
        };
        Correlated {
            time: self.started,
            flow,
            role: self.role,
            what: Happening::Tcp(Box::new(connection)),
        }
    }

    fn unanswered(&self) -> bool {
        matches!(
            self.phase,
            Phase::Opening | Phase::TimedOut | Phase::Rejected
        )
    }

    /// Whether a SYN-ACK or RST answers the SYN that was seen.
    fn answered_by(&self, observation: &Observation, segment: &TcpSegment) -> bool {
        let from_answerer = answerer(observation.way) == self.role;
        let acknowledged = match self.isn {
            Some(isn) if segment.ack => {
                segment.acknowledgment.wrapping_sub(isn.wrapping_add(1)) <= MAX_SYN_DATA
            }
            _ => true,
        };
        from_answerer && acknowledged
    }
}

/// The pod's role if this packet opens a connection.
fn opener(way: Way) -> Role {
    match way {
        Way::FromPod => Role::Client,
        Way::ToPod => Role::Server,
    }
}

/// The pod's role if this packet answers one that opened a connection.
fn answerer(way: Way) -> Role {
    match way {
        Way::FromPod => Role::Server,
        Way::ToPod => Role::Client,
    }
}

/// All TCP connections.
#[derive(Debug)]
pub(super) struct Connections {
    open: Table<Flow, Connection>,
    /// Ended not long ago; with the first SYN's sequence number.
    ended: Table<Flow, Option<u32>>,
    timeout: Duration,
    opening_retransmits: u32,
    idle: Duration,
}

impl Connections {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> Connections {
        Connections {
            open: Table::new(limits.connections),
            ended: Table::new(limits.connections / 8),
            timeout: thresholds.tcp_timeout,
            opening_retransmits: thresholds.tcp_opening_retransmits,
            idle: thresholds.flow_idle,
        }
    }

    /// Takes a segment in.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let flow = observation.flow;
        let first_syn = segment.syn && !segment.ack && !segment.rst;
        let Some(mut connection) = self.open.remove(&flow) else {
            self.unknown(observation, segment, first_syn, losses);
            return;
        };
        if first_syn && is_new(&connection, observation, segment) {
            // The same ports again: whatever became of the connection before, it is over.
            match connection.phase {
                Phase::Established => out.push(connection.told(flow, TcpState::Closed, None)),
                Phase::Opening => losses.add(Stage::Table, "tcp connection given up undecided", 1),
                Phase::TimedOut | Phase::Rejected => {}
            }
            self.keep(flow, Connection::opened(observation, segment), losses);
            return;
        }
        connection.meter.observe(observation);
        connection.last = connection.last.max(observation.time);
        if segment.rst {
            self.reset(connection, observation, segment, losses, out);
            return;
        }
        if first_syn {
            self.retransmitted(&mut connection, observation, out);
        } else if connection.unanswered()
            && segment.syn
            && connection.answered_by(observation, segment)
        {
            connection.handshake = Some(observation.time.since(connection.started));
            connection.phase = Phase::Established;
            out.push(connection.told(flow, TcpState::Established, None));
        }
        if segment.fin {
            match observation.way {
                Way::FromPod => connection.fin_from_pod = true,
                Way::ToPod => connection.fin_to_pod = true,
            }
            if connection.fin_from_pod && connection.fin_to_pod {
                out.push(connection.told(flow, TcpState::Closed, None));
                self.finish(flow, &connection, observation.time);
                return;
            }
        }
        self.keep(flow, connection, losses);
    }

    /// A segment of a flow without a connection.
    fn unknown(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        first_syn: bool,
        losses: &mut Losses,
    ) {
        let flow = observation.flow;
        if first_syn {
            // A SYN sent again after it was refused is no new connection.
            if self
                .ended
                .get(&flow)
                .is_some_and(|isn| *isn == Some(segment.sequence))
            {
                return;
            }
            self.ended.remove(&flow);
            self.keep(flow, Connection::opened(observation, segment), losses);
        } else if self.ended.get(&flow).is_none() && !segment.rst {
            self.keep(flow, Connection::picked_up(observation, segment), losses);
        }
    }

    fn retransmitted(
        &self,
        connection: &mut Connection,
        observation: &Observation,
        out: &mut Vec<Correlated>,
    ) {
        if !connection.unanswered() || opener(observation.way) != connection.role {
            return;
        }
        connection.syn_retransmits = connection.syn_retransmits.saturating_add(1);
        if connection.syn_retransmits == self.opening_retransmits
            && connection.phase == Phase::Opening
        {
            out.push(connection.told(observation.flow, TcpState::Opening, None));
        }
    }

    fn reset(
        &mut self,
        connection: Connection,
        observation: &Observation,
        segment: &TcpSegment,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let flow = observation.flow;
        let state = if connection.unanswered() {
            if connection.answered_by(observation, segment) {
                TcpState::Refused(RefusedBy::Rst)
            } else if opener(observation.way) == connection.role {
                // Whoever opened it took it back.
                TcpState::Reset
            } else {
                // It acknowledges another SYN than the one that waits.
                self.keep(flow, connection, losses);
                return;
            }
        } else if connection.fin_from_pod || connection.fin_to_pod {
            // One side was done already: an abrupt close, not a broken connection.
            TcpState::Closed
        } else {
            TcpState::Reset
        };
        // Refused twice is refused.
        if connection.phase != Phase::Rejected {
            out.push(connection.told(flow, state, None));
        }
        self.finish(flow, &connection, observation.time);
    }

    /// An ICMP error quotes a packet of `flow`. Whether it is about a connection attempt, and so told: once.
    pub(super) fn icmp(
        &mut self,
        flow: &Flow,
        error: &IcmpError,
        out: &mut Vec<Correlated>,
    ) -> bool {
        let Some(connection) = self
            .open
            .get_mut(flow)
            .filter(|connection| connection.unanswered())
        else {
            return false;
        };
        if connection.phase != Phase::Rejected {
            connection.phase = Phase::Rejected;
            out.push(connection.told(*flow, TcpState::Refused(RefusedBy::Icmp), Some(*error)));
        }
        let deadline = due(connection, self.timeout, self.idle);
        self.open.touch(flow, deadline);
        true
    }

    /// The pod's role in a connection that is open.
    pub(super) fn role(&self, flow: &Flow) -> Option<Role> {
        self.open.get(flow).map(|connection| connection.role)
    }

    /// Takes a flow's counters in.
    pub(super) fn count(&mut self, snapshot: &FlowSnapshot) {
        let Some(connection) = self.open.get_mut(&snapshot.flow) else {
            return;
        };
        connection.meter.count(snapshot.last, snapshot.totals);
        if snapshot.last > connection.last {
            connection.last = snapshot.last;
            let deadline = due(connection, self.timeout, self.idle);
            self.open.touch(&snapshot.flow, deadline);
        }
    }

    pub(super) fn advance(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        while let Some((flow, mut connection)) = self.open.pop_due(now) {
            match connection.phase {
                Phase::Opening => {
                    connection.phase = Phase::TimedOut;
                    out.push(connection.told(flow, TcpState::Timeout, None));
                    // An answer may still come.
                    let deadline = due(&connection, self.timeout, self.idle);
                    self.open.insert(flow, connection, deadline);
                }
                Phase::TimedOut | Phase::Rejected => {}
                Phase::Established => {
                    out.push(connection.told(flow, TcpState::Closed, None));
                }
            }
        }
        while self.ended.pop_due(now).is_some() {}
    }

    /// Totals so far and the state as it is.
    pub(super) fn end(&mut self, out: &mut Vec<Correlated>) {
        while let Some((flow, connection)) = self.open.pop_oldest() {
            let state = match connection.phase {
                Phase::Opening if connection.syn_retransmits >= 2 => TcpState::Timeout,
                Phase::Opening => TcpState::Opening,
                Phase::TimedOut | Phase::Rejected => continue,
                Phase::Established => TcpState::Established,
            };
            out.push(connection.told(flow, state, None));
        }
    }

    fn keep(&mut self, flow: Flow, connection: Connection, losses: &mut Losses) {
        let deadline = due(&connection, self.timeout, self.idle);
        if let Some((_, evicted)) = self.open.insert(flow, connection, deadline)
            && matches!(evicted.phase, Phase::Opening | Phase::Established)
        {
            losses.add(Stage::Table, "tcp connection table full", 1);
        }
    }

    fn finish(&mut self, flow: Flow, connection: &Connection, now: Timestamp) {
        self.ended.insert(flow, connection.isn, now.after(LINGER));
    }
}

/// When something happens to a connection by the passing of time alone.
fn due(connection: &Connection, timeout: Duration, idle: Duration) -> Timestamp {
    match connection.phase {
        Phase::Opening => connection.started.after(timeout),
        Phase::Rejected => connection.last.after(LINGER),
        Phase::TimedOut | Phase::Established => connection.last.after(idle),
    }
}

/// Whether a SYN opens another connection than the one that is known on its ports.
fn is_new(connection: &Connection, observation: &Observation, segment: &TcpSegment) -> bool {
    let same_direction = opener(observation.way) == connection.role;
    match connection.isn {
        Some(isn) => match same_direction {
            true => isn != segment.sequence,
            // While both ends try, it is a simultaneous open (RFC 9293 section 3.5); afterwards somebody starts anew.
            false => connection.phase == Phase::Established,
        },
        None => true,
    }
}

#[cfg(test)]
mod tests;
