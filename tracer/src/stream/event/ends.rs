//! Converts the pod and the peer of an event.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::words::WireEnum;
use super::{Unreadable, proto, small};
use tracer_core::model::dns::DnsName;
use tracer_core::model::event::Ends;
use tracer_core::model::flow::Ifindex;
use tracer_core::model::identity::{
    Backend, PeerEnd, PodEnd, PodIdentity, Process, ServiceIdentity, UnknownReason, Workload,
};

pub(super) fn to_wire(ends: &Ends) -> proto::Ends {
    proto::Ends {
        ifindex: ends.ifindex.0,
        role: ends.role.to_wire(),
        pod: Some(pod_end_to_wire(&ends.pod)),
        peer: Some(peer_to_wire(&ends.peer)),
        peer_traced_here: ends.peer_traced_here,
    }
}

pub(super) fn from_wire(wire: proto::Ends) -> Result<Ends, Unreadable> {
    Ok(Ends {
        ifindex: Ifindex(wire.ifindex),
        role: WireEnum::from_wire(wire.role)?,
        pod: pod_end_from_wire(wire.pod.ok_or(Unreadable::Missing("the pod"))?)?,
        peer: peer_from_wire(wire.peer.ok_or(Unreadable::Missing("the peer"))?)?,
        peer_traced_here: wire.peer_traced_here,
    })
}

fn pod_end_to_wire(end: &PodEnd) -> proto::PodEnd {
    use proto::pod_end::Identity;
    proto::PodEnd {
        ip: ip_to_wire(end.ip),
        port: end.port.map(u32::from),
        identity: Some(match &end.identity {
            Ok(pod) => Identity::Pod(pod_to_wire(pod)),
            Err(reason) => Identity::Unknown(reason.to_wire()),
        }),
        container: end.container.as_deref().map(str::to_owned),
        at_uplink: end.at_uplink,
        process: end.process.as_ref().map(|process| proto::Process {
            pid: process.pid,
            comm: process.comm.to_string(),
        }),
    }
}

fn pod_end_from_wire(wire: proto::PodEnd) -> Result<PodEnd, Unreadable> {
    use proto::pod_end::Identity;
    Ok(PodEnd {
        ip: ip_from_wire(&wire.ip)?,
        port: port_from_wire(wire.port)?,
        identity: match wire.identity {
            Some(Identity::Pod(pod)) => Ok(Arc::new(pod_from_wire(pod))),
            Some(Identity::Unknown(reason)) => {
                Err(WireEnum::from_wire(reason).unwrap_or(UnknownReason::NotInInventory))
            }
            None => Err(UnknownReason::NotInInventory),
        },
        container: wire.container.map(Into::into),
        at_uplink: wire.at_uplink,
        process: wire.process.map(|process| Process {
            pid: process.pid,
            comm: process.comm.into(),
        }),
    })
}

fn peer_to_wire(end: &PeerEnd) -> proto::PeerEnd {
    proto::PeerEnd {
        ip: ip_to_wire(end.ip),
        port: end.port.map(u32::from),
        pod: end.pod.as_deref().map(pod_to_wire),
        service: end.service.as_ref().map(|service| proto::Service {
            namespace: service.namespace.to_string(),
            name: service.name.to_string(),
        }),
        node: end.node.as_deref().map(str::to_owned),
        names: end.names.iter().map(ToString::to_string).collect(),
        backend: end.backend.as_deref().map(backend_to_wire),
        host_pod: end.host_pod.as_deref().map(pod_to_wire),
    }
}

fn backend_to_wire(backend: &Backend) -> proto::Backend {
    proto::Backend {
        ip: ip_to_wire(backend.ip),
        port: backend.port.map(u32::from),
        pod: backend.pod.as_deref().map(pod_to_wire),
        node: backend.node.as_deref().map(str::to_owned),
    }
}

fn backend_from_wire(wire: proto::Backend) -> Result<Backend, Unreadable> {
    Ok(Backend {
        ip: ip_from_wire(&wire.ip)?,
        port: port_from_wire(wire.port)?,
        pod: wire.pod.map(pod_from_wire).map(Arc::new),
        node: wire.node.map(Into::into),
    })
}

fn peer_from_wire(wire: proto::PeerEnd) -> Result<PeerEnd, Unreadable> {
    Ok(PeerEnd {
        ip: ip_from_wire(&wire.ip)?,
        port: port_from_wire(wire.port)?,
        pod: wire.pod.map(pod_from_wire).map(Arc::new),
        host_pod: wire.host_pod.map(pod_from_wire).map(Arc::new),
        service: wire.service.map(|service| {
            Arc::new(ServiceIdentity {
                namespace: service.namespace.into(),
                name: service.name.into(),
            })
        }),
        node: wire.node.map(Into::into),
        names: wire.names.iter().map(|name| DnsName::new(name)).collect(),
        backend: wire
            .backend
            .map(backend_from_wire)
            .transpose()?
            .map(Arc::new),
    })
}

pub(super) fn pod_to_wire(pod: &PodIdentity) -> proto::Pod {
    proto::Pod {
        namespace: pod.namespace.to_string(),
        name: pod.name.to_string(),
        uid: pod.uid.to_string(),
        workload: pod.workload.as_ref().map(|workload| proto::Workload {
            kind: workload.kind.to_string(),
            name: workload.name.to_string(),
        }),
        node: pod.node.as_deref().map(str::to_owned),
    }
}

pub(super) fn pod_from_wire(wire: proto::Pod) -> PodIdentity {
    PodIdentity {
        namespace: wire.namespace.into(),
        name: wire.name.into(),
        uid: wire.uid.into(),
        workload: wire.workload.map(|workload| Workload {
            kind: workload.kind.into(),
            name: workload.name.into(),
        }),
        node: wire.node.map(Into::into),
    }
}

fn port_from_wire(wire: Option<u32>) -> Result<Option<u16>, Unreadable> {
    wire.map(|port| small(port, "a port")).transpose()
}

fn ip_to_wire(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip_from_wire(wire: &[u8]) -> Result<IpAddr, Unreadable> {
    if let Ok(octets) = <[u8; 4]>::try_from(wire) {
        return Ok(octets.into());
    }
    match <[u8; 16]>::try_from(wire) {
        Ok(octets) => Ok(octets.into()),
        Err(_) => Err(Unreadable::Unknown("an address")),
    }
}

pub(super) fn address_to_wire(address: SocketAddr) -> proto::Address {
    proto::Address {
        ip: ip_to_wire(address.ip()),
        port: u32::from(address.port()),
    }
}

pub(super) fn address_from_wire(wire: Option<proto::Address>) -> Result<SocketAddr, Unreadable> {
    let wire = wire.ok_or(Unreadable::Missing("an address"))?;
    Ok(SocketAddr::new(
        ip_from_wire(&wire.ip)?,
        small(wire.port, "a port")?,
    ))
}
