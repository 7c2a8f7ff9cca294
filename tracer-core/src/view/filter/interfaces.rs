//! Which interfaces can have nothing to show, so that their packets do not even become records.
//!
//! Owns the question for single interfaces; for kinds of packets see [`emission`](super::emission). Errs on the side of too
//! many records. Never changes what is shown: what two pods of a node do is told from the side of the one that is named, so
//! where everybody who is named is traced here, the interfaces of the others have nothing that passes.

use std::collections::BTreeSet;

use super::emission::Told;
use super::{Filter, FilterConfig, PodPattern};
use crate::identity::Index;
use crate::model::flow::Ifindex;
use crate::model::time::Timestamp;

impl FilterConfig {
    /// Whether there can be interfaces with nothing to show. Only pods by name make them: whose pod it is is known of an
    /// interface. A namespace does not, for what is done to it counts as well; nor do pods together with a direction or
    /// with peers, for then the other side can tell; nor does anything where findings are shown, which can rest on what
    /// both sides saw.
    pub(super) fn by_interface(&self) -> bool {
        !self.pods.is_empty()
            && self
                .pods
                .iter()
                .all(|pod| matches!(pod, PodPattern::Named(_)))
            && self.direction.is_none()
            && self.peers.is_empty()
            && !self.can_show(Told::Finding)
    }
}

impl Filter {
    /// Those of `traced` that have nothing to show as things are at `at`. One whose pod is not known, or known by its
    /// address alone, is none of them.
    pub fn mute(
        &self,
        traced: &BTreeSet<Ifindex>,
        index: &Index,
        at: Timestamp,
    ) -> BTreeSet<Ifindex> {
        let named = |namespace: &str, name: &str| {
            self.asked.pods.iter().any(|pod| match pod {
                PodPattern::Named(object) => object.names(namespace, name),
                PodPattern::Address(_) => false,
            })
        };
        if !self.asked.by_interface() || !index.all_traced(at, &named) {
            return BTreeSet::new();
        }
        traced
            .iter()
            .copied()
            .filter(|ifindex| {
                index
                    .pod_behind(at, *ifindex)
                    .is_some_and(|pod| !named(&pod.namespace, &pod.name))
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
    use crate::view::filter::Kind;

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

    /// Interface 1 is the client's, 2 that of web-1, 3 that of a pod that nobody knows, 4 not told of yet.
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

    fn asked(pods: &[&str]) -> FilterConfig {
        FilterConfig {
            pods: pods
                .iter()
                .map(|pod| pod.parse().expect("a pattern"))
                .collect(),
            kinds: vec![Kind::Dns, Kind::Tcp],
            ..FilterConfig::default()
        }
    }

    fn muted(asked: FilterConfig, index: &Index) -> Vec<u32> {
        let traced = (1..=4).map(Ifindex).collect();
        assert_eq!(asked.by_interface(), asked.emission().by_interface);
        Filter::from(asked)
            .mute(&traced, index, NOW)
            .into_iter()
            .map(|ifindex| ifindex.0)
            .collect()
    }

    #[test]
    fn where_all_that_are_named_are_traced_here_the_others_are_muted() {
        let index = index(inventory());
        assert_eq!(muted(asked(&["client"]), &index), [2]);
        assert_eq!(muted(asked(&["default/web-1"]), &index), [1]);
        assert_eq!(muted(asked(&["client", "web-1"]), &index), [0; 0]);
    }

    #[test]
    fn a_pod_elsewhere_is_seen_from_any_interface_so_none_is_muted() {
        let index = index(inventory());
        assert_eq!(muted(asked(&["web-2"]), &index), [0; 0]);
        assert_eq!(muted(asked(&["web-*"]), &index), [0; 0]);
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
        // default/client is here; shop/client is known by the slice alone.
        assert_eq!(muted(asked(&["default/client"]), &index), [2]);
        assert_eq!(muted(asked(&["client"]), &index), [0; 0]);
    }

    #[test]
    fn nothing_is_muted_that_another_option_can_show_from_the_other_side() {
        let index = index(inventory());
        for other in [
            asked(&[]),
            asked(&["client", "10.1.0.2"]),
            FilterConfig {
                direction: Some(Role::Client),
                ..asked(&["client"])
            },
            FilterConfig {
                peers: vec!["web-1".parse().expect("a pattern")],
                ..asked(&["client"])
            },
            FilterConfig {
                kinds: Vec::new(),
                ..asked(&["client"])
            },
            FilterConfig {
                pods: Vec::new(),
                namespaces: vec!["default".parse().expect("a pattern")],
                ..asked(&[])
            },
        ] {
            assert_eq!(muted(other.clone(), &index), [0; 0], "{other:?}");
        }
    }

    #[test]
    fn when_the_named_pod_s_interface_goes_the_others_may_have_something_to_show_again() {
        let mut index = index(inventory());
        assert_eq!(muted(asked(&["client"]), &index), [2]);
        index.apply(Timestamp(1), ClusterChange::InterfaceGone(Ifindex(1)));
        assert_eq!(muted(asked(&["client"]), &index), [0; 0]);
    }
}
