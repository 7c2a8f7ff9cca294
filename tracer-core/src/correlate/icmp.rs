//! Matches an ICMP error to the exchange, connection, UDP flow or echo run whose packet it quotes.

use super::connection::Connections;
use super::echo::Echoes;
use super::exchange::Exchanges;
use super::udp::UdpFlows;
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::flow::{Direction, Flow, Protocol, Role};
use crate::model::observation::{IcmpError, Observation};

/// Ends whatever an ICMP error concerns. An error that ends nothing becomes an event of its own, on the flow
/// it quotes if that is known, else on the flow between the pod and its sender.
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
    // The pod's role if the quoted packet was a query or a request rather than an answer.
    let role = match observation.direction {
        Direction::ToPod => Role::Client,
        Direction::FromPod => Role::Server,
    };
    let echo = matches!(error.about.protocol, Protocol::Icmp | Protocol::Icmpv6);
    // The sender repeats a too-big packet in smaller pieces, so nothing ended. ping does not, and counts an
    // error.
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
        event: CorrelatedEvent::IcmpError(Box::new(*error)),
    });
}

/// The flow of the quoted packet: an error sent to the pod quotes what the pod sent, and vice versa.
fn quoted_flow(observation: &Observation, error: &IcmpError) -> Flow {
    let about = &error.about;
    let (mut pod, mut peer) = match observation.direction {
        Direction::ToPod => (about.src, about.dst),
        Direction::FromPod => (about.dst, about.src),
    };
    if matches!(about.protocol, Protocol::Icmp | Protocol::Icmpv6) {
        // For an echo the pod's port is the identifier, whichever end sent the request.
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
