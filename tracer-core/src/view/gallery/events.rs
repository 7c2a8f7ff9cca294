//! The gallery's events, by type.

use super::*;
use crate::model::exchange::{ClientQuestion, ConnectionEnd, Step as TransportStep};
use crate::model::path::{Hop, Path, Place as PathPlace, Verdict};
use crate::model::signal::{DropPlace, PacketDrop, Tuple};
use crate::model::stretch::{Stretch, Stretches};

/// Every event, with its description.
pub fn all() -> Vec<(&'static str, Event)> {
    let mut all = exchanges();
    all.extend(lookups());
    all.extend(flows());
    all.extend(pings());
    all.extend(reports());
    all.extend(incomplete::all());
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
    negative.details = Details {
        flags: Some(Flags {
            authoritative: true,
            recursion_desired: true,
            ..Flags::default()
        }),
        negative_ttl: Some(5),
        ..Details::default()
    };
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
    // As if the pod were a DNS server itself.
    chain.caused_by = Some(Box::new(ClientQuestion {
        client: socket(CLIENT, 41_000),
        pod: Some(ubuntu()),
        id: 7,
        time: at(90),
    }));
    let mut timeout = exchange(NEVER, RecordType::AAAA, Outcome::Timeout);
    timeout.attempts = 2;
    let open = exchange(NEVER, RecordType::A, Outcome::Undecided);
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
    unreadable.fault = Some(DnsFault::Question("no such label type".to_owned()));
    unreadable.attempts = 0;
    unreadable.outcome = Outcome::Undecided;
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
        ("dns undecided", dns(kube_dns(), open, None)),
        ("dns late", dns(by_node_cache(kube_dns()), late, place)),
        ("dns icmp error", dns(kube_dns(), refused, None)),
        (
            "dns servfail",
            dns(kube_dns(), unreachable_authority(), None),
        ),
        ("dns referral", dns(kube_dns(), referral(), None)),
        ("dns notify", dns(kube_dns(), notify(), None)),
        ("dns with two questions", dns(kube_dns(), questions(), None)),
        (
            "dns without a question",
            dns(kube_dns(), header_only(), None),
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
            "dns truncated, then answered over tcp",
            dns(kube_dns(), two_steps(), None),
        ),
        (
            "dns truncated, tcp refused",
            dns(kube_dns(), tcp_refused(), None),
        ),
        (
            "dns over tcp, reset before the answer",
            dns(kube_dns(), broken_off(), None),
        ),
        (
            "dns answer from an address that was not asked",
            dns(client("192.0.2.7", 53), unexpected(), None),
        ),
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

fn two_steps() -> Exchange {
    let mut whole = exchange("big.example.com.", RecordType::TXT, Outcome::Answered);
    whole.transport = Transport::Tcp;
    whole.steps = vec![
        TransportStep {
            transport: Transport::Udp,
            outcome: Outcome::Truncated,
            latency: Some(us(150)),
        },
        TransportStep {
            transport: Transport::Tcp,
            outcome: Outcome::Answered,
            latency: Some(us(310)),
        },
    ];
    whole
}

fn tcp_refused() -> Exchange {
    let mut alone = exchange("big.example.com.", RecordType::TXT, Outcome::Truncated);
    alone.connection = Some(ConnectionEnd::Refused);
    alone.steps = vec![
        TransportStep {
            transport: Transport::Udp,
            outcome: Outcome::Truncated,
            latency: Some(us(150)),
        },
        TransportStep {
            transport: Transport::Tcp,
            outcome: Outcome::Other,
            latency: None,
        },
    ];
    alone
}

fn broken_off() -> Exchange {
    let mut open = exchange("web.example.net.", RecordType::A, Outcome::Other);
    open.transport = Transport::Tcp;
    open.connection = Some(ConnectionEnd::Reset);
    open.rcode = None;
    open.latency = None;
    open
}

fn unexpected() -> Exchange {
    let mut answer = exchange("web.example.net.", RecordType::A, Outcome::Other);
    answer.rcode = Some(ResponseCode::NoError);
    answer.attempts = 0;
    answer.latency = None;
    answer.asked_peer = Some(socket(KUBE_DNS, 53));
    answer
}

/// A failure with the server's reasons and every EDNS option.
fn unreachable_authority() -> Exchange {
    let mut exchange = exchange("bogus.example.", RecordType::A, Outcome::Servfail);
    let asked = Edns {
        udp_size: 1232,
        dnssec_ok: true,
        ..Edns::default()
    };
    exchange.details.query_edns = Some(Box::new(asked.clone()));
    exchange.details.flags = Some(Flags {
        recursion_desired: true,
        recursion_available: true,
        ..Flags::default()
    });
    exchange.details.edns = Some(Box::new(Edns {
        version: 1,
        nsid: Some("ns1.example".to_owned()),
        cookie: Some("0102030405060708".to_owned()),
        client_subnet: Some("192.0.2.0/24/0".to_owned()),
        errors: vec![
            ede(22, "at delegation example.com."),
            ede(23, ""),
            ede(49_152, ""),
        ],
        others: vec![EdnsOption {
            code: 65_001,
            data: "c0ffee".to_owned(),
        }],
        ..asked
    }));
    exchange
}

fn ede(code: u16, text: &str) -> ExtendedError {
    ExtendedError {
        code,
        text: text.to_owned(),
    }
}

fn referral() -> Exchange {
    let mut exchange = exchange("www.sub.example.", RecordType::A, Outcome::Other);
    exchange.rcode = Some(ResponseCode::NoError);
    exchange.authorities = vec![record(
        "sub.example.",
        RecordType::NS,
        300,
        "ns.sub.example.",
    )];
    exchange
}

fn notify() -> Exchange {
    let mut exchange = exchange("example.", RecordType::SOA, Outcome::Answered);
    exchange.details.opcode = OpCode::Notify;
    exchange
}

fn questions() -> Exchange {
    let mut exchange = exchange("a.example.", RecordType::A, Outcome::Formerr);
    exchange.details.query_fault = Some(DnsFault::Questions(2));
    exchange
}

/// The answer to a query for a cookie only (RFC 7873 section 5.4).
fn header_only() -> Exchange {
    let mut exchange = exchange("a.example.", RecordType::A, Outcome::Answered);
    exchange.question = None;
    exchange
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
            "lookup whose asked name is unknown",
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
            "lookup that failed for a reason",
            lookup(
                Some("bogus.example"),
                Outcome::Servfail,
                vec![failed("bogus.example.", A), failed("bogus.example.", AAAA)],
            ),
        ),
        (
            "lookup undecided",
            lookup(
                Some(NEVER),
                Outcome::Undecided,
                vec![step(NEVER, A, None, &[])],
            ),
        ),
        (
            "lookup without a kept query",
            lookup(None, Outcome::Timeout, Vec::new()),
        ),
    ]
}

