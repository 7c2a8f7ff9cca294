//! The command that makes an attempt visible.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::command::{kubectl, word};
use super::target::{PortNumber, Reached};
use super::{Input, Target};
use crate::model::cluster::ServiceKind;
use crate::model::flow::Protocol;

/// A command to run beside the pod's containers: it shares the pod's network and resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// The command.
    pub command: String,
    /// What shows success.
    pub expect: &'static str,
}

/// The probe of the target: a connection if its port is known, else a lookup of its name or a ping.
pub(super) fn of(input: &Input<'_>, reached: &Reached<'_>, asked: Option<&str>) -> Option<Probe> {
    let ip = match input.target? {
        Target::Address(ip, _) => Some(*ip),
        _ => reached.pod.and_then(|pod| pod.ips.first().copied()),
    };
    let place = match (asked, ip) {
        (Some(name), _) => Place::Name(name),
        (None, Some(ip)) => Place::Ip(ip),
        (None, None) => return None,
    };
    let (command, expect) = match (reached.port.or_else(|| first_port(reached)), place) {
        (Some(port), place) => connect(port, place),
        (None, Place::Name(name)) => (format!("getent hosts {}", word(name)), "an address"),
        (None, Place::Ip(ip)) => (format!("ping -c 3 {ip}"), "replies"),
    };
    Some(Probe {
        command: format!("{}{command}", debug(input)),
        expect,
    })
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Name(&'a str),
    Ip(IpAddr),
}

/// The first TCP port of the Service: a connection shows more than a lookup.
fn first_port(reached: &Reached<'_>) -> Option<PortNumber> {
    let service = reached.service?;
    if matches!(service.kind, ServiceKind::ExternalName(_)) {
        return None;
    }
    let port = service.ports.iter().find(|port| &*port.protocol == "TCP")?;
    Some(PortNumber {
        number: port.port,
        protocol: Protocol::Tcp,
    })
}

fn connect(port: PortNumber, place: Place<'_>) -> (String, &'static str) {
    let number = port.number;
    let host = match place {
        Place::Name(name) => word(name).into_owned(),
        Place::Ip(ip) => ip.to_string(),
    };
    if port.protocol == Protocol::Udp {
        return match number {
            53 => (
                format!("dig @{host} kubernetes.default.svc.cluster.local"),
                "an answer",
            ),
            _ => (
                format!("sh -c 'echo | nc -u -w 3 {host} {number}'"),
                "an answer, if the server answers an empty line",
            ),
        };
    }
    let at = match place {
        Place::Name(name) => format!("{}:{number}", name.strip_suffix('.').unwrap_or(name)),
        Place::Ip(ip) => SocketAddr::new(ip, number).to_string(),
    };
    (format!("curl -sv -m 5 telnet://{at}"), "\"Connected to\"")
}

/// The beginning of a command that works in every pod, whatever its images contain.
fn debug(input: &Input<'_>) -> String {
    let kubectl = kubectl(&input.subject.namespace);
    let pod = word(&input.subject.name);
    format!("{kubectl} debug -qi {pod} --image=nicolaka/netshoot -- ")
}
