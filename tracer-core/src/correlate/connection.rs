//! TCP connections: opening, established, refused, timed out, reset, closed.
//!
//! Live, only segments with SYN, FIN or RST and the first packet of a flow arrive here; sweeps of the
//! kernel's flow counters show the rest of a connection's life. A capture file supplies every segment.
//! Sequence numbers distinguish a retransmitted SYN from a new connection on the same ports, assign an answer
//! to its SYN, and in a capture show what never arrived ([`segments`]).

pub(super) mod activity;
mod ending;
pub(super) mod half_seen;
mod life;
mod opening;
mod other_reply;
mod segments;
mod sent_by_pod;
mod sockets;

use std::time::Duration;

use crate::correlate::declared::Declared;
use crate::correlate::icmp::Quoted;
use crate::fair_table::{FairTable, Room};
use crate::model::connection::{RefusedBy, TcpState};
use crate::model::correlated::Correlated;
use crate::model::exchange::ConnectionEnd;
use crate::model::flow::{Direction, Flow, FlowSnapshot, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{IcmpError, Observation, TcpSegment};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;
use ending::After;
use half_seen::HalfSeen;
pub(super) use life::opener;
use life::{Connection, LINGER, Phase};
use segments::Segments;
use sent_by_pod::SentByPod;
use sockets::Sockets;

/// Memory of the boxes that a connection may have, counted for each one: most live connections have none, and
/// those of a capture have one.
const MAX_BOXES: usize = 64 + size_of::<Segments>();

/// What remains of a connection that ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    role: Role,
    /// The first SYN's sequence number.
    isn: Option<u32>,
    sent: SentByPod,
    /// Sent by the pod, with headers.
    sent_bytes: u64,
}

/// A connection that ended, for the DNS exchanges that waited on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) flow: Flow,
    pub(super) role: Role,
    pub(super) end: ConnectionEnd,
    pub(super) icmp: Option<IcmpError>,
}

/// All TCP connections.
#[derive(Debug)]
pub(super) struct Connections {
    open: FairTable<Flow, Connection, 1>,
    /// Ended within [`LINGER`].
    ended: FairTable<Flow, Ended>,
    sockets: Sockets,
    timeout: Duration,
    opening_retransmits: u32,
    idle: Duration,
    /// Evidence found since the last [`Connections::take_half_seen`].
    half_seen: Vec<HalfSeen>,
    /// Ends since the last [`Connections::take_ends`].
    ends: Vec<End>,
}

impl Connections {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> Connections {
        let eighth = Room {
            entries: limits.connections / 8,
            bytes: limits.memory.connections / 8,
        };
        Connections {
            open: FairTable::new(Room {
                entries: limits.connections,
                bytes: limits.memory.connections - 2 * eighth.bytes,
            }),
            ended: FairTable::new(eighth),
            sockets: Sockets::new(eighth),
            timeout: thresholds.tcp_timeout,
            opening_retransmits: thresholds.tcp_opening_retransmits,
            idle: thresholds.flow_idle,
            half_seen: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Connections with one direction missing, found since the last call.
    pub(super) fn take_half_seen(&mut self) -> Vec<HalfSeen> {
        std::mem::take(&mut self.half_seen)
    }

    /// Connections that failed or closed since the last call. Their events may follow later: the last
    /// segments still count.
    pub(super) fn take_ends(&mut self) -> Vec<End> {
        std::mem::take(&mut self.ends)
    }

    /// Takes a segment.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        declared: &dyn Declared,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let flow = observation.flow;
        let first_syn = segment.syn && !segment.ack && !segment.rst;
        let Some(connection) = self.open.get_mut(&flow) else {
            self.unknown(observation, segment, declared, losses, out);
            return;
        };
        if first_syn && connection.replaced_by(observation, segment) {
            // A new connection on the same ports: the previous one is over, whatever its state.
            if let Some(connection) = self.open.remove(&flow) {
                self.replaced(flow, connection, observation.time, out);
            }
            self.begin(observation, segment, losses, out);
            return;
        }
        let last = connection.last;
        connection.meter.observe(observation);
        connection.track(observation, segment);
        connection.sent.observe(observation.direction, segment);
        if segment.rst {
            let after = connection.reset(observation, segment, out);
            connection.last = last.max(observation.time);
            if after == After::Settles {
                connection.lingers(observation.time, last);
            }
            self.after_reset(&flow, after, observation.time);
            return;
        }
        connection.last = last.max(observation.time);
        if first_syn {
            connection.retransmitted(observation, self.opening_retransmits, out);
        } else if segment.syn {
            connection.answered(observation, segment, out);
            if observation.direction == Direction::FromPod {
                self.sockets.opened(&flow, connection.role);
            }
        } else if connection.continues_unanswered(observation, segment) {
            if matches!(connection.phase, Phase::Answered { .. }) {
                connection.establish(flow, out);
            } else {
                self.half_seen
                    .extend(established_unseen(flow, connection, out));
            }
        }
        if let Phase::Closing { .. } = connection.phase {
            connection.lingers(observation.time, last);
        } else if segment.fin {
            match observation.direction {
                Direction::FromPod => connection.fin_from_pod = true,
                Direction::ToPod => connection.fin_to_pod = true,
            }
            if connection.fin_from_pod && connection.fin_to_pod {
                connection.close(TcpState::Closed, observation.time);
                let (role, end) = (connection.role, ConnectionEnd::Closed);
                self.ends.push(End {
                    flow,
                    role,
                    end,
                    icmp: None,
                });
            }
        }
        self.report_news(&flow, out);
        self.reschedule(&flow);
    }

