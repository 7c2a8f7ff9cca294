//! Whose an address is, by an inventory: a capture file has no network namespaces to tell.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tracer_core::model::cluster::{Change, Inventory};
use tracer_core::model::flow::Ifindex;

/// Pods by address. Those on their node's network have none of their own.
#[derive(Debug, Default)]
pub(super) struct PodAddresses(HashMap<IpAddr, Holder>);

#[derive(Debug)]
struct Holder {
    /// `None` where several pods have the address.
    uid: Option<Arc<str>>,
    ended: bool,
}

impl PodAddresses {
    /// From an inventory. The address of a pod that ended may be another's by now, and then it is the other's.
    pub(super) fn of(inventory: &Inventory) -> PodAddresses {
        let mut holders: HashMap<IpAddr, Holder> = HashMap::new();
        for ended in [false, true] {
            let own = inventory
                .pods
                .iter()
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

    /// What the identity index is told of an interface of a capture.
    pub(super) fn behind(&self, ifindex: Ifindex, ip: IpAddr) -> Change {
        let uid = match self.0.get(&ip) {
            Some(holder) => holder.uid.clone(),
            // Somebody, but no pod that is listed; their address is as good a UID as any. `None` would mean that a pod
            // was looked for and may still be found.
            None => Some(Arc::from(ip.to_string())),
        };
        Change::Interface { ifindex, uid }
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
    fn an_address_is_a_running_pods_before_it_is_one_that_ended() {
        let pods = PodAddresses::of(&Inventory {
            pods: vec![
                pod("job", "10.0.0.1", false, true),
                pod("web", "10.0.0.1", false, false),
                pod("old", "10.0.0.2", false, true),
                pod("one", "10.0.0.3", false, false),
                pod("two", "10.0.0.3", false, false),
                pod("agent", "192.168.0.1", true, false),
            ],
            ..Inventory::default()
        });
        let uid = |ip: &str| match pods.behind(Ifindex(1), ip.parse().expect("an address")) {
            Change::Interface { uid, .. } => uid,
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
