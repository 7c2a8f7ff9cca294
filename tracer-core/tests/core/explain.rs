//! What `tracer explain` answers, section by section, from inventories and events.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tracer_core::explain::{
    Coverage, Explanation, Followed, InInventory, Input, LeadsTo, PortNumber, Ruling, Span,
    Subject, SubjectError, Target, TargetError, VerdictKind, explain, failed_attempt,
};
use tracer_core::files::inventory::parse;
use tracer_core::identity::{Index, IndexSettings};
use tracer_core::model::cluster::{ClusterChange, Inventory, Kind};
use tracer_core::model::connection::{RefusedBy, TcpConnection, TcpState};
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::evidence::TcpEvidence;
use tracer_core::model::finding::Severity;
use tracer_core::model::flow::{Flow, FlowTotals, Ifindex, Protocol, Role};
use tracer_core::model::identity::{Backend, PeerEnd, PodEnd, ServiceIdentity};
use tracer_core::model::path::{Hop, Path as PacketPath, Place, Verdict as PathVerdict};
use tracer_core::model::signal::{DropPlace, PacketDrop, Tuple};
use tracer_core::model::time::Timestamp;

const LAB: &str = include_str!("../../../testbed/lab/inventory.yaml");
const FINDINGS: &str = include_str!("../fixtures/inventory/findings.yaml");
const POLICIES: &str = include_str!("../fixtures/inventory/policies.yaml");
use tracer_core::view::gallery;

const ROUTING: &str = include_str!("../fixtures/inventory/routing.yaml");
const ROUTING_POLICIES: &str = include_str!("../fixtures/inventory/routing-policies.yaml");

/// The index of several inventories together.
fn index(texts: &[&str]) -> Index {
    let mut all = Inventory::default();
    for text in texts {
        let one = parse(text).expect("an inventory").inventory;
        all.pods.extend(one.pods);
        all.services.extend(one.services);
        all.slices.extend(one.slices);
        all.nodes.extend(one.nodes);
        all.namespaces.extend(one.namespaces);
        all.policies.extend(one.policies);
        all.service_cidrs.extend(one.service_cidrs);
    }
    let mut index = Index::new(IndexSettings::default());
    index.apply(Timestamp(0), ClusterChange::Replace(Box::new(all)));
    index
}

/// A question to an index.
struct Question {
    index: Index,
    coverage: Coverage,
    events: Vec<Event>,
}

impl Question {
    fn new(texts: &[&str]) -> Question {
        Question {
            index: index(texts),
            coverage: Coverage::default(),
            events: Vec::new(),
        }
    }

    fn with(mut self, events: Vec<Event>) -> Question {
        self.events = events;
        self
    }

    fn ask(&self, pod: &str, to: Option<&str>) -> Explanation {
        self.explain(pod, to, None)
    }

    /// With a path of the latest failed attempt.
    fn follow(&self, pod: &str, path: &PacketPath) -> Explanation {
        self.explain(pod, None, Some(path))
    }

    fn explain(&self, pod: &str, to: Option<&str>, path: Option<&PacketPath>) -> Explanation {
        let subject = Subject::find(pod, None, &self.index, &self.coverage).expect("the pod");
        let target = to.map(|to| {
            Target::parse(to, &subject.namespace, &self.index, &self.coverage).expect("the target")
        });
        let clock =
            |at: Timestamp| jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
        let mut input = Input {
            index: &self.index,
            coverage: &self.coverage,
            subject: &subject,
            target: target.as_ref(),
            events: &self.events,
            span: Some(Span::Last(Duration::from_secs(900))),
            now: Timestamp(100_000_000_000),
            clock: &clock,
            unknown: Vec::new(),
            followed: None,
        };
        let attempt = failed_attempt(&input).filter(|_| path.is_some());
        if let Some((attempt, path)) = attempt.zip(path) {
            assert_eq!(attempt.time, path.time);
            input.followed = Some(Followed { attempt, path });
        }
        explain(&input)
    }
}

fn ask(texts: &[&str], pod: &str, to: &str) -> Explanation {
    Question::new(texts).ask(pod, Some(to))
}

/// The candidates, and whether the inventory has each.
fn names(explanation: &Explanation) -> Vec<(&str, InInventory)> {
    let resolution = explanation.resolution.as_ref().expect("a name");
    let candidates = resolution.candidates.iter();
    candidates
        .map(|one| (one.name.as_str(), one.inventory))
        .collect()
}

