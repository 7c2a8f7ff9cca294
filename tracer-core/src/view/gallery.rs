//! Hand-written events of every type and state, hostile names included, for the tests of encoders and
//! filters.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::WallClock;
use crate::model::connection::{RefusedBy, TcpConnection, TcpState, UdpFlow, UdpState};
use crate::model::dns::{
    DnsFault, DnsName, Flags, OpCode, Question, RecordType, ResourceRecord, ResponseCode,
};
use crate::model::echo::{Echo, EchoState, Rtt};
use crate::model::edns::{Edns, EdnsOption, ExtendedError};
use crate::model::event::{Body, Ends, Event};
use crate::model::evidence::TcpEvidence;
use crate::model::exchange::{Details, Exchange, Outcome, Transport};
use crate::model::finding::{Finding, Severity, State};
use crate::model::flow::{Flow, FlowTotals, Ifindex, Protocol, QuotedFlow, Role, Traffic};
use crate::model::identity::{
    Backend, PeerEnd, PodEnd, PodIdentity, Process, ServiceIdentity, UnknownReason, Workload,
};
use crate::model::lookup::{Lookup, Place, Step};
use crate::model::loss::{Loss, Stage};
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

mod events;
mod incomplete;

pub use self::events::all;

const CLIENT: &str = "10.1.39.193";
const KUBE_DNS: &str = "10.152.183.10";
const NEVER: &str = "no-such-service.default.svc.cluster.local.";

