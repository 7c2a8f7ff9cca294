//! An inventory file of arbitrary text: parsed, and its objects used.
//!
//! Input: the bytes of the file, YAML or JSON.

use tracer_core::files::inventory::{self, Loaded};
use tracer_core::identity::{Index, IndexSettings};
use tracer_core::model::cluster::ClusterChange;
use tracer_core::model::flow::{Flow, Ifindex, Protocol, Role, host};
use tracer_core::model::time::Timestamp;

use super::safe;

/// The target.
pub fn run(data: &[u8]) {
    // A file that is not UTF-8 is refused before it is parsed.
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match inventory::parse(text) {
        Ok(loaded) => {
            assert_eq!(
                inventory::parse(text).ok().as_ref(),
                Some(&loaded),
                "parsed twice"
            );
            used(loaded);
        }
        // The error appears on a terminal, and quotes the file.
        Err(error) => safe::assert_terminal(&error.to_string()),
    }
}

/// The index answers every kind of question about the objects.
fn used(loaded: Loaded) {
    let inventory = loaded.inventory;
    let pods = inventory.pods.clone();
    let mut index = Index::new(IndexSettings::default());
    index.apply(
        Timestamp(1),
        ClusterChange::Replace(Box::new(inventory.clone())),
    );
    for (number, pod) in (1..).zip(&pods) {
        let ifindex = Ifindex(number);
        let uid = Some(pod.uid.clone());
        index.apply(Timestamp(2), ClusterChange::Interface { ifindex, uid });
        let addresses = pods.iter().flat_map(|pod| &pod.ips);
        let services = inventory.services.iter();
        let peers = addresses.chain(services.flat_map(|service| &service.cluster_ips));
        for (pod, peer) in pod.ips.iter().zip(peers) {
            let flow = Flow {
                ifindex,
                protocol: Protocol::Udp,
                pod: host(*pod),
                peer: host(*peer),
            };
            let ends = index.ends(Timestamp(3), &flow, Role::Client);
            if let Ok(pod) = &ends.pod.identity {
                let _ = index.resolver(pod);
            }
        }
    }
    // The same again changes nothing, and an empty cluster forgets.
    index.apply(Timestamp(4), ClusterChange::Replace(Box::new(inventory)));
    index.apply(Timestamp(5), ClusterChange::Replace(Box::default()));
    assert_eq!(index.pods().count(), 0, "pods of an empty cluster");
}
