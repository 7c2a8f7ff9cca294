//! The path of packets: its MTU, and ICMP errors from it.

use super::super::parts::Count;
use super::super::sentence;
use crate::diagnose::fact::{AddressHolder, DroppedPackets, IcmpMeaning, PathFact};
use crate::model::sentence::Sentence;
use crate::model::signal::DropPlace;

pub(super) fn sentence(fact: &PathFact) -> Sentence {
    match fact {
        PathFact::Mtu(error) => sentence!(
            "{}: {}.",
            match error.mtu {
                Some(mtu) => sentence!("The path takes packets of {} bytes at most", mtu),
                None => sentence!("The path does not take packets of that size"),
            },
            error
        ),
        PathFact::MtuCauses => sentence!(
            "Possible causes: the pod ignores these errors or does not get them (a firewall in it, or errors that are not translated), or its interface's MTU is larger than the network's between the nodes, as with a tunnel whose header was not counted."
        ),
        PathFact::QuotesOther(asked) => sentence!(
            "The errors quote the endpoint's address and not {}, which the pod connects to: they are not translated back, so the pod's system finds no connection for them and ignores them.",
            asked
        ),
        PathFact::StrayError(error) => sentence!(
            "What came back is an {} about {}, the endpoint that was chosen. It is not translated back to the Service's address, so the pod's system ignores it.",
            error,
            error.about.dst
        ),
        PathFact::SilentMtuCauses => sentence!(
            "No ICMP error about it was seen. Possible causes: a link with a smaller MTU, such as a tunnel or VPN, behind a firewall that drops ICMP; interfaces whose MTUs differ between pods, nodes and overlay."
        ),
        PathFact::IcmpMeans(meaning, protocol) => means(*meaning, protocol).into(),
        PathFact::Dropped(dropped) => packets_dropped(dropped),
        PathFact::DropMeans(reason) => drop_means(reason).into(),
        PathFact::ConntrackFull(rise) => sentence!(
            "Conntrack of the pod's node dropped {} within {}, with {} entries of {} at most.",
            Count(rise.drop, "packet"),
            rise.span(),
            rise.entries,
            rise.max
        ),
        PathFact::PossiblyDropped => {
            sentence!(
                "Possibly this attempt's packets are among them: the counter doesn't show which."
            )
        }
        PathFact::InsertFailed(rise) => sentence!(
            "When the lost query was sent, conntrack of the pod's node failed to insert {} within {}: a hint at that race, as the counter doesn't show which packets it dropped.",
            Count(rise.insert_failed, "entry"),
            rise.span()
        ),
        PathFact::InsertFailedProven => sentence!(
            "The kernel dropped a packet of that socket in the same seconds: the race is proven."
        ),
        PathFact::IcmpSender(ip, holder) => {
            sentence!("The ICMP error was sent by {}, {}.", ip, holder_of(holder))
        }
    }
}

fn packets_dropped(dropped: &DroppedPackets) -> Sentence {
    let drops = &dropped.drops;
    sentence!(
        "The kernel of {} dropped {}{}: reason {}{}{}{}.",
        match &dropped.node {
            Some(node) => sentence!("node {}", node),
            None => "the pod's node".into(),
        },
        match drops.from_pod {
            true => sentence!("{} of it", Count(drops.packets, "packet")),
            false => sentence!("{} to it", Count(drops.packets, "answer")),
        },
        match dropped.peer {
            Some(peer) if drops.from_pod => sentence!(", already translated to {}", peer),
            Some(peer) => sentence!(", from {}", peer),
            None => "".into(),
        },
        drops.reason,
        match &drops.function {
            Some(function) => sentence!(", in {}", function),
            None => "".into(),
        },
        match &drops.device {
            Some(device) => sentence!(", on device {}", device),
            None => "".into(),
        },
        match drops.place {
            DropPlace::Node => ", outside of pods",
            DropPlace::Pod => ", in a pod's own network namespace",
            DropPlace::Unknown => "",
        }
    )
}

