//! The lines compared with the documented contract, written independently of the structures above.

use serde_json::Value;

use super::super::{Encode, gallery};
use super::{Json, dns_health};
use crate::view::dns_health::DnsHealth;

fn encode_all() -> Vec<(&'static str, String)> {
    let mut json = Json::new("k8s-worker03".into());
    let clock = gallery::clock();
    gallery::all()
        .iter()
        .map(|(what, event)| {
            let mut out = String::new();
            json.encode(event, &clock, &mut out).expect("a line");
            (*what, out)
        })
        .collect()
}

#[test]
fn every_event_is_one_line_that_matches_its_snapshot() {
    let mut all = String::new();
    for (what, line) in encode_all() {
        assert_eq!(line.matches('\n').count(), 1, "{what}");
        all.push_str(&format!("# {what}\n{line}"));
    }
    insta::assert_snapshot!("json", all);
}

#[test]
fn control_characters_are_escaped() {
    for (what, line) in encode_all() {
        let bare = line.strip_suffix('\n').expect("a line");
        assert!(
            !bare.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{what}: {bare:?}"
        );
        // Escaped, not dropped: a reader decodes the original name.
        let value: Value = serde_json::from_str(&line).expect("JSON");
        if what == "hostile lookup" {
            assert_eq!(
                value["asked"],
                "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}evil\r\n"
            );
        }
    }
}

/// The contract: path, type, and whether it can be missing (`?`). `null` is a type. A field that is not
/// listed fails the test: an additive change is made here too, on purpose.
const CONTRACT: &[(&str, &str)] = &[
    (
        "*",
        "type:string time:time node:string pod:pod|null peer:peer|null direction:client,server|null incomplete:bool?",
    ),
    (
        "pod",
        "namespace:string? name:string? uid:string? ip:string port:int? workload:workload? unknown:string? \
         container:string? process:process?",
    ),
    ("process", "pid:int comm:string"),
    ("workload", "kind:string name:string"),
    (
        "peer",
        "ip:string port:int? pod:pod? service:service? node:string? names:[string]? backend:backend?",
    ),
    ("backend", "ip:string port:int? pod:pod? node:string?"),
    ("service", "namespace:string name:string"),
    (
        "dns",
        "transport:udp,tcp id:int name:string|null qtype:string|null rcode:string|null \
         outcome:answered,nodata,nxdomain,servfail,refused,formerr,truncated,timeout,icmp-error,other,undecided \
         answers:[record] latency_ns:int|null attempts:int late:bool lookup:place? \
         authorities:[record]? icmp:icmp-detail? fault:string? \
         opcode:string? flags:[aa,tc,rd,ra,ad,cd]? referral:bool? negative_ttl:int? ede:[ede]? edns:edns? \
         query_edns:edns? query_fault:string? resynchronised:bool? \
         connection:refused,timeout,reset,closed? asked_peer:address? fragments_lost:int? steps:[transport-step]? \
         caused_by:cause?",
    ),
    (
        "cause",
        "ip:string port:int pod:pod? id:int time:time inferred:bool",
    ),
    (
        "transport-step",
        "transport:udp,tcp \
         outcome:answered,nodata,nxdomain,servfail,refused,formerr,truncated,timeout,icmp-error,other,undecided \
         latency_ns:int|null",
    ),
    ("ede", "code:int meaning:string? text:string?"),
    (
        "edns",
        "size:int version:int do:bool nsid:string? cookie:string? client_subnet:string? options:[option]?",
    ),
    ("option", "code:int data:string"),
    ("record", "name:string type:string ttl:int data:string"),
    ("place", "asked:string|null candidate:int of:int|null"),
    (
        "lookup",
        "asked:string|null qtypes:[string] \
         outcome:answered,nodata,nxdomain,servfail,refused,formerr,truncated,timeout,icmp-error,other,undecided \
         queries:int duration_ns:int steps:[step]",
    ),
    (
        "step",
        "name:string qtype:string outcome:string|null latency_ns:int|null attempts:int data:[string]? ede:[ede]?",
    ),
    (
        "tcp",
        "state:opening,established,refused,timeout,reset,closed,idle,undecided by:rst,icmp? handshake_ns:int? \
         syn_retransmits:int retransmits:int? tx:traffic rx:traffic icmp:icmp-detail? reply_from:address?",
    ),
    ("traffic", "packets:int bytes:int"),
    (
        "udp",
        "state:open,unanswered,icmp-error,closed,undecided tx:traffic rx:traffic icmp:icmp-detail? \
         reply_from:address?",
    ),
    (
        "icmp echo",
        "kind:echo id:int sent:int received:int duplicates:int loss:ratio|null samples:int rtt_ns:rtt? \
         state:running,done,undecided errors:int last_error:icmp-detail?",
    ),
    ("rtt", "min:int avg:int max:int mdev:int"),
    (
        "icmp error",
        "kind:error icmp_type:int icmp_code:int mtu:int? about:quoted from:string v6:bool unconfirmed:bool?",
    ),
    (
        "icmp-detail",
        "icmp_type:int icmp_code:int mtu:int? about:quoted from:string v6:bool",
    ),
    ("quoted", "protocol:string src:address dst:address"),
    ("address", "ip:string port:int?"),
    (
        "drop",
        "protocol:string src:address dst:address tcp_flags:int? reason:string function:string? place:node,pod|null \
         device:string? unreported:int",
    ),
    (
        "finding",
        "id:string rule:string severity:info,warning,error state:active,intermittent,resolved first:time last:time \
         count:int of:int headline:string summary:string was:string? why:string fix:string? try:[string] \
         evidence:[evidence] path:path?",
    ),
    ("evidence", "text:string"),
    (
        "path",
        "time:time line:string verdict:string hops:[hop] probable:bool?",
    ),
    (
        "hop",
        "place:pod,node,network name:string node:string|null seen:bool|null what:string",
    ),
    (
        "lost",
        "stage:kernel,ring,decode,table,queue,stream count:int reason:string",
    ),
];

