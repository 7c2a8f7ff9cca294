//! The right ClusterIP and a port that its Service does not list.

use crate::diagnose::attempt::{Attempt, Failure, target};
use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::words;
use crate::model::cluster::ServicePort;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "clusterip-port-not-served",
    severity: Severity::Error,
    finds: "a port that the Service does not have",
    means: "A pod tried a port of a ClusterIP that the Service does not list, or lists for the other protocol. Nothing is forwarded \
            there, whatever its pods listen on.",
    looks_at: "TCP connections that were not answered, refused or rejected, and UDP packets likewise; the Service's ports.",
    cannot_know: "Which port was meant. Whether the Service listed it when the node last heard of it.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let attempt = Attempt::of(case)?;
    let service = case.cluster_ip_of()?;
    let listed = |protocol: &str| {
        let mut ports = service.ports.iter();
        ports.any(|port| port.port == attempt.port && &*port.protocol == protocol)
    };
    if listed(attempt.protocol) {
        return None;
    }
    let ip = case.ends.peer.ip;
    let other = if attempt.protocol == "TCP" {
        "UDP"
    } else {
        "TCP"
    };
    let mut claim = attempt
        .claim(case, &target(case, attempt.port))
        .why(format!(
            "The Service has no port {}: it forwards {}.",
            attempt.port_name(),
            words::ports_of(service)
        ));
    if listed(other) {
        claim = claim.why(format!(
            "The port number is right and the protocol is not: it is listed for {other}."
        ));
    }
    claim = claim.why(match attempt.failure {
        Failure::Silent => "Nobody answers for such a port of a ClusterIP. Possible cause of the silence: kube-proxy in iptables mode has no rule for it, so it left the node and was lost.",
        Failure::Rejected(_) => "The rejection says nothing more. Possible cause: kube-proxy in nftables or IPVS mode rejects what is for none of the Service's ports.",
        Failure::Reset => "The reset says nothing more. Possible cause: the node holds the address itself (kube-proxy in IPVS mode) and nobody listens there.",
    });
    let tcp = |port: &&ServicePort| &*port.protocol == "TCP";
    if let Some(port) = service.ports.iter().find(tcp) {
        claim = claim.remedy(case.in_pod(&words::try_tcp(ip, port.port, None)));
    }
    claim = claim.remedy(format!(
        "kubectl -n {} get service {} -o wide",
        service.namespace, service.name
    ));
    Some(match attempt.protocol {
        "TCP" => claim.cure(Cure::Connects(ip, Some(attempt.port))),
        _ => claim,
    })
}