fn failed(name: &str, qtype: RecordType) -> Step {
    let mut step = step(name, qtype, Some(Outcome::Servfail), &[]);
    step.errors = vec![ede(6, "")];
    step
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
    six.pod.identity = Err(UnknownReason::NotInInventory);
    let mut unknown = client("192.0.2.9", 25);
    unknown.pod.ip = ip("10.1.39.200");
    unknown.pod.identity = Err(UnknownReason::NoInventory);
    let mut traced = server(nginx(), "10.1.39.194", 80);
    traced.peer_traced_here = true;
    let refusal = icmp(Protocol::Tcp, socket("10.152.183.99", 80));
    vec![
        (
            "tcp established",
            tcp(by_container(service()), TcpState::Established, |tcp| {
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
            tcp(unknown, TcpState::Reset, |tcp| {
                tcp.totals = totals((4, 800), (3, 5_000));
            }),
        ),
        (
            "tcp closed",
            tcp(service(), TcpState::Closed, |tcp| {
                tcp.totals = totals((6, 812), (5, 3_482));
            }),
        ),
        (
            "tcp closed after retransmissions",
            tcp(service(), TcpState::Closed, |tcp| {
                tcp.totals = totals((60, 81_200), (35, 3_482));
                tcp.totals.retransmits = Some(12);
            }),
        ),
        (
            "tcp closed in silence",
            tcp(service(), TcpState::Closed, |_| {}),
        ),
        (
            "tcp at the server, also seen at the client",
            tcp(traced, TcpState::Established, |tcp| {
                tcp.handshake = Some(us(30));
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
                udp.totals = totals((3, 228), (3, 228));
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
        opens: false,
        datagram_id: None,
        sequence: None,
        unconfirmed: true,
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
            "drop in the node",
            event(
                13_002,
                Some(client("10.1.79.66", 80)),
                Body::Drop(Box::new(PacketDrop {
                    tuple: Tuple {
                        protocol: Protocol::Tcp,
                        src: SocketAddr::new(ip(CLIENT), 41_000),
                        dst: SocketAddr::new(ip("10.1.79.66"), 80),
                    },
                    tcp_flags: Some(2),
                    reason: "NETFILTER_DROP",
                    function: Some("nf_hook_slow".into()),
                    place: DropPlace::Node,
                    device: Some("eth0".into()),
                    unreported: 3,
                })),
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
    let mut intermittent = finding(Severity::Error, false);
    if let Body::Finding(finding) = &mut intermittent.body {
        finding.state = State::Intermittent;
    }
    vec![
        ("finding active", finding(Severity::Error, false)),
        ("finding intermittent", intermittent),
        ("finding resolved", finding(Severity::Warning, true)),
        ("finding with path", with_path("k8s-worker01", "lost")),
        ("lost", event(14_000, None, Body::Lost(lost))),
    ]
}

/// A finding whose request was lost between two nodes.
fn with_path(node: &str, what: &str) -> Event {
    let hop = |place, name: &str, node: Option<&str>, seen, what: &str| Hop {
        place,
        name: name.into(),
        node: node.map(Into::into),
        seen,
        what: what.to_owned(),
    };
    let here = Some("k8s-worker03");
    let mut event = finding(Severity::Error, false);
    let path = Path {
        time: event.time,
        verdict: Verdict::LostBetweenNodes,
        line: format!("deb-ubuntu ─✓─ k8s-worker03 ─✓─ ✗ network ({what}) ┄ {node}"),
        hops: vec![
            hop(
                PathPlace::Pod,
                "deb-ubuntu",
                here,
                Some(true),
                "sent 3 SYNs",
            ),
            hop(PathPlace::Node, "k8s-worker03", here, None, ""),
            hop(PathPlace::Network, "network", None, Some(false), what),
            hop(
                PathPlace::Node,
                node,
                Some(node),
                Some(false),
                "not reached",
            ),
        ],
        probable: true,
    };
    if let Body::Finding(finding) = &mut event.body {
        let about = Stretches::of(&[Stretch::Network, Stretch::Return]);
        finding.symptom = Some("default/deb-ubuntu can't resolve it".into());
        finding.headline = finding.headline.clone().about(about);
        finding.fix = finding.fix.take().map(|fix| fix.about(about));
        for sentence in finding.why.iter_mut().chain(&mut finding.remedies) {
            *sentence = std::mem::take(sentence).about(about);
        }
        finding.path = Some(Box::new(path));
    }
    event
}

/// Terminal escapes that an attacker can put into DNS names, or an inventory file into object names.
fn hostile() -> Vec<(&'static str, Event)> {
    let escape = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}evil\r\n";
    let mut ends = kube_dns();
    ends.pod.identity = Ok(identity(escape, escape, Some((escape, escape)), escape));
    let mut asked = exchange(escape, RecordType::TXT, Outcome::Answered);
    asked.answers = vec![record(escape, RecordType::TXT, 1, escape)];
    asked.details.edns = Some(Box::new(Edns {
        nsid: Some(escape.to_owned()),
        errors: vec![ede(0, escape)],
        ..Edns::default()
    }));
    let steps = vec![
        step(escape, RecordType::A, Some(Outcome::Answered), &[escape]),
        step("b.", RecordType::A, Some(Outcome::Nxdomain), &[]),
    ];
    let mut finding = finding(Severity::Error, false);
    if let Body::Finding(finding) = &mut finding.body {
        finding.headline = escape.to_owned().into();
        finding.summary = escape.to_owned().into();
        finding.fix = Some(escape.to_owned().into());
        finding.why = vec![escape.trim_end().to_owned().into()];
        finding.remedies = vec![escape.to_owned().into()];
    }
    let hostile_path = with_path(escape, escape);
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
        ("hostile path", hostile_path),
    ]
}
