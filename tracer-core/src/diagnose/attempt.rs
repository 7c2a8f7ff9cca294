//! A failed attempt to reach an address by TCP or UDP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::case::{Case, Symptom};
use super::claim::{Cause, Claim, Evidence, Summary};
use super::fact::{Destination, DestinationKind, ObjectName, PortName};
use crate::model::connection::{RefusedBy, TcpConnection, TcpState, UdpState};
use crate::model::observation::IcmpError;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A reset answered the SYN.
    Reset,
    /// An ICMP error came back.
    Rejected(IcmpError),
    /// Nothing came back.
    Silent,
    /// The answer came late. Only [`late`] gives this.
    Late(Late),
}

/// How late the answer to a SYN came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The connection was established after this time and lost SYNs.
    Established(Duration),
    /// After this time, when the client had given up: it reset the SYN-ACK.
    TooLate(Duration),
}

impl Late {
    /// The time until the answer.
    pub fn after(self) -> Duration {
        match self {
            Late::Established(after) | Late::TooLate(after) => after,
        }
    }
}

/// Whether the answer to a connection's SYN came late.
pub(super) fn late(connection: &TcpConnection) -> Option<Late> {
    if let Some(after) = connection.evidence.late_answer {
        return Some(Late::TooLate(after));
    }
    let handshake = connection.handshake?;
    (connection.state == TcpState::Established && connection.syn_retransmits > 0)
        .then_some(Late::Established(handshake))
}

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// `TCP` or `UDP`, in Kubernetes' spelling.
    pub protocol: &'static str,
    /// The peer's port.
    pub port: u16,
    /// How it failed.
    pub failure: Failure,
    /// The SYNs or packets sent.
    pub sent: u64,
}

impl Attempt {
    /// The attempt that a case is about; `None` if it did not fail.
    pub fn from_case(case: &Case<'_>) -> Option<Attempt> {
        if matches!(case.symptom, Symptom::Tcp(connection) if has_other_answer(connection)) {
            return None;
        }
        let (protocol, flow, failure, sent) = match case.symptom {
            Symptom::Tcp(connection) => {
                let failure = match (connection.state, connection.icmp) {
                    (TcpState::Refused(RefusedBy::Rst), _) => Failure::Reset,
                    (TcpState::Refused(RefusedBy::Icmp), Some(error)) => Failure::Rejected(error),
                    // One that the client gave up, too, once there are several.
                    (TcpState::Timeout | TcpState::Undecided, _) => Failure::Silent,
                    _ => return None,
                };
                let sent = u64::from(connection.syn_retransmits) + 1;
                ("TCP", connection.flow, failure, sent)
            }
            Symptom::Udp(flow) => {
                let failure = match (flow.state, flow.icmp) {
                    (UdpState::IcmpError, Some(error)) => Failure::Rejected(error),
                    (UdpState::Unanswered, _) => Failure::Silent,
                    _ => return None,
                };
                ("UDP", flow.flow, failure, flow.totals.tx.packets)
            }
            _ => return None,
        };
        Some(Attempt {
            protocol,
            port: flow.peer.port(),
            failure,
            sent,
        })
    }

    /// The attempt of a case whose answer came late.
    pub fn late(case: &Case<'_>) -> Option<(Attempt, Late)> {
        let Symptom::Tcp(connection) = case.symptom else {
            return None;
        };
        let late = late(connection)?;
        let attempt = Attempt {
            protocol: "TCP",
            port: connection.flow.peer.port(),
            failure: Failure::Late(late),
            sent: u64::from(connection.syn_retransmits) + 1,
        };
        Some((attempt, late))
    }

    /// The peer's port and protocol.
    pub fn port_name(&self) -> PortName {
        PortName {
            port: self.port,
            protocol: self.protocol.into(),
        }
    }

    /// A claim that the pod cannot reach the destination.
    pub fn claim(&self, case: &Case<'_>) -> Claim {
        Claim::new(
            Cause::Socket(SocketAddr::new(case.ends.peer.ip, self.port), self.protocol),
            Summary::CannotReach {
                protocol: self.protocol,
                failure: self.failure,
                sent: self.sent,
                destination: destination(case, self.port),
            },
        )
        .evidence([self.evidence(case)])
    }

    /// The packets of the attempt.
    pub fn evidence(&self, case: &Case<'_>) -> Evidence {
        let ends = case.ends;
        Evidence::Attempt {
            protocol: self.protocol,
            from: SocketAddr::new(ends.pod.ip, ends.pod.port.unwrap_or_default()),
            to: SocketAddr::new(ends.peer.ip, self.port),
            sent: self.sent,
            failure: self.failure,
        }
    }
}

/// Whether something came back that is no refusal: from another address than the one that the pod connects
/// to, or when the client had given up.
fn has_other_answer(connection: &TcpConnection) -> bool {
    connection.evidence.reply_from.is_some() || connection.evidence.late_answer.is_some()
}

/// The other end of an attempt.
pub(super) fn destination(case: &Case<'_>, port: u16) -> Destination {
    let peer = &case.ends.peer;
    let kind = match (&peer.service, &peer.pod, &peer.node, peer.names.first()) {
        (Some(service), _, Some(node), _) => {
            DestinationKind::NodePort(ObjectName::from(&**service), Arc::clone(node))
        }
        (Some(service), ..) => DestinationKind::Service(ObjectName::from(&**service)),
        (_, Some(pod), ..) => DestinationKind::Pod(ObjectName::from(&**pod)),
        (_, _, Some(node), _) => DestinationKind::Node(Arc::clone(node)),
        (_, _, _, Some(name)) => DestinationKind::Name(name.clone()),
        _ => DestinationKind::Unknown,
    };
    Destination {
        kind,
        ip: peer.ip,
        port,
    }
}
