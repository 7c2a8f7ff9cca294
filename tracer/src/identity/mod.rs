//! Who had this interface, and this address, at that time. Pure: fed by changes, asked by the pipeline.

use std::sync::Arc;

use crate::model::cluster::Change;
use crate::model::dns::DnsName;
use crate::model::event::Ends;
use crate::model::flow::{Flow, Ifindex, Role};
use crate::model::identity::{PeerEnd, PodEnd, PodIdentity, UnknownReason};
use crate::model::time::Timestamp;

/// What the index is told about the cluster that no object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSettings {
    /// The cluster's DNS domain.
    pub cluster_domain: DnsName,
}

impl Default for IndexSettings {
    fn default() -> IndexSettings {
        IndexSettings { cluster_domain: DnsName::new("cluster.local.") }
    }
}

/// How a pod's resolver is configured, as its resolv.conf would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// Search domains, in order.
    pub search: Vec<DnsName>,
    /// A name with fewer dots goes through the search list first.
    pub ndots: u8,
}

/// Who had which interface and which address, when.
#[derive(Debug)]
pub struct Index {
    settings: IndexSettings,
}

impl Index {
    /// Knows nobody yet.
    pub fn new(settings: IndexSettings) -> Index {
        Index { settings }
    }

    /// Takes a change in, valid from `at` on.
    pub fn apply(&mut self, at: Timestamp, change: Change) {
        let _ = (&self.settings, at, change);
    }

    /// Names both ends of a flow as they were at `at`.
    pub fn ends(&self, at: Timestamp, flow: &Flow, role: Role) -> Ends {
        let _ = at;
        Ends {
            ifindex: flow.ifindex,
            role,
            pod: PodEnd { ip: flow.pod.ip(), port: Some(flow.pod.port()), who: Err(UnknownReason::NoInventory) },
            peer: PeerEnd {
                ip: flow.peer.ip(),
                port: Some(flow.peer.port()),
                pod: None,
                service: None,
                node: None,
                names: Vec::new(),
            },
            peer_traced_here: false,
        }
    }

    /// Whether the name of this interface's pod may still come, so that its events had better wait.
    pub fn pending(&self, at: Timestamp, ifindex: Ifindex) -> bool {
        let _ = (at, ifindex);
        false
    }

    /// The pod's resolver configuration; `None` for an unknown pod.
    pub fn resolver(&self, pod: &Arc<PodIdentity>) -> Option<ResolverConfig> {
        let _ = pod;
        None
    }
}
