//! The objects "pod" and "peer" of a JSON line.

use std::net::IpAddr;

use serde::Serialize;

use crate::model::identity::{PeerEnd, PodEnd, PodIdentity, ServiceIdentity, Workload};

/// A pod, identified or not.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Pod<'a> {
    Known {
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
        ip: IpAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        workload: Option<KindName<'a>>,
    },
    Unknown {
        ip: IpAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        unknown: &'static str,
    },
}

#[derive(Serialize)]
pub(super) struct KindName<'a> {
    kind: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
pub(super) struct NamespaceName<'a> {
    namespace: &'a str,
    name: &'a str,
}

/// The other end of a flow.
#[derive(Serialize)]
pub(super) struct Peer<'a> {
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<Pod<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<NamespaceName<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<&'a str>,
}

impl<'a> Pod<'a> {
    /// `ports`: whether the event's protocol has ports. An echo's identifier is not a port.
    pub(super) fn new(end: &'a PodEnd, ports: bool) -> Pod<'a> {
        let port = end.port.filter(|_| ports);
        match &end.identity {
            Ok(pod) => Pod::known(pod, end.ip, port),
            Err(reason) => Pod::Unknown {
                ip: end.ip,
                port,
                unknown: reason.as_str(),
            },
        }
    }

    fn known(pod: &'a PodIdentity, ip: IpAddr, port: Option<u16>) -> Pod<'a> {
        Pod::Known {
            namespace: &pod.namespace,
            name: &pod.name,
            uid: &pod.uid,
            ip,
            port,
            workload: pod
                .workload
                .as_ref()
                .map(|Workload { kind, name }| KindName { kind, name }),
        }
    }
}

impl<'a> Peer<'a> {
    /// `ports` as for [`Pod::new`].
    pub(super) fn new(end: &'a PeerEnd, ports: bool) -> Peer<'a> {
        let port = end.port.filter(|_| ports);
        Peer {
            ip: end.ip,
            port,
            pod: end.pod.as_ref().map(|pod| Pod::known(pod, end.ip, port)),
            service: end
                .service
                .as_ref()
                .map(|service| service_name(service.as_ref())),
            node: end.node.as_deref(),
            names: end.names.iter().map(|name| name.as_str()).collect(),
        }
    }
}

fn service_name(service: &ServiceIdentity) -> NamespaceName<'_> {
    NamespaceName {
        namespace: &service.namespace,
        name: &service.name,
    }
}
