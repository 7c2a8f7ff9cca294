//! Each flag against the gallery: the table says which events pass, by what they show.

use super::*;
use crate::sinks::gallery;

/// What of the gallery passes.
fn passes(asked: &FilterConfig) -> Vec<&'static str> {
    let filter = Filter::from(asked.clone());
    gallery::all()
        .into_iter()
        .filter(|(_, event)| filter.matches(event))
        // A loss passes always; see `a_loss_passes_whatever_is_asked_for`.
        .filter(|(what, _)| *what != "lost" && !what.starts_with("hostile"))
        .map(|(what, _)| what)
        .collect()
}

fn all_but(missing: &[&str]) -> Vec<&'static str> {
    let all = passes(&FilterConfig::default());
    for missing in missing {
        assert!(all.contains(missing), "{missing} is not in the gallery");
    }
    all.into_iter()
        .filter(|what| !missing.contains(what))
        .collect()
}

fn glob(written: &str) -> Glob {
    written.parse().expect("a pattern")
}

fn pods(written: &[&str]) -> FilterConfig {
    FilterConfig {
        pods: written
            .iter()
            .map(|pod| pod.parse().expect("a pattern"))
            .collect(),
        ..FilterConfig::default()
    }
}

fn peers(written: &[&str]) -> FilterConfig {
    FilterConfig {
        peers: written
            .iter()
            .map(|peer| peer.parse().expect("a pattern"))
            .collect(),
        ..FilterConfig::default()
    }
}

fn names(written: &str) -> FilterConfig {
    FilterConfig {
        names: vec![written.parse().expect("a pattern")],
        ..FilterConfig::default()
    }
}

fn rcodes(rcode: ResponseCode) -> FilterConfig {
    FilterConfig {
        rcodes: vec![rcode],
        ..FilterConfig::default()
    }
}

fn outcomes(words: &[&str]) -> FilterConfig {
    FilterConfig {
        outcomes: words.iter().map(|word| (*word).to_owned()).collect(),
        ..FilterConfig::default()
    }
}

fn kinds(kinds: &[Kind]) -> FilterConfig {
    FilterConfig {
        kinds: kinds.to_vec(),
        ..FilterConfig::default()
    }
}

#[test]
fn without_a_filter_all_passes_but_what_the_client_tells_too() {
    let told_twice = "tcp at the server, told by the client too";
    assert!(!passes(&FilterConfig::default()).contains(&told_twice));
    let of_servers = FilterConfig {
        direction: Some(Role::Server),
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&of_servers),
        ["dns at the server", told_twice, "ping at the server"]
    );
    let of_clients = FilterConfig {
        direction: Some(Role::Client),
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&of_clients),
        all_but(&["dns at the server", "ping at the server"])
    );
}

#[test]
fn a_loss_passes_whatever_is_asked_for() {
    let filter = Filter::from(FilterConfig {
        kinds: vec![Kind::Dns],
        namespaces: vec![glob("nowhere")],
        failed: true,
        ..FilterConfig::default()
    });
    let passed: Vec<_> = gallery::all()
        .into_iter()
        .filter(|(_, event)| filter.matches(event))
        .map(|(what, _)| what)
        .collect();
    assert_eq!(passed, ["lost"]);
}

#[test]
fn a_namespace_is_that_of_the_pod_the_peer_pod_or_the_peer_service() {
    let namespaces = |written: &str| FilterConfig {
        namespaces: vec![glob(written)],
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&namespaces("myns")),
        [
            "tcp refused by a reset",
            "ping answered",
            "ping unanswered",
            "ping running with loss, duplicates and a late reply",
            "ping with errors"
        ]
    );
    assert!(passes(&namespaces("kube-*")).contains(&"lookup found nowhere, by glibc"));
    assert_eq!(
        passes(&namespaces("default")),
        all_but(&[
            "tcp timeout, ipv6, pod not in the inventory",
            "tcp reset, no inventory"
        ])
    );
    assert!(passes(&namespaces("nowhere")).is_empty());
}

#[test]
fn a_pod_is_named_or_given_by_address() {
    for asked in [
        "kube-system/coredns-6f5f9b5d74-pf4ld",
        "coredns-*",
        "10.1.235.206",
    ] {
        assert_eq!(passes(&pods(&[asked])), ["dns at the server"], "{asked}");
    }
    assert_eq!(passes(&pods(&["10.1.39.200"])), ["tcp reset, no inventory"]);
    assert_eq!(
        passes(&pods(&["myns/apache-*", "coredns-*"])),
        [
            "dns at the server",
            "tcp refused by a reset",
            "ping answered",
            "ping running with loss, duplicates and a late reply"
        ]
    );
    assert!(passes(&pods(&["myns/deb-ubuntu"])).is_empty());
}