fn fields(structure: &str) -> Vec<&'static str> {
    let (_, fields) = CONTRACT
        .iter()
        .find(|(name, _)| *name == structure)
        .unwrap_or_else(|| panic!("no structure {structure}"));
    fields.split_whitespace().collect()
}

fn check_object(value: &Value, structures: &[&str], at: &str) {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("{at}: not an object: {value}"));
    let mut known = Vec::new();
    for field in structures.iter().flat_map(|name| fields(name)) {
        let (name, kind) = field.split_once(':').expect("name:type");
        known.push(name);
        let at = format!("{at}.{name}");
        match (object.get(name), kind.strip_suffix('?')) {
            (Some(value), Some(kind)) => check(value, kind, &at),
            (Some(value), None) => check(value, kind, &at),
            (None, Some(_)) => {}
            (None, None) => panic!("{at} is missing"),
        }
    }
    for name in object.keys() {
        assert!(
            known.contains(&name.as_str()),
            "{at}.{name} is not in the contract"
        );
    }
}

fn check(value: &Value, kind: &str, at: &str) {
    if let Some(kind) = kind.strip_suffix("|null") {
        if !value.is_null() {
            check(value, kind, at);
        }
        return;
    }
    if let Some(element) = kind
        .strip_prefix('[')
        .and_then(|kind| kind.strip_suffix(']'))
    {
        let array = value
            .as_array()
            .unwrap_or_else(|| panic!("{at}: not an array"));
        array.iter().for_each(|value| check(value, element, at));
        return;
    }
    let fits = match kind {
        "string" => value.is_string(),
        "int" => value.is_u64(),
        "bool" => value.is_boolean(),
        "ratio" => value
            .as_f64()
            .is_some_and(|ratio| (0.0..=1.0).contains(&ratio)),
        "time" => value.as_str().is_some_and(|time| {
            let shape: String = time
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            shape == "0000-00-00T00:00:00.000000000Z"
        }),
        structure if CONTRACT.iter().any(|(name, _)| *name == structure) => {
            check_object(value, &[structure], at);
            true
        }
        words => value
            .as_str()
            .is_some_and(|word| words.split(',').any(|known| known == word)),
    };
    assert!(fits, "{at}: {value} is not {kind}");
}

