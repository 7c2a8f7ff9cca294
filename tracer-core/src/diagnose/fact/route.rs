//! Facts about where a Service forwards to.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{EndpointPlace, Others, PortName};
use crate::diagnose::memory::Outcomes;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum RouteFact {
    /// The endpoint that conntrack shows, and its port.
    Chosen(EndpointPlace, Option<u16>),
    /// How the attempts went there and elsewhere.
    EndpointShare(EndpointShare),
    /// The EndpointSlices do not list that endpoint as one to forward to.
    StaleEndpoint,
    /// That endpoint is the client itself.
    ChosenIsSelf,
    /// Only endpoints of this node serve, and there is none; the ready ones are elsewhere.
    NoLocalEndpoint {
        local: Local,
        node: Arc<str>,
        elsewhere: Vec<EndpointPlace>,
    },
    /// The client's address is in none of the Service's source ranges.
    OutsideSourceRanges { client: IpAddr, ranges: Vec<IpNet> },
    /// The load balancer itself admits or refuses clients, and may see the node's address.
    BalancerDecides,
    /// The Service's port leads to no port of its ready endpoints.
    PortWithoutEndpoint {
        port: PortName,
        missing: MissingTarget,
    },
    /// The only ready endpoint is the client itself.
    OnlyEndpointIsSelf(EndpointPlace),
    /// Why a pod may not reach itself through a Service.
    HairpinCauses,
    /// One of this many ready endpoints is the client itself.
    OneEndpointIsSelf(usize),
    /// A client keeps its endpoint for this many seconds.
    Affinity(u32),
    /// The Service's address of the other family works.
    OtherFamily { ip: IpAddr, reached: Others },
}

/// A pod's attempts at one endpoint, and at the others of the Service that conntrack showed.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnose) struct EndpointShare {
    pub own: Outcomes,
    pub others: Outcomes,
    /// The number of others.
    pub count: usize,
}

impl EndpointShare {
    /// Whether attempts fail at this endpoint, and at none of the others that were used.
    pub fn is_alone(&self) -> bool {
        self.count > 0 && self.own.failures > 0 && self.others.failures == 0
    }
}

/// A traffic policy `Local`, and what applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum Local {
    /// internalTrafficPolicy, at the client's node.
    Internal,
    /// externalTrafficPolicy, at the node whose port was used.
    NodePort,
    /// externalTrafficPolicy, at an external or LoadBalancer address.
    External,
}

/// Why a Service's port leads to no port of an endpoint.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum MissingTarget {
    /// The target port is a name that no container declares; the containers declare these.
    Undeclared {
        name: Arc<str>,
        declared: Vec<DeclaredPort>,
    },
    /// The EndpointSlices do not list the port.
    Unlisted,
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct DeclaredPort {
    pub name: Option<Arc<str>>,
    pub port: PortName,
}
