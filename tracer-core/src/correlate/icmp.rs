//! What an ICMP error is about: the exchange, the connection, the UDP flow or the echo run whose packet it quotes.

use super::connection::Connections;
use super::echo::Echoes;
use super::exchange::Exchanges;
use super::udp::UdpFlows;
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::flow::{Direction, Flow, Protocol, Role};
use crate::model::observation::{IcmpError, Observation};

/// Tells an ICMP error as the end of what it is about. One that ends nothing is told for itself: with the flow it quotes
/// where that is known, else with whoever sent it.
pub(super) fn bind(
    observation: &Observation,
    error: &IcmpError,
    exchanges: &mut Exchanges,
    connections: &mut Connections,
    udp: &mut UdpFlows,
    echoes: &mut Echoes,
    out: &mut Vec<Correlated>,
) {
    let now = observation.time;
    let flow = quoted_flow(observation, error);
    // The pod's role if the quoted packet was a question (query, request) rather than an answer.
    let role = match observation.direction {
        Direction::ToPod => Role::Client,
        Direction::FromPod => Role::Server,
    };
    let echo = matches!(error.about.protocol, Protocol::Icmp | Protocol::Icmpv6);
    // A packet that was too big for some link is sent again smaller: nothing ended. ping does not do so, and counts it.
    let bound = if echo {
        echoes.icmp(&flow, role, error, now)
    } else if error.is_too_big() {
        false
    } else {
        match error.about.protocol {
            Protocol::Udp => {
                exchanges.icmp(now, &flow, role, error, out) || udp.icmp(&flow, error, now, out)
            }
            Protocol::Tcp => connections.icmp(&flow, error, now, out),
            _ => false,
        }
    };
    if bound {
        return;
    }
    let known = connections
        .role(&flow)
        .or_else(|| udp.role(&flow))
        .or_else(|| exchanges.role(&flow));
    let (flow, role) = match known {
        Some(known) => (flow, known),
        None => (observation.flow, role),
    };
    out.push(Correlated {
        time: now,
        flow,
        role,
        what: CorrelatedEvent::IcmpError(Box::new(*error)),
    });
}

/// The flow of the quoted packet: an error that goes to the pod quotes what the pod sent, and the other way round.
fn quoted_flow(observation: &Observation, error: &IcmpError) -> Flow {
    let about = &error.about;
    let (mut pod, mut peer) = match observation.direction {
        Direction::ToPod => (about.src, about.dst),
        Direction::FromPod => (about.dst, about.src),
    };
    if matches!(about.protocol, Protocol::Icmp | Protocol::Icmpv6) {
        // Of an echo the pod's port is the identifier, whoever sent the request.
        pod.set_port(about.src.port());
        peer.set_port(0);
    }
    Flow {
        ifindex: observation.flow.ifindex,
        protocol: about.protocol,
        pod,
        peer,
    }
}

#[cfg(test)]
mod tests;
