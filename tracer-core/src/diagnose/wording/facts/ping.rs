//! Pings.

use super::super::parts::Ports;
use super::super::sentence;
use super::{inventory, ready};
use crate::diagnose::fact::PingFact;
use crate::diagnose::route::Access;
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &PingFact) -> Sentence {
    match fact {
        PingFact::VirtualAddress(Access::ClusterIp, ports) => sentence!(
            "A ClusterIP is a virtual address that forwards only the Service's ports, here {}; a ping has no port.",
            Ports(ports)
        ),
        PingFact::VirtualAddress(Access::Balancer, ports) => sentence!(
            "The address is that of the Service's load balancer, which forwards the Service's ports, here {}; a ping has no port, and whether one is answered depends on the load balancer.",
            Ports(ports)
        ),
        PingFact::VirtualAddress(Access::External | Access::NodePort, ports) => sentence!(
            "At such an address only the Service's ports are forwarded, here {}; a ping has no port.",
            Ports(ports)
        ),
        PingFact::Loops(error) => sentence!(
            "The packets went around in a routing loop until their TTL ran out: {}. That is no sign that the Service is down: the node's Service rules do not handle pings, so the packets left the node, and two routers send the address to each other.",
            error
        ),
        PingFact::AnsweredElsewhere => sentence!(
            "It was answered all the same, but not by a pod of the Service. Possible cause: the node has the address on an interface of its own (kube-proxy in IPVS mode), or the network answers for Services. It is no sign that the Service works."
        ),
        PingFact::Rejected(error) => sentence!(
            "It was rejected: {}. That is no sign that the Service is down. Possible cause: kube-proxy in nftables mode, or in IPVS mode, rejects packets for other ports than the Service's.",
            error
        ),
        PingFact::NotAnswered => sentence!(
            "No reply came, which is no sign that the Service is down. Possible cause: kube-proxy in iptables mode has no rule for pings, so the packets left the node and were lost."
        ),
        PingFact::ReadyEndpoints(endpoints) => ready(endpoints),
        PingFact::ClusterIpUnknown(lacking) => sentence!(
            "Whether that is the ClusterIP of a Service, which no ping can reach, is not known: {}.",
            inventory::lacking(*lacking)
        ),
        PingFact::InServiceRange(range) => sentence!(
            "The address is in the range of ClusterIPs, {}, and no Service has it, so nothing answers.",
            range
        ),
        PingFact::CameBack(error) => sentence!("What came back: {}.", error),
    }
}
