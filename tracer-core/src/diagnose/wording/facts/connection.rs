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
            "Nothing answers for such a port of a ClusterIP. Possible cause of the silence: kube-proxy in iptables mode has no rule for it, so the packets left the node and were lost."
        ),
        ConnectionFact::UnservedRejected => sentence!(
            "Possible cause of the rejection: kube-proxy in nftables or IPVS mode rejects packets for other ports than the Service's."
        ),
        ConnectionFact::UnservedReset => sentence!(
            "Possible cause of the RST: the node has the address itself (kube-proxy in IPVS mode), and no process listens on that port."
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
            sentence!("The nodes of the two pods are not known.")
        }
        ConnectionFact::InServiceRange(range) => sentence!(
            "The address is in the range of ClusterIPs, {}, and no Service has it.",
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
            "No process listens on port {} of the pod, or the pod resets connections.",
            port
        ),
        ConnectionFact::HostNotListening(port) => sentence!(
            "The host is up, and no process listens on port {}, or a firewall resets connections.",
            port
        ),
        ConnectionFact::ResetByEndpoint => sentence!(
            "The RST has the Service's address but comes from one of its endpoints: the node translates addresses both ways."
        ),
        ConnectionFact::TargetPort { port, target } => sentence!(
            "Port {} of the Service leads to port {} of its pods, and the pod that was chosen does not listen there.",
            port,
            target
        ),
        ConnectionFact::DeclaredPorts { declared, target } => sentence!(
            "The pod's containers declare {}, not {}: possibly the target port is wrong.",
            List(declared),
            target
        ),
        ConnectionFact::UndeclaredBy { pods, target } => sentence!(
            "The containers of {} declare other ports than {}: possibly that is the endpoint that refuses.",
            List(pods),
            target
        ),
        ConnectionFact::WhichEndpoint(endpoints) => sentence!(
            "Which of the {} endpoints it was is not visible from the pod: test each by itself.",
            endpoints
        ),
        ConnectionFact::EndpointRejects(pod) => sentence!(
            "The ICMP error comes from an endpoint itself, so that one rejects it: {}.",
            pod
        ),
        ConnectionFact::EndpointsEnded(ips) => sentence!(
            "The Service has endpoints at {}, and the pods there have ended.",
            List(ips)
        ),
        ConnectionFact::ForwardedToGone => sentence!(
            "Possibly the node still forwards to an endpoint that is gone: its rules, or the EndpointSlices, lag behind."
        ),
        ConnectionFact::NoReadyEndpoint => {
            sentence!("The Service has no ready endpoint to forward to.")
        }
        ConnectionFact::NotReady(why) => not_ready(why),
        ConnectionFact::DroppedWithoutEndpoint => sentence!(
            "Possible cause of the silence: the node drops packets for a Service without endpoints instead of rejecting them, as it does for traffic from outside with externalTrafficPolicy Local."
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
