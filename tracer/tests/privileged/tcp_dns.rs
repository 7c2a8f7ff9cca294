//! DNS over TCP on real packets, compared with dig: one query, several on one connection, after truncation,
//! 60 KB in one message, and a blocked port.

use std::time::Duration;

use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::{NODE, Stage, asked, name, text};
use testbed::watch::Events;

const NGINX: &str = "clusterip-nginx-ds.default.svc.cluster.local.";

/// One answer as dig prints it.
#[derive(Debug)]
struct Dig {
    status: String,
    id: u64,
    answers: Vec<String>,
    query_time: Duration,
    over_tcp: bool,
}

/// All answers of one call of dig.
fn dig(stage: &Stage, arguments: &[&str]) -> (String, Vec<Dig>) {
    let output = text(&stage.run(&[&["dig", "+tries=1", "+nocookie"], arguments].concat()));
    let answers = output
        .split(";; ->>HEADER<<-")
        .skip(1)
        .map(|answer| {
            let after = |word: &str| {
                let rest = answer.split(word).nth(1).unwrap_or_default();
                rest.split([',', ' ', '\n']).next().unwrap_or_default()
            };
            let section = answer.split(";; ANSWER SECTION:\n").nth(1);
            let lines = section
                .into_iter()
                .flat_map(|section| section.lines().take_while(|line| !line.is_empty()));
            Dig {
                status: after("status: ").to_owned(),
                id: after("id: ").parse().expect("dig's id"),
                answers: lines.map(data).collect(),
                query_time: Duration::from_millis(
                    after("Query time: ").parse().expect("dig's query time"),
                ),
                over_tcp: answer.contains("(TCP)"),
            }
        })
        .collect();
    (output, answers)
}

/// A record's data, after name, TTL, class and type.
fn data(line: &str) -> String {
    let mut rest = line;
    for _ in 0..4 {
        rest = rest.trim_start();
        rest = rest.find(char::is_whitespace).map_or("", |at| &rest[at..]);
    }
    rest.trim_start().to_owned()
}

fn answers(event: &Value) -> Vec<String> {
    let answers = event["answers"].as_array().expect("answers");
    answers
        .iter()
        .map(|answer| answer["data"].as_str().expect("data").to_owned())
        .collect()
}

fn same(event: &Value, dig: &Dig) {
    assert_eq!(event["rcode"], dig.status.as_str(), "{event}\n{dig:?}");
    assert_eq!(answers(event), dig.answers);
    assert_eq!(event["transport"], if dig.over_tcp { "tcp" } else { "udp" });
    assert_eq!(event["attempts"], 1, "{event}");
    assert_eq!(name(&event["peer"]["service"]), "kube-system/kube-dns");
    // dig's clock moves by the kernel's tick, and its own way through the stack comes on top. After a
    // truncated answer it measures the time over TCP.
    let steps = event["steps"].as_array();
    let measured = steps.and_then(|steps| steps.last()).unwrap_or(event);
    let ours = Duration::from_nanos(measured["latency_ns"].as_u64().expect("latency"));
    assert!(ours < dig.query_time + Duration::from_millis(11), "{event}");
}

/// How many events of a kind there are for a name, after pending ones have arrived.
fn count(events: &mut Events, kind: &str, fits: impl Fn(&Value) -> bool) -> usize {
    std::thread::sleep(Duration::from_millis(300));
    events.poll().unwrap();
    let of_kind = events
        .of_step()
        .iter()
        .filter(|event| event["type"] == kind);
    of_kind.filter(|event| fits(event)).count()
}

#[test]
fn a_query_over_tcp_is_an_exchange_and_its_connection_another_event() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    for (question, qtype, outcome) in [
        (NGINX, "A", "answered"),
        (NGINX, "AAAA", "nodata"),
        (
            "no-such-service.default.svc.cluster.local.",
            "A",
            "nxdomain",
        ),
        ("servfail.example.", "A", "servfail"),
        ("www.example.com.", "A", "answered"),
    ] {
        events.next_step();
        let (output, digs) = dig(&stage, &["+tcp", question, qtype]);
        let event = events.wait_for(question, asked(question, qtype)).unwrap();
        assert_eq!(digs.len(), 1, "{output}");
        assert!(digs[0].over_tcp, "{output}");
        same(&event, &digs[0]);
        assert_eq!(event["id"], digs[0].id);
        assert_eq!(event["outcome"], outcome, "{event}");
        assert_eq!(event["steps"], Value::Null);
        let connection = events
            .wait_for("closed", |event| {
                event["type"] == "tcp" && event["state"] == "closed"
            })
            .unwrap();
        assert_eq!(connection["pod"]["port"], event["pod"]["port"]);
        assert_eq!(connection["peer"]["port"], 53);
    }
}

