//! The objects "pod" and "peer" of a JSON line.

use std::net::IpAddr;

use super::line::{Line, field, first};
use crate::model::identity::{PeerEnd, PodEnd, PodIdentity};

/// The pod's end. `ports`: whether the event's protocol has ports. An echo's identifier is not a port.
pub(super) fn pod(line: &mut Line<'_>, end: &PodEnd, ports: bool) {
    let port = end.port.filter(|_| ports);
    match &end.identity {
        Ok(pod) => {
            known(line, pod, end.ip, port);
            socket(line, end);
        }
        Err(reason) => {
            first!(line, "ip");
            address(line, end.ip, port);
            field!(line, "unknown");
            line.word(reason.as_str());
            socket(line, end);
        }
    }
    line.raw("}");
}

/// The container and the process that own the socket, where they are known.
fn socket(line: &mut Line<'_>, end: &PodEnd) {
    if let Some(container) = &end.container {
        field!(line, "container");
        line.string(container);
    }
    if let Some(process) = &end.process {
        field!(line, "process");
        first!(line, "pid");
        line.number(process.pid);
        field!(line, "comm");
        line.string(&process.comm);
        line.raw("}");
    }
}

/// A pod's fields. The caller closes the object.
pub(super) fn known(line: &mut Line<'_>, pod: &PodIdentity, ip: IpAddr, port: Option<u16>) {
    first!(line, "namespace");
    line.string(&pod.namespace);
    field!(line, "name");
    line.string(&pod.name);
    field!(line, "uid");
    line.string(&pod.uid);
    field!(line, "ip");
    address(line, ip, port);
    if let Some(workload) = &pod.workload {
        field!(line, "workload");
        first!(line, "kind");
        line.string(&workload.kind);
        field!(line, "name");
        line.string(&workload.name);
        line.raw("}");
    }
}

/// The other end. `ports` as for [`pod`].
pub(super) fn peer(line: &mut Line<'_>, end: &PeerEnd, ports: bool) {
    let port = end.port.filter(|_| ports);
    first!(line, "ip");
    address(line, end.ip, port);
    // The node's process is behind the endpoint's address, where the Service's is translated.
    let (own, of_backend) = match &end.backend {
        None => (end.any_pod(), None),
        Some(_) => (end.pod.as_ref(), end.host_pod.as_ref()),
    };
    if let Some(pod) = own {
        field!(line, "pod");
        known(line, pod, end.ip, port);
        line.raw("}");
    }
    if let Some(service) = &end.service {
        field!(line, "service");
        first!(line, "namespace");
        line.string(&service.namespace);
        field!(line, "name");
        line.string(&service.name);
        line.raw("}");
    }
    if let Some(node) = &end.node {
        field!(line, "node");
        line.string(node);
    }
    if !end.names.is_empty() {
        field!(line, "names");
        line.array(&end.names, |line, name| line.string(name.as_str()));
    }
    if let Some(end) = &end.backend {
        let port = end.port.filter(|_| ports);
        field!(line, "backend");
        first!(line, "ip");
        address(line, end.ip, port);
        if let Some(pod) = end.pod.as_ref().or(of_backend) {
            field!(line, "pod");
            known(line, pod, end.ip, port);
            line.raw("}");
        }
        if let Some(node) = &end.node {
            field!(line, "node");
            line.string(node);
        }
        line.raw("}");
    }
    line.raw("}");
}

/// The address, and after it the port.
fn address(line: &mut Line<'_>, ip: IpAddr, port: Option<u16>) {
    line.ip(ip);
    if let Some(port) = port {
        field!(line, "port");
        line.number(port);
    }
}
