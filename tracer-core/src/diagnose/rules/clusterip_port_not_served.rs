//! The right ClusterIP, and a port that its Service does not have.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Kubectl, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, PortName};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::model::cluster::ServicePort;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "clusterip-port-not-served",
    severity: Severity::Error,
    finds: "a port that the Service does not have",
    means: "A pod tried a port of a ClusterIP that the Service does not have, or has for the other protocol. Nothing forwards \
            such packets, whatever the Service's pods listen on.",
    looks_at: "TCP connections that were unanswered, refused or rejected, and UDP packets that were unanswered or rejected; the \
               Service's ports.",
    cannot_know: "Which port was meant, and whether the Service has had the port in the node's last update.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::from_case(case)?;
    let service = case.cluster_ip_of()?;
    let serves = |protocol: &str| {
        let mut ports = service.ports.iter();
        ports.any(|port| port.port == attempt.port && &*port.protocol == protocol)
    };
    if serves(attempt.protocol) {
        return None;
    }
    let ip = case.ends.peer.ip;
    let other = match attempt.protocol {
        "TCP" => "UDP",
        _ => "TCP",
    };
    let served: Vec<PortName> = service.ports.iter().map(PortName::from).collect();
    let mut claim = attempt
        .claim(case)
        .because(Reason::ServesOnly(served.clone()))
        .fix(Fix::UsePort(served.clone()))
        .why(ConnectionFact::PortNotServed {
            port: attempt.port_name(),
            served,
        });
    if serves(other) {
        claim = claim.why(ConnectionFact::OtherProtocol(other));
    }
    claim = claim.why(match attempt.failure {
        Failure::Silent | Failure::Late(_) => ConnectionFact::UnservedSilent,
        Failure::Rejected(_) => ConnectionFact::UnservedRejected,
        Failure::Reset => ConnectionFact::UnservedReset,
    });
    let tcp = |port: &&ServicePort| &*port.protocol == "TCP";
    if let Some(port) = service.ports.iter().find(tcp) {
        claim = claim.command(PodCommand::ConnectTcp {
            ip,
            port: port.port,
            endpoint: None,
        });
    }
    claim = claim.command(Kubectl::Service(service.into()));
    Some(match attempt.protocol {
        "TCP" => claim.cure(Cure::Connects(ip, Some(attempt.port))),
        _ => claim,
    })
}
