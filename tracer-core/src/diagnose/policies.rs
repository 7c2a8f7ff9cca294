//! What the NetworkPolicies of both ends say of an attempt: which deny it, or that none does.
//!
//! Behind a Service the destination is each of its endpoints, at the port that the Service's port leads to: a
//! network plugin applies policies after the translation. Whether a plugin enforces policies is not known, so a
//! denial explains a silence, and does not prove its cause.

use std::net::IpAddr;

use super::case::Case;
use super::claim::Claim;
use super::command::Kubectl;
use super::fact::{Denial, Denied, EndpointPlace, Governs, ObjectName, PolicyFact, PortName};
use super::headline::{Fix, Reason};
use super::route::{Access, Route};
use crate::identity::Index;
use crate::model::cluster::{Kind, NetworkPolicy, Pod};
use crate::model::identity::PodIdentity;
use crate::model::time::Timestamp;
use crate::policy::{self, Connection, Direction, Doubt, Judgement, Party, PodView, Verdict, Who};

/// A destination of the attempt, and what the policies say.
struct Judged<'a> {
    place: EndpointPlace,
    port: u16,
    judgement: Judgement<'a>,
}

/// Adds what the policies say of the attempt. A denial of all that it could lead to is stated as the cause.
pub(super) fn explain(case: &Case<'_>, claim: Claim, protocol: &'static str, port: u16) -> Claim {
    let index = case.index;
    if !index.knows(Kind::NetworkPolicy) {
        return claim;
    }
    if index.policies().is_empty() {
        return claim.why(match index.follows_cluster() {
            true => PolicyFact::NoneInCluster,
            // A file without NetworkPolicies may come from a cluster that has some.
            false => PolicyFact::NoneInFile,
        });
    }
    let route = Route::from_case(case, protocol, port);
    let judged = judge(case, route.as_ref(), protocol, port, None);
    let passed = passed(case, port);
    let mut claim = claim;
    let mut settled = false;
    for governs in [Governs::Egress, Governs::Ingress] {
        for denial in denials(case, &judged, governs, protocol) {
            settled = true;
            let of_all = !matches!(denial.to, Denied::Some(..));
            if of_all && passed.is_some_and(|at| at > case.at) {
                continue;
            }
            let denial = Denial {
                passed: passed.filter(|_| of_all).map(|at| case.at.since(at)),
                ..denial
            };
            if of_all && denial.passed.is_none() {
                let policy = &denial.policies[0];
                claim = claim
                    .because(Reason::PolicyDenies(policy.clone(), governs))
                    .fix(Fix::AllowInPolicy(policy.clone(), governs));
            }
            claim = describe(claim, &denial.policies).why(PolicyFact::Deny(denial.clone()));
            if let Some(fact) = service_port(case, route.as_ref(), &denial, protocol) {
                claim = claim.why(fact);
            }
        }
        if let Some((policies, doubt)) = open(&judged, governs) {
            settled = true;
            claim = describe(claim, &policies).why(PolicyFact::Open {
                policies,
                governs,
                doubt,
            });
        }
    }
    // An end that is known by its address alone may be a pod that a policy selects.
    let unsure = |one: &Judged<'_>| {
        let mut both = directions(one).into_iter();
        both.any(|(_, direction)| matches!(direction.verdict, Verdict::Undecided(_)))
    };
    if settled || judged.is_empty() || judged.iter().any(unsure) {
        return claim;
    }
    let directions = judged.iter().flat_map(directions);
    let policies = names(directions.flat_map(|(_, direction)| direction.selecting.iter().copied()));
    let own_node = judged.iter().any(|one| {
        one.judgement.egress.verdict == Verdict::AlwaysAllowed
            && case.ends.peer.ip != case.ends.pod.ip
    });
    claim.why(match policies.is_empty() {
        true => PolicyFact::NoneSelects,
        false if own_node => PolicyFact::OwnNode(policies),
        false => PolicyFact::Allow(policies),
    })
}

/// When the pod got through to the same destination lately.
fn passed(case: &Case<'_>, port: u16) -> Option<Timestamp> {
    let peer = (case.ends.peer.ip, port);
    let contacts = [&case.own.connected, &case.own.answered];
    contacts.into_iter().find_map(|contacts| contacts.at(peer))
}

fn describe(claim: Claim, policies: &[ObjectName]) -> Claim {
    let commands = policies.iter().cloned().map(Kubectl::DescribePolicy);
    claim.commands(commands.map(Into::into))
}

