//! The owner of traffic, for state that outlives one event.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::event::Ends;
use crate::model::flow::Ifindex;

/// A pod identified by its UID, which is never reused and covers all its addresses. An unidentified pod is
/// represented by its interface and address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A pod's UID.
    Pod(Arc<str>),
    /// An unidentified pod: an interface and an address behind it.
    Address(Ifindex, IpAddr),
}

impl Owner {
    /// The owner of the pod's end.
    pub fn from_ends(ends: &Ends) -> Owner {
        match &ends.pod.identity {
            Ok(pod) => Owner::Pod(Arc::clone(&pod.uid)),
            Err(_) => Owner::Address(ends.ifindex, ends.pod.ip),
        }
    }
}