#[test]
fn between_two_traced_pods_the_named_one_tells() {
    let mut client = gallery::client("10.1.39.194", 80);
    client.peer_traced_here = true;
    let nginx = gallery::identity("default", "nginx-ds-v2qf5", None, "k8s-worker03");
    client.peer.pod = Some(nginx.clone());
    let mut server = gallery::server(nginx, "10.1.39.194", 80);
    server.peer_traced_here = true;
    let told = |asked: &FilterConfig| {
        let filter = Filter::from(asked.clone());
        [&client, &server]
            .map(|ends| filter.matches(&gallery::tcp(ends.clone(), TcpState::Established, |_| {})))
    };
    for (asked, by_client, by_server) in [
        (FilterConfig::default(), true, false),
        (pods(&["deb-ubuntu"]), true, false),
        (pods(&["nginx-ds-v2qf5"]), false, true),
        (pods(&["nginx-ds-v2qf5", "deb-ubuntu"]), true, false),
        (pods(&["somebody-else"]), false, false),
    ] {
        assert_eq!(told(&asked), [by_client, by_server], "{asked:?}");
    }
    let both = FilterConfig {
        direction: Some(Role::Server),
        ..pods(&["deb-ubuntu"])
    };
    assert_eq!(told(&both), [false, true]);
}

#[test]
fn a_peer_is_the_other_end_by_service_pod_address_or_range() {
    for (asked, expected) in [
        (
            "myns/clusterip-apache2-ds-myns",
            vec!["ping unanswered", "ping with errors"],
        ),
        (
            "myns/apache-*",
            vec![
                "tcp refused by a reset",
                "ping answered",
                "ping running with loss, duplicates and a late reply",
            ],
        ),
        ("192.0.2.0/30", vec![]),
        (
            "fd00::/16",
            vec![
                "tcp timeout, ipv6, pod not in the inventory",
                "icmpv6 error about another protocol",
            ],
        ),
        (
            "93.184.216.34",
            vec!["tcp established after retransmissions, peer by name"],
        ),
        // A pod that is the one it was seen on is no peer.
        ("kube-system/coredns-*", vec![]),
    ] {
        assert_eq!(passes(&peers(&[asked])), expected, "{asked}");
    }
    let dns: Vec<_> = all_but(&[])
        .into_iter()
        .filter(|what| {
            (what.starts_with("dns") || what.starts_with("lookup"))
                && *what != "dns at the server"
                && *what != "dns answer from an address that was not asked"
        })
        .collect();
    assert_eq!(
        passes(&FilterConfig {
            kinds: vec![Kind::Dns, Kind::Lookup],
            ..peers(&["kube-dns"])
        }),
        dns
    );
}

#[test]
fn between_two_traced_pods_the_one_whose_peer_is_named_tells() {
    let mut client = gallery::client("10.1.39.194", 80);
    client.peer_traced_here = true;
    let nginx = gallery::identity("default", "nginx-ds-v2qf5", None, "k8s-worker03");
    client.peer.pod = Some(nginx.clone());
    let mut server = gallery::server(nginx, "10.1.39.194", 80);
    server.peer_traced_here = true;
    let told = |asked: &FilterConfig| {
        let filter = Filter::from(asked.clone());
        [&client, &server]
            .map(|ends| filter.matches(&gallery::tcp(ends.clone(), TcpState::Established, |_| {})))
    };
    let of = |pod: &str, peer: &str| FilterConfig {
        pods: pods(&[pod]).pods,
        ..peers(&[peer])
    };
    for (asked, by_client, by_server) in [
        (peers(&["nginx-ds-v2qf5"]), true, false),
        (peers(&["deb-ubuntu"]), false, true),
        (peers(&["10.1.39.193"]), false, true),
        (peers(&["default/*"]), true, false),
        (of("deb-ubuntu", "nginx-*"), true, false),
        (of("nginx-*", "deb-ubuntu"), false, true),
        (of("nginx-*", "somebody-else"), false, false),
    ] {
        assert_eq!(told(&asked), [by_client, by_server], "{asked:?}");
    }
}

#[test]
fn a_port_is_that_of_either_end_or_of_what_an_icmp_error_quotes() {
    let ports = |ports: &[u16]| FilterConfig {
        ports: ports.to_vec(),
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&ports(&[443])),
        [
            "tcp established after retransmissions, peer by name",
            "icmp error, too big",
        ]
    );
    assert_eq!(
        passes(&ports(&[123, 25])),
        [
            "tcp reset, no inventory",
            "udp open",
            "udp unanswered",
            "udp closed"
        ]
    );
    let of_dns = passes(&ports(&[53]));
    assert!(of_dns.iter().all(|what| what.starts_with("dns")
        || what.starts_with("lookup")
        || what.starts_with("finding")));
    // The server's own port counts as well.
    assert!(of_dns.contains(&"dns at the server"));
    // An identifier is no port.
    assert!(passes(&ports(&[7])).is_empty());
}