/// Judges the attempt for each destination that it can lead to; `at`: as if it led to this port there.
fn judge<'a>(
    case: &Case<'a>,
    route: Option<&Route<'_>>,
    protocol: &str,
    port: u16,
    at: Option<u16>,
) -> Vec<Judged<'a>> {
    let peer = &case.ends.peer;
    let own = case.pod().and_then(|pod| case.index.pod_object(pod));
    let from = Party {
        ip: case.ends.pod.ip,
        who: match own {
            Some(pod) => of_pod(case.index, pod),
            None if case.ends.pod.at_uplink => Who::Node(None),
            None => Who::UnknownPod,
        },
    };
    let policies = case.index.policies();
    let judge = |from, to: Party<'_>, through, port| {
        let connection = Connection {
            from,
            to,
            through,
            protocol,
            port,
        };
        policy::judge(policies, &connection)
    };
    let Some(route) = route else {
        let place = EndpointPlace {
            ip: peer.ip,
            pod: peer.pod.as_deref().map(ObjectName::from),
            node: peer.node.clone(),
        };
        let who = match (&peer.pod, &peer.node) {
            (Some(pod), _) => of_identity(case.index, pod),
            (None, Some(node)) => Who::Node(Some(node)),
            // A cache for DNS on each node, for one.
            (None, None) if is_link_local(peer.ip) => Who::Node(None),
            (None, None) if case.index.knows_all_pods() => Who::Outside,
            (None, None) => Who::Unknown,
        };
        let judgement = judge(from, Party { ip: peer.ip, who }, None, port);
        return vec![Judged {
            place,
            port,
            judgement,
        }];
    };
    let judged = route.backends(case).into_iter().map(|backend| {
        let place = EndpointPlace::from(&backend);
        let who = match &backend.endpoint.pod {
            Some(pod) => of_identity(case.index, pod),
            None => match &backend.endpoint.node {
                Some(_) => Who::UnknownPod,
                None => Who::Outside,
            },
        };
        let to = Party {
            ip: backend.endpoint.ip,
            who,
        };
        let port = at.unwrap_or(backend.port);
        let mut judgement = judge(from, to, Some(peer.ip), port);
        // A node replaces the source address of what came to its port by its own.
        if route.access != Access::ClusterIp && judgement.ingress.verdict == Verdict::Denied {
            judgement.ingress.verdict = Verdict::Undecided(Doubt::HostNetwork);
        }
        Judged {
            place,
            port,
            judgement,
        }
    });
    judged.collect()
}

/// What policies see of a pod that is known by its identity.
pub(crate) fn of_identity<'a>(index: &'a Index, pod: &PodIdentity) -> Who<'a> {
    match index.pod_object(pod) {
        Some(pod) => of_pod(index, pod),
        None => Who::UnknownPod,
    }
}

/// What policies see of a pod.
pub(crate) fn of_pod<'a>(index: &'a Index, pod: &'a Pod) -> Who<'a> {
    if pod.host_network {
        return Who::Node(pod.node.as_deref());
    }
    Who::Pod(PodView {
        namespace: &pod.namespace,
        namespace_labels: index.namespace_labels(&pod.namespace),
        labels: &pod.labels,
        ports: &pod.ports,
        node: pod.node.as_deref(),
    })
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn directions<'j, 'a>(one: &'j Judged<'a>) -> [(Governs, &'j Direction<'a>); 2] {
    [
        (Governs::Egress, &one.judgement.egress),
        (Governs::Ingress, &one.judgement.ingress),
    ]
}

/// The verdicts of one direction, by destination.
fn verdicts<'j, 'a>(
    judged: &'j [Judged<'a>],
    governs: Governs,
) -> impl Iterator<Item = (&'j Judged<'a>, &'j Direction<'a>)> {
    judged.iter().map(move |one| {
        let direction = match governs {
            Governs::Egress => &one.judgement.egress,
            Governs::Ingress => &one.judgement.ingress,
        };
        (one, direction)
    })
}

/// What is denied in one direction, by the policies that select its pod.
fn denials(
    case: &Case<'_>,
    judged: &[Judged<'_>],
    governs: Governs,
    protocol: &'static str,
) -> Vec<Denial> {
    let mut denials: Vec<(Vec<ObjectName>, Vec<&Judged<'_>>)> = Vec::new();
    for (one, direction) in verdicts(judged, governs) {
        if direction.verdict != Verdict::Denied {
            continue;
        }
        let policies = names(direction.selecting.iter().copied());
        match denials.iter_mut().find(|(known, others)| {
            *known == policies && others.iter().all(|other| other.port == one.port)
        }) {
            Some((_, others)) => others.push(one),
            None => denials.push((policies, vec![one])),
        }
    }
    let through_service = case.service().is_some();
    let denials = denials.into_iter().map(|(policies, to)| Denial {
        policies,
        governs,
        from: case.who(),
        passed: None,
        port: PortName {
            port: to[0].port,
            protocol: protocol.into(),
        },
        to: match (through_service, to.len() == judged.len()) {
            (false, _) => Denied::Address(to[0].place.clone()),
            (true, true) => Denied::All(to.len()),
            (true, false) => {
                let places = to.iter().map(|one| one.place.clone());
                Denied::Some(places.collect(), judged.len())
            }
        },
    });
    denials.collect()
}

/// The policies of which it is open whether they allow it, if nothing denies it.
fn open(judged: &[Judged<'_>], governs: Governs) -> Option<(Vec<ObjectName>, Doubt)> {
    verdicts(judged, governs).find_map(|(_, direction)| match direction.verdict {
        Verdict::Undecided(doubt) if !direction.selecting.is_empty() => {
            Some((names(direction.selecting.iter().copied()), doubt))
        }
        _ => None,
    })
}

/// A usual mistake: the policy allows the Service's port, and the pods have another.
fn service_port(
    case: &Case<'_>,
    route: Option<&Route<'_>>,
    denial: &Denial,
    protocol: &str,
) -> Option<PolicyFact> {
    let allowed = route?.port?.port;
    if allowed == denial.port.port {
        return None;
    }
    let judged = judge(case, route, protocol, allowed, Some(allowed));
    let allows = judged.iter().all(|one| match denial.governs {
        Governs::Egress => one.judgement.egress.allows(),
        Governs::Ingress => one.judgement.ingress.allows(),
    });
    allows.then(|| PolicyFact::AllowServicePort {
        allowed,
        needed: denial.port.clone(),
    })
}

fn names<'p>(policies: impl Iterator<Item = &'p NetworkPolicy>) -> Vec<ObjectName> {
    let mut names: Vec<ObjectName> = Vec::new();
    for policy in policies {
        let name = ObjectName::from(policy);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