#[test]
fn every_line_keeps_the_contract() {
    let mut seen = Vec::new();
    for (what, line) in encode_all() {
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{what}: {e}"));
        let kind = match value["type"].as_str().expect("a type") {
            "icmp" => format!("icmp {}", value["kind"].as_str().expect("a kind")),
            kind => kind.to_owned(),
        };
        check_object(&value, &["*", &kind], what);
        // A pod has all of its identity or none.
        for pod in [&value["pod"], &value["peer"]["pod"]] {
            if let Some(pod) = pod.as_object() {
                let named = ["namespace", "name", "uid"].map(|key| pod.contains_key(key));
                assert_eq!(named, [!pod.contains_key("unknown"); 3], "{what}");
            }
        }
        seen.push(kind);
    }
    for kind in [
        "dns",
        "lookup",
        "tcp",
        "udp",
        "icmp echo",
        "icmp error",
        "finding",
        "lost",
    ] {
        assert!(seen.iter().any(|seen| seen == kind), "no {kind} event");
    }
}

#[test]
fn the_contract_check_can_fail() {
    let broken = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        std::panic::catch_unwind(|| check_object(&value, &["lost"], "lost")).is_err()
    };
    assert!(!broken(
        r#"{"stage":"ring","count":1,"reason":"ring full"}"#
    ));
    assert!(broken(r#"{"stage":"rink","count":1,"reason":"ring full"}"#));
    assert!(broken(
        r#"{"stage":"ring","count":"1","reason":"ring full"}"#
    ));
    assert!(broken(r#"{"stage":"ring","count":1}"#));
    assert!(broken(
        r#"{"stage":"ring","count":1,"reason":"ring full","more":1}"#
    ));
}

#[test]
fn times_are_wall_times_with_nine_digits() {
    let mut json = Json::new("n".into());
    let mut event = gallery::echo(gallery::client("192.0.2.1", 0), 1, 1, |_| {});
    event.time = crate::model::time::Timestamp(1_000_000_007);
    let mut out = String::new();
    json.encode(&event, &gallery::clock(), &mut out)
        .expect("a line");
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value["time"], "2026-03-01T12:01:03.000000007Z");
    // Echo requests have an identifier and no ports.
    assert!(value["pod"].get("port").is_none());
    assert!(value["peer"].get("port").is_none());
}

#[test]
fn the_health_of_dns_matches_its_snapshot() {
    let mut health = DnsHealth::default();
    for (_, event) in gallery::all() {
        health.take(None, &event);
    }
    let line = dns_health::object(&health, None, &gallery::clock()).expect("JSON");
    assert_eq!(line.lines().count(), 1);
    assert!(!line.contains(|c: char| c.is_control() && c != '\n'));
    let object: Value = serde_json::from_str(&line).expect("JSON");
    insta::assert_snapshot!(
        "dns_health",
        serde_json::to_string_pretty(&object).expect("JSON")
    );
    let top = dns_health::object(&health, Some(1), &gallery::clock()).expect("JSON");
    let top: Value = serde_json::from_str(&top).expect("JSON");
    for list in ["servers", "workloads", "failing_names"] {
        assert_eq!(top[list].as_array().map(Vec::len), Some(1), "{list}");
        assert_eq!(
            top[format!("{list}_total")],
            object[format!("{list}_total")]
        );
    }
}
