//! Facts about NetworkPolicies.

use std::time::Duration;

use super::{EndpointPlace, ObjectName, PortName, Who};
use crate::policy::Doubt;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum PolicyFact {
    /// The cluster has no NetworkPolicy.
    NoneInCluster,
    /// The inventory file has no NetworkPolicy.
    NoneInFile,
    /// No NetworkPolicy selects one of the pods.
    NoneSelects,
    /// Those that select one of the pods allow it.
    Allow(Vec<ObjectName>),
    /// They select a pod, and none of them allows it.
    Deny(Denial),
    /// The Service's port would be allowed.
    AllowServicePort { allowed: u16, needed: PortName },
    /// They select a pod, and whether they allow it is left open.
    Open {
        policies: Vec<ObjectName>,
        governs: Governs,
        doubt: Doubt,
    },
    /// Policies do not apply between a pod and its own node.
    OwnNode(Vec<ObjectName>),
}

/// A connection that policies deny.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct Denial {
    pub policies: Vec<ObjectName>,
    pub governs: Governs,
    /// Who opens the connection.
    pub from: Who,
    /// To whom it is denied.
    pub to: Denied,
    pub port: PortName,
    /// The pod got through this long before all the same.
    pub passed: Option<Duration>,
}

/// The destinations of a denied connection.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum Denied {
    /// One address that is no Service's.
    Address(EndpointPlace),
    /// All of a Service's endpoints, this many.
    All(usize),
    /// These of a Service's endpoints, of this many.
    Some(Vec<EndpointPlace>, usize),
}

/// The packets that a NetworkPolicy governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum Governs {
    /// Those that the pod sends.
    Egress,
    /// Those that the destination receives.
    Ingress,
}
