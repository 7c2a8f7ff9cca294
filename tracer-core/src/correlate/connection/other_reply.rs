//! Answers that have another address than the one that the pod connects to: the endpoint's own, where nothing
//! translated it back to the Service's. They belong to the connection whose numbers they have, and open none.
//!
//! The acknowledgment number decides, which is a guess of 1 in 4 billion for a sender that did not see the SYN.

use super::Connection;
use super::life::Phase;
use super::opening::accepts_acknowledgment;
use crate::correlate::flow_key::{SAME_SOCKET, same_socket};
use crate::fair_table::FairTable;
use crate::model::evidence::OtherReply;
use crate::model::flow::{Direction, Flow, Role};
use crate::model::observation::{Observation, TcpSegment};

/// Limits the search through the connections of one socket, the latest first. A client's socket has one or a few.
const MAX_SEARCH: usize = 32;

/// The connection that a segment of a flow without one answers under another address.
pub(super) fn answered_connection(
    open: &FairTable<Flow, Connection, 1>,
    observation: &Observation,
    segment: &TcpSegment,
) -> Option<Flow> {
    // The pod sees the wrong address; the endpoint sends from its own as it should.
    if observation.direction != Direction::ToPod || !segment.ack || segment.rst {
        return None;
    }
    of_socket(open, &observation.flow)
        .find(|(_, connection)| fits(connection, segment))
        .map(|(flow, _)| *flow)
}

/// The connection whose wrongly addressed answer the pod resets with this segment.
pub(super) fn reset_connection(
    open: &FairTable<Flow, Connection, 1>,
    observation: &Observation,
) -> Option<Flow> {
    if observation.direction != Direction::FromPod {
        return None;
    }
    of_socket(open, &observation.flow)
        .find(|(_, connection)| {
            connection
                .reply_from
                .as_ref()
                .is_some_and(|reply| reply.from == observation.flow.peer)
        })
        .map(|(flow, _)| *flow)
}

/// The connections of the pod's socket with other peers.
pub(super) fn of_socket<'a>(
    open: &'a FairTable<Flow, Connection, 1>,
    flow: &'a Flow,
) -> impl Iterator<Item = (&'a Flow, &'a Connection)> {
    open.group(SAME_SOCKET, flow)
        .take(MAX_SEARCH)
        .filter(|(other, _)| same_socket(other, flow) && other.peer != flow.peer)
}

fn fits(connection: &Connection, segment: &TcpSegment) -> bool {
    match connection.phase {
        Phase::Opening | Phase::TimedOut => {
            segment.syn && accepts_acknowledgment(connection, segment.acknowledgment)
        }
        Phase::Established => {
            // A server's socket has many connections, whose numbers may be close to each other.
            connection.role == Role::Client
                && !connection.picked_up
                && !segment.syn
                && (connection.segments.as_ref())
                    .is_some_and(|segments| segments.continues(Direction::ToPod, segment))
        }
        Phase::Answered { .. } | Phase::Rejected | Phase::Closing { .. } => false,
    }
}

/// Adds an answer.
pub(super) fn add(connection: &mut Connection, observation: &Observation, segment: &TcpSegment) {
    let from = observation.flow.peer;
    let reply = connection.reply_from.get_or_insert_with(|| {
        Box::new(OtherReply {
            from,
            packets: 0,
            resets: 0,
            first: observation.time,
            last: observation.time,
            syn_ack: segment.syn,
        })
    });
    reply.from = from;
    reply.packets = reply.packets.saturating_add(1);
    reply.last = reply.last.max(observation.time);
}
