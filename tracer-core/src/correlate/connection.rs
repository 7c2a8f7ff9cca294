//! TCP connections: opening, established, refused, timed out, reset, closed.
//!
//! Live, only segments with SYN, FIN or RST and the first packet of a flow arrive here; sweeps of the
//! kernel's flow counters show the rest of a connection's life. A capture file supplies every segment.
//! Sequence numbers only distinguish a retransmitted SYN from a new connection on the same ports.

pub(super) mod half_seen;
mod life;

use std::time::Duration;

use crate::model::connection::{RefusedBy, TcpState};
use crate::model::correlated::Correlated;
use crate::model::flow::{Direction, Flow, FlowSnapshot, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{IcmpError, Observation, TcpSegment};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;
use crate::table::Table;
use half_seen::HalfSeen;
pub(super) use life::opener;
use life::{Connection, LINGER, Phase};

/// What remains of a connection that ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    role: Role,
    /// The first SYN's sequence number.
    isn: Option<u32>,
}

/// All TCP connections.
#[derive(Debug)]
pub(super) struct Connections {
    open: Table<Flow, Connection>,
    /// Ended within [`LINGER`].
    ended: Table<Flow, Ended>,
    timeout: Duration,
    opening_retransmits: u32,
    idle: Duration,
    /// Evidence found since the last [`Connections::take_half_seen`].
    half_seen: Vec<HalfSeen>,
}

impl Connections {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> Connections {
        Connections {
            open: Table::new(limits.connections),
            ended: Table::new(limits.connections / 8),
            timeout: thresholds.tcp_timeout,
            opening_retransmits: thresholds.tcp_opening_retransmits,
            idle: thresholds.flow_idle,
            half_seen: Vec::new(),
        }
    }

    /// Connections with one direction missing, found since the last call.
    pub(super) fn take_half_seen(&mut self) -> Vec<HalfSeen> {
        std::mem::take(&mut self.half_seen)
    }

