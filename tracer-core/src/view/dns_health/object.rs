//! What a row is about: a workload, a pod, a Service, a node, or an address.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::identity::{PeerEnd, PodEnd, PodIdentity};

/// The kind of an end of which only the address is known.
pub(super) const ADDRESS: &str = "address";

/// A Kubernetes object, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its cluster, if several are asked.
    pub cluster: Option<Arc<str>>,
    /// Its namespace, if it has one.
    pub namespace: Option<Arc<str>>,
    /// Its name, or the address.
    pub name: Arc<str>,
    /// Its kind, or `address`.
    pub kind: Arc<str>,
}

impl Object {
    /// A pod's workload; a pod without a controller stands for itself.
    pub(super) fn pod(cluster: Option<&str>, end: &PodEnd) -> Object {
        match &end.identity {
            Ok(pod) => Object::workload(cluster, pod),
            Err(_) => Object::address(cluster, end.ip),
        }
    }

    /// The same of a known pod.
    pub(super) fn workload(cluster: Option<&str>, pod: &PodIdentity) -> Object {
        match &pod.workload {
            Some(workload) => Object {
                name: Arc::clone(&workload.name),
                kind: Arc::clone(&workload.kind),
                ..Object::from_pod(cluster, pod)
            },
            None => Object::from_pod(cluster, pod),
        }
    }

    /// The pod itself.
    pub(super) fn server_pod(cluster: Option<&str>, end: &PodEnd) -> Object {
        match &end.identity {
            Ok(pod) => Object::from_pod(cluster, pod),
            Err(_) => Object::address(cluster, end.ip),
        }
    }

    /// What a client asks: the Service, pod, node or address.
    pub(super) fn peer(cluster: Option<&str>, end: &PeerEnd) -> Object {
        match (&end.service, &end.pod, &end.node) {
            (Some(service), ..) => Object {
                cluster: cluster.map(Arc::from),
                namespace: Some(Arc::clone(&service.namespace)),
                name: Arc::clone(&service.name),
                kind: "Service".into(),
            },
            (None, Some(pod), _) => Object::from_pod(cluster, pod),
            (None, None, Some(node)) => Object {
                cluster: cluster.map(Arc::from),
                namespace: None,
                name: Arc::clone(node),
                kind: "Node".into(),
            },
            (None, None, None) => Object::address(cluster, end.ip),
        }
    }

    pub(super) fn from_pod(cluster: Option<&str>, pod: &PodIdentity) -> Object {
        Object {
            cluster: cluster.map(Arc::from),
            namespace: Some(Arc::clone(&pod.namespace)),
            name: Arc::clone(&pod.name),
            kind: "Pod".into(),
        }
    }

    fn address(cluster: Option<&str>, ip: IpAddr) -> Object {
        Object {
            cluster: cluster.map(Arc::from),
            namespace: None,
            name: ip.to_string().into(),
            kind: ADDRESS.into(),
        }
    }

    /// Whether only the address is known.
    pub fn is_address(&self) -> bool {
        &*self.kind == ADDRESS
    }
}

/// `shop/web`, `10.1.0.7`; with its cluster if it has one.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}: ")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}