/// A connection of a pod of routing.yaml to a Service's ClusterIP and the endpoint behind it.
fn connection(
    index: &Index,
    second: u64,
    to: &str,
    backend: Option<&str>,
    state: TcpState,
) -> Event {
    let at = Timestamp(second * 1_000_000_000);
    let peer: SocketAddr = to.parse().expect("an address");
    let pod: SocketAddr = format!("10.20.1.5:{}", 40_000 + second)
        .parse()
        .expect("an address");
    let flow = Flow {
        ifindex: Ifindex(3),
        protocol: Protocol::Tcp,
        pod,
        peer,
    };
    let known = index
        .pods_named("client")
        .next()
        .expect("the client")
        .clone();
    let service = index
        .services()
        .find(|one| one.cluster_ips.contains(&peer.ip()));
    let ends = Ends {
        ifindex: Ifindex(3),
        role: Role::Client,
        pod: PodEnd {
            ip: pod.ip(),
            port: Some(pod.port()),
            identity: Ok(known),
            container: None,
            at_uplink: false,
            process: None,
        },
        peer: PeerEnd {
            ip: peer.ip(),
            port: Some(peer.port()),
            pod: None,
            host_pod: None,
            service: service.map(|one| {
                Arc::new(ServiceIdentity {
                    namespace: one.namespace.clone(),
                    name: one.name.clone(),
                })
            }),
            node: None,
            names: Vec::new(),
            backend: backend.map(|ip| {
                Arc::new(Backend {
                    ip: ip.parse().expect("an address"),
                    port: Some(8080),
                    pod: None,
                    node: None,
                })
            }),
        },
        peer_traced_here: false,
    };
    Event {
        time: at,
        ends: Some(ends),
        incomplete: false,
        body: Body::Tcp(Box::new(TcpConnection {
            flow,
            role: Role::Client,
            state,
            handshake: (state == TcpState::Established).then_some(Duration::from_micros(400)),
            syn_retransmits: 0,
            totals: FlowTotals::default(),
            icmp: None,
            last: at,
            evidence: TcpEvidence::default(),
        })),
    }
}