/// From the comments of include/net/dropreason-core.h.
pub(crate) fn drop_means(reason: &str) -> &'static str {
    match reason {
        "NETFILTER_DROP" => {
            "A rule of nftables or iptables dropped it. Possible owners of the rule: the network plugin (a NetworkPolicy), kube-proxy, the host's firewall."
        }
        "TC_INGRESS" | "TC_EGRESS" | "XDP" | "BPF_CGROUP_EGRESS" => {
            "An eBPF program or a tc rule dropped it, as network plugins that work with eBPF do for a policy."
        }
        "IP_RPFILTER" => {
            "The reverse path filter dropped it: the route back to its source leads through another device (sysctl rp_filter)."
        }
        "IP_OUTNOROUTES" | "IP_INNOROUTES" => "The kernel has no route to its destination.",
        "NEIGH_FAILED" | "NEIGH_QUEUEFULL" | "NEIGH_CREATEFAIL" => {
            "The next hop, or the host on the last link, does not answer ARP or neighbour discovery."
        }
        "NO_SOCKET" => "No socket has the port at that address.",
        "TCP_CSUM" | "UDP_CSUM" | "IP_CSUM" => "Its checksum is wrong.",
        "PKT_TOO_BIG" => "It is larger than the MTU.",
        _ => "include/net/dropreason-core.h of the Linux source describes the reason.",
    }
}

fn means(meaning: IcmpMeaning, protocol: &str) -> &'static str {
    match meaning {
        IcmpMeaning::Network => {
            "Network unreachable: its sender has no route to the destination's network. Possible causes: the route to another node's pods is missing (CNI, cloud routes), or there is no default route."
        }
        IcmpMeaning::Host => {
            "Host unreachable: its sender has a route, and no host on the last link answers for the address. Possible causes: the pod or node with that address is gone or down, and a Service's rules, a route or the application still lead to it."
        }
        IcmpMeaning::Protocol => {
            "Protocol unreachable: the host is up and does not speak this transport protocol, or a firewall says so."
        }
        IcmpMeaning::Port if protocol == "UDP" => {
            "Port unreachable: no process has this UDP port open at the host that sent it, or a firewall or kube-proxy rejects it."
        }
        IcmpMeaning::Port => {
            "Port unreachable: over TCP a firewall sends this, not a closed port. Possible causes: kube-proxy rejects a Service for which it knows no endpoint, or a port that the Service does not have; a REJECT rule of a firewall or network plugin."
        }
        IcmpMeaning::Prohibited => {
            "Administratively prohibited: a firewall or a router's access list rejects it. Possible causes: a host firewall (firewalld), a network plugin that rejects what a policy denies, a route of type prohibit."
        }
        IcmpMeaning::TimeExceeded => {
            "Time exceeded: the packet was forwarded until its TTL ran out, which is a routing loop: two routers send the address to each other. Possible causes: no node handles the address, so that it follows the default route and comes back; two routes that contradict each other."
        }
        IcmpMeaning::Other => "What its type and code mean, the packet shows no further.",
    }
}

/// Who has an address; behind it, after a comma.
pub(super) fn holder_of(holder: &AddressHolder) -> Sentence {
    match holder {
        AddressHolder::Itself => sentence!("the pod itself"),
        AddressHolder::Pod(pod) => sentence!("pod {}", pod),
        AddressHolder::Service(service) => {
            sentence!(
                "the address of Service {} (the node translates the sender's address)",
                service
            )
        }
        AddressHolder::OwnNode(node) => sentence!("node {}, the pod's own", node),
        AddressHolder::OtherNode(node) => sentence!("node {}, not the pod's own", node),
        AddressHolder::RangeOfNode(node) => sentence!(
            "an address in the pod range of node {} that no pod has: possibly the node's own end",
            node
        ),
        AddressHolder::NoObject => {
            sentence!(
                "which no pod, Service or node of the inventory has: possibly a router or a node's bridge"
            )
        }
        AddressHolder::Unknown => {
            sentence!("whose owner is not known without an inventory")
        }
    }
}