    /// Takes a segment of a flow without a connection.
    fn unknown(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        declared: &dyn Declared,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let flow = observation.flow;
        if let Some(ended) = self.ended.get(&flow)
            && (!segment.syn || segment.ack || ended.isn == Some(segment.sequence))
        {
            // A late segment, or a SYN repeated after its refusal, opens no new connection.
            self.ended.touch(&flow, observation.time.after(LINGER));
            return;
        }
        if segment.syn && !segment.ack && !segment.rst {
            self.ended.remove(&flow);
            self.begin(observation, segment, losses, out);
            return;
        }
        if segment.rst {
            if let Some(asked) = other_reply::reset_connection(&self.open, observation)
                && let Some(connection) = self.open.get_mut(&asked)
                && let Some(reply) = &mut connection.reply_from
            {
                reply.resets = reply.resets.saturating_add(1);
            }
            return;
        }
        if let Some(asked) = other_reply::answered_connection(&self.open, observation, segment) {
            if let Some(connection) = self.open.get_mut(&asked) {
                other_reply::add(connection, observation, segment);
            }
            self.report_news(&asked, out);
            return;
        }
        if segment.fin {
            // The last segments of a connection that ended before it was seen.
            let ended = Ended {
                role: self
                    .role_in_the_middle(&flow, observation.time, declared)
                    .unwrap_or(Connection::picked_up(observation, segment).role),
                isn: None,
                sent: SentByPod::default(),
                sent_bytes: 0,
            };
            self.remember(flow, ended, observation.time);
            return;
        }
        let mut connection = Connection::picked_up(observation, segment);
        if connection.isn.is_some() {
            self.sockets.opened(&flow, connection.role);
        } else {
            self.sockets.picked_up(&flow);
            if let Some(role) = self.role_in_the_middle(&flow, observation.time, declared) {
                connection.role = role;
            }
        }
        self.keep(flow, connection, observation.time, losses, out);
    }

    /// Which end opened a connection that was first seen in the middle: what is declared decides, then which
    /// socket others connect to.
    fn role_in_the_middle(
        &self,
        flow: &Flow,
        at: Timestamp,
        declared: &dyn Declared,
    ) -> Option<Role> {
        declared.role(at, flow).or_else(|| self.sockets.role(flow))
    }

    fn begin(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let connection = Connection::opened(observation, segment);
        // Another host can send SYNs to any port: the pod's answer shows that it serves.
        if connection.role == Role::Client {
            self.sockets.opened(&observation.flow, connection.role);
        }
        self.keep(observation.flow, connection, observation.time, losses, out);
    }

    /// Another connection took the ports of this one.
    fn replaced(
        &mut self,
        flow: Flow,
        mut connection: Connection,
        now: Timestamp,
        out: &mut Vec<Correlated>,
    ) {
        match connection.phase {
            Phase::Opening | Phase::Answered { .. } => out.extend(connection.give_up(flow, now)),
            Phase::TimedOut | Phase::Rejected => {}
            Phase::Established => {
                self.settle_role(&flow, &mut connection);
                out.push(connection.event(flow, TcpState::Closed, None));
            }
            Phase::Closing { state, .. } => {
                self.settle_role(&flow, &mut connection);
                out.push(connection.event(flow, state, None));
            }
        }
    }