/// A clock whose zero is 12:01:02 UTC on the day of the scenario.
pub fn clock() -> impl WallClock + Send {
    |at: Timestamp| {
        let start: jiff::Timestamp = "2026-03-01T12:01:02Z".parse().expect("a time");
        start + Duration::from_nanos(at.0)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn socket(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

fn at(milliseconds: u64) -> Timestamp {
    Timestamp(milliseconds * 1_000_000)
}

/// A pod of the scenario, with a UID derived from its name.
pub fn identity(
    namespace: &str,
    name: &str,
    kind: Option<(&str, &str)>,
    node: &str,
) -> Arc<PodIdentity> {
    Arc::new(PodIdentity {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-of-{name}").into(),
        workload: kind.map(|(kind, name)| Workload {
            kind: kind.into(),
            name: name.into(),
        }),
        node: Some(node.into()),
    })
}

fn ubuntu() -> Arc<PodIdentity> {
    identity("default", "deb-ubuntu", None, "k8s-worker03")
}

fn nginx() -> Arc<PodIdentity> {
    let workload = Some(("DaemonSet", "nginx-ds"));
    identity("default", "nginx-ds-v2qf5", workload, "k8s-worker03")
}

fn apache() -> Arc<PodIdentity> {
    let workload = Some(("DaemonSet", "apache-ds-myns"));
    identity("myns", "apache-ds-myns-5tjrr", workload, "k8s-worker01")
}

fn coredns() -> Arc<PodIdentity> {
    identity(
        "kube-system",
        "coredns-6f5f9b5d74-pf4ld",
        Some(("Deployment", "coredns")),
        "k8s-master",
    )
}

/// The ends of a flow from the client pod deb-ubuntu to an external peer.
pub fn client(peer: &str, port: u16) -> Ends {
    Ends {
        ifindex: Ifindex(7),
        role: Role::Client,
        pod: PodEnd {
            ip: ip(CLIENT),
            port: Some(41_000),
            identity: Ok(ubuntu()),
            container: None,
            at_uplink: false,
            process: None,
        },
        peer: PeerEnd {
            ip: ip(peer),
            port: Some(port),
            pod: None,
            host_pod: None,
            service: None,
            node: None,
            names: Vec::new(),
            backend: None,
        },
        peer_traced_here: false,
    }
}

fn with_service(mut ends: Ends, namespace: &str, name: &str) -> Ends {
    ends.peer.service = Some(Arc::new(ServiceIdentity {
        namespace: namespace.into(),
        name: name.into(),
    }));
    ends
}

/// A flow of a known container and process, to a known endpoint.
fn by_container(mut ends: Ends) -> Ends {
    ends.pod.container = Some("ubuntu".into());
    ends.pod.process = Some(Process {
        pid: 4_711,
        comm: "curl".into(),
    });
    ends.peer.backend = Some(Arc::new(Backend {
        ip: ip("10.1.39.194"),
        port: Some(80),
        pod: Some(nginx()),
        node: Some("k8s-worker03".into()),
    }));
    ends
}

/// A flow that a process of the client's own node answers.
fn by_node_cache(mut ends: Ends) -> Ends {
    let cache = identity("kube-system", "node-local-dns-x7k2p", None, "k8s-worker03");
    ends.peer.host_pod = Some(cache);
    ends
}

fn with_pod(mut ends: Ends, pod: Arc<PodIdentity>) -> Ends {
    ends.peer.node.clone_from(&pod.node);
    ends.peer.pod = Some(pod);
    ends
}

/// A query of deb-ubuntu to kube-dns.
pub fn kube_dns() -> Ends {
    with_service(client(KUBE_DNS, 53), "kube-system", "kube-dns")
}

/// The ends of a flow from deb-ubuntu, seen at the server pod.
pub fn server(pod: Arc<PodIdentity>, address: &str, port: u16) -> Ends {
    let mut ends = with_pod(client(CLIENT, 41_000), ubuntu());
    ends.role = Role::Server;
    ends.ifindex = Ifindex(9);
    ends.pod = PodEnd {
        ip: ip(address),
        port: Some(port),
        identity: Ok(pod),
        container: None,
        at_uplink: false,
        process: None,
    };
    ends
}

fn flow(protocol: Protocol, ends: &Ends) -> Flow {
    Flow {
        ifindex: ends.ifindex,
        protocol,
        pod: SocketAddr::new(ends.pod.ip, ends.pod.port.unwrap_or(0)),
        peer: SocketAddr::new(ends.peer.ip, ends.peer.port.unwrap_or(0)),
    }
}

fn totals(tx: (u64, u64), rx: (u64, u64)) -> FlowTotals {
    let traffic = |(packets, bytes)| Traffic { packets, bytes };
    FlowTotals {
        tx: traffic(tx),
        rx: traffic(rx),
        retransmits: None,
    }
}

fn record(name: &str, rtype: RecordType, ttl: u32, data: &str) -> ResourceRecord {
    ResourceRecord {
        name: DnsName::new(name),
        rtype,
        ttl,
        data: data.to_owned(),
    }
}

/// An exchange with kube-dns; tests change its fields.
pub fn exchange(name: &str, qtype: RecordType, outcome: Outcome) -> Exchange {
    let rcode = match outcome {
        Outcome::Answered | Outcome::Nodata | Outcome::Truncated => Some(ResponseCode::NoError),
        Outcome::Nxdomain => Some(ResponseCode::NXDomain),
        Outcome::Servfail => Some(ResponseCode::ServFail),
        Outcome::Refused => Some(ResponseCode::Refused),
        Outcome::Formerr => Some(ResponseCode::FormErr),
        Outcome::Other => Some(ResponseCode::NotImp),
        Outcome::Timeout | Outcome::IcmpError | Outcome::Undecided => None,
    };
    Exchange {
        number: 0,
        flow: flow(Protocol::Udp, &kube_dns()),
        role: Role::Client,
        transport: Transport::Udp,
        id: 0x2b1a,
        question: Some(Question {
            name: DnsName::new(name),
            qtype,
        }),
        asked: at(100),
        last_attempt: at(100),
        attempts: 1,
        outcome,
        rcode,
        answers: Vec::new(),
        authorities: Vec::new(),
        latency: rcode.map(|_| us(612)),
        late: false,
        icmp: None,
        connection: None,
        asked_peer: None,
        fragments_lost: 0,
        caused_by: None,
        upstream: None,
        steps: Vec::new(),
        fault: None,
        details: Details::default(),
    }
}

/// An exchange with its place in a lookup.
pub fn dns(
    ends: Ends,
    exchange: Exchange,
    place: Option<(Option<&str>, u32, Option<u32>)>,
) -> Event {
    let place = place.map(|(asked, candidate, of)| Place {
        asked: asked.map(str::to_owned),
        candidate,
        of,
    });
    event(100, Some(ends), Body::Dns(Arc::new(exchange), place))
}

/// An event at this time.
pub fn event(milliseconds: u64, ends: Option<Ends>, body: Body) -> Event {
    Event {
        time: at(milliseconds),
        ends,
        incomplete: false,
        body,
    }
}

/// A query of a lookup.
pub fn step(name: &str, qtype: RecordType, outcome: Option<Outcome>, data: &[&str]) -> Step {
    Step {
        name: DnsName::new(name),
        qtype,
        outcome,
        latency: outcome
            .filter(|outcome| *outcome != Outcome::Timeout)
            .map(|_| us(700)),
        attempts: 1,
        data: data.iter().map(|data| (*data).to_owned()).collect(),
        errors: Vec::new(),
        asked: at(100),
        sent: Vec::new(),
    }
}

/// A lookup through kube-dns.
pub fn lookup(asked: Option<&str>, outcome: Outcome, steps: Vec<Step>) -> Event {
    let mut qtypes: Vec<RecordType> = Vec::new();
    for step in &steps {
        if !qtypes.contains(&step.qtype) {
            qtypes.push(step.qtype);
        }
    }
    let lookup = Lookup {
        asked: asked.map(str::to_owned),
        qtypes,
        outcome,
        queries: u32::try_from(steps.len()).expect("few"),
        duration: match outcome {
            Outcome::Timeout => Duration::ZERO,
            _ => us(3_100),
        },
        waited: Duration::ZERO,
        steps,
    };
    event(1_123, Some(kube_dns()), Body::Lookup(Box::new(lookup)))
}

/// An ICMP port unreachable for a packet from deb-ubuntu.
pub fn icmp(protocol: Protocol, dst: SocketAddr) -> IcmpError {
    IcmpError {
        from: socket("192.168.2.33", 0),
        v6: false,
        icmp_type: 3,
        icmp_code: 3,
        mtu: None,
        about: QuotedFlow {
            protocol,
            src: socket(CLIENT, 41_000),
            dst,
        },
        echo_sequence: None,
        sequence: None,
        unconfirmed: false,
        opens: false,
        datagram_id: None,
    }
}

/// A TCP connection.
pub fn tcp(ends: Ends, state: TcpState, change: impl FnOnce(&mut TcpConnection)) -> Event {
    let mut connection = TcpConnection {
        flow: flow(Protocol::Tcp, &ends),
        role: ends.role,
        state,
        handshake: None,
        syn_retransmits: 0,
        totals: totals((1, 60), (0, 0)),
        icmp: None,
        last: at(1_200),
        evidence: TcpEvidence::default(),
    };
    change(&mut connection);
    event(1_200, Some(ends), Body::Tcp(Box::new(connection)))
}

/// A UDP flow.
pub fn udp(ends: Ends, state: UdpState, change: impl FnOnce(&mut UdpFlow)) -> Event {
    let mut udp = UdpFlow {
        flow: flow(Protocol::Udp, &ends),
        role: ends.role,
        state,
        totals: totals((3, 180), (0, 0)),
        icmp: None,
        last: at(1_300),
        unanswered: None,
        reply_from: None,
    };
    change(&mut udp);
    event(1_300, Some(ends), Body::Udp(Box::new(udp)))
}

/// An echo run.
pub fn echo(ends: Ends, sent: u64, received: u64, change: impl FnOnce(&mut Echo)) -> Event {
    let mut ends = ends;
    ends.pod.port = None;
    ends.peer.port = None;
    let mut echo = Echo {
        flow: flow(Protocol::Icmp, &ends),
        role: ends.role,
        id: 4711,
        sent,
        received,
        duplicates: 0,
        errors: 0,
        last_error: None,
        samples: received,
        rtt: (received > 0).then_some(Rtt {
            min: us(61),
            avg: us(84),
            max: us(112),
            mdev: us(18),
        }),
        last: at(12_480),
        state: EchoState::Done,
    };
    change(&mut echo);
    event(12_480, Some(ends), Body::Echo(Box::new(echo)))
}

/// A finding about deb-ubuntu.
pub fn finding(severity: Severity, resolved: bool) -> Event {
    let finding = Finding {
        id: "nxdomain-other-namespace:default/deb-ubuntu:clusterip-apache2-ds-myns".to_owned(),
        rule: "nxdomain-other-namespace",
        severity,
        state: if resolved { State::Resolved } else { State::Active },
        cause: "clusterip-apache2-ds-myns".to_owned(),
        pods: None,
        first: at(1_123),
        last: at(1_126),
        count: 2,
        of: 5,
        headline: "default/deb-ubuntu can't resolve \"clusterip-apache2-ds-myns\": the Service is in namespace myns; use clusterip-apache2-ds-myns.myns".into(),
        symptom: None,
        summary: "default/deb-ubuntu asked for clusterip-apache2-ds-myns, and no name on its search path exists"
            .into(),
        was: resolved.then(|| "it had failed".into()),
        names: vec!["clusterip-apache2-ds-myns".into()],
        why: vec!["A Service of that name is in namespace myns, and a short name is looked up in the pod's own namespace, default, only.".into()],
        fix: Some("use clusterip-apache2-ds-myns.myns".into()),
        remedies: vec!["use clusterip-apache2-ds-myns.myns".into()],
        evidence: vec!["4 candidates, 4 NXDOMAIN".into()],
        path: None,
    };
    event(1_126, Some(kube_dns()), Body::Finding(Box::new(finding)))
}
