//! What a user wants to reach: how it is written, and which object it leads to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::alias::{AliasFacts, LeadsTo, follow};
use super::{Candidate, Coverage, Input, Resolution};
use crate::identity::{Index, Presence};
use crate::model::cluster::{Kind, Pod, Service, ServiceKind};
use crate::model::flow::Protocol;

/// A port and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortNumber {
    /// The number.
    pub number: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl PortNumber {
    /// As objects write it.
    pub(super) fn protocol(self) -> &'static str {
        match self.protocol {
            Protocol::Udp => "UDP",
            _ => "TCP",
        }
    }
}

impl fmt::Display for PortNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol())
    }
}

/// What a user wants to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A name, as an application in the pod writes it.
    Name(String, Option<PortNumber>),
    /// A Service: its namespace and name.
    Service(String, String, Option<PortNumber>),
    /// A pod: its namespace and name.
    Pod(String, String, Option<PortNumber>),
    /// An address.
    Address(IpAddr, Option<PortNumber>),
}

/// Why a word is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// It has none of the forms.
    Form(String),
    /// The inventory has no such object.
    Missing {
        /// What it is: `Service`, `pod`, or both.
        what: &'static str,
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// The namespace does not exist.
        no_namespace: bool,
        /// Similar objects are among these: `namespace/name`.
        known: Vec<String>,
    },
}

/// The objects that `NAMESPACE/NAME` can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meant {
    Service,
    Pod,
    Either,
}

impl Target {
    /// Reads NAME, NAMESPACE/NAME, svc/NAME, pod/NAME or an address, each with `:PORT` or `:PORT/udp` if wanted,
    /// or a URL. `own` is the pod's namespace.
    pub fn parse(
        written: &str,
        own: &str,
        index: &Index,
        coverage: &Coverage,
    ) -> Result<Target, TargetError> {
        let form = || TargetError::Form(written.to_owned());
        let (bare, scheme) = without_scheme(written);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Target::Address(ip, scheme));
        }
        let (place, port) = split_port(bare).ok_or_else(form)?;
        let port = port.or(scheme);
        let unbracketed = place.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
        if let Ok(ip) = unbracketed.unwrap_or(place).parse::<IpAddr>() {
            return Ok(Target::Address(ip, port));
        }
        let (meant, place) = match place.split_once('/') {
            Some(("svc" | "service" | "services", rest)) => (Meant::Service, rest),
            Some(("pod" | "pods" | "po", rest)) => (Meant::Pod, rest),
            Some(_) => (Meant::Either, place),
            None if is_name(place) => return Ok(Target::Name(place.to_owned(), port)),
            None => return Err(form()),
        };
        let (namespace, name) = place.split_once('/').unwrap_or((own, place));
        if !is_name(namespace) || !is_name(name) {
            return Err(form());
        }
        object(meant, namespace, name, port, index, coverage)
    }

    /// The port, if the user gave one.
    pub fn port(&self) -> Option<PortNumber> {
        match self {
            Target::Name(_, port)
            | Target::Service(_, _, port)
            | Target::Pod(_, _, port)
            | Target::Address(_, port) => *port,
        }
    }

    /// The namespace, if the target names one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Target::Service(namespace, ..) | Target::Pod(namespace, ..) => Some(namespace),
            Target::Name(..) | Target::Address(..) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Name(name, _) => write!(f, "{name}")?,
            Target::Service(namespace, name, _) => write!(f, "Service {namespace}/{name}")?,
            Target::Pod(namespace, name, _) => write!(f, "pod {namespace}/{name}")?,
            Target::Address(ip, port) => {
                return match port {
                    Some(port) if port.protocol == Protocol::Udp => {
                        write!(f, "{}/udp", SocketAddr::new(*ip, port.number))
                    }
                    Some(port) => write!(f, "{}", SocketAddr::new(*ip, port.number)),
                    None => write!(f, "{ip}"),
                };
            }
        }
        match self.port() {
            Some(port) if port.protocol == Protocol::Udp => write!(f, ":{}/udp", port.number),
            Some(port) => write!(f, ":{}", port.number),
            None => Ok(()),
        }
    }
}

