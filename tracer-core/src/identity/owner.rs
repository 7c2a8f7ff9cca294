//! Whose traffic something is, where it has to be remembered beyond one event.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::event::Ends;
use crate::model::flow::Ifindex;

/// A pod by its UID, which is never used again and holds over all of its addresses; one that is not known by its
/// interface and address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A pod's UID.
    Pod(Arc<str>),
    /// An interface and an address behind it.
    Address(Ifindex, IpAddr),
}

impl Owner {
    /// The pod's end.
    pub fn of(ends: &Ends) -> Owner {
        match &ends.pod.who {
            Ok(pod) => Owner::Pod(Arc::clone(&pod.uid)),
            Err(_) => Owner::Address(ends.ifindex, ends.pod.ip),
        }
    }
}