#[test]
fn a_short_name_is_tried_in_the_pods_namespace_first_and_wins_there() {
    let answer = ask(&[LAB], "default/deb-ubuntu", "clusterip-nginx-ds");
    assert_eq!(
        names(&answer),
        [
            (
                "clusterip-nginx-ds.default.svc.cluster.local.",
                InInventory::Exists
            ),
            ("clusterip-nginx-ds.svc.cluster.local.", InInventory::Absent),
            ("clusterip-nginx-ds.cluster.local.", InInventory::Absent),
            ("clusterip-nginx-ds.", InInventory::Outside),
        ]
    );
    let resolution = answer.resolution.as_ref().expect("a name");
    let winner = resolution.winner.as_deref();
    assert_eq!(
        winner,
        Some("clusterip-nginx-ds.default.svc.cluster.local.")
    );
    let service = answer.service.expect("the Service");
    assert_eq!(
        (&*service.namespace, &*service.name),
        ("default", "clusterip-nginx-ds")
    );
    assert_eq!(
        service.asked_port.as_deref(),
        Some("80/TCP"),
        "its only port"
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
    let command = answer.next.command.expect("a probe");
    assert!(
        command.starts_with("kubectl -n default debug "),
        "{command}"
    );
    assert!(
        command.ends_with("telnet://clusterip-nginx-ds:80"),
        "{command}"
    );
}

#[test]
fn a_service_of_another_namespace_is_named_with_the_name_that_leads_to_it() {
    let answer = ask(&[LAB], "default/deb-ubuntu", "clusterip-apache2-ds-myns");
    assert_eq!(answer.verdict.kind, VerdictKind::Blocked);
    assert!(answer.service.is_none());
    assert_eq!(answer.next.says, "use clusterip-apache2-ds-myns.myns");
    let dotted = ask(
        &[LAB],
        "default/deb-ubuntu",
        "clusterip-apache2-ds-myns.myns:90",
    );
    assert!(dotted.service.is_some());
    assert_ne!(dotted.verdict.kind, VerdictKind::Blocked);
}

#[test]
fn ndots_and_a_final_dot_decide_whether_the_search_list_is_used() {
    let few = ask(&[LAB, FINDINGS], "default/few-dots", "web.prod");
    assert_eq!(names(&few)[0], ("web.prod.", InInventory::Outside));
    assert_eq!(names(&few)[1].0, "web.prod.default.svc.cluster.local.");
    let many = ask(&[LAB, FINDINGS], "default/deb-ubuntu", "web.prod");
    assert_eq!(
        names(&many)[1],
        ("web.prod.svc.cluster.local.", InInventory::Exists)
    );
    let absolute = ask(
        &[LAB, FINDINGS],
        "default/deb-ubuntu",
        "web.prod.svc.cluster.local.",
    );
    assert_eq!(
        names(&absolute),
        [("web.prod.svc.cluster.local.", InInventory::Exists)]
    );
}

#[test]
fn a_headless_pod_that_is_not_ready_has_no_name() {
    let ready = ask(&[LAB, FINDINGS], "prod/inside", "db-0.db:5432");
    assert_eq!(
        names(&ready)[0],
        ("db-0.db.prod.svc.cluster.local.", InInventory::Exists)
    );
    let unready = ask(&[LAB, FINDINGS], "prod/inside", "db-2.db:5432");
    assert_eq!(names(&unready)[0].1, InInventory::Absent);
    assert_eq!(unready.verdict.kind, VerdictKind::Blocked);
    assert!(
        unready.verdict.says.contains("is not ready"),
        "{}",
        unready.verdict.says
    );
}

#[test]
fn services_that_cannot_be_listed_are_unknown_and_not_absent() {
    let mut question = Question::new(&[LAB]);
    question
        .coverage
        .limit(Kind::Service, vec!["default".to_owned()]);
    let answer = question.ask("default/deb-ubuntu", Some("elsewhere.other"));
    assert_eq!(
        names(&answer)[1],
        ("elsewhere.other.svc.cluster.local.", InInventory::Unknown)
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
    let lacks_services = |one: &String| one.contains("services could be listed there alone");
    assert!(
        answer.unknown.iter().any(lacks_services),
        "{:?}",
        answer.unknown
    );
    question
        .coverage
        .refuse(Kind::EndpointSlice, "forbidden".to_owned());
    let answer = question.ask("default/deb-ubuntu", Some("clusterip-nginx-ds"));
    assert!(answer.service.expect("the Service").endpoints.is_none());
    assert_eq!(
        answer.verdict.kind,
        VerdictKind::Unknown,
        "no endpoint is known to be missing"
    );
}

#[test]
fn a_port_that_is_not_served_and_a_port_without_endpoint_are_facts() {
    for (to, says, next) in [
        (
            "local:443",
            "does not serve 443/TCP: it serves only 80/TCP, 8125/UDP",
            "use a port that it has",
        ),
        (
            "local:8125",
            "does not serve 8125/TCP",
            "use a port that it has",
        ),
        (
            "guarded:80",
            "does not serve 80/TCP: it serves only 443/TCP",
            "use port 443/TCP",
        ),
        (
            "named",
            "has the target port http of its port 80/TCP",
            "compare it with the names",
        ),
        (
            "local:80",
            "internalTrafficPolicy Local and no ready endpoint on worker-1",
            "run an endpoint on worker-1",
        ),
    ] {
        let answer = ask(&[ROUTING], "team/client", to);
        assert_eq!(
            answer.verdict.kind,
            VerdictKind::Blocked,
            "{to}: {}",
            answer.verdict.says
        );
        assert!(
            answer.verdict.says.contains(says),
            "{to}: {}",
            answer.verdict.says
        );
        assert!(
            answer.next.says.contains(next),
            "{to}: {}",
            answer.next.says
        );
    }
    let none = ask(&[LAB, FINDINGS], "prod/inside", "web.staging");
    assert_eq!(none.verdict.kind, VerdictKind::Blocked);
    assert!(
        none.verdict
            .says
            .contains("has no ready endpoint: no pod of staging has its labels"),
        "{}",
        none.verdict.says
    );
    // Nodes use an endpoint that serves while it terminates if none is ready.
    let leaving = ask(&[ROUTING], "team/client", "leaving");
    assert_eq!(
        leaving.verdict.kind,
        VerdictKind::Unknown,
        "{}",
        leaving.verdict.says
    );
    let local = ask(&[ROUTING], "team/client", "local-here");
    assert_eq!(
        local.verdict.kind,
        VerdictKind::Unknown,
        "{}",
        local.verdict.says
    );
}

#[test]
fn policies_are_judged_each_way_and_for_each_endpoint() {
    let answer = ask(&[ROUTING, ROUTING_POLICIES], "team/client", "admitted");
    let rulings: Vec<(&str, &str, Ruling)> = answer
        .policies
        .iter()
        .filter(|one| !one.dns)
        .map(|one| (one.direction, one.of.as_str(), one.ruling))
        .collect();
    assert!(
        rulings.contains(&("egress", "team/client", Ruling::Denied)),
        "{rulings:?}"
    );
    assert!(
        rulings.contains(&("ingress", "team/api-0", Ruling::Denied)),
        "{rulings:?}"
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Blocked);
    assert!(
        answer.verdict.says.contains("possible cause"),
        "{}",
        answer.verdict.says
    );
    let dns = ask(&[LAB, POLICIES], "default/deb-ubuntu", "clusterip-nginx-ds");
    assert!(
        dns.policies
            .iter()
            .all(|one| !one.dns || one.direction == "ingress"),
        "it may ask: {:?}",
        dns.policies
    );
    let none = ask(&[ROUTING], "team/client", "admitted");
    assert!(none.policies.is_empty());
    let lacks = |one: &String| one.contains("the inventory has no networkpolicies");
    assert!(none.unknown.iter().any(lacks), "{:?}", none.unknown);
}

#[test]
fn a_success_outranks_a_policy_that_denies_it() {
    let question = Question::new(&[ROUTING, ROUTING_POLICIES]);
    let event = connection(
        &question.index,
        90,
        "10.97.0.5:443",
        None,
        TcpState::Established,
    );
    let answer = question
        .with(vec![event])
        .ask("team/client", Some("admitted:443"));
    assert_eq!(
        answer.verdict.kind,
        VerdictKind::Works,
        "{}",
        answer.verdict.says
    );
    assert!(
        answer
            .policies
            .iter()
            .any(|one| one.ruling == Ruling::Denied)
    );
}

#[test]
fn failures_are_counted_for_each_endpoint() {
    let question = Question::new(&[ROUTING]);
    let refused = TcpState::Refused(RefusedBy::Rst);
    let events: Vec<Event> = [
        ("10.20.2.7", TcpState::Established),
        ("10.20.1.20", refused),
        ("10.20.2.7", TcpState::Established),
        ("10.20.1.20", refused),
        ("10.20.1.20", refused),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, (backend, state))| {
        connection(
            &question.index,
            90 + number as u64,
            "10.97.0.2:80",
            Some(backend),
            state,
        )
    })
    // Another Service, and another port.
    .chain([
        connection(
            &question.index,
            97,
            "10.97.0.10:80",
            Some("10.20.2.7"),
            refused,
        ),
        connection(&question.index, 98, "10.97.0.2:81", None, refused),
    ])
    .collect();
    let answer = question
        .with(events)
        .ask("team/client", Some("local-here:80"));
    let [group] = &answer.attempts.groups[..] else {
        panic!("{:?}", answer.attempts.groups);
    };
    assert_eq!((group.kind, group.count, group.failed), ("tcp", 5, 3));
    assert_eq!(group.last.ago, Duration::from_secs(6));
    let shares: Vec<(IpAddr, u64, u64)> = group
        .endpoints
        .iter()
        .map(|one| (one.ip, one.count, one.failed))
        .collect();
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert_eq!(shares, [(ip("10.20.1.20"), 3, 3), (ip("10.20.2.7"), 2, 0)]);
    assert_eq!(answer.verdict.kind, VerdictKind::Fails);
}

#[test]
fn the_latest_event_of_a_connection_counts() {
    let question = Question::new(&[ROUTING]);
    let opening = connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Opening);
    let timeout = connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Timeout);
    let answer = question
        .with(vec![opening, timeout])
        .ask("team/client", Some("local-here"));
    assert_eq!(answer.attempts.groups[0].count, 1);
    assert_eq!(answer.attempts.groups[0].last_outcome, "timeout");
}

