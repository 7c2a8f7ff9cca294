//! The options about ends: namespaces, pods, peers and ports, and which side of two traced pods is shown.

use super::*;

#[test]
fn a_namespace_matches_the_pod_the_peer_pod_or_the_peer_service() {
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
fn a_pod_is_selected_by_name_or_address() {
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
fn between_two_traced_pods_the_named_pods_side_is_shown() {
    let mut client = gallery::client("10.1.39.194", 80);
    client.peer_traced_here = true;
    let nginx = gallery::identity("default", "nginx-ds-v2qf5", None, "k8s-worker03");
    client.peer.pod = Some(nginx.clone());
    let mut server = gallery::server(nginx, "10.1.39.194", 80);
    server.peer_traced_here = true;
    let shown = |asked: &FilterConfig| {
        let filter = Filter::from(asked.clone());
        [&client, &server]
            .map(|ends| filter.matches(&gallery::tcp(ends.clone(), TcpState::Established, |_| {})))
    };
    for (asked, by_client, by_server) in [
        (FilterConfig::default(), true, false),
        (pods(&["deb-ubuntu"]), true, false),
        (pods(&["nginx-ds-v2qf5"]), false, true),
        (pods(&["nginx-ds-v2qf5", "deb-ubuntu"]), true, false),
        (pods(&["another-pod"]), false, false),
    ] {
        assert_eq!(shown(&asked), [by_client, by_server], "{asked:?}");
    }
    let both = FilterConfig {
        direction: Some(Role::Server),
        ..pods(&["deb-ubuntu"])
    };
    assert_eq!(shown(&both), [false, true]);
}

#[test]
fn a_peer_matches_by_service_pod_address_or_range() {
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
        // The pod of the event is not its peer.
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
            types: vec![EventType::Dns, EventType::Lookup],
            ..peers(&["kube-dns"])
        }),
        dns
    );
}

#[test]
fn between_two_traced_pods_the_side_with_the_named_peer_is_shown() {
    let mut client = gallery::client("10.1.39.194", 80);
    client.peer_traced_here = true;
    let nginx = gallery::identity("default", "nginx-ds-v2qf5", None, "k8s-worker03");
    client.peer.pod = Some(nginx.clone());
    let mut server = gallery::server(nginx, "10.1.39.194", 80);
    server.peer_traced_here = true;
    let shown = |asked: &FilterConfig| {
        let filter = Filter::from(asked.clone());
        [&client, &server]
            .map(|ends| filter.matches(&gallery::tcp(ends.clone(), TcpState::Established, |_| {})))
    };
    let pod_and_peer = |pod: &str, peer: &str| FilterConfig {
        pods: pods(&[pod]).pods,
        ..peers(&[peer])
    };
    for (asked, by_client, by_server) in [
        (peers(&["nginx-ds-v2qf5"]), true, false),
        (peers(&["deb-ubuntu"]), false, true),
        (peers(&["10.1.39.193"]), false, true),
        (peers(&["default/*"]), true, false),
        (pod_and_peer("deb-ubuntu", "nginx-*"), true, false),
        (pod_and_peer("nginx-*", "deb-ubuntu"), false, true),
        (pod_and_peer("nginx-*", "another-pod"), false, false),
    ] {
        assert_eq!(shown(&asked), [by_client, by_server], "{asked:?}");
    }
}

#[test]
fn a_port_matches_either_end_or_the_packet_that_an_icmp_error_quotes() {
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
            "udp closed",
            "udp incomplete",
        ]
    );
    let dns = passes(&ports(&[53]));
    assert!(dns.iter().all(|what| what.starts_with("dns")
        || what.starts_with("lookup")
        || what.starts_with("finding")));
    // The server's own port counts as well.
    assert!(dns.contains(&"dns at the server"));
    // An echo identifier is not a port.
    assert!(passes(&ports(&[7])).is_empty());
}

#[test]
fn a_filter_warns_about_names_that_match_no_object() {
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
        "deb-ubunut",
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
            "no namespace \"mynz\" is known, so nothing matches -n: did you mean myns?",
            "no pod \"myns/deb-ubuntu\" is known, so nothing matches -p: did you mean default/deb-ubuntu?",
            "no pod \"apache\" is known, so nothing matches -p: did you mean myns/apache-1?",
            "no pod \"deb-ubunut\" is known, so nothing matches -p: did you mean default/deb-ubuntu?",
            "no pod like \"no-*\" is known, so nothing matches -p",
            "no Service or pod \"default/kube-dns\" is known, so nothing matches --peer: \
             did you mean kube-system/kube-dns?",
            "no Service or pod \"kube\" is known, so nothing matches --peer: did you mean kube-system/kube-dns?",
            "no Service or pod like \"no-*\" is known, so nothing matches --peer",
        ]
    );
}
