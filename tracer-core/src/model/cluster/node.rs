//! Nodes and Namespaces.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: Arc<str>,
    /// InternalIP and ExternalIP addresses.
    pub ips: Vec<IpAddr>,
    /// The ranges that its pods' addresses come from (`spec.podCIDRs`), where the controller manager assigns
    /// them. Some CNIs ignore them.
    pub pod_cidrs: Vec<IpNet>,
}

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Name.
    pub name: Arc<str>,
    /// Labels, for the namespaceSelectors of NetworkPolicies. The API server sets kubernetes.io/metadata.name
    /// in every namespace.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

impl From<&str> for Namespace {
    /// A namespace with the label that every namespace has.
    fn from(name: &str) -> Namespace {
        let name: Arc<str> = name.into();
        Namespace {
            labels: vec![(Namespace::NAME_LABEL.into(), name.clone())],
            name,
        }
    }
}

impl Namespace {
    /// The label with the namespace's name, which the API server sets in every namespace.
    pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";
}
