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
        PingFact::Loop(error) => sentence!(
            "It was not delivered: {}. The packet passed from router to router until its hop limit was used up, which shows a routing loop. That is no sign that the Service is down. Possible cause: no node translates a ping to such an address, and the route for it leads in a circle.",
            error
        ),
        PingFact::AnsweredElsewhere => sentence!(
            "It was answered all the same, by whoever holds that address: not by a pod of the Service. Possible cause: the node has the address on an interface of its own (kube-proxy in IPVS mode), or the network or a load balancer answers for Services. It is no sign that the Service works."
        ),
        PingFact::Rejected(error) => sentence!(
            "It was rejected: {}. That is no sign that the Service is down. Possible cause: kube-proxy in nftables mode, or in IPVS mode, rejects what is for none of the Service's ports.",
            error
        ),
        PingFact::NotAnswered => sentence!(
            "Nobody answered, which is no sign that the Service is down. Possible cause: kube-proxy in iptables mode has no rule for it, so it left the node and was lost."
        ),
        PingFact::ReadyEndpoints(endpoints) => ready(endpoints),
        PingFact::ClusterIpUnknown(lacking) => sentence!(
            "Whether that is the ClusterIP of a Service, which no ping can reach, is not known: {}.",
            inventory::lacking(*lacking)
        ),
        PingFact::InServiceRange(range) => sentence!(
            "The address lies in the range of ClusterIPs, {}, and no Service has it: there is nobody to answer.",
            range
        ),
        PingFact::CameBack(error) => sentence!("What came back: {}.", error),
    }
}
