//! Hand-written events of every type and state, hostile names among them: what the encoders and filters are tried on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::WallClock;
use crate::model::connection::{RefusedBy, TcpConnection, TcpState, UdpFlow, UdpState};
use crate::model::dns::{DnsFault, DnsName, Question, RecordType, ResourceRecord, ResponseCode};
use crate::model::echo::{Echo, EchoState, Rtt};
use crate::model::event::{Body, Ends, Event};
use crate::model::exchange::{Exchange, Outcome, Transport};
use crate::model::finding::{Finding, Severity};
use crate::model::flow::{Flow, FlowTotals, Ifindex, Protocol, QuotedFlow, Role, Traffic};
use crate::model::identity::{
    PeerEnd, PodEnd, PodIdentity, ServiceIdentity, UnknownReason, Workload,
};
use crate::model::lookup::{Lookup, Place, Step};
use crate::model::loss::{Loss, Stage};
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

const CLIENT: &str = "10.1.39.193";
const KUBE_DNS: &str = "10.152.183.10";
const NEVER: &str = "no-such-service.default.svc.cluster.local.";

/// The pipeline's zero is 12:01:02 UTC on the day of the scenario.
pub(super) fn clock() -> impl WallClock + Send {
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

/// A pod of the scenario; its UID is made of its name.
pub(super) fn identity(
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

/// Ends of the client pod deb-ubuntu and an external peer.
pub(super) fn client(peer: &str, port: u16) -> Ends {
    Ends {
        ifindex: Ifindex(7),
        role: Role::Client,
        pod: PodEnd {
            ip: ip(CLIENT),
            port: Some(41_000),
            who: Ok(ubuntu()),
        },
        peer: PeerEnd {
            ip: ip(peer),
            port: Some(port),
            pod: None,
            service: None,
            node: None,
            names: Vec::new(),
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

fn with_pod(mut ends: Ends, pod: Arc<PodIdentity>) -> Ends {
    ends.peer.node.clone_from(&pod.node);
    ends.peer.pod = Some(pod);
    ends
}

fn kube_dns() -> Ends {
    with_service(client(KUBE_DNS, 53), "kube-system", "kube-dns")
}

/// Ends of a pod that is asked by deb-ubuntu.
pub(super) fn server(pod: Arc<PodIdentity>, address: &str, port: u16) -> Ends {
    let mut ends = with_pod(client(CLIENT, 41_000), ubuntu());
    ends.role = Role::Server;
    ends.ifindex = Ifindex(9);
    ends.pod = PodEnd {
        ip: ip(address),
        port: Some(port),
        who: Ok(pod),
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

/// An answered exchange with kube-dns, to be changed.
pub(super) fn exchange(name: &str, qtype: RecordType, outcome: Outcome) -> Exchange {
    let rcode = match outcome {
        Outcome::Answered | Outcome::Nodata | Outcome::Truncated => Some(ResponseCode::NoError),
        Outcome::Nxdomain => Some(ResponseCode::NXDomain),
        Outcome::Servfail => Some(ResponseCode::ServFail),
        Outcome::Refused => Some(ResponseCode::Refused),
        Outcome::Formerr => Some(ResponseCode::FormErr),
        Outcome::Other => Some(ResponseCode::NotImp),
        Outcome::Timeout | Outcome::IcmpError => None,
    };
    Exchange {
        flow: flow(Protocol::Udp, &kube_dns()),
        role: Role::Client,
        transport: Transport::Udp,
        id: 0x2b1a,
        question: Some(Question {
            name: DnsName::new(name),
            qtype,
        }),
        asked: at(100),
        attempts: 1,
        outcome,
        rcode,
        answers: Vec::new(),
        authorities: Vec::new(),
        latency: rcode.map(|_| us(612)),
        late: false,
        icmp: None,
        fault: None,
    }
}

fn dns(ends: Ends, exchange: Exchange, place: Option<(Option<&str>, u32, Option<u32>)>) -> Event {
    let place = place.map(|(asked, candidate, of)| Place {
        asked: asked.map(str::to_owned),
        candidate,
        of,
    });
    event(100, Some(ends), Body::Dns(Box::new(exchange), place))
}

/// An event at so many milliseconds.
pub(super) fn event(milliseconds: u64, ends: Option<Ends>, body: Body) -> Event {
    Event {
        time: at(milliseconds),
        ends,
        body,
    }
}

fn step(name: &str, qtype: RecordType, outcome: Option<Outcome>, data: &[&str]) -> Step {
    Step {
        name: DnsName::new(name),
        qtype,
        outcome,
        latency: outcome
            .filter(|outcome| *outcome != Outcome::Timeout)
            .map(|_| us(700)),
        data: data.iter().map(|data| (*data).to_owned()).collect(),
        asked: at(100),
    }
}

/// A lookup through kube-dns.
pub(super) fn lookup(asked: Option<&str>, outcome: Outcome, steps: Vec<Step>) -> Event {
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
        duration: us(3_100),
        steps,
    };
    event(1_123, Some(kube_dns()), Body::Lookup(Box::new(lookup)))
}

/// An ICMP port unreachable for a packet from deb-ubuntu.
pub(super) fn icmp(protocol: Protocol, dst: SocketAddr) -> IcmpError {
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
    }
}

/// A TCP connection.
pub(super) fn tcp(ends: Ends, state: TcpState, change: impl FnOnce(&mut TcpConnection)) -> Event {
    let mut connection = TcpConnection {
        flow: flow(Protocol::Tcp, &ends),
        role: ends.role,
        state,
        handshake: None,
        syn_retransmits: 0,
        totals: totals((1, 60), (0, 0)),
        icmp: None,
    };
    change(&mut connection);
    event(1_200, Some(ends), Body::Tcp(Box::new(connection)))
}

/// A UDP flow.
pub(super) fn udp(ends: Ends, state: UdpState, change: impl FnOnce(&mut UdpFlow)) -> Event {
    let mut udp = UdpFlow {
        flow: flow(Protocol::Udp, &ends),
        role: ends.role,
        state,
        totals: totals((3, 180), (0, 0)),
        icmp: None,
    };
    change(&mut udp);
    event(1_300, Some(ends), Body::Udp(Box::new(udp)))
}

/// An echo run.
pub(super) fn echo(ends: Ends, sent: u64, received: u64, change: impl FnOnce(&mut Echo)) -> Event {
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
        state: EchoState::Done,
    };
    change(&mut echo);
    event(12_480, Some(ends), Body::Echo(Box::new(echo)))
}

/// A finding about deb-ubuntu.
pub(super) fn finding(severity: Severity, resolved: bool) -> Event {
    let finding = Finding {
        id: "nxdomain-other-namespace:default/deb-ubuntu:clusterip-apache2-ds-myns".to_owned(),
        rule: "nxdomain-other-namespace",
        severity,
        resolved,
        first: at(1_123),
        last: at(1_126),
        count: 2,
        summary: "default/deb-ubuntu asked for clusterip-apache2-ds-myns, and no name on its search path exists"
            .to_owned(),
        why: "A Service of that name is in namespace myns, and a short name is looked up in the pod's own namespace, default, only."
            .to_owned(),
        remedies: vec!["use clusterip-apache2-ds-myns.myns".to_owned()],
        evidence: vec!["4 candidates, 4 NXDOMAIN".into()],
    };
    event(1_126, Some(kube_dns()), Body::Finding(Box::new(finding)))
}

/// Every event, with what it shows.
pub(super) fn all() -> Vec<(&'static str, Event)> {
    let mut all = exchanges();
    all.extend(lookups());
    all.extend(flows());
    all.extend(pings());
    all.extend(reports());
    all.extend(hostile());
    all
}

fn exchanges() -> Vec<(&'static str, Event)> {
    let name = "clusterip-nginx-ds.default.svc.cluster.local.";
    let place = Some((Some("clusterip-nginx-ds"), 1, Some(4)));
    let mut answered = exchange(name, RecordType::A, Outcome::Answered);
    answered.answers = vec![record(name, RecordType::A, 5, "10.152.183.117")];
    let mut negative = exchange(NEVER, RecordType::A, Outcome::Nxdomain);
    negative.authorities = vec![record(
        "cluster.local.",
        RecordType::SOA,
        5,
        "ns.dns.cluster.local. hostmaster.cluster.local. 1770000000 7200 1800 86400 5",
    )];
    let mut chain = exchange("www.example.com.", RecordType::A, Outcome::Answered);
    chain.answers = vec![
        record(
            "www.example.com.",
            RecordType::CNAME,
            300,
            "edge.example.net.",
        ),
        record("edge.example.net.", RecordType::A, 60, "192.0.2.1"),
        record("edge.example.net.", RecordType::A, 60, "192.0.2.2"),
        record("edge.example.net.", RecordType::A, 60, "192.0.2.3"),
        record("edge.example.net.", RecordType::A, 60, "192.0.2.4"),
    ];
    chain.transport = Transport::Tcp;
    let mut timeout = exchange(NEVER, RecordType::AAAA, Outcome::Timeout);
    timeout.attempts = 2;
    let mut late = exchange(NEVER, RecordType::A, Outcome::Nxdomain);
    late.attempts = 2;
    late.late = true;
    late.latency = Some(us(7_024_000));
    let mut refused = exchange(NEVER, RecordType::A, Outcome::IcmpError);
    refused.icmp = Some(icmp(Protocol::Udp, socket(KUBE_DNS, 53)));
    let mut cut = exchange("big.example.", RecordType::TXT, Outcome::Truncated);
    cut.fault = Some(DnsFault::CutShort);
    let mut odd = exchange("odd.example.", RecordType::from(65_280), Outcome::Other);
    odd.fault = Some(DnsFault::Record("rdata of 3 bytes for type A".to_owned()));
    let mut unreadable = exchange("x.", RecordType::A, Outcome::Formerr);
    unreadable.question = None;
    unreadable.attempts = 0;
    unreadable.latency = None;
    let mut asked = exchange(NEVER, RecordType::A, Outcome::Nxdomain);
    asked.role = Role::Server;
    let mut known_later = place;
    known_later = known_later.map(|(_, candidate, _)| (None, candidate, None));
    vec![
        ("dns answered", dns(kube_dns(), answered, place)),
        (
            "dns nxdomain, asked not known yet",
            dns(kube_dns(), negative, known_later),
        ),
        (
            "dns nodata",
            dns(
                kube_dns(),
                exchange(name, RecordType::AAAA, Outcome::Nodata),
                place,
            ),
        ),
        ("dns over tcp with a chain", dns(kube_dns(), chain, None)),
        ("dns timeout", dns(kube_dns(), timeout, None)),
        ("dns late", dns(kube_dns(), late, place)),
        ("dns icmp error", dns(kube_dns(), refused, None)),
        (
            "dns servfail",
            dns(
                kube_dns(),
                exchange(name, RecordType::A, Outcome::Servfail),
                None,
            ),
        ),
        (
            "dns refused",
            dns(
                kube_dns(),
                exchange(name, RecordType::A, Outcome::Refused),
                None,
            ),
        ),
        ("dns truncated and cut short", dns(kube_dns(), cut, None)),
        (
            "dns other rcode, unknown type, fault",
            dns(kube_dns(), odd, None),
        ),
        (
            "dns answer without a query or question",
            dns(kube_dns(), unreadable, None),
        ),
        (
            "dns at the server",
            dns(server(coredns(), "10.1.235.206", 53), asked, None),
        ),
    ]
}

fn lookups() -> Vec<(&'static str, Event)> {
    use Outcome::{Answered, Nodata, Nxdomain};
    use RecordType::{A, AAAA};
    let apache = "clusterip-apache2-ds-myns";
    let candidates = [
        format!("{apache}.default.svc.cluster.local."),
        format!("{apache}.svc.cluster.local."),
        format!("{apache}.cluster.local."),
        format!("{apache}."),
    ];
    let nslookup = candidates
        .iter()
        .map(|name| step(name, A, Some(Nxdomain), &[]))
        .collect();
    let glibc = candidates
        .iter()
        .flat_map(|name| [A, AAAA].map(|qtype| step(name, qtype, Some(Nxdomain), &[])))
        .collect();
    let found = "clusterip-nginx-ds.default.svc.cluster.local.";
    let by_namespace = format!("{apache}.myns.svc.cluster.local.");
    let many = [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "192.0.2.4",
        "192.0.2.5",
    ];
    vec![
        (
            "lookup found at the first candidate",
            lookup(
                Some("clusterip-nginx-ds"),
                Answered,
                vec![
                    step(found, A, Some(Answered), &["10.152.183.117"]),
                    step(found, AAAA, Some(Nodata), &[]),
                ],
            ),
        ),
        (
            "lookup found nowhere, by nslookup",
            lookup(Some(apache), Nxdomain, nslookup),
        ),
        (
            "lookup found nowhere, by glibc",
            lookup(Some(apache), Nxdomain, glibc),
        ),
        (
            "lookup with a wasted candidate",
            lookup(
                Some("clusterip-apache2-ds-myns.myns"),
                Answered,
                vec![
                    step(
                        &format!("{apache}.myns.default.svc.cluster.local."),
                        A,
                        Some(Nxdomain),
                        &[],
                    ),
                    step(&by_namespace, A, Some(Answered), &["10.152.183.115"]),
                    step(&by_namespace, AAAA, Some(Nodata), &[]),
                ],
            ),
        ),
        (
            "lookup of an absolute name with many addresses",
            lookup(
                Some("www.example.com."),
                Answered,
                vec![step("www.example.com.", A, Some(Answered), &many)],
            ),
        ),
        (
            "lookup whose asked name the wire does not tell",
            lookup(
                None,
                Outcome::Timeout,
                vec![
                    step(NEVER, A, Some(Outcome::Timeout), &[]),
                    step(NEVER, AAAA, None, &[]),
                ],
            ),
        ),
        (
            "lookup without a kept query",
            lookup(None, Outcome::Servfail, Vec::new()),
        ),
    ]
}

fn flows() -> Vec<(&'static str, Event)> {
    let service = || {
        with_service(
            client("10.152.183.117", 80),
            "default",
            "clusterip-nginx-ds",
        )
    };
    let mut named = client("93.184.216.34", 443);
    named.peer.names = vec![DnsName::new("www.example.com.")];
    let mut node = client("192.168.2.30", 16_443);
    node.peer.node = Some("k8s-master".into());
    let mut six = client("fd00::5", 8080);
    six.pod.ip = ip("fd00::2");
    six.pod.who = Err(UnknownReason::NotInInventory);
    let mut nobody = client("192.0.2.9", 25);
    nobody.pod.ip = ip("10.1.39.200");
    nobody.pod.who = Err(UnknownReason::NoInventory);
    let mut traced = server(nginx(), "10.1.39.194", 80);
    traced.peer_traced_here = true;
    let refusal = icmp(Protocol::Tcp, socket("10.152.183.99", 80));
    vec![
        (
            "tcp established",
            tcp(service(), TcpState::Established, |tcp| {
                tcp.handshake = Some(us(410));
                tcp.totals = totals((2, 112), (1, 60));
            }),
        ),
        (
            "tcp established after retransmissions, peer by name",
            tcp(named, TcpState::Established, |tcp| {
                tcp.handshake = Some(us(3_071_000));
                tcp.syn_retransmits = 2;
            }),
        ),
        (
            "tcp opening",
            tcp(node, TcpState::Opening, |tcp| tcp.syn_retransmits = 2),
        ),
        (
            "tcp refused by a reset",
            tcp(
                with_pod(client("10.1.79.66", 81), apache()),
                TcpState::Refused(RefusedBy::Rst),
                |_| {},
            ),
        ),
        (
            "tcp refused by icmp",
            tcp(
                client("10.152.183.99", 80),
                TcpState::Refused(RefusedBy::Icmp),
                |tcp| {
                    tcp.icmp = Some(refusal);
                },
            ),
        ),
        (
            "tcp timeout, ipv6, pod not in the inventory",
            tcp(six, TcpState::Timeout, |tcp| tcp.syn_retransmits = 3),
        ),
        (
            "tcp reset, no inventory",
            tcp(nobody, TcpState::Reset, |tcp| {
                tcp.totals = totals((4, 800), (3, 5_000))
            }),
        ),
        (
            "tcp closed",
            tcp(service(), TcpState::Closed, |tcp| {
                tcp.totals = totals((6, 812), (5, 3_482))
            }),
        ),
        (
            "tcp closed in silence",
            tcp(service(), TcpState::Closed, |_| {}),
        ),
        (
            "tcp at the server, told by the client too",
            tcp(traced, TcpState::Established, |tcp| {
                tcp.handshake = Some(us(30))
            }),
        ),
        (
            "udp open",
            udp(client("192.0.2.53", 123), UdpState::Open, |_| {}),
        ),
        (
            "udp unanswered",
            udp(client("192.0.2.53", 123), UdpState::Unanswered, |_| {}),
        ),
        (
            "udp icmp error",
            udp(client("10.1.79.66", 9999), UdpState::IcmpError, |udp| {
                udp.icmp = Some(icmp(Protocol::Udp, socket("10.1.79.66", 9999)));
            }),
        ),
        (
            "udp closed",
            udp(client("192.0.2.53", 123), UdpState::Closed, |udp| {
                udp.totals = totals((3, 228), (3, 228))
            }),
        ),
    ]
}

fn pings() -> Vec<(&'static str, Event)> {
    let cluster_ip = || {
        with_service(
            client("10.152.183.115", 0),
            "myns",
            "clusterip-apache2-ds-myns",
        )
    };
    let pod = || with_pod(client("10.1.79.66", 0), apache());
    let unreachable = icmp(Protocol::Icmp, socket("10.152.183.115", 0));
    let too_big = IcmpError {
        icmp_code: 4,
        mtu: Some(1400),
        ..icmp(Protocol::Tcp, socket("192.0.2.9", 443))
    };
    let six = IcmpError {
        from: socket("fd00::1", 0),
        v6: true,
        icmp_type: 1,
        icmp_code: 0,
        mtu: None,
        about: QuotedFlow {
            protocol: Protocol::Other(132),
            src: socket("fd00::2", 0),
            dst: socket("fd00::9", 0),
        },
        echo_sequence: None,
    };
    vec![
        ("ping answered", echo(pod(), 5, 5, |_| {})),
        ("ping unanswered", echo(cluster_ip(), 8, 0, |_| {})),
        (
            "ping running with loss, duplicates and a late reply",
            echo(pod(), 1000, 999, |echo| {
                echo.state = EchoState::Running;
                echo.duplicates = 1;
                echo.samples = 998;
            }),
        ),
        (
            "ping with errors",
            echo(cluster_ip(), 3, 0, |echo| {
                echo.errors = 3;
                echo.last_error = Some(unreachable);
            }),
        ),
        (
            "ping at the server",
            echo(server(nginx(), "10.1.39.194", 0), 5, 5, |_| {}),
        ),
        (
            "icmp error, too big",
            event(
                13_000,
                Some(client("192.0.2.9", 443)),
                Body::IcmpError(Box::new(too_big)),
            ),
        ),
        (
            "icmpv6 error about another protocol",
            event(
                13_001,
                Some(client("fd00::9", 0)),
                Body::IcmpError(Box::new(six)),
            ),
        ),
    ]
}

fn reports() -> Vec<(&'static str, Event)> {
    let lost = Loss {
        stage: Stage::Ring,
        reason: "ring buffer full",
        count: 31,
    };
    vec![
        ("finding active", finding(Severity::Error, false)),
        ("finding resolved", finding(Severity::Warning, true)),
        ("lost", event(14_000, None, Body::Lost(lost))),
    ]
}

/// What an attacker who controls DNS names, or somebody with a strange inventory, could try on a terminal.
fn hostile() -> Vec<(&'static str, Event)> {
    let escape = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}evil\r\n";
    let mut ends = kube_dns();
    ends.pod.who = Ok(identity(escape, escape, Some((escape, escape)), escape));
    let mut asked = exchange(escape, RecordType::TXT, Outcome::Answered);
    asked.answers = vec![record(escape, RecordType::TXT, 1, escape)];
    let steps = vec![
        step(escape, RecordType::A, Some(Outcome::Answered), &[escape]),
        step("b.", RecordType::A, Some(Outcome::Nxdomain), &[]),
    ];
    let mut finding = finding(Severity::Error, false);
    if let Body::Finding(finding) = &mut finding.body {
        finding.summary = escape.to_owned();
        finding.why = escape.to_owned();
        finding.remedies = vec![escape.to_owned()];
    }
    vec![
        (
            "hostile dns",
            dns(ends, asked, Some((Some(escape), 1, None))),
        ),
        (
            "hostile lookup",
            lookup(Some(escape), Outcome::Answered, steps),
        ),
        ("hostile finding", finding),
    ]
}
