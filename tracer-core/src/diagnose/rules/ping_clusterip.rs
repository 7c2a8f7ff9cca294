//! A ping to a Service's ClusterIP: silent, rejected or answered are three stories, and none is about the Service.

use std::net::IpAddr;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::missing;
use crate::diagnose::rule::Rule;
use crate::diagnose::services;
use crate::diagnose::words;
use crate::model::cluster::{Kind, Service};
use crate::model::echo::Echo;
use crate::model::finding::Severity;
use crate::model::units::count;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "ping-clusterip",
    severity: Severity::Warning,
    finds: "a ping to a ClusterIP, which says nothing about the Service",
    means: "A pod pinged the ClusterIP of a Service. That is a virtual address: the node forwards the Service's ports and \
            nothing else, and a ping has no port. What comes back, or does not, says nothing about the Service.",
    looks_at: "Runs of echo requests to an address that the inventory has as a ClusterIP, their replies, and the ICMP errors \
               that quote them.",
    cannot_know: "How the node forwards (kube-proxy's mode): it is named as a possible cause only. Without an inventory, \
                  whether an address is a ClusterIP.",
    check,
};

/// So many endpoints are given as something to ping.
const PINGED: usize = 3;

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Echo(echo, _) = case.symptom else {
        return None;
    };
    if !case.knows_services() {
        return unknown(case, echo);
    }
    let service = case.cluster_ip_of()?;
    let ip = case.ends.peer.ip;
    let summary = format!(
        "{} pinged {ip}, the ClusterIP of Service {}: {} sent, {} received{}",
        case.who(),
        words::name_of(service),
        echo.sent,
        echo.received,
        if echo.errors > 0 {
            format!(", {}", count(echo.errors, "error"))
        } else {
            String::new()
        }
    );
    let claim = Claim::new(ip.to_string(), summary).why(format!(
        "A ClusterIP is a virtual address that forwards only the Service's ports, here {}; a ping has no port.",
        words::ports_of(service)
    ));
    let claim = story(claim, echo)
        .why(services::ready_sentence(case.index, service))
        .evidence(evidence(echo));
    let claim = remedies(case, service, claim).cure(Cure::Connects(ip, None));
    Some(if echo.received == 0 {
        claim.cure(Cure::Replies(ip))
    } else {
        claim
    })
}

/// Without Services nobody knows what the address is; said where it can be one of theirs.
fn unknown(case: &Case<'_>, echo: &Echo) -> Option<Claim> {
    let ip = case.ends.peer.ip;
    let private = match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    if echo.received > 0 || !private || case.ends.peer.pod.is_some() {
        return None;
    }
    let lacks = missing::lack_of(case, Kind::Service);
    let summary = format!(
        "{} pinged {ip}: {} sent, 0 received.",
        case.who(),
        echo.sent
    );
    let claim = Claim::new(ip.to_string(), summary)
        .of_severity(Severity::Info)
        .why(format!(
            "Whether that is the ClusterIP of a Service, which no ping can reach, is not known: {lacks}."
        ))
        .evidence(evidence(echo))
        .cure(Cure::Replies(ip));
    Some(missing::look(case, Kind::Service, claim))
}

/// What came back and what may be behind it.
fn story(claim: Claim, echo: &Echo) -> Claim {
    if echo.received > 0 {
        return claim
            .of_severity(Severity::Info)
            .why("It was answered all the same, by whoever holds that address: not by a pod of the Service. Possible cause: the node has the address on an interface of its own (kube-proxy in IPVS mode), or the network answers for Services. It is no sign that the Service works.");
    }
    if let Some(error) = echo.last_error.filter(|_| echo.errors > 0) {
        return claim.why(format!(
            "It was rejected: {}. That is no sign that the Service is down. Possible cause: kube-proxy in nftables mode, or in IPVS mode, rejects what is for none of the Service's ports.",
            words::icmp(&error)
        ));
    }
    claim.why("Nobody answered, which is no sign that the Service is down. Possible cause: kube-proxy in iptables mode has no rule for it, so it left the node and was lost.")
}

fn evidence(echo: &Echo) -> Vec<String> {
    let mut lines = vec![words::echo(echo)];
    lines.extend(
        echo.last_error
            .iter()
            .map(|error| format!("last error: {}", words::icmp(error))),
    );
    lines
}

/// What to run instead.
fn remedies(case: &Case<'_>, service: &Service, mut claim: Claim) -> Claim {
    let ip = case.ends.peer.ip;
    let mut tcp = service.ports.iter().filter(|port| &*port.protocol == "TCP");
    if let Some(port) = tcp.next() {
        claim = claim.remedy(case.in_pod(&words::try_tcp(ip, port.port, None)));
    } else if service.ports.iter().any(|port| port.port == 53) {
        claim = claim.remedy(case.in_pod(&format!("nslookup kubernetes.default {ip}")));
    }
    for endpoint in services::ready(case.index, service).iter().take(PINGED) {
        claim = claim.remedy(case.in_pod(&format!(
            "ping -c 3 {}{}",
            endpoint.ip,
            words::comment(endpoint)
        )));
    }
    if claim.remedies.is_empty() {
        claim = claim.remedy(format!(
            "kubectl -n {} get endpointslices -l kubernetes.io/service-name={}",
            service.namespace, service.name
        ));
    }
    claim
}