#[test]
fn a_query_type_fits_dns_and_lookups_only() {
    let qtypes = |qtypes: &[RecordType]| FilterConfig {
        qtypes: qtypes.to_vec(),
        ..FilterConfig::default()
    };
    for what in passes(&qtypes(&[RecordType::A, RecordType::AAAA])) {
        assert!(
            what.starts_with("dns") || what.starts_with("lookup"),
            "{what}"
        );
    }
    assert_eq!(
        passes(&qtypes(&[RecordType::TXT, RecordType::from(65_280)])),
        [
            "dns truncated and cut short",
            "dns truncated, then answered over tcp",
            "dns truncated, tcp refused",
            "dns other rcode, unknown type, fault"
        ]
    );
}

#[test]
fn slow_is_what_took_at_least_so_long() {
    let slow = |slow: Duration| FilterConfig {
        slow: Some(slow),
        ..FilterConfig::default()
    };
    let taken = |what: &str| {
        let all = gallery::all();
        let (_, event) = all.iter().find(|(name, _)| *name == what).expect(what);
        took(&event.body)
    };
    for (what, expected) in [
        ("dns answered", Some(Duration::from_micros(612))),
        ("dns timeout", None),
        ("tcp established", Some(Duration::from_micros(410))),
        ("udp unanswered", None),
        ("icmp error, too big", None),
        ("ping unanswered", None),
        ("finding active", None),
    ] {
        assert_eq!(taken(what), expected, "{what}");
    }
    for what in ["dns answered", "tcp established"] {
        let exactly = taken(what).expect("it took some time");
        assert!(passes(&slow(exactly)).contains(&what), "{what}");
        let longer = exactly + Duration::from_nanos(1);
        assert!(!passes(&slow(longer)).contains(&what), "{what}");
    }
    let ping = gallery::all()
        .into_iter()
        .find_map(|(what, event)| match event.body {
            Body::Echo(echo) if what == "ping answered" => echo.rtt,
            _ => None,
        })
        .expect("a ping with round trips");
    assert!(ping.avg < ping.max);
    assert!(passes(&slow(ping.max)).contains(&"ping answered"));
    assert!(!passes(&slow(ping.max + Duration::from_nanos(1))).contains(&"ping answered"));
}

#[test]
fn a_type_passes_with_all_its_states() {
    for (kind, count) in [
        (Kind::Dns, 21),
        (Kind::Lookup, 8),
        (Kind::Tcp, 9),
        (Kind::Udp, 4),
        (Kind::Icmp, 7),
        (Kind::Finding, 2),
    ] {
        for detail in [Detail::All, Detail::Digest] {
            let asked = FilterConfig {
                detail,
                ..kinds(&[kind])
            };
            let passed = passes(&asked);
            let prefix = match kind {
                Kind::Icmp => "",
                kind => kind.as_str(),
            };
            assert!(passed.iter().all(|what| what.starts_with(prefix)));
            assert_eq!(passed.len(), count, "{kind:?} {detail:?} {passed:?}");
        }
    }
    assert_eq!(passes(&kinds(&[Kind::Tcp, Kind::Udp])).len(), 13);
}

#[test]
fn a_name_is_one_that_was_asked_for_or_that_the_peer_was_resolved_from() {
    for (pattern, expected) in [
        (
            "www.example.com",
            vec![
                "dns over tcp with a chain",
                "lookup of an absolute name with many addresses",
                "tcp established after retransmissions, peer by name",
            ],
        ),
        (
            "CLUSTERIP-nginx-ds",
            vec![
                "dns answered",
                "dns nodata",
                "dns late",
                "lookup found at the first candidate",
            ],
        ),
        (
            "*.myns.svc.cluster.local.",
            vec!["lookup with a wasted candidate"],
        ),
        ("example.com", vec![]),
    ] {
        assert_eq!(passes(&names(pattern)), expected, "{pattern}");
    }
}

#[test]
fn a_response_code_is_that_of_a_query_and_fits_dns_and_lookups_only() {
    assert_eq!(
        passes(&rcodes(ResponseCode::NXDomain)),
        [
            "dns nxdomain, asked not known yet",
            "dns late",
            "dns at the server",
            "lookup found nowhere, by nslookup",
            "lookup found nowhere, by glibc",
            // It succeeded in the end, but that code was in it.
            "lookup with a wasted candidate",
        ]
    );
    assert_eq!(
        passes(&rcodes(ResponseCode::NotImp)),
        ["dns other rcode, unknown type, fault"]
    );
}