#[test]
fn events_of_other_pods_do_not_count() {
    let question = Question::new(&[ROUTING]);
    let event = connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Timeout);
    let answer = question
        .with(vec![event])
        .ask("team/api-0", Some("local-here"));
    assert!(answer.attempts.groups.is_empty());
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
}

#[test]
fn a_finding_about_another_port_of_the_service_is_not_the_answer() {
    let mut question = Question::new(&[ROUTING]);
    let failed = connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Timeout);
    let mut event = gallery::finding(Severity::Error, false);
    event.ends = failed.ends;
    if let Body::Finding(finding) = &mut event.body {
        finding.rule = "connect-timeout";
    }
    question = question.with(vec![event]);
    for (to, rules) in [
        ("local-here", &["connect-timeout"][..]),
        ("local-here:80", &["connect-timeout"]),
        ("local-here:81", &[]),
    ] {
        let answer = question.ask("team/client", Some(to));
        let found: Vec<&str> = answer.findings.iter().map(|one| one.rule).collect();
        assert_eq!(found, rules, "{to}");
    }
}

#[test]
fn without_a_target_what_fails_comes_first() {
    let question = Question::new(&[ROUTING]);
    let events = vec![
        connection(&question.index, 90, "10.97.0.2:80", None, TcpState::Timeout),
        connection(
            &question.index,
            95,
            "10.97.0.10:80",
            None,
            TcpState::Established,
        ),
    ];
    let answer = question.with(events).ask("team/client", None);
    let groups: Vec<&str> = answer
        .attempts
        .groups
        .iter()
        .map(|one| one.to.as_str())
        .collect();
    assert_eq!(
        groups,
        ["Service team/local-here:80", "Service team/pair:80"]
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Fails);
}

