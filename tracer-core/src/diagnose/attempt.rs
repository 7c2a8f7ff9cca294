//! An attempt to reach somebody by TCP or UDP that failed, as several rules see it.

use super::case::{Case, Symptom};
use super::claim::Claim;
use super::words;
use crate::model::connection::{RefusedBy, TcpState, UdpState};
use crate::model::observation::IcmpError;
use crate::model::units::count;

/// How it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A reset in answer to the SYN.
    Reset,
    /// An ICMP error.
    Rejected(IcmpError),
    /// Nothing came back.
    Silent,
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// `TCP` or `UDP`, as Kubernetes writes it.
    pub protocol: &'static str,
    /// The peer's port.
    pub port: u16,
    /// How it failed.
    pub failure: Failure,
    /// SYNs, or packets, that were sent.
    pub sent: u64,
}

impl Attempt {
    /// What the case is of that; `None` for what did not fail.
    pub fn of(case: &Case<'_>) -> Option<Attempt> {
        let (protocol, flow, failure, sent) = match case.symptom {
            Symptom::Tcp(connection) => {
                let failure = match (connection.state, connection.icmp) {
                    (TcpState::Refused(RefusedBy::Rst), _) => Failure::Reset,
                    (TcpState::Refused(RefusedBy::Icmp), Some(error)) => Failure::Rejected(error),
                    (TcpState::Timeout, _) => Failure::Silent,
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

    /// `80/TCP`.
    pub fn port_name(&self) -> String {
        format!("{}/{}", self.port, self.protocol)
    }

    /// The claim's beginning: who could not reach what, and what came back.
    pub fn claim(&self, case: &Case<'_>, target: &str) -> Claim {
        let verb = match (self.protocol, self.failure) {
            ("TCP", _) => "cannot connect to",
            // UDP need not be answered.
            (_, Failure::Silent) => "gets no answer from",
            _ => "cannot reach",
        };
        let how = match self.failure {
            Failure::Reset => "refused by a reset".to_owned(),
            Failure::Rejected(error) => format!("rejected, {}", words::icmp(&error)),
            Failure::Silent => format!("no answer to {}", count(self.sent, self.unit())),
        };
        let ip = case.ends.peer.ip;
        Claim::new(
            format!(
                "{}/{}",
                words::socket(ip, self.port),
                self.protocol.to_lowercase()
            ),
            format!("{} {verb} {target}: {how}.", case.who()),
        )
        .evidence([self.evidence(case)])
    }

    fn unit(&self) -> &'static str {
        match self.protocol {
            "TCP" => "SYN",
            _ => "packet",
        }
    }

    fn evidence(&self, case: &Case<'_>) -> String {
        let ends = case.ends;
        let from = words::socket(ends.pod.ip, ends.pod.port.unwrap_or_default());
        let to = words::socket(ends.peer.ip, self.port);
        let back = match self.failure {
            Failure::Reset => "RST".to_owned(),
            Failure::Rejected(error) => words::icmp(&error),
            Failure::Silent => "nothing came back".to_owned(),
        };
        format!(
            "{} {from} to {to}: {}, {back}",
            self.protocol,
            count(self.sent, self.unit())
        )
    }
}

/// The other end as a sentence calls it: `Service myns/web (10.152.183.115 port 90)`.
pub(super) fn target(case: &Case<'_>, port: u16) -> String {
    let peer = &case.ends.peer;
    let ip = peer.ip;
    let names = peer.names.first();
    match (&peer.service, &peer.pod, &peer.node, names) {
        (Some(service), ..) => format!(
            "Service {}/{} ({ip} port {port})",
            service.namespace, service.name
        ),
        (_, Some(pod), ..) => format!("pod {}/{} ({ip} port {port})", pod.namespace, pod.name),
        (_, _, Some(node), _) => format!("node {node} ({ip} port {port})"),
        (_, _, _, Some(name)) => format!("{} ({ip} port {port})", name.relative()),
        _ => format!("{ip} port {port}"),
    }
}
