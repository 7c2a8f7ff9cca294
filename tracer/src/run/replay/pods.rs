//! Which pod has an address, by an inventory. A capture file has no network namespaces to identify pods by.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tracer_core::model::cluster::{ClusterChange, Inventory};
use tracer_core::model::flow::Ifindex;

/// Pods by address. Pods with hostNetwork have no address of their own and are not included.
#[derive(Debug, Default)]
pub(super) struct PodAddresses(HashMap<IpAddr, Holder>);

#[derive(Debug)]
struct Holder {
    /// `None` where several pods have the address.
    uid: Option<Arc<str>>,
    ended: bool,
}

impl PodAddresses {
    /// Reads the addresses from an inventory, with `node` those of its pods. A running pod takes precedence over one
    /// that has ended: addresses are reused.
    pub(super) fn from_inventory(inventory: &Inventory, node: Option<&Arc<str>>) -> PodAddresses {
        let mut holders: HashMap<IpAddr, Holder> = HashMap::new();
        for ended in [false, true] {
            let own = inventory
                .pods
                .iter()
                .filter(|pod| node.is_none() || pod.node.as_ref() == node)
                .filter(|pod| !pod.host_network && pod.terminated == ended);
            for (ip, pod) in own.flat_map(|pod| pod.ips.iter().map(move |ip| (*ip, pod))) {
                match holders.get_mut(&ip) {
                    None => {
                        let uid = Some(Arc::clone(&pod.uid));
                        holders.insert(ip, Holder { uid, ended });
                    }
                    Some(holder) if holder.ended == ended => holder.uid = None,
                    Some(_) => {}
                }
            }
        }
        PodAddresses(holders)
    }

    /// Whether a pod has this address.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.0.contains_key(&ip)
    }

    /// The identity change for an interface of a capture.
    pub(super) fn change(&self, ifindex: Ifindex, ip: IpAddr) -> ClusterChange {
        let uid = match self.0.get(&ip) {
            Some(holder) => holder.uid.clone(),
            // No listed pod has the address, so the address serves as the UID. `None` would mean that the
            // search for the pod continues.
            None => Some(Arc::from(ip.to_string())),
        };
        ClusterChange::Interface { ifindex, uid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::model::cluster::Pod;

    fn pod(uid: &str, ip: &str, host_network: bool, terminated: bool) -> Pod {
        Pod {
            uid: uid.into(),
            ips: vec![ip.parse().expect("an address")],
            host_network,
            terminated,
            ..Pod::default()
        }
    }

    #[test]
    fn a_running_pod_takes_precedence_over_one_that_has_ended() {
        let pods = PodAddresses::from_inventory(
            &Inventory {
                pods: vec![
                    pod("job", "10.0.0.1", false, true),
                    pod("web", "10.0.0.1", false, false),
                    pod("old", "10.0.0.2", false, true),
                    pod("one", "10.0.0.3", false, false),
                    pod("two", "10.0.0.3", false, false),
                    pod("agent", "192.168.0.1", true, false),
                ],
                ..Inventory::default()
            },
            None,
        );
        let uid = |ip: &str| match pods.change(Ifindex(1), ip.parse().expect("an address")) {
            ClusterChange::Interface { uid, .. } => uid,
            other => panic!("{other:?}"),
        };
        assert_eq!(uid("10.0.0.1").as_deref(), Some("web"));
        assert_eq!(uid("10.0.0.2").as_deref(), Some("old"));
        assert_eq!(uid("10.0.0.3"), None);
        let is_pod = |ip: &str| pods.has(ip.parse().expect("an address"));
        assert!(is_pod("10.0.0.3"));
        assert!(!is_pod("192.168.0.1"));
    }
}
