//! The identified ends of the flows that were seen last.
//!
//! An identity depends on a time only where the cluster changed since. So between two changes a look-up is done
//! once for each pair of ends, however large the inventory is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;

use crate::identity::Index;
use crate::model::event::Ends;
use crate::model::flow::{Flow, Ifindex, Protocol, Role};
use crate::model::time::Timestamp;

/// Pairs kept: some servers of each of a node's pods. All are dropped when there are more.
const MAX_PAIRS: usize = 1_024;

/// What decides the identities, the pod's port aside.
type Pair = (Ifindex, Protocol, IpAddr, SocketAddr, Role);

/// Identities that hold from the latest change of the index on.
#[derive(Debug, Default)]
pub struct KnownEnds {
    version: u64,
    pairs: HashMap<Pair, Ends, RandomState>,
}

impl KnownEnds {
    /// Both ends of a flow as they were at `at`, as [`Index::ends`] identifies them.
    pub fn ends(&mut self, index: &Index, at: Timestamp, flow: &Flow, role: Role) -> Ends {
        let (version, changed) = index.version();
        if at < changed {
            return index.ends(at, flow, role);
        }
        if self.version != version || self.pairs.len() >= MAX_PAIRS {
            self.version = version;
            self.pairs.clear();
        }
        let pair = (flow.ifindex, flow.protocol, flow.pod.ip(), flow.peer, role);
        let known = self.pairs.entry(pair);
        let mut ends = known
            .or_insert_with(|| index.unnamed_ends(at, flow, role))
            .clone();
        ends.pod.port = ends.pod.port.map(|_| flow.pod.port());
        index.name_peer(at, &mut ends);
        ends
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::identity::IndexSettings;
    use crate::model::cluster::{ClusterChange, Inventory, Object, Phase, Pod};

    fn pod(uid: u64, address: IpAddr, terminating: bool) -> Pod {
        Pod {
            namespace: "default".into(),
            name: format!("pod-{}", uid % 3).into(),
            uid: format!("uid-{uid}").into(),
            ips: vec![address],
            phase: Phase::Running,
            terminating,
            ..Pod::default()
        }
    }

    #[test]
    fn the_ends_are_those_of_the_index_whatever_changed_in_between() {
        let mut seeded = StdRng::seed_from_u64(1);
        let mut random = |below: u64| seeded.random_range(0..below);
        let address = |number: u64| IpAddr::from([10, 0, 0, number.to_be_bytes()[7]]);
        let mut index = Index::new(IndexSettings::default());
        let mut known = KnownEnds::default();
        let inventory = ClusterChange::Replace(Box::default());
        index.apply(Timestamp(0), inventory);
        let (mut now, mut identified) = (0, 0);
        for _ in 0..5_000 {
            now += random(2_000_000_000);
            let uid = random(6);
            let change = match random(12) {
                0 => {
                    let pod = pod(uid, address(random(4)), random(4) == 0);
                    Some(ClusterChange::Put(Box::new(Object::Pod(pod))))
                }
                1 => Some(ClusterChange::Interface {
                    ifindex: Ifindex(1 + u32::try_from(random(2)).unwrap()),
                    uid: (random(3) > 0).then(|| format!("uid-{uid}").into()),
                }),
                2 if random(10) == 0 => {
                    let pods = vec![pod(uid, address(random(4)), false)];
                    Some(ClusterChange::Replace(Box::new(Inventory {
                        pods,
                        ..Inventory::default()
                    })))
                }
                _ => None,
            };
            if let Some(change) = change {
                index.apply(Timestamp(now), change);
            }
            let flow = Flow {
                ifindex: Ifindex(1 + u32::try_from(random(3)).unwrap()),
                protocol: [Protocol::Udp, Protocol::Icmp][usize::try_from(random(2)).unwrap()],
                pod: SocketAddr::new(
                    address(random(4)),
                    40_000 + u16::try_from(random(9)).unwrap(),
                ),
                peer: SocketAddr::new(address(random(4)), 53),
            };
            let role = [Role::Client, Role::Server][usize::try_from(random(2)).unwrap()];
            // Some events are older than the latest change.
            let at = Timestamp(now.saturating_sub(random(3) * random(9_000_000_000)));
            let ends = known.ends(&index, at, &flow, role);
            assert_eq!(ends, index.ends(at, &flow, role));
            identified += u64::from(ends.pod.identity.is_ok());
        }
        assert!(identified > 500, "{identified}");
    }
}