/// A URL's host and port: people paste what their application is configured with.
fn without_scheme(written: &str) -> (&str, Option<PortNumber>) {
    let Some((scheme, rest)) = written.split_once("://") else {
        return (written, None);
    };
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let number = match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    let tcp = |number| PortNumber {
        number,
        protocol: Protocol::Tcp,
    };
    (host, number.map(tcp))
}

/// Cuts `:PORT`, `:PORT/tcp` or `:PORT/udp` off; `None` if what follows the colon is no port.
fn split_port(written: &str) -> Option<(&str, Option<PortNumber>)> {
    // Without a port, the last colon is inside the brackets of an address.
    let split = written
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'));
    let Some((place, port)) = split else {
        return Some((written, None));
    };
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let number = number.parse().ok().filter(|number| *number > 0)?;
    Some((place, Some(PortNumber { number, protocol })))
}

/// Whether it can be a name of DNS or of an object: printable, without what a shell or a URL would use.
fn is_name(written: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !written.is_empty() && written.len() <= 253 && written.bytes().all(allowed)
}

fn object(
    meant: Meant,
    namespace: &str,
    name: &str,
    port: Option<PortNumber>,
    index: &Index,
    coverage: &Coverage,
) -> Result<Target, TargetError> {
    let service = || Target::Service(namespace.to_owned(), name.to_owned(), port);
    let pod = || Target::Pod(namespace.to_owned(), name.to_owned(), port);
    let has_service = index.service(namespace, name).is_some();
    let has_pod = index.pod_named(namespace, name).is_some();
    match meant {
        Meant::Service | Meant::Either if has_service => return Ok(service()),
        Meant::Pod | Meant::Either if has_pod => return Ok(pod()),
        _ => {}
    }
    let knows = |kind| coverage.has(index, kind, Some(namespace));
    let no_service = knows(Kind::Service) && index.has_service(namespace, name) == Presence::No;
    let no_pod = knows(Kind::Pod) && index.has_pod(namespace, name) == Presence::No;
    match meant {
        Meant::Service if !no_service => return Ok(service()),
        Meant::Pod if !no_pod => return Ok(pod()),
        // What is not listed may exist; a Service is what applications connect to.
        Meant::Either if !no_service => return Ok(service()),
        Meant::Either if !no_pod => return Ok(pod()),
        _ => {}
    }
    let services = index
        .services()
        .map(|one| format!("{}/{}", one.namespace, one.name));
    let pods = index
        .pods()
        .map(|one| format!("{}/{}", one.namespace, one.name));
    let (what, mut known): (_, Vec<String>) = match meant {
        Meant::Service => ("Service", services.collect()),
        Meant::Pod => ("pod", pods.collect()),
        Meant::Either => ("Service or pod", services.chain(pods).collect()),
    };
    known.sort();
    known.dedup();
    Err(TargetError::Missing {
        what,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        no_namespace: index.has_namespace(namespace) == Presence::No,
        known,
    })
}

/// What a target leads to.
#[derive(Debug, Default)]
pub(super) struct Reached<'a> {
    /// The ExternalName Services that lead to it.
    pub aliases: Vec<AliasFacts>,
    /// The Service; of type ExternalName if that leads to no other.
    pub service: Option<&'a Service>,
    /// The Service's address that the target names; `None` where a name leads to it.
    pub service_ip: Option<IpAddr>,
    /// The pod.
    pub pod: Option<&'a Pod>,
    /// Its address, for a target that is one, or that leads to one outside of the cluster.
    pub ip: Option<IpAddr>,
    /// The port: the one asked for, or the only one of the Service.
    pub port: Option<PortNumber>,
}

