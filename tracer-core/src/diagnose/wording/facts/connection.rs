//! Connections that failed, and UDP packets.

use super::super::parts::{List, Ports};
use super::super::sentence;
use super::{not_ready, ready};
use crate::diagnose::fact::{ConnectionFact, Governs, Others};
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &ConnectionFact) -> Sentence {
    match fact {
        ConnectionFact::PortNotServed { port, served } => sentence![
            "The Service has no port ",
            port,
            ": it forwards ",
            Ports(served),
            ".",
        ],
        ConnectionFact::OtherProtocol(other) => sentence![
            "The port number is right and the protocol is not: it is listed for ",
            *other,
            ".",
        ],
        ConnectionFact::UnservedSilent => sentence![
            "Nobody answers for such a port of a ClusterIP. Possible cause of the silence: kube-proxy in iptables mode has no rule for it, so it left the node and was lost."
        ],
        ConnectionFact::UnservedRejected => sentence![
            "The rejection says nothing more. Possible cause: kube-proxy in nftables or IPVS mode rejects what is for none of the Service's ports."
        ],
        ConnectionFact::UnservedReset => sentence![
            "The reset says nothing more. Possible cause: the node holds the address itself (kube-proxy in IPVS mode) and nobody listens there."
        ],
        ConnectionFact::ReadyEndpoints(endpoints) => ready(endpoints),
        ConnectionFact::SameNode(node) => {
            sentence![
                "Both pods are on node ",
                node,
                ", so no other node is on the way."
            ]
        }
        ConnectionFact::TwoNodes(own, other) => sentence![
            "The pods are on two nodes, ",
            own,
            " and ",
            other,
            ": the network between them is on the way.",
        ],
        ConnectionFact::NodesUnknown => {
            sentence!["On which nodes the two pods are is not known."]
        }
        ConnectionFact::InServiceRange(range) => sentence![
            "The address lies in the range of ClusterIPs, ",
            range,
            ", and no Service has it.",
        ],
        ConnectionFact::AddressUnused => {
            sentence!["No pod, Service or node of the inventory has that address."]
        }
        ConnectionFact::ReachedByOthers(Others::Meanwhile(pod)) => {
            sentence!["Meanwhile ", pod, " of this node connected to it."]
        }
        ConnectionFact::ReachedByOthers(Others::Before(pod, ago)) => {
            sentence![pod, " of this node connected to it ", ago, " before."]
        }
        ConnectionFact::ReachedByOthers(Others::None) => {
            sentence!["No other pod of this node was seen to connect to it in the last 5 minutes."]
        }
        ConnectionFact::PodNotListening(port) => sentence![
            "Nobody listens on port ",
            port,
            " of the pod, or the pod resets connections.",
        ],
        ConnectionFact::HostNotListening(port) => sentence![
            "The host is there, and nobody listens on port ",
            port,
            ", or a firewall resets connections.",
        ],
        ConnectionFact::ResetByEndpoint => sentence![
            "The reset bears the Service's address but comes from one of its endpoints: the node translates addresses both ways."
        ],
        ConnectionFact::TargetPort { port, target } => sentence![
            "Port ",
            port,
            " of the Service leads to port ",
            target,
            " of its pods, and the one that was chosen does not listen there.",
        ],
        ConnectionFact::DeclaredPorts { declared, target } => sentence![
            "The pod's containers declare ",
            List(declared),
            ", not ",
            target,
            ": possibly the port is meant to be that.",
        ],
        ConnectionFact::RejectedOnTheWay => sentence![
            "Something on the way rejects it. Possible causes: a firewall or NetworkPolicy that rejects, no route, or a node that does not know the endpoints yet."
        ],
        ConnectionFact::NoReadyEndpoint => {
            sentence!["The Service has no ready endpoint, so there is nobody to forward to."]
        }
        ConnectionFact::NotReady(why) => not_ready(why),
        ConnectionFact::DroppedWithoutEndpoint => sentence![
            "Possible cause of the silence: the node drops what has no endpoint instead of rejecting it, as it does for traffic from outside with externalTrafficPolicy Local."
        ],
        ConnectionFact::AddressOfGonePod { ip, pod, gone_for } => match gone_for {
            Some(gone_for) => sentence![
                ip,
                " was the address of pod ",
                pod,
                ", which had been gone for ",
                gone_for,
                " by then.",
            ],
            None => sentence![ip, " is the address of pod ", pod, ", which has ended."],
        },
        ConnectionFact::SelectsSimilarPods(service) => {
            sentence!["Service ", service, " leads to pods like it."]
        }
        ConnectionFact::NoPolicyInCluster => sentence!["The cluster has no NetworkPolicy."],
        ConnectionFact::NoPolicyInFile => sentence!["The inventory holds no NetworkPolicy."],
        ConnectionFact::Policy {
            policy,
            certain,
            governs,
        } => sentence![
            "Possible cause: NetworkPolicy ",
            policy,
            if *certain {
                " selects "
            } else {
                " may select "
            },
            match governs {
                Governs::Egress => "what this pod sends",
                Governs::Ingress => "what the destination is sent",
            },
            "; what it allows was not looked at.",
        ],
    }
}
