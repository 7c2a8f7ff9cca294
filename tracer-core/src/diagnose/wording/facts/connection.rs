//! Connections that failed, and UDP packets.

use super::super::parts::{List, Ports};
use super::super::sentence;
use super::{not_ready, ready};
use crate::diagnose::fact::{ConnectionFact, Others};
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &ConnectionFact) -> Sentence {
    match fact {
        ConnectionFact::PortNotServed { port, served } => sentence!(
            "The Service has no port {}: it forwards {}.",
            port,
            Ports(served)
        ),
        ConnectionFact::OtherProtocol(other) => sentence!(
            "The port number is right and the protocol is not: it is listed for {}.",
            *other
        ),
        ConnectionFact::UnservedSilent => sentence!(
            "Nobody answers for such a port of a ClusterIP. Possible cause of the silence: kube-proxy in iptables mode has no rule for it, so it left the node and was lost."
        ),
        ConnectionFact::UnservedRejected => sentence!(
            "The rejection says nothing more. Possible cause: kube-proxy in nftables or IPVS mode rejects what is for none of the Service's ports."
        ),
        ConnectionFact::UnservedReset => sentence!(
            "The reset says nothing more. Possible cause: the node holds the address itself (kube-proxy in IPVS mode) and nobody listens there."
        ),
        ConnectionFact::ReadyEndpoints(endpoints) => ready(endpoints),
        ConnectionFact::SameNode(node) => {
            sentence!(
                "Both pods are on node {}, so no other node is on the way.",
                node
            )
        }
        ConnectionFact::TwoNodes(own, other) => sentence!(
            "The pods are on two nodes, {} and {}: the network between them is on the way.",
            own,
            other
        ),
        ConnectionFact::NodesUnknown => {
            sentence!("On which nodes the two pods are is not known.")
        }
        ConnectionFact::InServiceRange(range) => sentence!(
            "The address lies in the range of ClusterIPs, {}, and no Service has it.",
            range
        ),
        ConnectionFact::AddressUnused => {
            sentence!("No pod, Service or node of the inventory has that address.")
        }
        ConnectionFact::ReachedByOthers(Others::Meanwhile(pod)) => {
            sentence!("Meanwhile {} of this node connected to it.", pod)
        }
        ConnectionFact::ReachedByOthers(Others::Before(pod, ago)) => {
            sentence!("{} of this node connected to it {} before.", pod, ago)
        }
        ConnectionFact::ReachedByOthers(Others::None) => {
            sentence!("No other pod of this node was seen to connect to it in the last 5 minutes.")
        }
        ConnectionFact::PodNotListening(port) => sentence!(
            "Nobody listens on port {} of the pod, or the pod resets connections.",
            port
        ),
        ConnectionFact::HostNotListening(port) => sentence!(
            "The host is there, and nobody listens on port {}, or a firewall resets connections.",
            port
        ),
        ConnectionFact::ResetByEndpoint => sentence!(
            "The reset bears the Service's address but comes from one of its endpoints: the node translates addresses both ways."
        ),
        ConnectionFact::TargetPort { port, target } => sentence!(
            "Port {} of the Service leads to port {} of its pods, and the one that was chosen does not listen there.",
            port,
            target
        ),
        ConnectionFact::DeclaredPorts { declared, target } => sentence!(
            "The pod's containers declare {}, not {}: possibly the port is meant to be that.",
            List(declared),
            target
        ),
        ConnectionFact::RejectedOnTheWay => sentence!(
            "Something on the way rejects it. Possible causes: a firewall or NetworkPolicy that rejects, no route, or a node that does not know the endpoints yet."
        ),
        ConnectionFact::NoReadyEndpoint => {
            sentence!("The Service has no ready endpoint, so there is nobody to forward to.")
        }
        ConnectionFact::NotReady(why) => not_ready(why),
        ConnectionFact::DroppedWithoutEndpoint => sentence!(
            "Possible cause of the silence: the node drops what has no endpoint instead of rejecting it, as it does for traffic from outside with externalTrafficPolicy Local."
        ),
        ConnectionFact::AddressOfGonePod { ip, pod, gone_for } => match gone_for {
            Some(gone_for) => sentence!(
                "{} was the address of pod {}, which had been gone for {} by then.",
                ip,
                pod,
                gone_for
            ),
            None => sentence!("{} is the address of pod {}, which has ended.", ip, pod),
        },
        ConnectionFact::SelectsSimilarPods(service) => {
            sentence!("Service {} leads to pods like it.", service)
        }
    }
}
