//! Matches an ICMP error to the exchange, connection, UDP flow or echo run whose packet it quotes.
//!
//! Any host can send an error. It is evidence about the pod only if the pod is known to have sent the quoted
//! packet (RFC 5927 section 4); otherwise it is shown as unconfirmed, on the flow between the pod and its sender.

use super::connection::Connections;
use super::declared::Declared;
use super::echo::Echoes;
use super::exchange::Exchanges;
use super::udp::UdpFlows;
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::flow::{Direction, Flow, Protocol, Role};
use crate::model::observation::{IcmpError, Observation};

/// Every path takes IPv6 packets of this size (RFC 8200 section 5). Linux ignores smaller sizes for IPv4 below
/// 552 bytes (`net.ipv4.route.min_pmtu`).
const MIN_MTU_V6: u32 = 1_280;
const MIN_MTU_V4: u32 = 552;

/// Where the pod sent a quoted packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted {
    /// The quoted flow and the pod's role in it. `None` if the error quotes a Service's endpoint and the pod
    /// sent to the Service.
    pub(super) flow: Option<(Flow, Role)>,
    /// Bytes that the pod sent in that flow, with headers: no packet of it is larger.
    pub(super) sent_bytes: u64,
}

/// Ends whatever an ICMP error concerns. An error that ends nothing becomes an event of its own, on the flow
/// it quotes if the pod sent the packet, else on the flow between the pod and its sender.
#[expect(clippy::too_many_arguments, reason = "one table for each protocol")]
pub(super) fn bind(
    observation: &Observation,
    error: &IcmpError,
    declared: &dyn Declared,
    exchanges: &mut Exchanges,
    connections: &mut Connections,
    udp: &mut UdpFlows,
    echoes: &mut Echoes,
    out: &mut Vec<Correlated>,
) {
    let now = observation.time;
    let flow = quoted_flow(observation, error);
    // The pod's role if the quoted packet was a query or a request rather than an answer.
    let (role, sender) = match observation.direction {
        Direction::ToPod => (Role::Client, Direction::FromPod),
        Direction::FromPod => (Role::Server, Direction::ToPod),
    };
    let protocol = error.about.protocol;
    let confirmed = IcmpError {
        unconfirmed: false,
        ..*error
    };
    // The sender repeats a too-big packet in smaller pieces, so nothing ended. ping does not, and counts an
    // error.
    let bound = match protocol {
        Protocol::Icmp | Protocol::Icmpv6 => echoes.icmp(&flow, role, &confirmed, now),
        _ if error.is_too_big() => false,
        Protocol::Udp => {
            exchanges.icmp(now, &flow, role, &confirmed, out)
                || udp.icmp(&flow, sender, &confirmed, now, out)
        }
        Protocol::Tcp => connections.icmp(&flow, role, &confirmed, now, out),
        Protocol::Other(_) => false,
    };
    if bound {
        return;
    }
    let (flow, role, error) = match observation.direction {
        // The pod's own statement.
        Direction::FromPod => {
            let known = (connections.role(&flow))
                .or_else(|| udp.role(&flow))
                .or_else(|| {
                    exchanges
                        .quoted(&flow)
                        .and_then(|quoted| quoted.flow)
                        .map(|(_, role)| role)
                });
            match known {
                Some(known) => (flow, known, confirmed),
                None => (observation.flow, role, confirmed),
            }
        }
        Direction::ToPod => {
            let quoted = match protocol {
                Protocol::Tcp => connections.quoted(&flow, error, now, declared),
                Protocol::Udp => {
                    (udp.quoted(&flow, now, declared)).or_else(|| exchanges.quoted(&flow))
                }
                _ => None,
            };
            let sent = quoted.is_some_and(|quoted| may_be_sent(error, quoted.sent_bytes));
            let (flow, role) =
                (quoted.and_then(|quoted| quoted.flow)).unwrap_or((observation.flow, role));
            let unconfirmed = !sent;
            (
                flow,
                role,
                IcmpError {
                    unconfirmed,
                    ..*error
                },
            )
        }
    };
    out.push(Correlated {
        time: now,
        flow,
        role,
        event: CorrelatedEvent::IcmpError(Box::new(error)),
    });
}

/// Whether a packet that is too big for the path can be among those bytes.
fn may_be_sent(error: &IcmpError, sent_bytes: u64) -> bool {
    let least = if error.v6 { MIN_MTU_V6 } else { MIN_MTU_V4 };
    let mtu = error.mtu.unwrap_or(least);
    !error.is_too_big() || mtu >= least && sent_bytes > u64::from(mtu)
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
