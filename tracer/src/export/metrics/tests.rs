//! How events are counted, and that the text follows the OpenMetrics specification.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::export::kube_events::KubeEventTotals;
use crate::export::otlp::OtlpTotals;
use tracer_core::model::echo::EchoState;
use tracer_core::model::loss::{Losses, Stage};
use tracer_core::model::signal::ConntrackCounters;
use tracer_core::model::time::Timestamp;
use tracer_core::view::gallery;

mod by_server;
mod queries;
mod relay;

fn metrics(by_pod: bool) -> Metrics {
    let build = Build {
        version: "1.2.3".to_owned(),
        commit: "c0ffee".to_owned(),
    };
    let started = "2026-03-01T12:00:00Z".parse().expect("a time");
    Metrics::new(by_pod, &build, started)
}

fn gallery_event(name: &str) -> Event {
    let (_, event) = gallery::all()
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("no event {name}"));
    event
}

/// One metric family of the text.
#[derive(Debug, Default)]
struct FamilyText {
    kind: String,
    unit: Option<String>,
    help: String,
    samples: BTreeMap<String, f64>,
}

/// Parses the text by the specification (OpenMetrics 1.0, "Text format") and panics at any violation.
fn read(text: &str) -> BTreeMap<String, FamilyText> {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
    assert!(
        body.chars().all(|c| c == '\n' || !c.is_control()),
        "{body:?}"
    );
    let mut families: BTreeMap<String, FamilyText> = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut done: BTreeSet<String> = BTreeSet::new();
    for line in body.lines() {
        if let Some(metadata) = line.strip_prefix("# ") {
            let mut parts = metadata.splitn(3, ' ');
            let (what, name) = (parts.next().unwrap(), parts.next().unwrap());
            let value = parts.next().unwrap_or_default().to_owned();
            if current.as_deref() != Some(name) {
                assert!(done.insert(name.to_owned()), "{name} comes in two places");
                current = Some(name.to_owned());
            }
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.samples.is_empty(), "metadata after samples: {line}");
            match what {
                "TYPE" => family.kind = value,
                "HELP" => family.help = value,
                "UNIT" => {
                    assert!(name.ends_with(&format!("_{value}")), "unit of {name}");
                    family.unit = Some(value);
                }
                other => panic!("unknown metadata {other}: {line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = series.split('{').next().expect("a name");
        let family_name = current.as_deref().expect("metadata before samples");
        let suffix = name.strip_prefix(family_name).unwrap_or_else(|| {
            panic!("{name} is among the samples of {family_name}");
        });
        let family = families.get_mut(family_name).expect("known");
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{family_name} has type {other}"),
        };
        assert!(
            suffixes.contains(&suffix),
            "{name} is of type {}",
            family.kind
        );
        labels(series);
        let value: f64 = value.parse().expect("a number");
        assert!(value >= 0.0, "{line}");
        let twice = family.samples.insert(series.to_owned(), value);
        assert_eq!(twice, None, "twice: {series}");
    }
    families
}

/// A series' labels, by name; panics at an unescaped character.
fn labels(series: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some((_, rest)) = series.split_once('{') else {
        return labels;
    };
    let mut rest = rest.strip_suffix('}').expect("a closing brace");
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("name=\"value\"");
        assert!(
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
            "label {name}"
        );
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("an escaped character") {
                    (_, 'n') => value.push('\n'),
                    (_, c @ ('\\' | '"')) => value.push(c),
                    (_, other) => panic!("escape {other:?}"),
                },
                (_, c) => value.push(c),
            }
        };
        let twice = labels.insert(name.to_owned(), value);
        assert_eq!(twice, None, "label {name} twice");
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