#[test]
fn targets_are_read_in_every_form() {
    let index = index(&[ROUTING]);
    let coverage = Coverage::default();
    let read = |to: &str| Target::parse(to, "team", &index, &coverage);
    let tcp = |number| {
        Some(PortNumber {
            number,
            protocol: Protocol::Tcp,
        })
    };
    let udp = |number| {
        Some(PortNumber {
            number,
            protocol: Protocol::Udp,
        })
    };
    let name = |name: &str, port| Ok(Target::Name(name.to_owned(), port));
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let service = |port| Ok(Target::Service("team".to_owned(), "local".to_owned(), port));
    let pod = |port| Ok(Target::Pod("team".to_owned(), "api-0".to_owned(), port));
    for (written, expected) in [
        ("local", name("local", None)),
        ("local:80", name("local", tcp(80))),
        ("local.team:8125/udp", name("local.team", udp(8125))),
        (
            "https://user@www.example.com/path?q#f",
            name("www.example.com", tcp(443)),
        ),
        ("http://web:8080/", name("web", tcp(8080))),
        ("amqp://queue", name("queue", None)),
        ("team/local:80", service(tcp(80))),
        ("svc/local", service(None)),
        ("team/api-0:8080", pod(tcp(8080))),
        ("pod/api-0", pod(None)),
        ("10.97.0.1", Ok(Target::Address(ip("10.97.0.1"), None))),
        (
            "10.97.0.1:53/UDP",
            Ok(Target::Address(ip("10.97.0.1"), udp(53))),
        ),
        ("fd00:97::11", Ok(Target::Address(ip("fd00:97::11"), None))),
        (
            "[fd00:97::11]:80",
            Ok(Target::Address(ip("fd00:97::11"), tcp(80))),
        ),
    ] {
        assert_eq!(read(written), expected, "{written}");
    }
    for wrong in [
        "",
        "web:http",
        "web:0",
        "web:80/sctp",
        "a b",
        "web;id",
        "a/b/c",
        "web:70000",
        "$(id)",
    ] {
        assert_eq!(
            read(wrong),
            Err(TargetError::Form(wrong.to_owned())),
            "{wrong}"
        );
    }
    let Err(TargetError::Missing { what, known, .. }) = read("svc/locale") else {
        panic!("{:?}", read("svc/locale"));
    };
    assert_eq!(what, "Service");
    assert!(known.contains(&"team/local".to_owned()));
}

#[test]
fn pods_are_found_by_name_and_by_workload() {
    let index = index(&[LAB]);
    let find =
        |written: &str, namespace| Subject::find(written, namespace, &index, &Coverage::default());
    let found = find("deb-ubuntu", None).expect("in the default namespace");
    assert_eq!(found.full_name(), "default/deb-ubuntu");
    let of_daemonset = find("ds/nginx-ds", Some("default")).expect("a pod of it");
    assert!(of_daemonset.name.starts_with("nginx-ds-"));
    assert_eq!(
        of_daemonset.chosen.as_deref(),
        Some("one of 4 pods of ds/nginx-ds")
    );
    let Err(SubjectError::NoPod { elsewhere, .. }) = find("kube-system/deb-ubuntu", None) else {
        panic!("there is none there");
    };
    assert_eq!(elsewhere, ["default/deb-ubuntu"]);
    let Err(SubjectError::NoPodOf { workloads, .. }) = find("deploy/nginx", Some("default")) else {
        panic!("there is none");
    };
    assert_eq!(workloads, ["ds/nginx-ds"]);
}

