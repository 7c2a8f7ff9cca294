//! What NetworkPolicies say, each way: those of the pod about what it sends, and those of each destination about
//! what it gets.
//!
//! They are configuration. Whether the network plugin enforces them, and whether it has policies of its own, is
//! in no object.

use serde::Serialize;

use super::backends::{Destination, of_service};
use super::target::{PortNumber, Reached};
use super::{Input, Resolution};
use crate::diagnose::party_of_pod;
use crate::model::cluster::{Kind, NetworkPolicy, Service};
use crate::model::event::Body;
use crate::model::flow::{Protocol, Role};
use crate::policy::{self, Connection, Direction, Doubt, Party, Verdict, Who};

/// What the policies of one pod say about one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyFacts {
    /// `egress` of the pod, or `ingress` of a destination.
    pub direction: &'static str,
    /// The pod whose policies these are, or the address.
    pub of: String,
    /// The other end.
    pub with: String,
    /// The port and protocol, as `8080/TCP`; `None` if none was asked for.
    pub port: Option<String>,
    /// The answer.
    pub ruling: Ruling,
    /// The policy that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The policies that select the pod for this direction.
    pub selecting: Vec<String>,
    /// Why it is undecided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<&'static str>,
    /// It is about the pod's DNS server.
    pub dns: bool,
}

/// Whether policies allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// No policy selects the pod for this direction.
    NotIsolated,
    /// A policy allows it.
    Allowed,
    /// The node's own traffic, or the pod's with itself.
    AlwaysAllowed,
    /// Policies select the pod, and none allows it.
    Denied,
    /// The inventory does not decide it.
    Undecided,
    /// Policies select the pod for this direction; what they allow depends on the destination.
    Isolated,
}

/// What the policies of both ends say.
pub(super) fn explain<'a>(
    input: &Input<'a>,
    reached: &Reached<'a>,
    destinations: &[Destination<'a>],
    resolution: Option<&Resolution>,
) -> Vec<PolicyFacts> {
    let index = input.index;
    let own_namespace = Some(input.subject.namespace.as_str());
    let known = input
        .coverage
        .has(index, Kind::NetworkPolicy, own_namespace)
        && (index.follows_cluster() || !index.policies().is_empty());
    let Some(pod) = input.subject.pod.as_ref().filter(|_| known) else {
        return Vec::new();
    };
    let mut facts = Vec::new();
    if resolution.is_some()
        && let Some(dns) = dns_server(input)
    {
        facts.extend(to_dns(input, dns));
    }
    for destination in destinations {
        facts.extend(judge(input, destination, false));
    }
    if destinations.is_empty() && (input.target.is_none() || reached.port.is_none()) {
        facts.extend(selected(input, pod));
    }
    facts.dedup();
    facts
}

/// The Service that the pod asks for names: the one that it was seen to ask, else the usual one.
fn dns_server<'a>(input: &Input<'a>) -> Option<&'a Service> {
    let seen = input.events.iter().rev().find_map(|event| {
        let ends = event.ends.as_ref()?;
        let is_query = matches!(event.body, Body::Dns(..)) && ends.role == Role::Client;
        let service = ends.peer.service.as_ref().filter(|_| is_query)?;
        input.index.service(&service.namespace, &service.name)
    });
    let cluster_first = || {
        let pod = input.subject.pod.as_ref()?;
        pod.dns.nameservers.is_empty().then_some(())?;
        input.index.service("kube-system", "kube-dns")
    };
    seen.or_else(cluster_first)
}

/// The denials, if no endpoint of the server is allowed: most pods may ask.
fn to_dns<'a>(input: &Input<'a>, service: &'a Service) -> Vec<PolicyFacts> {
    let reached = Reached {
        service: Some(service),
        port: Some(PortNumber {
            number: 53,
            protocol: Protocol::Udp,
        }),
        ..Reached::default()
    };
    let destinations = of_service(input, service, &reached);
    let facts: Vec<PolicyFacts> = destinations
        .iter()
        .flat_map(|one| judge(input, one, true))
        .collect();
    let all_denied = |direction: &str| {
        let mut of = facts.iter().filter(|one| one.direction == direction);
        of.all(|one| one.ruling == Ruling::Denied)
    };
    let (egress, ingress) = (all_denied("egress"), all_denied("ingress"));
    let denies = |one: &PolicyFacts| match one.direction {
        "egress" => egress,
        _ => ingress,
    };
    facts.iter().filter(|one| denies(one)).cloned().collect()
}