/// The samples of one metric, by the values of these labels.
fn samples(metrics: &Metrics, sample: &str, by: &[&str]) -> Vec<(String, f64)> {
    let text = metrics.encode().expect("text");
    let mut found = Vec::new();
    for (series, value) in read(&text).into_values().flat_map(|family| family.samples) {
        if series.split('{').next() == Some(sample) {
            let labels = labels(&series);
            let values: Vec<&str> = by
                .iter()
                .map(|name| labels.get(*name).map_or("-", String::as_str))
                .collect();
            found.push((values.join(" "), value));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn pairs(expected: &[(&str, f64)]) -> Vec<(String, f64)> {
    expected
        .iter()
        .map(|(labels, value)| ((*labels).to_owned(), *value))
        .collect()
}

#[test]
fn the_text_follows_the_specification_for_every_type_of_event() {
    for by_pod in [false, true] {
        let metrics = metrics(by_pod);
        let mut losses = Losses::default();
        losses.add(Stage::Ring, "ring buffer full", 31);
        losses.add(Stage::Table, "dns table full", 2);
        metrics.set_state(State {
            losses,
            index: IndexState {
                objects: vec![("pods", 4), ("services", 2)],
                synced: true,
                stale: Some(Duration::from_millis(2_500)),
            },
            attached: 3,
            settings: Some(SettingsState {
                applied: false,
                read: "2026-03-01T12:00:00.5Z".parse().expect("a time"),
            }),
            ..State::default()
        });
        for (_, event) in gallery::all() {
            metrics.observe(&event);
        }
        let families = read(&metrics.encode().expect("text"));
        for (name, family) in &families {
            assert!(!family.help.is_empty() && !family.kind.is_empty(), "{name}");
            assert!(
                name.starts_with("tracer_") || name.starts_with("process_"),
                "{name}"
            );
            for series in family.samples.keys() {
                let pod = labels(series).contains_key("pod");
                assert!(by_pod || !pod, "an unexpected pod label: {series}");
            }
        }
        assert_eq!(families["tracer_dns_latency_seconds"].kind, "histogram");
        assert_eq!(
            families["tracer_dns_latency_seconds"].unit.as_deref(),
            Some("seconds")
        );
        assert_eq!(
            samples(&metrics, "tracer_lost_total", &["stage", "reason"]),
            pairs(&[
                ("ring ring buffer full", 31.0),
                ("table dns table full", 2.0)
            ])
        );
        assert_eq!(
            samples(&metrics, "tracer_index_objects", &["kind"]),
            pairs(&[("pods", 4.0), ("services", 2.0)])
        );
        assert_eq!(samples(&metrics, "tracer_index_age_seconds", &[])[0].1, 2.5);
        assert_eq!(
            samples(&metrics, "tracer_build_info", &["version", "commit"]),
            pairs(&[("1.2.3 c0ffee", 1.0)])
        );
    }
}

#[test]
fn an_exchange_counts_at_the_client_by_outcome_and_type() {
    let metrics = metrics(false);
    for event in [
        "dns answered",
        "dns answered",
        "dns nodata",
        "dns at the server",
        "dns other rcode, unknown type, fault",
    ] {
        metrics.observe(&gallery_event(event));
    }
    assert_eq!(
        samples(
            &metrics,
            "tracer_dns_exchanges_total",
            &["outcome", "qtype", "namespace"]
        ),
        pairs(&[
            ("answered A default", 2.0),
            ("nodata AAAA default", 1.0),
            ("other other default", 1.0),
        ])
    );
    assert_eq!(
        samples(&metrics, "tracer_events_total", &["type"]),
        pairs(&[("dns", 5.0)])
    );
}

#[test]
fn a_late_answer_is_not_a_second_exchange() {
    let metrics = metrics(false);
    metrics.observe(&gallery_event("dns timeout"));
    metrics.observe(&gallery_event("dns late"));
    let exchanges = samples(&metrics, "tracer_dns_exchanges_total", &["outcome"]);
    assert_eq!(exchanges, pairs(&[("timeout", 1.0)]));
    let late = samples(&metrics, "tracer_dns_late_answers_total", &["namespace"]);
    assert_eq!(late, pairs(&[("default", 1.0)]));
}

#[test]
fn a_latency_counts_in_every_bucket_above_it() {
    let metrics = metrics(false);
    let mut event = gallery_event("dns answered");
    for latency in [400, 2_400, 2_600] {
        if let Body::Dns(exchange, _) = &mut event.body {
            Arc::make_mut(exchange).latency = Some(Duration::from_micros(latency));
        }
        metrics.observe(&event);
    }
    let buckets = samples(&metrics, "tracer_dns_latency_seconds_bucket", &["le"]);
    let below = |bound: &str| {
        let bucket = buckets.iter().find(|(le, _)| le == bound);
        bucket.unwrap_or_else(|| panic!("{buckets:?}")).1
    };
    assert_eq!(
        (
            below("0.0005"),
            below("0.001"),
            below("0.0025"),
            below("0.005"),
            below("+Inf")
        ),
        (1.0, 1.0, 2.0, 3.0, 3.0)
    );
    let sum = samples(&metrics, "tracer_dns_latency_seconds_sum", &[])[0].1;
    assert!((sum - 0.0054).abs() < 1e-9, "{sum}");
}

#[test]
fn lookup_queries_count_the_queries_of_each_lookup() {
    let metrics = metrics(false);
    let nowhere = gallery_event("lookup found nowhere, by glibc");
    let Body::Lookup(lookup) = &nowhere.body else {
        panic!("a lookup");
    };
    let queries = f64::from(lookup.queries);
    metrics.observe(&nowhere);
    metrics.observe(&nowhere);
    assert_eq!(
        samples(&metrics, "tracer_lookups_total", &["outcome"]),
        pairs(&[("nxdomain", 2.0)])
    );
    assert_eq!(
        samples(&metrics, "tracer_lookup_queries_sum", &["namespace"]),
        pairs(&[("default", 2.0 * queries)])
    );
    assert_eq!(
        samples(&metrics, "tracer_lookup_queries_count", &[]),
        pairs(&[("", 2.0)])
    );
}

#[test]
fn a_connection_counts_once_when_it_opens_and_once_when_it_ends() {
    let metrics = metrics(false);
    for event in [
        "tcp opening",
        "tcp established",
        "tcp closed after retransmissions",
        "tcp refused by icmp",
        "tcp refused by a reset",
        "tcp at the server, also seen at the client",
    ] {
        metrics.observe(&gallery_event(event));
    }
    assert_eq!(
        samples(
            &metrics,
            "tracer_tcp_connections_total",
            &["outcome", "direction"]
        ),
        pairs(&[
            ("established client", 1.0),
            ("established server", 1.0),
            ("refused client", 2.0),
        ])
    );
    assert_eq!(
        samples(&metrics, "tracer_tcp_connection_ends_total", &["outcome"]),
        pairs(&[("closed", 1.0)])
    );
    let again = samples(&metrics, "tracer_tcp_retransmits_total", &[]);
    assert_eq!(again, pairs(&[("", 12.0)]));
    // The handshake at the server is not the time that the client waited.
    let handshakes = samples(&metrics, "tracer_tcp_handshake_seconds_count", &[]);
    assert_eq!(handshakes, pairs(&[("", 1.0)]));
}

#[test]
fn a_running_ping_counts_each_packet_once() {
    let metrics = metrics(false);
    let mut event = gallery_event("ping answered");
    for (sent, received, state) in [
        (10, 9, EchoState::Running),
        (20, 18, EchoState::Running),
        (24, 22, EchoState::Done),
        // A new run with the same identifier.
        (3, 3, EchoState::Done),
    ] {
        if let Body::Echo(echo) = &mut event.body {
            (echo.sent, echo.received, echo.state) = (sent, received, state);
        }
        metrics.observe(&event);
    }
    for (sample, total) in [
        ("tracer_echo_requests_total", 27.0),
        ("tracer_echo_replies_total", 25.0),
        ("tracer_echo_runs_total", 2.0),
    ] {
        assert_eq!(
            samples(&metrics, sample, &["direction"]),
            pairs(&[("client", total)]),
            "{sample}"
        );
    }
}

#[test]
fn a_repeated_finding_adds_only_occurrences() {
    let metrics = metrics(false);
    let mut event = gallery_event("finding active");
    let labels = {
        let Body::Finding(finding) = &event.body else {
            panic!("a finding");
        };
        format!("{} {}", finding.rule, words::severity(finding.severity))
    };
    for (count, resolved) in [(1, false), (5, false), (5, true), (6, false), (1, false)] {
        if let Body::Finding(finding) = &mut event.body {
            finding.count = count;
            finding.state = if resolved {
                tracer_core::model::finding::State::Resolved
            } else {
                tracer_core::model::finding::State::Active
            };
        }
        metrics.observe(&event);
    }
    // The last count is 1 again: the pipeline had forgotten the finding.
    assert_eq!(
        samples(&metrics, "tracer_findings_total", &["rule", "severity"]),
        pairs(&[(&labels, 2.0)])
    );
    assert_eq!(
        samples(
            &metrics,
            "tracer_finding_occurrences_total",
            &["rule", "severity"]
        ),
        pairs(&[(&labels, 7.0)])
    );
}

#[test]
fn namespaces_beyond_the_limit_share_a_series_and_the_overflow_is_counted() {
    let metrics = metrics(false);
    let mut event = gallery_event("dns answered");
    let more = 7;
    for number in 0..MAX_NAMESPACES + more {
        if let Some(ends) = &mut event.ends {
            let namespace = format!("ns-{number}");
            ends.pod.identity = Ok(gallery::identity(&namespace, "a", None, "k8s-worker03"));
        }
        metrics.observe(&event);
    }
    let series = samples(&metrics, "tracer_dns_exchanges_total", &["namespace"]);
    assert_eq!(series.len(), MAX_NAMESPACES + 1);
    let other = series.iter().find(|(namespace, _)| namespace == OTHER);
    assert_eq!(other.map(|(_, count)| *count), Some(more as f64));
    assert_eq!(
        samples(&metrics, "tracer_metrics_label_overflow_total", &["label"]),
        pairs(&[("namespace", more as f64), ("pod", 0.0)])
    );
    // An idle namespace is evicted together with its series.
    event.time = event.time.after(IDLE);
    metrics.observe(&event);
    let series = samples(&metrics, "tracer_dns_exchanges_total", &["namespace"]);
    assert_eq!(series.len(), MAX_NAMESPACES + 1);
    assert!(series.iter().all(|(namespace, _)| namespace != "ns-0"));
}

#[test]
fn pods_have_series_only_while_the_pod_label_is_on() {
    let metrics = metrics(true);
    metrics.observe(&gallery_event("dns answered"));
    let by = ["namespace", "pod"];
    assert_eq!(
        samples(&metrics, "tracer_dns_exchanges_total", &by),
        pairs(&[("default deb-ubuntu", 1.0)])
    );
    metrics.label_pods(false);
    metrics.observe(&gallery_event("dns answered"));
    assert_eq!(
        samples(&metrics, "tracer_dns_exchanges_total", &by),
        pairs(&[("default -", 1.0)])
    );
}

#[test]
fn an_unknown_pod_counts_with_an_empty_namespace() {
    let metrics = metrics(false);
    metrics.observe(&gallery_event("tcp reset, no inventory"));
    assert_eq!(
        samples(&metrics, "tracer_tcp_connection_ends_total", &["namespace"]),
        pairs(&[("", 1.0)])
    );
}

#[test]
fn the_process_reports_its_resources() {
    let metrics = metrics(false);
    let value = |sample: &str| samples(&metrics, sample, &[])[0].1;
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_resident_memory_bytes") > 100_000.0);
    assert!(value("process_open_fds") >= 1.0);
    // 2026-03-01T12:00:00Z
    assert_eq!(value("process_start_time_seconds"), 1_772_366_400.0);
}

#[test]
fn settings_files_report_whether_their_latest_content_is_in_effect() {
    let metrics = metrics(false);
    let text = metrics.encode().expect("text");
    assert!(!text.contains("config_last_reload"), "no files, no metric");
    metrics.set_state(State {
        settings: Some(SettingsState {
            applied: false,
            read: "2026-03-01T12:00:00.5Z".parse().expect("a time"),
        }),
        ..State::default()
    });
    let value = |sample: &str| samples(&metrics, sample, &[])[0].1;
    assert_eq!(value("tracer_config_last_reload_successful"), 0.0);
    let read = value("tracer_config_last_reload_success_timestamp_seconds");
    assert_eq!(read, 1_772_366_400.5);
}

#[test]
fn docs_list_exactly_the_registered_metrics() {
    let metrics = metrics(false);
    metrics.set_state(State {
        index: IndexState {
            stale: Some(Duration::ZERO),
            ..IndexState::default()
        },
        kube_events: Some(KubeEventTotals::default()),
        relays: Some(2),
        conntrack: ConntrackState {
            following: Some(true),
            translations: 7,
            counters: Some(ConntrackCounters {
                max: 262_144,
                ..ConntrackCounters::default()
            }),
        },
        otlp: Some(OtlpTotals::default()),
        settings: Some(SettingsState {
            applied: true,
            read: jiff::Timestamp::UNIX_EPOCH,
        }),
        ..State::default()
    });
    for (_, event) in gallery::all() {
        metrics.observe(&event);
    }
    metrics.observe(&Event {
        time: Timestamp(0),
        ends: None,
        incomplete: false,
        body: gallery_event("lost").body,
    });
    let text = metrics.encode().expect("text");
    assert_eq!(documented(|name| !name.starts_with(RELAYS)), in_text(&text));
}

#[test]
fn docs_list_exactly_the_metrics_of_the_relay() {
    let text = relay::all().encode().expect("text");
    let mut registered = in_text(&text);
    // Those of the process are in the agent's table.
    registered.retain(|name, _| !name.starts_with("process_"));
    assert_eq!(documented(|name| name.starts_with(RELAYS)), registered);
}

/// What the names of the relay's own metrics begin with.
const RELAYS: &str = "tracer_relay_";

/// Metrics by name: type and labels.
type Listed = BTreeMap<String, (String, String)>;

/// Those in the tables of docs/metrics.md.
fn documented(wanted: impl Fn(&str) -> bool) -> Listed {
    let page = include_str!("../../../../docs/metrics.md");
    let mut documented = Listed::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else {
            panic!("four cells: {line}");
        };
        assert!(!meaning.is_empty(), "{line}");
        let mut labels: Vec<&str> = labels
            .split(", ")
            .map(|label| label.trim_matches('`'))
            .filter(|label| !label.is_empty())
            .collect();
        labels.sort_unstable();
        let name = name.trim_matches('`');
        if wanted(name) {
            documented.insert(name.to_owned(), (kind.to_owned(), labels.join(" ")));
        }
    }
    documented
}

/// Those in a text.
fn in_text(text: &str) -> Listed {
    let documented = documented(|_| true);
    let mut registered = Listed::new();
    for (name, family) in read(text) {
        let name = match family.kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name,
        };
        let sampled = family.samples.keys().next().map(|series| {
            let mut labels: Vec<String> = labels(series).into_keys().collect();
            labels.retain(|label| label != "le");
            labels.join(" ")
        });
        let listed = documented.get(&name).map(|(_, labels)| labels.clone());
        // A metric without samples has no labels to compare.
        let labels = sampled.or(listed).unwrap_or_default();
        registered.insert(name, (family.kind, labels));
    }
    registered
}