#[test]
fn without_an_inventory_a_pod_is_explained_by_its_name() {
    let index = Index::new(IndexSettings::default());
    let mut coverage = Coverage::default();
    coverage.refuse(Kind::Pod, "forbidden".to_owned());
    let subject = Subject::find("shop/web", None, &index, &coverage).expect("may exist");
    let question = Question {
        index,
        coverage,
        events: Vec::new(),
    };
    assert!(subject.pod.is_none());
    let answer = question.ask("shop/web", Some("db"));
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
    assert!(
        answer
            .unknown
            .iter()
            .any(|one| one.contains("pods could not be listed (forbidden)"))
    );
}

/// A packet of a connection's flow that the node of the pod `of` dropped.
fn dropped(
    index: &Index,
    second: u64,
    (src, dst): (&str, &str),
    reason: &'static str,
    of: &str,
) -> Event {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (src, dst) = (end(src), end(dst));
    let known = index.pods_named(of).next().expect("a pod").clone();
    let own = |end: &SocketAddr| {
        let object = index.pod_object(&known).expect("its object");
        object.ips.contains(&end.ip())
    };
    let (pod, peer) = if own(&src) { (src, dst) } else { (dst, src) };
    Event {
        time: Timestamp(second * 1_000_000_000),
        ends: Some(Ends {
            ifindex: Ifindex(3),
            role: Role::Client,
            pod: PodEnd {
                ip: pod.ip(),
                port: Some(pod.port()),
                identity: Ok(known),
                container: None,
                at_uplink: false,
                process: None,
            },
            peer: PeerEnd {
                ip: peer.ip(),
                port: Some(peer.port()),
                pod: None,
                host_pod: None,
                service: None,
                node: None,
                names: Vec::new(),
                backend: None,
            },
            peer_traced_here: false,
        }),
        incomplete: false,
        body: Body::Drop(Box::new(PacketDrop {
            tuple: Tuple {
                protocol: Protocol::Tcp,
                src,
                dst,
            },
            tcp_flags: Some(2),
            reason,
            function: None,
            place: DropPlace::Node,
            device: None,
            unreported: 0,
        })),
    }
}

#[test]
fn a_dropped_packet_of_the_attempt_is_the_answer() {
    let question = Question::new(&[ROUTING]);
    let attempt = connection(
        &question.index,
        90,
        "10.97.0.5:443",
        None,
        TcpState::Timeout,
    );
    let packets = ("10.20.1.5:40090", "10.20.2.7:8080");
    let drop =
        |second, packets, reason| dropped(&question.index, second, packets, reason, "client");
    let events = vec![
        attempt,
        drop(90, packets, "NETFILTER_DROP"),
        drop(91, packets, "NETFILTER_DROP"),
        // Another flow's, one of an earlier flow, and an answer that came after the socket was closed.
        drop(91, ("10.20.1.5:40091", "10.20.2.7:8080"), "NETFILTER_DROP"),
        drop(80, packets, "NETFILTER_DROP"),
        drop(97, ("10.97.0.5:443", "10.20.1.5:40090"), "NO_SOCKET"),
    ];
    let question = question.with(events);
    let answer = question.ask("team/client", Some("admitted:443"));
    let drops: Vec<(&str, bool, u64, Option<&str>)> = answer
        .attempts
        .drops
        .iter()
        .map(|one| (one.reason, one.sent, one.packets, one.node.as_deref()))
        .collect();
    assert_eq!(
        drops,
        [
            ("NETFILTER_DROP", true, 2, Some("worker-1")),
            ("NO_SOCKET", false, 1, Some("worker-1"))
        ]
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Fails);
    assert_eq!(
        answer.verdict.says,
        "team/client can't reach admitted:443: node worker-1 drops its packets (NETFILTER_DROP)"
    );
    assert!(
        answer.next.says.contains("rule of node worker-1"),
        "{:?}",
        answer.next
    );
    assert!(answer.next.command.is_some());
}

