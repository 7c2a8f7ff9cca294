//! What the cluster declares about the ends of a flow, for the correlators.

use std::net::IpAddr;

use super::Index;
use super::ends::Holder;
use crate::correlate::Declared;
use crate::model::flow::{Flow, Protocol, Role};
use crate::model::time::Timestamp;

impl Declared for Index {
    fn role(&self, at: Timestamp, flow: &Flow) -> Option<Role> {
        if self.is_service(at, flow) {
            return Some(Role::Client);
        }
        let declares = |ip, port| self.declares_port(at, ip, port, flow.protocol);
        match (
            declares(flow.pod.ip(), flow.pod.port()),
            declares(flow.peer.ip(), flow.peer.port()),
        ) {
            (true, false) => Some(Role::Server),
            (false, true) => Some(Role::Client),
            _ => None,
        }
    }

    fn is_service(&self, at: Timestamp, flow: &Flow) -> bool {
        self.peer_service(at, flow).is_some()
    }

    fn is_endpoint(&self, at: Timestamp, flow: &Flow, endpoint: IpAddr) -> bool {
        self.peer_service(at, flow).is_some_and(|service| {
            self.services
                .slices(&service.namespace, &service.name)
                .iter()
                .flat_map(|slice| &slice.endpoints)
                .any(|listed| listed.ips.contains(&endpoint))
        })
    }
}

impl Index {
    /// Whether a container of the pod with this address, or an EndpointSlice that lists it, declares the port.
    fn declares_port(&self, at: Timestamp, ip: IpAddr, port: u16, protocol: Protocol) -> bool {
        let Holder::One(known) = self.pod_at(ip, at) else {
            return false;
        };
        let name = match protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            _ => return false,
        };
        let pod = &known.pod;
        let by_container = || {
            pod.ports
                .iter()
                .any(|declared| declared.port == port && &*declared.protocol == name)
        };
        let by_slice = || {
            self.services
                .slices_in(&pod.namespace)
                .filter(|slice| {
                    (slice.ports.iter())
                        .any(|served| served.port == Some(port) && &*served.protocol == name)
                })
                .flat_map(|slice| &slice.endpoints)
                .any(|listed| listed.ips.contains(&ip))
        };
        by_container() || by_slice()
    }
}