#[test]
fn an_outcome_is_the_events_own() {
    assert_eq!(
        passes(&outcomes(&["nxdomain"])),
        [
            "dns nxdomain, asked not known yet",
            "dns late",
            "dns at the server",
            "lookup found nowhere, by nslookup",
            "lookup found nowhere, by glibc",
        ]
    );
    assert_eq!(
        passes(&outcomes(&["refused"])),
        [
            "dns refused",
            "tcp refused by a reset",
            "tcp refused by icmp"
        ]
    );
    assert_eq!(
        passes(&outcomes(&["closed", "running"])),
        [
            "tcp closed",
            "tcp closed in silence",
            "udp closed",
            "ping running with loss, duplicates and a late reply"
        ]
    );
}

#[test]
fn every_outcome_of_the_gallery_can_be_asked_for() {
    for (what, event) in gallery::all() {
        if let Some(word) = words::outcome(&event.body) {
            assert!(words::outcomes().contains(&word), "{what}: {word}");
        }
    }
}

#[test]
fn failed_is_what_did_not_work() {
    let asked = FilterConfig {
        failed: true,
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&asked),
        all_but(&[
            "dns answered",
            "dns notify",
            "dns without a question",
            "dns nodata",
            "dns over tcp with a chain",
            "dns truncated and cut short",
            "dns truncated, then answered over tcp",
            "dns truncated, tcp refused",
            "lookup found at the first candidate",
            "lookup with a wasted candidate",
            "lookup of an absolute name with many addresses",
            "tcp established",
            "tcp established after retransmissions, peer by name",
            "tcp closed",
            "tcp closed in silence",
            "udp open",
            "udp closed",
            "ping answered",
            "ping at the server",
            "finding resolved",
        ])
    );
}

#[test]
fn the_digest_leaves_out_routine_unless_it_is_asked_for() {
    let digest = FilterConfig {
        detail: Detail::Digest,
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&digest),
        all_but(&[
            // Their lookup tells them again.
            "dns answered",
            "dns nxdomain, asked not known yet",
            "dns nodata",
            "tcp closed",
            "udp open",
            "udp closed",
        ])
    );
    let closed = FilterConfig {
        detail: Detail::Digest,
        ..outcomes(&["closed", "nodata"])
    };
    assert_eq!(
        passes(&closed),
        ["tcp closed", "tcp closed in silence", "udp closed"]
    );
}

#[test]
fn options_combine_with_and() {
    let asked = FilterConfig {
        kinds: vec![Kind::Dns],
        failed: true,
        ..names("no-such-service.*")
    };
    assert_eq!(
        passes(&asked),
        [
            "dns nxdomain, asked not known yet",
            "dns timeout",
            "dns late",
            "dns icmp error",
            "dns at the server"
        ]
    );
}

#[test]
fn names_that_nobody_knows_are_told() {
    struct Cluster;
    impl Directory for Cluster {
        fn any_namespace(&self, fits: &dyn Fn(&str) -> bool) -> bool {
            ["default", "myns"].iter().any(|name| fits(name))
        }
        fn any_pod(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool {
            [("default", "deb-ubuntu"), ("myns", "apache-1")]
                .iter()
                .any(|(namespace, name)| fits(namespace, name))
        }
        fn any_service(&self, fits: &dyn Fn(&str, &str) -> bool) -> bool {
            fits("kube-system", "kube-dns")
        }
    }
    let mut asked = pods(&[
        "deb-ubuntu",
        "myns/deb-ubuntu",
        "apache",
        "no-*",
        "10.9.9.9",
    ]);
    asked.namespaces = vec![glob("myns"), glob("mynz"), glob("my*")];
    asked.peers = peers(&[
        "kube-system/kube-dns",
        "apache-1",
        "10.0.0.0/8",
        "default/kube-dns",
        "kube",
        "no-*",
    ])
    .peers;
    assert_eq!(
        Filter::from(asked).warnings(&Cluster),
        [
            "no namespace mynz is known: nothing matches -n until there is one",
            "no pod myns/deb-ubuntu is known: nothing matches -p until there is one; \
             a pod of that name is in another namespace",
            "no pod apache is known: nothing matches -p until there is one; \
             pods whose names start so are: try 'apache*'",
            "no pod like no-* is known: nothing matches -p until there is one",
            "no Service or pod default/kube-dns is known: nothing matches --peer until there is one; \
             a Service or pod of that name is in another namespace",
            "no Service or pod kube is known: nothing matches --peer until there is one; \
             Services or pods whose names start so are: try 'kube*'",
            "no Service or pod like no-* is known: nothing matches --peer until there is one",
        ]
    );
}