#[test]
fn queries_on_one_connection_are_reported_each() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let questions = [
        (NGINX, "A"),
        ("www.example.com.", "A"),
        ("no-such-service.default.svc.cluster.local.", "A"),
        (NGINX, "AAAA"),
        ("big.example.com.", "TXT"),
    ];
    let words: Vec<&str> = ["+tcp", "+keepopen"]
        .into_iter()
        .chain(questions.iter().flat_map(|(name, qtype)| [*name, *qtype]))
        .collect();
    let (output, digs) = dig(&stage, &words);
    assert_eq!(digs.len(), questions.len(), "{output}");
    let mut ports = Vec::new();
    for ((question, qtype), dig) in questions.into_iter().zip(&digs) {
        let event = events.wait_for(question, asked(question, qtype)).unwrap();
        same(&event, dig);
        assert_eq!(event["id"], dig.id);
        ports.push(event["pod"]["port"].clone());
    }
    ports.dedup();
    assert_eq!(ports.len(), 1, "one connection");
    let opened = count(&mut events, "tcp", |event| event["state"] == "established");
    assert_eq!(opened, 1);
}

#[test]
fn a_truncated_answer_and_the_query_over_tcp_are_one_exchange_with_both_steps() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    for (question, qtype) in [("big.example.com.", "TXT"), ("truncated.example.", "A")] {
        events.next_step();
        let (output, digs) = dig(&stage, &["+bufsize=1232", question, qtype]);
        assert!(
            output.contains("Truncated, retrying in TCP mode"),
            "{output}"
        );
        let event = events.wait_for(question, asked(question, qtype)).unwrap();
        same(&event, digs.last().expect("an answer"));
        assert_eq!(event["outcome"], "answered");
        let steps = event["steps"].as_array().expect("steps");
        let step = |index: usize, key: &str| steps[index][key].as_str().expect("a word").to_owned();
        assert_eq!(steps.len(), 2, "{event}");
        assert_eq!(
            (step(0, "transport"), step(0, "outcome")),
            ("udp".into(), "truncated".into())
        );
        assert_eq!(
            (step(1, "transport"), step(1, "outcome")),
            ("tcp".into(), "answered".into())
        );
        let latency = |value: &Value| value["latency_ns"].as_u64().expect("a latency");
        assert!(
            latency(&steps[0]) + latency(&steps[1]) < latency(&event),
            "{event}"
        );
        let lookup = events
            .wait_for("lookup", |event| event["type"] == "lookup")
            .unwrap();
        assert_eq!(
            (&lookup["queries"], &lookup["outcome"]),
            (&1.into(), &"answered".into())
        );
        assert_eq!(count(&mut events, "dns", asked(question, qtype)), 1);
        assert_eq!(count(&mut events, "lookup", |_| true), 1);
    }
}

#[test]
fn a_truncated_answer_that_the_client_makes_do_with_is_reported_as_truncated() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let (output, digs) = dig(&stage, &["+ignore", "truncated.example.", "A"]);
    let event = events
        .wait_for("truncated", asked("truncated.example.", "A"))
        .unwrap();
    assert_eq!(event["outcome"], "truncated", "{output}");
    assert_eq!(
        (&event["transport"], &event["steps"]),
        (&"udp".into(), &Value::Null)
    );
    assert_eq!(event["id"], digs[0].id);
}

#[test]
fn an_answer_of_sixty_kilobytes_is_read_to_its_end() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let (output, digs) = dig(&stage, &["+tcp", "huge.example.com.", "TXT"]);
    let size: usize = output
        .split("MSG SIZE  rcvd: ")
        .nth(1)
        .and_then(|rest| rest.trim().lines().next()?.parse().ok())
        .expect("dig's message size");
    assert!(size > 55_000, "{size} bytes");
    let event = events
        .wait_for("60 KB", asked("huge.example.com.", "TXT"))
        .unwrap();
    assert_eq!(event["fault"], Value::Null);
    assert_eq!(answers(&event).len(), 95);
    same(&event, &digs[0]);
    // Nothing was given up.
    let ended = events.stop().unwrap();
    let log = ended[0].log.join("\n");
    assert!(
        !log.contains("dns over tcp") && !log.contains("later chunk"),
        "{log}"
    );
}

#[test]
fn where_tcp_does_not_get_through_the_truncated_answer_says_so() {
    let stage = Stage::new(ProxyMode::Iptables);
    let mut events = stage.events(&[]);
    let ruleset = "add table inet notcp\n\
                   add chain inet notcp forward { type filter hook forward priority 0; }\n\
                   add rule inet notcp forward tcp dport 53 reject with tcp reset\n";
    let loaded = stage
        .on_node(NODE, &["nft", ruleset])
        .output()
        .expect("nft");
    assert!(
        loaded.status.success(),
        "{}",
        String::from_utf8_lossy(&loaded.stderr)
    );
    let (output, _) = dig(&stage, &["truncated.example.", "A"]);
    assert!(output.contains("connection refused"), "{output}");
    let event = events
        .wait_for("truncated", asked("truncated.example.", "A"))
        .unwrap();
    assert_eq!(
        (&event["outcome"], &event["connection"]),
        (&"truncated".into(), &"refused".into())
    );
    assert_eq!(event["steps"][1]["transport"], "tcp", "{event}");
    let refused = events
        .wait_for("refused", |event| {
            event["type"] == "tcp" && event["state"] == "refused"
        })
        .unwrap();
    assert_eq!(refused["by"], "rst");
}
