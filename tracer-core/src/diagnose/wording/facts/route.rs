//! Where a Service forwards to.

use std::time::Duration;

use super::super::parts::{Count, List, Part};
use super::super::sentence;
use crate::diagnose::fact::{DeclaredPort, EndpointShare, Local, MissingTarget, Others, RouteFact};
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &RouteFact) -> Sentence {
    match fact {
        RouteFact::Chosen(endpoint, port) => sentence!(
            "The conntrack table of the pod's node shows the endpoint: {}{}.",
            endpoint,
            port.map(|port| sentence!(", port {}", port))
        ),
        RouteFact::EndpointShare(share) => sentence!("There {}.", shares(share)),
        RouteFact::StaleEndpoint => sentence!(
            "The Service's EndpointSlices don't list that endpoint as ready: the node's rules lag behind, or conntrack keeps the flow there."
        ),
        RouteFact::ChosenIsSelf => sentence!("That endpoint is the client itself."),
        RouteFact::NoLocalEndpoint {
            local,
            node,
            elsewhere,
        } => {
            let elsewhere = match elsewhere.len() {
                1 => sentence!("Its one ready endpoint is elsewhere: {}", List(elsewhere)),
                several => sentence!(
                    "Its {} ready endpoints are elsewhere: {}",
                    several,
                    List(elsewhere)
                ),
            };
            match local {
                Local::Internal => sentence!(
                    "The Service's internalTrafficPolicy is Local: a node forwards to its own endpoints only, and {}, the client's node, has none that is ready. {}.",
                    node,
                    elsewhere
                ),
                Local::NodePort => sentence!(
                    "The Service's externalTrafficPolicy is Local: a node forwards what comes from outside of it to its own endpoints only, and node {} has none that is ready. {}.",
                    node,
                    elsewhere
                ),
                Local::External => sentence!(
                    "The Service's externalTrafficPolicy is Local, and {}, the client's node, has no ready endpoint. {}. Possible cause: the node applies the policy to its pods too (kube-proxy in IPVS mode does), or the load balancer sends their packets to a node without an endpoint.",
                    node,
                    elsewhere
                ),
            }
        }
        RouteFact::OutsideSourceRanges { client, ranges } => sentence!(
            "The Service's loadBalancerSourceRanges admit clients from {}. The pod's address, {}, is in none of these: the nodes drop its packets to the load balancer's address.",
            List(ranges),
            client
        ),
        RouteFact::BalancerDecides => sentence!(
            "The nodes leave this address to the load balancer, which may see the address of the pod's node instead."
        ),
        RouteFact::PortWithoutEndpoint { port, missing } => match missing {
            MissingTarget::Undeclared { name, declared } => sentence!(
                "The targetPort of the Service's port {} is the name \"{}\", and no container of its ready pods declares a port of that name{}. So its EndpointSlices have addresses and no such port, and the node has nowhere to forward to.",
                port,
                name,
                declared_ports(declared)
            ),
            MissingTarget::Unlisted => sentence!(
                "The Service's EndpointSlices have addresses and no port that belongs to its port {}: the node has nowhere to forward to. A port of a slice belongs to the Service's port of the same name and protocol.",
                port
            ),
        },
        RouteFact::OnlyEndpointIsSelf(endpoint) => sentence!(
            "The Service's only ready endpoint is the client itself: {}.",
            endpoint
        ),
        RouteFact::HairpinCauses => sentence!(
            "The node has to send the pod's packet back through the interface that it came from. Possible causes of the silence: hairpin mode is off for the pod's port of the bridge, or the node doesn't replace the source address (masquerade), so the pod drops a packet from itself."
        ),
        RouteFact::OneEndpointIsSelf(endpoints) => sentence!(
            "One of its {} ready endpoints is the client itself. Possible cause if about 1 of {} connections fails: the node doesn't let a pod reach itself through a Service (hairpin mode).",
            endpoints,
            endpoints
        ),
        RouteFact::Affinity(seconds) => sentence!(
            "The Service's sessionAffinity is ClientIP: all connections of a client go to the same endpoint until it has been idle for {}.",
            Duration::from_secs(u64::from(*seconds))
        ),
        RouteFact::OtherFamily { ip, reached } => match reached {
            Others::Meanwhile(pod) => sentence!(
                "Meanwhile {} connected to the Service's {} address, {}: only the other family fails.",
                pod,
                family(ip.is_ipv4()),
                ip
            ),
            Others::Before(pod, ago) => sentence!(
                "{} connected to the Service's {} address, {}, {} before.",
                pod,
                family(ip.is_ipv4()),
                ip,
                ago
            ),
            Others::None => sentence!(
                "The Service also has an {} address, {}.",
                family(ip.is_ipv4()),
                ip
            ),
        },
    }
}

/// `3 of 3 attempts of this pod failed, 0 of 31 at its 2 other endpoints`.
pub(super) fn shares(share: &EndpointShare) -> Sentence {
    let EndpointShare { own, others, count } = share;
    sentence!(
        "{} of {} of this pod failed{}",
        own.failures,
        Count(own.attempts, "attempt"),
        (*count > 0).then(|| sentence!(
            ", {} of {} at {}",
            others.failures,
            others.attempts,
            Count(u64::try_from(*count).unwrap_or(u64::MAX), "other endpoint")
        ))
    )
}

/// The name of an address family.
pub(in crate::diagnose::wording) fn family(v4: bool) -> &'static str {
    match v4 {
        true => "IPv4",
        false => "IPv6",
    }
}

fn declared_ports(declared: &[DeclaredPort]) -> Sentence {
    match declared.len() {
        0 => sentence!("; they declare no port"),
        _ => sentence!("; they declare {}", List(declared)),
    }
}

/// `"web" (8080/TCP)`.
impl Part for DeclaredPort {
    fn add_to(&self, sentence: &mut Sentence) {
        match &self.name {
            Some(name) => sentence!("\"{}\" ({})", name, self.port),
            None => sentence!("{} without a name", self.port),
        }
        .add_to(sentence);
    }
}