    fn after_reset(&mut self, flow: &Flow, after: After, now: Timestamp) {
        match after {
            After::Continues | After::Settles => self.reschedule(flow),
            After::Ended => self.finish(flow, now),
            After::Failed(state) => {
                let end = match state {
                    TcpState::Refused(_) => ConnectionEnd::Refused,
                    TcpState::Reset => ConnectionEnd::Reset,
                    _ => ConnectionEnd::Closed,
                };
                if let Some(connection) = self.open.get(flow) {
                    self.ends.push(End {
                        flow: *flow,
                        role: connection.role,
                        end,
                        icmp: None,
                    });
                }
                match state {
                    TcpState::Refused(_) => self.finish(flow, now),
                    _ => self.reschedule(flow),
                }
            }
        }
    }

    /// Passes evidence that is new to the rules.
    fn report_news(&mut self, flow: &Flow, out: &mut Vec<Correlated>) {
        let Some(connection) = self.open.get_mut(flow) else {
            return;
        };
        if connection.has_news() {
            if connection.picked_up
                && let Some(role) = self.sockets.role(flow)
            {
                connection.role = role;
            }
            out.push(connection.progress(*flow));
        }
    }

    /// For a connection first seen in the middle: by now others may have connected to one of its ends.
    fn settle_role(&self, flow: &Flow, connection: &mut Connection) {
        if connection.picked_up
            && connection.isn.is_none()
            && let Some(role) = self.sockets.role(flow)
        {
            connection.role = role;
        }
    }

