//! What is declared about addresses and no packet shows: which end of a flow serves, and which endpoints are
//! behind a Service. The identity index knows it; the correlators ask where packets alone would leave a guess.

use std::net::IpAddr;

use crate::model::flow::{Flow, Role};
use crate::model::time::Timestamp;

/// Answers about addresses.
pub trait Declared {
    /// The pod's role in a flow that was first seen in the middle: a Service's address serves, and so does a
    /// port that a Service or a container declares. `None` if neither end or both are declared.
    fn role(&self, at: Timestamp, flow: &Flow) -> Option<Role>;

    /// Whether the flow's peer is the address of a Service, which never opens a connection.
    fn is_service(&self, at: Timestamp, flow: &Flow) -> bool;

    /// Whether `endpoint` is an endpoint of the Service that is the flow's peer.
    fn is_endpoint(&self, at: Timestamp, flow: &Flow, endpoint: IpAddr) -> bool;
}

/// Nothing is declared.
impl Declared for () {
    fn role(&self, _: Timestamp, _: &Flow) -> Option<Role> {
        None
    }

    fn is_service(&self, _: Timestamp, _: &Flow) -> bool {
        false
    }

    fn is_endpoint(&self, _: Timestamp, _: &Flow, _: IpAddr) -> bool {
        false
    }
}