    /// Takes a segment.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let flow = observation.flow;
        let first_syn = segment.syn && !segment.ack && !segment.rst;
        let Some(connection) = self.open.get_mut(&flow) else {
            self.unknown(observation, segment, first_syn, losses);
            return;
        };
        if first_syn && connection.replaced_by(observation, segment) {
            // A new connection on the same ports: the previous one is over, whatever its state.
            match connection.phase {
                Phase::Established => out.push(connection.event(flow, TcpState::Closed, None)),
                Phase::Opening => losses.add(Stage::Table, "tcp connection given up undecided", 1),
                Phase::TimedOut | Phase::Rejected => {}
            }
            self.keep(flow, Connection::opened(observation, segment), losses);
            return;
        }
        connection.meter.observe(observation);
        connection.last = connection.last.max(observation.time);
        if segment.rst {
            if connection.reset(observation, segment, out) {
                self.finish(&flow, observation.time);
            } else {
                self.reschedule(&flow);
            }
            return;
        }
        if first_syn {
            connection.retransmitted(observation, self.opening_retransmits, out);
        } else if connection.unanswered()
            && segment.syn
            && connection.answered_by(observation, segment)
        {
            connection.handshake = Some(observation.time.since(connection.started));
            connection.phase = Phase::Established;
            out.push(connection.event(flow, TcpState::Established, None));
        } else if connection.continues_unanswered(observation, segment) {
            self.half_seen
                .extend(established_unseen(flow, connection, out));
        }
        if segment.fin {
            match observation.direction {
                Direction::FromPod => connection.fin_from_pod = true,
                Direction::ToPod => connection.fin_to_pod = true,
            }
            if connection.fin_from_pod && connection.fin_to_pod {
                out.push(connection.event(flow, TcpState::Closed, None));
                self.finish(&flow, observation.time);
                return;
            }
        }
        self.reschedule(&flow);
    }

    /// Takes a segment of a flow without a connection.
    fn unknown(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        first_syn: bool,
        losses: &mut Losses,
    ) {
        let flow = observation.flow;
        if first_syn {
            // A SYN repeated after its refusal opens no new connection.
            if self
                .ended
                .get(&flow)
                .is_some_and(|ended| ended.isn == Some(segment.sequence))
            {
                return;
            }
            self.ended.remove(&flow);
            self.keep(flow, Connection::opened(observation, segment), losses);
        } else if self.ended.get(&flow).is_none() && !segment.rst {
            self.keep(flow, Connection::picked_up(observation, segment), losses);
        }
    }

    /// Takes an ICMP error that arrived at `at` and quotes a packet of `flow`. Returns whether it concerns a
    /// connection attempt; the first such error emits the event.
    pub(super) fn icmp(
        &mut self,
        flow: &Flow,
        error: &IcmpError,
        at: Timestamp,
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
            connection.last = connection.last.max(at);
            out.push(connection.event(*flow, TcpState::Refused(RefusedBy::Icmp), Some(*error)));
        }
        self.reschedule(flow);
        true
    }

    /// The pod's role in a connection that is open or ended within [`LINGER`].
    pub(super) fn role(&self, flow: &Flow) -> Option<Role> {
        match self.open.get(flow) {
            Some(connection) => Some(connection.role),
            None => self.ended.get(flow).map(|ended| ended.role),
        }
    }

    /// Takes a flow's counters.
    pub(super) fn count(&mut self, snapshot: &FlowSnapshot, out: &mut Vec<Correlated>) {
        let flow = snapshot.flow;
        let Some(connection) = self.open.get_mut(&flow) else {
            self.half_seen.extend(half_seen::counted(snapshot));
            return;
        };
        connection.meter.count(snapshot.last, snapshot.totals);
        connection.last = connection.last.max(snapshot.last);
        if connection.unanswered()
            && connection.meter.is_alone()
            && half_seen::established(connection.role, snapshot.tcp_flags)
        {
            self.half_seen
                .extend(established_unseen(flow, connection, out));
        }
        self.reschedule(&flow);
    }

    pub(super) fn advance(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        while let Some((flow, mut connection)) = self.open.pop_due(now) {
            match connection.phase {
                Phase::Opening => {
                    connection.phase = Phase::TimedOut;
                    out.push(connection.event(flow, TcpState::Timeout, None));
                    // An answer may still come.
                    let deadline = connection.due(self.timeout, self.idle);
                    self.open.insert(flow, connection, deadline);
                }
                Phase::TimedOut | Phase::Rejected => {}
                Phase::Established => {
                    out.push(connection.event(flow, TcpState::Closed, None));
                }
            }
        }
        while self.ended.pop_due(now).is_some() {}
    }

    /// Emits every open connection with its totals so far and its current state.
    pub(super) fn end(&mut self, out: &mut Vec<Correlated>) {
        while let Some((flow, connection)) = self.open.pop_oldest() {
            let state = match connection.phase {
                Phase::Opening if connection.syn_retransmits >= 2 => TcpState::Timeout,
                Phase::Opening => TcpState::Opening,
                Phase::TimedOut | Phase::Rejected => continue,
                Phase::Established => TcpState::Established,
            };
            out.push(connection.event(flow, state, None));
        }
    }

    fn keep(&mut self, flow: Flow, connection: Connection, losses: &mut Losses) {
        let deadline = connection.due(self.timeout, self.idle);
        if let Some((_, evicted)) = self.open.insert(flow, connection, deadline)
            && matches!(evicted.phase, Phase::Opening | Phase::Established)
        {
            losses.add(Stage::Table, "tcp connection table full", 1);
        }
    }

    /// Marks an entry as used and recomputes its deadline.
    fn reschedule(&mut self, flow: &Flow) {
        if let Some(connection) = self.open.get(flow) {
            let deadline = connection.due(self.timeout, self.idle);
            self.open.touch(flow, deadline);
        }
    }

    fn finish(&mut self, flow: &Flow, now: Timestamp) {
        if let Some(connection) = self.open.remove(flow) {
            let ended = Ended {
                role: connection.role,
                isn: connection.isn,
            };
            self.ended.insert(*flow, ended, now.after(LINGER));
        }
    }
}

/// The connection is established although its SYN-ACK was not seen: the record was lost, or its direction is not
/// visible.
fn established_unseen(
    flow: Flow,
    connection: &mut Connection,
    out: &mut Vec<Correlated>,
) -> Option<HalfSeen> {
    let evidence = half_seen::evidence(flow, connection);
    connection.phase = Phase::Established;
    out.push(connection.event(flow, TcpState::Established, None));
    evidence
}

#[cfg(test)]
mod tests;