#[test]
fn a_dropped_packet_that_policies_deny_leads_to_the_policy() {
    let question = Question::new(&[ROUTING, ROUTING_POLICIES]);
    let events = vec![
        connection(
            &question.index,
            90,
            "10.97.0.5:443",
            None,
            TcpState::Timeout,
        ),
        // The agent of the server's node reports it.
        dropped(
            &question.index,
            90,
            ("10.20.1.5:40090", "10.20.2.7:8080"),
            "TC_INGRESS",
            "api-0",
        ),
    ];
    let answer = question
        .with(events)
        .ask("team/client", Some("admitted:443"));
    assert_eq!(answer.verdict.kind, VerdictKind::Fails);
    assert_eq!(
        answer.verdict.says,
        "team/client can't reach admitted:443: node worker-2 drops its packets (TC_INGRESS); team/client-out denies it"
    );
    assert_eq!(
        answer.next.command.as_deref(),
        Some("kubectl -n team describe networkpolicy client-out")
    );
}

#[test]
fn a_drop_of_an_attempt_that_succeeded_later_is_not_the_answer() {
    let question = Question::new(&[ROUTING]);
    let events = vec![
        connection(
            &question.index,
            90,
            "10.97.0.5:443",
            None,
            TcpState::Timeout,
        ),
        dropped(
            &question.index,
            90,
            ("10.20.1.5:40090", "10.97.0.5:443"),
            "NETFILTER_DROP",
            "client",
        ),
        connection(
            &question.index,
            95,
            "10.97.0.5:443",
            None,
            TcpState::Established,
        ),
        dropped(
            &question.index,
            96,
            ("10.97.0.5:443", "10.20.1.5:40095"),
            "TCP_OLD_DATA",
            "client",
        ),
    ];
    let answer = question
        .with(events)
        .ask("team/client", Some("admitted:443"));
    assert_eq!(answer.verdict.kind, VerdictKind::Works);
    assert_eq!(
        answer.attempts.drops.len(),
        1,
        "{:?}",
        answer.attempts.drops
    );
}

/// ExternalName Services: of Services of the cluster, through another one, around in a circle.
const ALIASES: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: front, namespace: team}, spec: {type: ExternalName, externalName: middle.team.svc.cluster.local}}
- {apiVersion: v1, kind: Service, metadata: {name: middle, namespace: team}, spec: {type: ExternalName, externalName: admitted.team.svc.cluster.local.}}
- {apiVersion: v1, kind: Service, metadata: {name: nowhere, namespace: team}, spec: {type: ExternalName, externalName: gone.team.svc.cluster.local}}
- {apiVersion: v1, kind: Service, metadata: {name: ping, namespace: team}, spec: {type: ExternalName, externalName: pong.team.svc.cluster.local}}
- {apiVersion: v1, kind: Service, metadata: {name: pong, namespace: team}, spec: {type: ExternalName, externalName: ping.team.svc.cluster.local}}
";

#[test]
fn an_external_name_is_followed_to_the_service_that_it_stands_for() {
    let question = Question::new(&[ROUTING, ALIASES]);
    let attempt = connection(
        &question.index,
        90,
        "10.97.0.5:443",
        None,
        TcpState::Established,
    );
    let question = question.with(vec![attempt]);
    for to in ["front", "svc/front", "middle.team"] {
        let answer = question.ask("team/client", Some(to));
        let leads: Vec<LeadsTo> = answer.aliases.iter().map(|one| one.leads_to).collect();
        let expected: &[LeadsTo] = match to {
            "middle.team" => &[LeadsTo::Service],
            _ => &[LeadsTo::Alias, LeadsTo::Service],
        };
        assert_eq!(leads, expected, "{to}");
        let service = answer.service.expect("the Service behind it");
        assert_eq!(service.name, "admitted");
        assert_eq!(service.asked_port.as_deref(), Some("443/TCP"));
        assert_eq!(answer.verdict.kind, VerdictKind::Works, "{to}");
    }
    let closed = question.ask("team/client", Some("front:444"));
    assert_eq!(
        closed.verdict.says,
        "Service team/admitted does not serve 444/TCP: it serves only 443/TCP"
    );
}

#[test]
fn an_external_name_outside_of_the_cluster_is_not_looked_up() {
    let answer = ask(&[ROUTING, ALIASES], "team/client", "dangling");
    let [alias] = &answer.aliases[..] else {
        panic!("{:?}", answer.aliases);
    };
    assert_eq!(alias.leads_to, LeadsTo::Outside);
    assert_eq!(alias.instead, None);
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
    let unknown = "whether db.example.net resolves and answers: it is outside of the cluster, and no look-up is made";
    assert!(
        answer.unknown.iter().any(|one| one == unknown),
        "{:?}",
        answer.unknown
    );
}