/// Judges a connection to a destination, each way.
fn judge<'a>(input: &Input<'a>, to: &Destination<'a>, dns: bool) -> Vec<PolicyFacts> {
    let Some(pod) = &input.subject.pod else {
        return Vec::new();
    };
    let ip = pod.ips.iter().find(|ip| ip.is_ipv4() == to.ip.is_ipv4());
    let Some(ip) = ip.or_else(|| pod.ips.first()) else {
        return Vec::new();
    };
    let connection = Connection {
        from: Party {
            ip: *ip,
            who: party_of_pod(input.index, pod),
        },
        to: Party {
            ip: to.ip,
            who: to.who,
        },
        through: to.through,
        protocol: to.protocol,
        port: to.port,
    };
    let judgement = policy::judge(input.index.policies(), &connection);
    let port = format!("{}/{}", to.port, to.protocol);
    let own = input.subject.full_name();
    let egress = facts("egress", &own, &to.name, &port, &judgement.egress, dns);
    let mut ingress = facts("ingress", &to.name, &own, &port, &judgement.ingress, dns);
    // Policies of a namespace that could not be listed may select its pods.
    let namespace = match &to.who {
        Who::Pod(view) => Some(view.namespace),
        _ => None,
    };
    if !input
        .coverage
        .has(input.index, Kind::NetworkPolicy, namespace)
    {
        ingress.ruling = Ruling::Undecided;
        ingress.doubt = Some("the policies of its namespace are not listed");
    }
    // Policies govern pods alone.
    let of_pod = matches!(to.who, Who::Pod(_) | Who::UnknownPod);
    std::iter::once(egress)
        .chain(of_pod.then_some(ingress))
        .collect()
}

fn facts(
    direction: &'static str,
    of: &str,
    with: &str,
    port: &str,
    judged: &Direction<'_>,
    dns: bool,
) -> PolicyFacts {
    let (ruling, by, doubt) = match judged.verdict {
        Verdict::NotIsolated => (Ruling::NotIsolated, None, None),
        Verdict::Allowed(policy) => (Ruling::Allowed, Some(name(policy)), None),
        Verdict::AlwaysAllowed => (Ruling::AlwaysAllowed, None, None),
        Verdict::Denied => (Ruling::Denied, None, None),
        Verdict::Undecided(doubt) => (Ruling::Undecided, None, Some(because(doubt))),
    };
    PolicyFacts {
        direction,
        of: of.to_owned(),
        with: with.to_owned(),
        port: Some(port.to_owned()),
        ruling,
        by,
        selecting: judged.selecting.iter().map(|policy| name(policy)).collect(),
        doubt,
        dns,
    }
}

fn name(policy: &NetworkPolicy) -> String {
    format!("{}/{}", policy.namespace, policy.name)
}

fn because(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::BlockOfCluster => {
            "an ipBlock has a pod's or a Service's address, and plugins differ in whether it applies"
        }
        Doubt::HostNetwork => "plugins differ in how they treat a pod on its node's network",
        Doubt::NamespaceLabels => "the labels of a namespace are not listed",
        Doubt::UnknownPod => "the pod is not listed",
        Doubt::Protocol => "policies do not know the protocol",
    }
}

/// The policies that select the pod, where there is no destination to judge.
fn selected(input: &Input<'_>, pod: &crate::model::cluster::Pod) -> Vec<PolicyFacts> {
    let selects = |policy: &&NetworkPolicy| {
        policy.namespace == pod.namespace && policy.pods.selects(&pod.labels) && !pod.host_network
    };
    let policies: Vec<&NetworkPolicy> = input.index.policies().iter().filter(selects).collect();
    let of = |direction, governs: fn(&NetworkPolicy) -> bool| {
        let selecting: Vec<String> = policies
            .iter()
            .filter(|policy| governs(policy))
            .map(|policy| name(policy))
            .collect();
        PolicyFacts {
            direction,
            of: input.subject.full_name(),
            with: "any destination".to_owned(),
            port: None,
            ruling: match selecting.is_empty() {
                true => Ruling::NotIsolated,
                false => Ruling::Isolated,
            },
            by: None,
            selecting,
            doubt: None,
            dns: false,
        }
    };
    let mut facts = vec![of("egress", |policy| policy.egress.is_some())];
    if input.target.is_none() {
        facts.push(of("ingress", |policy| policy.ingress.is_some()));
    }
    facts
}
