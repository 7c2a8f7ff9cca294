//! The identity of an endpoint that a Service's address was translated to.

use std::net::{IpAddr, SocketAddr};

use super::Index;
use super::ends::Holder;
use crate::model::identity::Backend;
use crate::model::time::Timestamp;

impl Index {
    /// The endpoint with this address, as it was at `at`.
    pub fn backend(&self, at: Timestamp, endpoint: SocketAddr) -> Backend {
        let ip = endpoint.ip();
        let node = self.node_at(ip, at);
        let pod = match self.pod_at(ip, at) {
            Holder::One(known) => Some(known.identity.clone()),
            Holder::Vacant if node.is_none() => self.endpoint_at(ip, at),
            Holder::Vacant | Holder::Several => None,
        };
        Backend {
            ip,
            port: Some(endpoint.port()),
            node: pod.as_ref().and_then(|pod| pod.node.clone()).or(node),
            pod,
        }
    }

    /// Whether it is a node's address.
    pub(crate) fn is_address_of_node(&self, ip: IpAddr, at: Timestamp) -> bool {
        self.node_at(ip, at).is_some()
    }

    /// Whether a pod is known to have this address, or may have it because pods are not known.
    pub(crate) fn may_be_pod(&self, ip: IpAddr, at: Timestamp) -> bool {
        !self.has_inventory() || !matches!(self.pod_at(ip, at), Holder::Vacant)
    }
}
