//! A ping to a Service's ClusterIP. Silence, a rejection and a reply differ, but none of them is about the
//! Service.

use std::net::IpAddr;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Evidence, Summary};
use crate::diagnose::command::{Kubectl, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{EndpointPlace, IcmpMeaning, PathFact, PingFact, PortName};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route;
use crate::diagnose::rule::Rule;
use crate::diagnose::{holder, missing, services};
use crate::model::cluster::{Kind, Service};
use crate::model::echo::Echo;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "ping-clusterip",
    severity: Severity::Warning,
    finds: "a ping to a ClusterIP, which says nothing about the Service",
    means: "A pod pinged the ClusterIP, the LoadBalancer address or an external address of a Service. Such an address is virtual: \
            the node forwards the Service's ports and nothing else, and a ping has no port. The reply, or its absence, says \
            nothing about the Service. \"Time exceeded\" means that the packets go around in a routing loop.",
    looks_at: "Runs of echo requests to an address that the inventory has as a Service's, their replies, and the ICMP errors \
               that quote them.",
    cannot_know: "How the node forwards (kube-proxy's mode): the finding names it as a possible cause only. Without an \
                  inventory, whether an address is a ClusterIP.",
    check,
};

/// At most this many endpoints are offered to be pinged.
const MAX_PINGS: usize = 4;

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Echo(echo, _) = case.symptom else {
        return None;
    };
    if !case.knows_services() {
        return without_services(case, echo);
    }
    let (service, access) = case.service_address()?;
    let ip = case.ends.peer.ip;
    let summary = Summary::PingedClusterIp {
        ip,
        access,
        service: service.into(),
        sent: echo.sent,
        received: echo.received,
        errors: echo.errors,
    };
    let ports: Vec<PortName> = service.ports.iter().map(PortName::from).collect();
    let endpoints = services::ready_or_unknown(case.index, service);
    let claim = Claim::new(Cause::Address(ip), summary)
        .because(Reason::OnlyServicePorts(access, ports.clone()))
        .fix(Fix::TestPort(ports.clone()))
        .why(PingFact::VirtualAddress(access, ports));
    let claim = result(case, claim, echo)
        .why(PingFact::ReadyEndpoints(endpoints))
        .evidence(evidence(echo));
    let claim = alternatives(case, service, claim).cure(Cure::Connects(ip, None));
    Some(if echo.received == 0 {
        claim.cure(Cure::Replies(ip))
    } else {
        claim
    })
}

/// Without Services in the inventory, any private address may be a ClusterIP.
fn without_services(case: &Case<'_>, echo: &Echo) -> Option<Claim> {
    let ip = case.ends.peer.ip;
    let private = match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    if echo.received > 0 || !private || case.ends.peer.pod.is_some() {
        return None;
    }
    let lacking = missing::lacking_in(case, Kind::Service);
    let summary = Summary::PingUnanswered {
        ip,
        sent: echo.sent,
    };
    let claim = Claim::new(Cause::Address(ip), summary)
        .severity(Severity::Info)
        .why(PingFact::ClusterIpUnknown(lacking))
        .evidence(evidence(echo))
        .cure(Cure::Replies(ip));
    Some(missing::investigate(case, Kind::Service, claim))
}

/// Adds what came back.
fn result(case: &Case<'_>, claim: Claim, echo: &Echo) -> Claim {
    if echo.received > 0 {
        return claim
            .severity(Severity::Info)
            .why(PingFact::AnsweredElsewhere);
    }
    let Some(error) = echo.last_error.filter(|_| echo.errors > 0) else {
        return claim.why(PingFact::NotAnswered);
    };
    let sender = error.from.ip();
    let from = PathFact::IcmpSender(sender, holder::of(case, sender));
    match IcmpMeaning::from(&error) {
        IcmpMeaning::TimeExceeded => claim
            .because(Reason::RoutingLoop)
            .why(PingFact::Loops(error))
            .why(from)
            .command(PodCommand::Trace(case.ends.peer.ip)),
        // The ones that kube-proxy sends.
        IcmpMeaning::Port | IcmpMeaning::Prohibited => {
            claim.why(PingFact::Rejected(error)).why(from)
        }
        meaning => claim
            .why(PingFact::CameBack(error))
            .why(PathFact::IcmpMeans(meaning, "ICMP"))
            .why(from),
    }
}

fn evidence(echo: &Echo) -> Vec<Evidence> {
    let pings = Evidence::Pings {
        sent: echo.sent,
        received: echo.received,
        errors: echo.errors,
    };
    let error = echo.last_error.map(Evidence::LastError);
    [pings].into_iter().chain(error).collect()
}

/// Adds what to run instead of a ping.
fn alternatives(case: &Case<'_>, service: &Service, mut claim: Claim) -> Claim {
    let ip = case.ends.peer.ip;
    let mut tcp = service.ports.iter().filter(|port| &*port.protocol == "TCP");
    if let Some(port) = tcp.next() {
        claim = claim.command(PodCommand::ConnectTcp {
            ip,
            port: port.port,
            endpoint: None,
        });
    } else if service.ports.iter().any(|port| port.port == 53) {
        claim = claim.command(PodCommand::NslookupKubernetes(ip));
    }
    let mut ready = services::ready(case.index, service);
    ready.retain(|endpoint| endpoint.ip.is_ipv4() == ip.is_ipv4());
    let own = route::own_node(case);
    // The way to those of other nodes fails more often.
    ready.sort_by_key(|endpoint| own.is_some() && endpoint.node == own);
    for endpoint in ready.iter().take(MAX_PINGS) {
        claim = claim.command(PodCommand::PingEndpoint(EndpointPlace::from(endpoint)));
    }
    if claim.commands.is_empty() {
        claim = claim.command(Kubectl::EndpointSlices(service.into()));
    }
    claim
}
