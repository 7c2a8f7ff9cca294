//! Flows as keys of tables.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use crate::fair_table::Key;
use crate::model::flow::{Flow, Ifindex};

/// The group of flows with the same socket of the pod.
pub(super) const SAME_SOCKET: usize = 0;

impl Key for Flow {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }

    fn hash_group<H: Hasher>(&self, _: usize, state: &mut H) {
        (self.ifindex, self.protocol, self.pod).hash(state);
    }
}

impl Key for (Ifindex, SocketAddr) {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.0
    }
}

/// Whether two flows have the same socket of the pod.
pub(super) fn same_socket(one: &Flow, other: &Flow) -> bool {
    (one.ifindex, one.protocol, one.pod) == (other.ifindex, other.protocol, other.pod)
}