#[test]
fn an_external_name_that_leads_nowhere_is_the_answer() {
    for (name, leads_to, says) in [
        (
            "nowhere",
            LeadsTo::Absent,
            "ExternalName Service team/nowhere stands for gone.team.svc.cluster.local, which leads nowhere: no Service \
             gone in team",
        ),
        (
            "circular",
            LeadsTo::Loop,
            "ExternalName Service team/circular stands for circular.team.svc.cluster.local, which leads nowhere: its \
             own name",
        ),
        (
            "ping",
            LeadsTo::Loop,
            "ExternalName Service team/pong stands for ping.team.svc.cluster.local, which leads nowhere: it leads back \
             to team/ping",
        ),
        (
            "by-address",
            LeadsTo::Address,
            "ExternalName Service team/by-address stands for 198.51.100.40: an address, which DNS takes as a name",
        ),
        (
            "shortened",
            LeadsTo::Outside,
            "ExternalName Service team/shortened stands for pair.team, a name outside of the cluster; possible cause, \
             if pair.team.svc.cluster.local is meant: no search domain is added",
        ),
    ] {
        let answer = ask(&[ROUTING, ALIASES], "team/client", name);
        let last = answer.aliases.last().expect("an alias");
        assert_eq!(last.leads_to, leads_to, "{name}");
        assert_eq!(answer.verdict.says, says);
        assert_eq!(answer.verdict.kind, VerdictKind::Blocked);
    }
}

#[test]
fn a_long_chain_of_external_names_is_not_followed_to_its_end() {
    let mut chain = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for number in 0..20 {
        chain += &format!(
            "- {{apiVersion: v1, kind: Service, metadata: {{name: s{number}, namespace: team}}, spec: {{type: \
             ExternalName, externalName: s{}.team.svc.cluster.local}}}}\n",
            number + 1
        );
    }
    let answer = ask(&[ROUTING, &chain], "team/client", "s0");
    assert_eq!(answer.aliases.len(), 8);
    let last = answer.aliases.last().expect("an alias");
    assert_eq!(last.leads_to, LeadsTo::Unknown);
}

/// A path of a connection that was not answered.
fn unanswered_path(probable: bool) -> PacketPath {
    let hop = |place, name: &str, seen, what: &str| Hop {
        place,
        name: name.into(),
        node: None,
        seen,
        what: what.to_owned(),
    };
    PacketPath {
        time: Timestamp(90_000_000_000),
        verdict: PathVerdict::NotAnswered,
        line: "client ─✓─ a ─✓─ b ─✓─ ✗ web-0 (got 1 SYN, sent nothing)".to_owned(),
        hops: vec![
            hop(Place::Pod, "client", Some(true), "sent 1 SYN"),
            hop(Place::Node, "a", Some(true), ""),
            hop(Place::Node, "b", Some(true), "arrived"),
            hop(Place::Pod, "web-0", Some(false), "got 1 SYN, sent nothing"),
        ],
        probable,
    }
}

#[test]
fn the_path_of_the_failed_attempt_decides_where_no_finding_does() {
    let question = Question::new(&[ROUTING]);
    let failed = connection(
        &question.index,
        90,
        "10.21.0.10:80",
        None,
        TcpState::Timeout,
    );
    let earlier = connection(
        &question.index,
        80,
        "10.21.0.10:80",
        None,
        TcpState::Timeout,
    );
    let question = question.with(vec![earlier, failed]);
    let without = question.ask("team/client", None);
    assert!(without.attempts.path.is_none());
    assert!(
        without.verdict.says.contains("no rule found a cause"),
        "{:?}",
        without.verdict
    );
    let path = unanswered_path(false);
    let explained = question.follow("team/client", &path);
    let shown = explained.attempts.path.as_ref().expect("a path");
    assert_eq!(
        (shown.verdict, shown.hops.len()),
        ("not-answered-by-pod", 4)
    );
    let says = &explained.verdict.says;
    assert!(
        says.ends_with("it came to web-0, which sent nothing"),
        "{says}"
    );
    assert_eq!(explained.next.says, "check web-0");
    // Near miss: a match that is probable only is shown, and decides nothing.
    let explained = question.follow("team/client", &unanswered_path(true));
    assert!(explained.attempts.path.is_some());
    assert_eq!(explained.verdict, without.verdict);
}
