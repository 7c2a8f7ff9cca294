//! Who has an address: the sender of an ICMP error, or of a reply that was not translated back.

use std::net::IpAddr;

use super::case::Case;
use super::fact::{AddressHolder, ObjectName};
use crate::model::flow::{Flow, Protocol, Role, host};

/// Who had the address at the time of the case.
pub(super) fn of(case: &Case<'_>, ip: IpAddr) -> AddressHolder {
    let pod = &case.ends.pod;
    if ip == pod.ip {
        return AddressHolder::Itself;
    }
    let flow = Flow {
        ifindex: case.ends.ifindex,
        // No port decides.
        protocol: Protocol::Other(0),
        pod: host(pod.ip),
        peer: host(ip),
    };
    let peer = case.index.ends(case.at, &flow, Role::Client).peer;
    let own = case.pod().and_then(|pod| pod.node.clone());
    match (&peer.pod, peer.service, peer.node) {
        (Some(pod), ..) => AddressHolder::Pod(ObjectName::from(&**pod)),
        (None, Some(service), _) => AddressHolder::Service(ObjectName::from(&*service)),
        (None, None, Some(node)) if Some(&node) == own.as_ref() => AddressHolder::OwnNode(node),
        (None, None, Some(node)) => AddressHolder::OtherNode(node),
        (None, None, None) if !case.index.has_inventory() => AddressHolder::Unknown,
        (None, None, None) => match own.filter(|own| in_range(case, own, ip)) {
            Some(own) => AddressHolder::RangeOfNode(own),
            None => AddressHolder::NoObject,
        },
    }
}

/// Whether the address is in the range of a node's pods.
fn in_range(case: &Case<'_>, node: &str, ip: IpAddr) -> bool {
    let node = case.index.node(node);
    node.is_some_and(|node| node.pod_cidrs.iter().any(|range| range.contains(&ip)))
}