    /// Takes an ICMP error that arrived at `at` and quotes a packet of `flow`, sent by the pod if that is the
    /// client. Returns whether it quotes the SYN of a connection attempt; the first such error emits the event.
    pub(super) fn icmp(
        &mut self,
        flow: &Flow,
        role: Role,
        error: &IcmpError,
        at: Timestamp,
        out: &mut Vec<Correlated>,
    ) -> bool {
        let quotes_syn = |connection: &Connection| {
            connection.unanswered()
                && connection.role == role
                && error.sequence.is_some()
                && connection.isn == error.sequence
        };
        let Some(connection) =
            (self.open.get_mut(flow)).filter(|connection| quotes_syn(connection))
        else {
            return false;
        };
        if connection.phase != Phase::Rejected {
            connection.phase = Phase::Rejected;
            connection.last = connection.last.max(at);
            out.push(connection.event(*flow, TcpState::Refused(RefusedBy::Icmp), Some(*error)));
            self.ends.push(End {
                flow: *flow,
                role: connection.role,
                end: ConnectionEnd::Refused,
                icmp: Some(*error),
            });
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

    /// The connection in which the pod sent the quoted segment, and what the pod sent in it: that of the
    /// quoted flow, or one to a Service whose endpoint the error quotes.
    pub(super) fn quoted(
        &self,
        flow: &Flow,
        error: &IcmpError,
        at: Timestamp,
        declared: &dyn Declared,
    ) -> Option<Quoted> {
        let sequence = error.sequence?;
        let ended = || {
            self.ended.get(flow).filter(|ended| {
                (ended.sent.includes(sequence, ended.sent_bytes)).is_some_and(|included| included)
            })
        };
        if let Some(connection) = self.open.get(flow) {
            return connection.has_sent(sequence, at).then(|| Quoted {
                flow: Some((*flow, connection.role)),
                sent_bytes: connection.meter.totals().tx.bytes,
            });
        }
        if let Some(ended) = ended() {
            return Some(Quoted {
                flow: Some((*flow, ended.role)),
                sent_bytes: ended.sent_bytes,
            });
        }
        other_reply::of_socket(&self.open, flow)
            .find(|(other, connection)| {
                connection.has_sent(sequence, at) && declared.is_endpoint(at, other, flow.peer.ip())
            })
            .map(|(_, connection)| Quoted {
                flow: None,
                sent_bytes: connection.meter.totals().tx.bytes,
            })
    }

    /// Takes a flow's counters.
    pub(super) fn count(&mut self, snapshot: &FlowSnapshot, out: &mut Vec<Correlated>) {
        let flow = snapshot.flow;
        let Some(connection) = self.open.get_mut(&flow) else {
            self.half_seen.extend(half_seen::counted(snapshot));
            return;
        };
        connection.count(snapshot);
        if connection.unanswered()
            && connection.meter.is_alone()
            && half_seen::established(connection.role, snapshot.tcp_flags)
        {
            self.half_seen
                .extend(established_unseen(flow, connection, out));
        }
        self.report_news(&flow, out);
        self.reschedule(&flow);
    }

    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        while let Some((flow, mut connection)) = self.open.pop_due(now) {
            match connection.phase {
                Phase::Opening => {
                    connection.phase = Phase::TimedOut;
                    connection.overdue(now);
                    out.push(connection.event(flow, TcpState::Timeout, None));
                    self.ends.push(End {
                        flow,
                        role: connection.role,
                        end: ConnectionEnd::Timeout,
                        icmp: None,
                    });
                    // An answer may still come.
                    self.keep(flow, connection, now, losses, out);
                }
                Phase::TimedOut | Phase::Rejected => {}
                Phase::Answered { .. } => {
                    connection.establish(flow, out);
                    self.keep(flow, connection, now, losses, out);
                }
                Phase::Established => {
                    self.settle_role(&flow, &mut connection);
                    out.push(connection.event(flow, TcpState::Closed, None));
                    self.forget(flow, &connection, now);
                }
                Phase::Closing { state, .. } => {
                    self.settle_role(&flow, &mut connection);
                    out.push(connection.event(flow, state, None));
                    self.forget(flow, &connection, now);
                }
            }
        }
        while self.ended.pop_due(now).is_some() {}
    }

    /// Emits every open connection with its totals so far and its current state.
    pub(super) fn end(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        while let Some((flow, mut connection)) = self.open.pop_oldest() {
            let state = match connection.phase {
                Phase::Opening => {
                    connection.overdue(now);
                    connection.without_answer()
                }
                Phase::TimedOut | Phase::Rejected => continue,
                Phase::Established if connection.fin_from_pod || connection.fin_to_pod => {
                    TcpState::Closed
                }
                Phase::Answered { .. } | Phase::Established if connection.announced => {
                    TcpState::Idle
                }
                Phase::Answered { .. } | Phase::Established => TcpState::Established,
                Phase::Closing { state, .. } => state,
            };
            self.settle_role(&flow, &mut connection);
            out.push(connection.event(flow, state, None));
        }
    }

    fn keep(
        &mut self,
        flow: Flow,
        connection: Connection,
        now: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let deadline = connection.due(self.timeout, self.idle);
        let evicted = (self.open).insert(flow, connection, MAX_BOXES, deadline);
        for (flow, connection) in evicted {
            self.evicted(flow, connection, now, losses, out);
        }
    }

    /// A connection made room for another one.
    fn evicted(
        &self,
        flow: Flow,
        mut connection: Connection,
        now: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let reason = "tcp connection table full";
        self.settle_role(&flow, &mut connection);
        // An idle connection is removed sooner or later.
        if now.since(connection.last) < self.idle {
            out.push(Correlated::made_room(
                connection.started,
                flow,
                connection.role,
            ));
        }
        match connection.phase {
            Phase::TimedOut | Phase::Rejected => {}
            Phase::Closing { state, .. } => out.push(connection.event(flow, state, None)),
            Phase::Opening => {
                losses.add_on(flow.ifindex, Stage::Table, reason, 1);
                out.push(connection.event(flow, TcpState::Undecided, None));
            }
            Phase::Answered { .. } | Phase::Established => {
                // Its end may come unseen, but it is not closed.
                out.push(connection.event(flow, TcpState::Idle, None));
                if now.since(connection.last) < self.idle {
                    losses.add_on(flow.ifindex, Stage::Table, reason, 1);
                }
            }
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
            self.forget(*flow, &connection, now);
        }
    }

    /// Keeps only what late segments need.
    fn forget(&mut self, flow: Flow, connection: &Connection, now: Timestamp) {
        let ended = Ended {
            role: connection.role,
            isn: connection.isn,
            sent: connection.sent,
            sent_bytes: connection.meter.totals().tx.bytes,
        };
        self.remember(flow, ended, now);
    }

    fn remember(&mut self, flow: Flow, ended: Ended, now: Timestamp) {
        drop(self.ended.insert(flow, ended, 0, now.after(LINGER)));
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
    connection.establish(flow, out);
    evidence
}

#[cfg(test)]
mod evidence_tests;
#[cfg(test)]
mod tests;