/// The object that the target leads to, as far as the inventory shows.
pub(super) fn reached<'a>(input: &Input<'a>, resolution: Option<&Resolution>) -> Reached<'a> {
    let index = input.index;
    let Some(target) = input.target else {
        return Reached::default();
    };
    let mut reached = match target {
        Target::Service(namespace, name, _) => Reached {
            service: index.service(namespace, name),
            ..Reached::default()
        },
        Target::Pod(namespace, name, _) => Reached {
            pod: index.pod_named(namespace, name),
            ..Reached::default()
        },
        Target::Address(ip, _) => by_address(input, *ip),
        Target::Name(..) => by_name(input, resolution),
    };
    if let Some(service) = reached.service.filter(|one| is_alias(one)) {
        follow_alias(input, resolution, service, &mut reached);
    }
    reached.port = target.port().or_else(|| only_port(reached.service?));
    reached
}

fn only_port(service: &Service) -> Option<PortNumber> {
    let [port] = &service.ports[..] else {
        return None;
    };
    let protocol = match &*port.protocol {
        "UDP" => Protocol::Udp,
        "TCP" => Protocol::Tcp,
        _ => return None,
    };
    Some(PortNumber {
        number: port.port,
        protocol,
    })
}

fn by_address<'a>(input: &Input<'a>, ip: IpAddr) -> Reached<'a> {
    let mut services = input.index.services();
    let service =
        services.find(|one| one.cluster_ips.contains(&ip) || one.external_ips.contains(&ip));
    let mut pods = input.index.pods();
    let pod = pods.find(|pod| !pod.host_network && !pod.terminated && pod.ips.contains(&ip));
    Reached {
        service_ip: service.map(|_| ip),
        service,
        pod: pod.filter(|_| service.is_none()),
        ip: Some(ip),
        ..Reached::default()
    }
}

pub(super) fn is_alias(service: &Service) -> bool {
    matches!(service.kind, ServiceKind::ExternalName(_))
}

/// Continues with the Service that an ExternalName Service leads to; outside of the cluster with the address that
/// the pod was answered lately.
fn follow_alias<'a>(
    input: &Input<'a>,
    resolution: Option<&Resolution>,
    service: &'a Service,
    reached: &mut Reached<'a>,
) {
    let (aliases, end) = follow(input, service);
    let is_outside = aliases
        .last()
        .is_some_and(|last| last.leads_to == LeadsTo::Outside);
    reached.aliases = aliases;
    reached.service = end.or(Some(service));
    if is_outside {
        let mut answers = resolution.and_then(winner).into_iter();
        reached.ip = answers.find_map(|one| one.addresses().first().copied());
    }
}

/// What is unknown of a name outside of the cluster.
pub(super) fn outside(reached: &Reached<'_>) -> Option<String> {
    let last = reached.aliases.last()?;
    let is_unknown = last.leads_to == LeadsTo::Outside && reached.ip.is_none();
    is_unknown.then(|| {
        let name = &last.stands_for;
        format!("whether {name} resolves and answers: it is outside of the cluster, and no look-up is made")
    })
}

fn winner(resolution: &Resolution) -> Option<&Candidate> {
    let name = resolution.winner.as_ref()?;
    let mut candidates = resolution.candidates.iter();
    candidates.find(|candidate| candidate.name == *name)
}

/// A name leads to the Service of the candidate that wins.
fn by_name<'a>(input: &Input<'a>, resolution: Option<&Resolution>) -> Reached<'a> {
    let Some(resolution) = resolution else {
        return Reached::default();
    };
    let Some(winner) = winner(resolution) else {
        return Reached::default();
    };
    let of_service = winner.service.as_ref();
    let service = of_service.and_then(|(namespace, name)| input.index.service(namespace, name));
    let addresses = winner.addresses();
    // A wildcard can answer for a name that is no Service's.
    let foreign = service
        .is_none()
        .then(|| addresses.first().copied())
        .flatten();
    let by_address = foreign.map(|ip| by_address(input, ip));
    Reached {
        service: service.or_else(|| by_address.as_ref()?.service),
        service_ip: None,
        pod: by_address.as_ref().and_then(|found| found.pod),
        ip: foreign,
        ..Reached::default()
    }
}
