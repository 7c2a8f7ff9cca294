//! `tracer dns` as a user runs it: its numbers against tshark's decoding of the same captures, its forms and its
//! exit codes.
//!
//! Needs tshark (Debian: tshark) and fails without it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use testbed::tshark_diff::theirs::{self, Message};

/// Names found and not found; a server that fails, refuses, is slow, truncates, and does not answer.
const SESSION: &str = "dns-session.pcap.gz";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn capture(file: &str) -> PathBuf {
    root()
        .join("tracer-core/tests/fixtures/captures")
        .join(file)
}

fn tracer(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACER_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(root())
        .arg("dns")
        .args(arguments)
        .env("TZ", "UTC")
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn object(arguments: &[&str]) -> Value {
    let text = text(&tracer(&[arguments, &["-o", "json"]].concat()));
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

fn replayed(file: &str) -> Value {
    object(&["--replay", capture(file).to_str().expect("UTF-8")])
}

/// What tshark decodes of one server's traffic.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// Query packets, without those over TCP that repeat a truncated one.
    queries: u64,
    /// Questions answered, by response code.
    rcodes: BTreeMap<String, u64>,
    /// Nanoseconds from a question's first packet to its first answer, sorted.
    latencies: Vec<u64>,
}

/// A question: client, server, identifier, name and type. A repetition can come from another port.
type Question = (String, String, u64, String, String);

fn question(message: &Message) -> Question {
    (
        message.client().ip.clone(),
        message.server().ip.clone(),
        message.id,
        message.name.clone(),
        message.qtype.clone(),
    )
}

/// Counts the messages themselves, and does not know how the tracer correlates them.
fn by_server(file: &str) -> BTreeMap<String, Seen> {
    let messages = theirs::read(&theirs::decode(&capture(file)).expect("tshark"));
    let messages = messages.expect("messages");
    let mut servers: BTreeMap<String, Seen> = BTreeMap::new();
    let mut asked: BTreeMap<Question, (u128, bool)> = BTreeMap::new();
    let mut truncated: Vec<(Question, u128)> = Vec::new();
    for message in &messages {
        let seen = servers.entry(message.server().ip.clone()).or_default();
        let key = question(message);
        let now = u128::try_from(message.time).expect("after 1970");
        if !message.response {
            // The question of a truncated answer, once more over TCP.
            let repeats = |(old, _): &(Question, u128)| {
                message.tcp && (&old.0, &old.1, &old.3, &old.4) == (&key.0, &key.1, &key.3, &key.4)
            };
            match truncated.iter().position(repeats) {
                Some(place) => {
                    let (_, first) = truncated.remove(place);
                    asked.insert(key, (first, false));
                }
                None => {
                    seen.queries += 1;
                    asked.entry(key).or_insert((now, false));
                }
            }
            continue;
        }
        let Some((first, answered)) = asked.get_mut(&key).filter(|(_, answered)| !answered) else {
            continue;
        };
        *answered = true;
        if message.truncated {
            truncated.push((key.clone(), *first));
            continue;
        }
        *seen.rcodes.entry(message.rcode.clone()).or_default() += 1;
        let latency = u64::try_from(now - *first).expect("a short time");
        seen.latencies.push(latency);
    }
    for seen in servers.values_mut() {
        seen.latencies.sort_unstable();
    }
    servers
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// The same of the tracer's object.
fn assert_server(server: &Value, seen: &Seen) {
    let outcomes = &server["outcomes"];
    let of = |words: &[&str]| {
        words
            .iter()
            .map(|word| number(&outcomes[*word]))
            .sum::<u64>()
    };
    let rcode = |rcode: &str| seen.rcodes.get(rcode).copied().unwrap_or(0);
    assert_eq!(
        number(&server["queries"]),
        seen.queries,
        "{server} {seen:?}"
    );
    assert_eq!(
        of(&["answered", "nodata"]),
        rcode("NOERROR"),
        "{server} {seen:?}"
    );
    assert_eq!(of(&["nxdomain"]), rcode("NXDOMAIN"), "{server} {seen:?}");
    assert_eq!(of(&["servfail"]), rcode("SERVFAIL"), "{server} {seen:?}");
    assert_eq!(of(&["refused"]), rcode("REFUSED"), "{server} {seen:?}");
    let latency = &server["latency"];
    let count = seen.latencies.len();
    assert_eq!(
        number(&server["responses"]),
        count as u64,
        "{server} {seen:?}"
    );
    assert_eq!(number(&latency["count"]), count as u64, "{server} {seen:?}");
    for (field, percent) in [("p50_ns", 50), ("p90_ns", 90), ("p99_ns", 99)] {
        match (count * percent).div_ceil(100) {
            0 => assert!(latency[field].is_null(), "{server}"),
            rank => {
                let exact = seen.latencies[rank - 1];
                let off = number(&latency[field]).abs_diff(exact);
                assert!(off * 1_000 <= exact * 32, "{field}: {server} {exact}");
            }
        }
    }
}

#[test]
fn servers_have_the_numbers_that_tshark_counts() {
    for file in [SESSION, "ethernet.pcap", "raw.pcap", "inside.pcap"] {
        let ours = replayed(file);
        let servers = ours["servers"].as_array().expect("servers");
        let theirs = by_server(file);
        let at_clients: Vec<&Value> = servers
            .iter()
            .filter(|server| server["direction"] == "client")
            .collect();
        assert_eq!(at_clients.len(), theirs.len(), "{file}: {ours} {theirs:?}");
        for server in at_clients {
            let name = server["name"].as_str().expect("an address");
            let ip: std::net::IpAddr = name.parse().expect("an address");
            let seen = theirs.iter().find(|(theirs, _)| theirs.parse() == Ok(ip));
            assert_server(server, seen.expect("tshark knows it").1);
        }
        let queries: u64 = theirs.values().map(|seen| seen.queries).sum();
        assert!(queries > 3, "{file}: hardly anything was compared");
        assert_eq!(number(&ours["totals"]["queries"]), queries, "{file}");
    }
}

#[test]
fn the_page_shows_what_the_program_prints() {
    let printed = text(&tracer(&[
        "--replay",
        "tracer-core/tests/fixtures/captures/dns-session.pcap.gz",
        "--inventory",
        "testbed/lab/inventory.yaml",
    ]));
    let page = std::fs::read_to_string(root().join("docs/dns.md")).expect("docs/dns.md");
    let shown = page
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    assert_eq!(shown, Some(printed.as_str()));
}

#[test]
fn a_filter_leaves_the_numbers_of_what_it_selects() {
    let file = capture(SESSION);
    let file = file.to_str().expect("UTF-8");
    let one = object(&["--replay", file, "--name", "never.example.com"]);
    assert_eq!(one["totals"]["lookups"], 1, "{one}");
    assert_eq!(one["failing_names_total"], 1, "{one}");
    let none = object(&["--replay", file, "-p", "192.0.2.1"]);
    assert_eq!(
        (&none["from"], &none["servers"]),
        (&Value::Null, &Value::Array(Vec::new()))
    );
}

#[test]
fn without_a_lookup_it_says_so_and_what_to_do() {
    let file = capture(SESSION);
    let output = tracer(&["--replay", file.to_str().expect("UTF-8"), "-p", "192.0.2.1"]);
    assert!(text(&output).starts_with("no DNS lookup was seen\n"));
    let note = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        note.contains("note: ") && note.contains("--dns-port"),
        "{note}"
    );
}

#[test]
fn what_it_cannot_do_ends_with_2() {
    for arguments in [
        &["--replay", "no-such-file.pcap"][..],
        &["--local", "--since", "5m"],
        &["--local", "--replay", "a.pcap"],
        &["--server", "unix:/no/such/socket"],
        &["--top", "0"],
    ] {
        let output = tracer(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}
