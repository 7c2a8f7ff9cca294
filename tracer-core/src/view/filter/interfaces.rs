//! Which interfaces cannot have a visible event, so that their packets cause no record.
//!
//! Owns the decision for single interfaces; see [`emission`](super::emission) for kinds of packets. In doubt
//! an interface is recorded. The output never changes: traffic between two pods of a node is shown from the
//! side of the named pod, so if every named pod is traced here, no event of another pod's interface passes.

use std::collections::BTreeSet;

use super::emission::Variant;
use super::{Filter, FilterConfig, PodPattern};
use crate::identity::Index;
use crate::model::flow::Ifindex;
use crate::model::time::Timestamp;

impl FilterConfig {
    /// Whether some interfaces can be muted. That takes pods by name, because an interface identifies its
    /// pod. A namespace is not enough: traffic from other pods to it matches as well. Neither are pods
    /// combined with a direction or peers, or shown from both sides: then the event can come from the other
    /// side. Findings rule it out: they can depend on both sides.
    pub(super) fn by_interface(&self) -> bool {
        !self.pods.is_empty()
            && self
                .pods
                .iter()
                .all(|pod| matches!(pod, PodPattern::Named(_)))
            && self.direction.is_none()
            && !self.both_sides
            && self.peers.is_empty()
            && !self.can_show(Variant::Finding)
    }
}

impl Filter {
    /// The interfaces among `traced` that cannot have a visible event at the time `at`. An interface whose
    /// pod is unknown, or known only by its address, is never muted.
    pub fn mute(
        &self,
        traced: &BTreeSet<Ifindex>,
        index: &Index,
        at: Timestamp,
    ) -> BTreeSet<Ifindex> {
        let named = |namespace: &str, name: &str| {
            self.config.pods.iter().any(|pod| match pod {
                PodPattern::Named(object) => object.names(namespace, name),
                PodPattern::Address(_) => false,
            })
        };
        if !self.config.by_interface() || !index.all_traced(at, &named) {
            return BTreeSet::new();
        }
        traced
            .iter()
            .copied()
            .filter(|ifindex| {
                let pod = index.pod_behind(at, *ifindex);
                // A hostNetwork pod has no interface, so none is named.
                index.is_of_node(*ifindex, at)
                    || pod.is_some_and(|pod| !named(&pod.namespace, &pod.name))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::IndexSettings;
    use crate::model::cluster::{ClusterChange, EndpointSlice, Inventory, Pod, SliceEndpoint};
    use crate::model::flow::Role;
    use crate::view::filter::EventType;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn pod(namespace: &str, name: &str, ip: &str) -> Pod {
        Pod {
            namespace: namespace.into(),
            name: name.into(),
            uid: format!("uid-{name}").into(),
            ips: vec![ip.parse().expect("an address")],
            ..Pod::default()
        }
    }

    fn inventory() -> Inventory {
        Inventory {
            pods: vec![
                pod("default", "client", "10.1.0.1"),
                pod("default", "web-1", "10.1.0.2"),
                // On another node.
                pod("default", "web-2", "10.2.0.1"),
            ],
            ..Inventory::default()
        }
    }

    /// Interface 1 belongs to the client, 2 to web-1, 3 to an unknown pod; 4 has no entry yet.
    fn index(inventory: Inventory) -> Index {
        let mut index = Index::new(IndexSettings::default());
        index.apply(Timestamp(0), ClusterChange::Replace(Box::new(inventory)));
        for (ifindex, uid) in [(1, Some("uid-client")), (2, Some("uid-web-1")), (3, None)] {
            index.apply(
                Timestamp(0),
                ClusterChange::Interface {
                    ifindex: Ifindex(ifindex),
                    uid: uid.map(Arc::from),
                },
            );
        }
        index
    }

    fn named(pods: &[&str]) -> FilterConfig {
        FilterConfig {
            pods: pods
                .iter()
                .map(|pod| pod.parse().expect("a pattern"))
                .collect(),
            types: vec![EventType::Dns, EventType::Tcp],
            ..FilterConfig::default()
        }
    }

    fn muted(config: FilterConfig, index: &Index) -> Vec<u32> {
        let traced = (1..=4).map(Ifindex).collect();
        assert_eq!(config.by_interface(), config.emission().by_interface);
        Filter::from(config)
            .mute(&traced, index, NOW)
            .into_iter()
            .map(|ifindex| ifindex.0)
            .collect()
    }

    #[test]
    fn if_every_named_pod_is_traced_here_other_interfaces_are_muted() {
        let index = index(inventory());
        assert_eq!(muted(named(&["client"]), &index), [2]);
        assert_eq!(muted(named(&["default/web-1"]), &index), [1]);
        assert_eq!(muted(named(&["client", "web-1"]), &index), [0; 0]);
    }

    #[test]
    fn a_named_pod_on_another_node_mutes_no_interface() {
        let index = index(inventory());
        assert_eq!(muted(named(&["web-2"]), &index), [0; 0]);
        assert_eq!(muted(named(&["web-*"]), &index), [0; 0]);
        let mut by_slice = inventory();
        by_slice.slices.push(EndpointSlice {
            namespace: "default".into(),
            name: "web".into(),
            service: Some("web".into()),
            endpoints: vec![SliceEndpoint {
                ips: vec!["10.2.0.9".parse().expect("an address")],
                pod: Some("client".into()),
                ..SliceEndpoint::default()
            }],
            ..EndpointSlice::default()
        });
        by_slice.slices.push(EndpointSlice {
            namespace: "shop".into(),
            ..by_slice.slices[0].clone()
        });
        let index = self::index(by_slice);
        // default/client is here; only the EndpointSlice shows shop/client.
        assert_eq!(muted(named(&["default/client"]), &index), [2]);
        assert_eq!(muted(named(&["client"]), &index), [0; 0]);
    }

    #[test]
    fn options_that_can_select_the_other_side_mute_no_interface() {
        let index = index(inventory());
        for other in [
            named(&[]),
            named(&["client", "10.1.0.2"]),
            FilterConfig {
                direction: Some(Role::Client),
                ..named(&["client"])
            },
            FilterConfig {
                peers: vec!["web-1".parse().expect("a pattern")],
                ..named(&["client"])
            },
            FilterConfig {
                types: Vec::new(),
                ..named(&["client"])
            },
            FilterConfig {
                pods: Vec::new(),
                namespaces: vec!["default".parse().expect("a pattern")],
                ..named(&[])
            },
        ] {
            assert_eq!(muted(other.clone(), &index), [0; 0], "{other:?}");
        }
    }

    #[test]
    fn removing_the_named_pods_interface_unmutes_the_others() {
        let mut index = index(inventory());
        assert_eq!(muted(named(&["client"]), &index), [2]);
        index.apply(Timestamp(1), ClusterChange::InterfaceGone(Ifindex(1)));
        assert_eq!(muted(named(&["client"]), &index), [0; 0]);
    }
}
