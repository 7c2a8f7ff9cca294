//! Each option against the gallery: the expected events, by their description.

use super::*;
use crate::view::gallery;

mod ends;

/// The events of the gallery that pass.
fn passes(asked: &FilterConfig) -> Vec<&'static str> {
    let filter = Filter::from(asked.clone());
    gallery::all()
        .into_iter()
        .filter(|(_, event)| filter.matches(event))
        // A loss always passes; see `a_loss_passes_every_filter`.
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

fn types(types: &[EventType]) -> FilterConfig {
    FilterConfig {
        types: types.to_vec(),
        ..FilterConfig::default()
    }
}

#[test]
fn without_a_filter_every_event_passes_except_the_servers_side_of_a_traced_pair() {
    let servers_side = "tcp at the server, also seen at the client";
    assert!(!passes(&FilterConfig::default()).contains(&servers_side));
    let at_servers = FilterConfig {
        direction: Some(Role::Server),
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&at_servers),
        ["dns at the server", servers_side, "ping at the server"]
    );
    let at_both = FilterConfig {
        both_sides: true,
        ..FilterConfig::default()
    };
    let mut both = passes(&at_both);
    both.retain(|what| *what != servers_side);
    assert_eq!(both, all_but(&[]));
    assert_ne!(both, passes(&at_both));
    let at_clients = FilterConfig {
        direction: Some(Role::Client),
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&at_clients),
        all_but(&["dns at the server", "ping at the server"])
    );
}

#[test]
fn a_loss_passes_every_filter() {
    let filter = Filter::from(FilterConfig {
        types: vec![EventType::Dns],
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
fn a_query_type_matches_only_dns_and_lookups() {
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
fn slow_matches_durations_from_the_limit_upwards() {
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
fn a_selected_type_passes_in_every_state() {
    for (event_type, count) in [
        (EventType::Dns, 23),
        (EventType::Lookup, 10),
        (EventType::Tcp, 12),
        (EventType::Udp, 5),
        (EventType::Icmp, 8),
        (EventType::Drop, 1),
        (EventType::Finding, 4),
    ] {
        for detail in [Detail::All, Detail::Digest] {
            let asked = FilterConfig {
                detail,
                ..types(&[event_type])
            };
            let passed = passes(&asked);
            let prefix = match event_type {
                EventType::Icmp => "",
                event_type => event_type.as_str(),
            };
            assert!(passed.iter().all(|what| what.starts_with(prefix)));
            assert_eq!(passed.len(), count, "{event_type} {detail:?} {passed:?}");
        }
    }
    assert_eq!(passes(&types(&[EventType::Tcp, EventType::Udp])).len(), 17);
}

#[test]
fn a_name_matches_the_queried_name_or_a_name_of_the_peer() {
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
fn a_response_code_matches_queries_also_inside_a_lookup() {
    assert_eq!(
        passes(&rcodes(ResponseCode::NXDomain)),
        [
            "dns nxdomain, asked not known yet",
            "dns late",
            "dns at the server",
            "lookup found nowhere, by nslookup",
            "lookup found nowhere, by glibc",
            // It succeeded, but one of its queries got that code.
            "lookup with a wasted candidate",
            "lookup incomplete",
        ]
    );
    assert_eq!(
        passes(&rcodes(ResponseCode::NotImp)),
        ["dns other rcode, unknown type, fault"]
    );
}

#[test]
fn an_outcome_matches_the_event_and_not_its_parts() {
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
            "tcp closed after retransmissions",
            "tcp closed in silence",
            "udp closed",
            "ping running with loss, duplicates and a late reply"
        ]
    );
}

#[test]
fn every_outcome_of_the_gallery_can_be_selected() {
    for (what, event) in gallery::all() {
        if let Some(word) = words::outcome(&event.body) {
            assert!(words::outcomes().contains(&word), "{what}: {word}");
        }
    }
}

#[test]
fn failed_matches_failures() {
    let asked = FilterConfig {
        failed: true,
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&asked),
        all_but(&[
            "icmpv6 error about another protocol",
            "drop in the node",
            "dns answered",
            "dns notify",
            "dns without a question",
            "dns answer without a query or question",
            "dns nodata",
            "dns undecided",
            "dns over tcp with a chain",
            "dns truncated and cut short",
            "dns truncated, then answered over tcp",
            "dns truncated, tcp refused",
            "lookup found at the first candidate",
            "lookup with a wasted candidate",
            "lookup of an absolute name with many addresses",
            "lookup undecided",
            "tcp established",
            "tcp established after retransmissions, peer by name",
            "tcp closed",
            "tcp closed after retransmissions",
            "tcp closed in silence",
            "udp open",
            "udp closed",
            "ping answered",
            "ping at the server",
            "finding resolved",
            "dns incomplete",
            "lookup incomplete",
            "tcp incomplete",
            "tcp established, incomplete",
            "udp incomplete",
            "ping incomplete",
        ])
    );
}

#[test]
fn the_digest_omits_routine_events_unless_they_are_selected() {
    let digest = FilterConfig {
        detail: Detail::Digest,
        ..FilterConfig::default()
    };
    assert_eq!(
        passes(&digest),
        all_but(&[
            "drop in the node",
            // The lookup shows them as well.
            "dns answered",
            "dns nxdomain, asked not known yet",
            "dns nodata",
            "tcp closed",
            "tcp closed after retransmissions",
            "udp open",
            "udp closed",
            "udp incomplete",
        ])
    );
    let closed = FilterConfig {
        detail: Detail::Digest,
        ..outcomes(&["closed", "nodata"])
    };
    assert_eq!(
        passes(&closed),
        [
            "tcp closed",
            "tcp closed after retransmissions",
            "tcp closed in silence",
            "udp closed"
        ]
    );
}

#[test]
fn options_combine_with_and() {
    let asked = FilterConfig {
        types: vec![EventType::Dns],
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
fn a_type_is_parsed_from_its_word() {
    for event_type in EventType::ALL {
        assert_eq!(event_type.to_string().parse(), Ok(event_type));
    }
    let error = "DNS".parse::<EventType>().expect_err("not a word");
    assert_eq!(
        error.to_string(),
        "`DNS` is not a type of event: use dns, lookup, tcp, udp, icmp or finding"
    );
}
