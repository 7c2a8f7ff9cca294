//! The comparison with tshark: no difference on the lab's session and on fragmented messages, and every kind
//! of difference is found when one side is altered.
//!
//! Needs tshark (Debian: tshark) and fails without it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use etherparse::{
    IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, PacketBuilder,
};
use serde_json::{Value, json};
use testbed::tshark_diff::compare::{Intended, Report};
use testbed::tshark_diff::{agree, diff, of_texts, replay, theirs};

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tracer"))
}

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tracer-core/tests/fixtures/captures")
        .join(file)
}

/// What `cargo xtask tshark-diff --keep` made at the pod's interface.
fn session() -> PathBuf {
    fixture("dns-session.pcap.gz")
}

/// And at all interfaces of the node.
fn everywhere() -> PathBuf {
    fixture("dns-session-all.pcap.gz")
}

#[test]
fn the_labs_session_is_decoded_as_tshark_decodes_it() {
    let report = diff(program(), &session()).expect("both sides");
    assert_eq!(report.unexplained, Vec::<String>::new(), "{report}");
    assert!(
        report.messages > 90 && report.compared > 40,
        "hardly anything was compared: {report}"
    );
    for class in [
        Intended::Retry,
        Intended::TruncatedThenTcp,
        Intended::DuplicateAnswer,
        Intended::Undecided,
    ] {
        assert!(report.intended.contains_key(&class), "{class:?}: {report}");
    }
}

#[test]
fn a_session_seen_at_all_interfaces_is_reported_once() {
    let report = diff(program(), &everywhere()).expect("both sides");
    assert_eq!(report.unexplained, Vec::<String>::new(), "{report}");
    assert!(report.messages > 180 && report.compared > 40, "{report}");
    // Each message is there before and after the Service's address is translated.
    let copies = report.intended[&Intended::Copy];
    assert!(copies * 3 > report.messages, "{report}");
}

#[test]
fn captures_of_every_form_are_decoded_as_tshark_decodes_them() {
    for file in [
        "any.pcap",
        "cooked1.pcap",
        "ethernet.pcap",
        "ethernet.pcapng.gz",
        "inside.pcap",
        "merged.pcapng",
        "microseconds.pcap",
        "modified.pcap",
        "raw.pcap",
        "snapped.pcap",
        "two-interfaces.pcapng",
    ] {
        let report = diff(program(), &fixture(file)).expect("both sides");
        assert_eq!(report.unexplained, Vec::<String>::new(), "{file}: {report}");
        assert!(report.compared > 1, "{file}: {report}");
    }
}

/// The session with one event changed.
fn doctored(fits: impl Fn(&Value) -> bool, change: impl Fn(&mut Value)) -> Report {
    doctored_in(&session(), fits, change)
}

fn doctored_in(
    capture: &Path,
    fits: impl Fn(&Value) -> bool,
    change: impl Fn(&mut Value),
) -> Report {
    let ours = replay(program(), capture).expect("events");
    let theirs = theirs::decode(capture).expect("packets");
    let mut changed = 0;
    let lines: Vec<String> = ours
        .lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).expect("JSON");
            if changed == 0 && event["type"] == "dns" && fits(&event) {
                change(&mut event);
                changed += 1;
            }
            event.to_string()
        })
        .collect();
    assert_eq!(changed, 1, "no event to change");
    of_texts(&lines.join("\n"), &theirs).expect("both sides")
}

#[test]
fn every_doctored_field_of_an_event_is_found() {
    let answered = |event: &Value| event["outcome"] == "answered" && event["attempts"] == 1;
    let retried = |event: &Value| event["latency_ns"].is_number() && event["attempts"] == 2;
    let silent = |event: &Value| event["outcome"] == "icmp-error";
    let by = |key: &'static str, value: Value| move |event: &mut Value| event[key] = value.clone();
    let cases: [(&str, Report); 11] = [
        ("rcode", doctored(answered, by("rcode", json!("NXDOMAIN")))),
        ("name", doctored(answered, by("name", json!("other.")))),
        ("type", doctored(answered, by("qtype", json!("AAAA")))),
        ("such query", doctored(answered, by("id", json!(1)))),
        (
            "answer at that time",
            doctored(answered, by("latency_ns", json!(1))),
        ),
        (
            "answers",
            doctored(answered, |event| {
                event["answers"][0]["data"] = json!("192.0.2.99");
            }),
        ),
        (
            "answers",
            doctored(answered, |event| event["answers"] = json!([])),
        ),
        ("attempts", doctored(retried, by("attempts", json!(5)))),
        // It is not reported.
        (
            "no event reports it",
            doctored(answered, by("type", json!("tcp"))),
        ),
        // A question without a client.
        (
            "such query",
            doctored(silent, by("time", json!("2026-01-01T00:00:00Z"))),
        ),
        // It was answered.
        (
            "sees its answer",
            doctored(answered, |event| {
                event["outcome"] = json!("timeout");
                event["latency_ns"] = Value::Null;
            }),
        ),
    ];
    for (word, report) in cases {
        let found = report.unexplained.iter().any(|line| line.contains(word));
        assert!(found, "{word}: {report}");
    }
}

#[test]
fn copies_of_a_packet_hide_no_difference() {
    let answered = |event: &Value| event["outcome"] == "answered" && event["attempts"] == 1;
    let found = |report: &Report, what: &str| {
        let found = report.unexplained.iter().any(|line| line.contains(what));
        assert!(found, "{what}: {report}");
    };
    let unreported = doctored_in(&everywhere(), answered, |event| {
        event["type"] = json!("tcp");
    });
    found(&unreported, "no event reports it");
    let later = doctored_in(&everywhere(), answered, |event| {
        event["latency_ns"] = json!(event["latency_ns"].as_i64().expect("a latency") + 1);
    });
    found(&later, "no such answer at that time");

    // One event for each of two interfaces.
    let ours = replay(program(), &everywhere()).expect("events");
    let theirs = theirs::decode(&everywhere()).expect("packets");
    let event = ours.lines().find(|line| line.contains("answered"));
    let twice = format!("{ours}{}", event.expect("an answer"));
    let report = of_texts(&twice, &theirs).expect("both sides");
    found(&report, "another event's, too");
}

#[test]
fn a_response_time_that_is_not_tsharks_is_found() {
    // Begin and answer stand where they should, and tshark's own figure is another.
    let ours = replay(program(), &fixture("ethernet.pcap")).expect("events");
    let theirs = theirs::decode(&fixture("ethernet.pcap")).expect("packets");
    let theirs = theirs.replacen(
        "\"dns.time\": \"0.000273082\"",
        "\"dns.time\": \"0.000273083\"",
        1,
    );
    let report = of_texts(&ours, &theirs).expect("both sides");
    assert_eq!(report.unexplained.len(), 1, "{report}");
    assert!(report.unexplained[0].contains("response time"), "{report}");
}

#[test]
fn a_tracer_that_decodes_otherwise_does_not_agree() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let liar = directory.path().join("liar");
    let script = format!(
        "#!/bin/sh\n{} \"$@\" | sed s/NXDOMAIN/NOERROR/\n",
        program().display()
    );
    fs::write(&liar, script).expect("there is room");
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let files = [fixture("ethernet.pcap"), session()];
    assert!(agree(program(), &files).expect("both sides"));
    assert!(!agree(&liar, &files).expect("both sides"));
}

#[test]
fn a_file_without_dns_is_no_agreement() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("none.pcap");
    let file = fs::read(fixture("ethernet.pcap")).expect("the fixture");
    fs::write(&path, &file[..24]).expect("there is room");
    let error = diff(program(), &path).expect_err("nothing to compare");
    assert!(error.to_string().contains("no DNS message"), "{error}");
}

/// A query, and an answer with 40 A records that is longer than a packet.
fn long_answer() -> (Vec<u8>, Vec<u8>) {
    let question = b"\x04long\x07example\x00\x00\x01\x00\x01";
    let header = |flags: [u8; 2], answers: u16| {
        let [high, low] = answers.to_be_bytes();
        [0x12, 0x34, flags[0], flags[1], 0, 1, high, low, 0, 0, 0, 0]
    };
    let query = [&header([1, 0], 0)[..], question].concat();
    let mut answer = [&header([0x81, 0x80], 120)[..], question].concat();
    for number in 0..120_u8 {
        // A pointer to the question's name, A, IN, 60 s.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, number]);
    }
    (query, answer)
}

/// A raw IP capture of these packets, a millisecond apart.
fn capture(path: &Path, packets: &[Vec<u8>]) {
    let mut file = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 101]
        .map(u32::to_le_bytes)
        .concat();
    for (index, packet) in (0_u32..).zip(packets) {
        let len = u32::try_from(packet.len()).expect("short");
        let head = [1_700_000_000, index * 1_000_000, len, len];
        file.extend(head.map(u32::to_le_bytes).concat());
        file.extend(packet);
    }
    fs::write(path, file).expect("there is room");
}

#[test]
fn a_message_in_fragments_is_read_whole_and_has_tsharks_response_time() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (query, answer) = long_answer();
    let cut = 1_232;

    let mut asks = Vec::new();
    let mut answers = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(40_000, 53)
        .write(&mut asks, &query)
        .expect("in memory");
    PacketBuilder::ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64)
        .udp(53, 40_000)
        .write(&mut answers, &answer)
        .expect("in memory");
    let (header, payload) = Ipv4Header::from_slice(&answers).expect("a header");
    let piece = |start: usize, end: usize| {
        let mut header = header.clone();
        header.identification = 77;
        header.dont_fragment = false;
        header.more_fragments = end < payload.len();
        let offset = u16::try_from(start / 8).expect("short");
        header.fragment_offset = IpFragOffset::try_new(offset).expect("13 bits");
        header.total_len = u16::try_from(20 + end - start).expect("short");
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], &payload[start..end]].concat()
    };
    // The second before the first.
    let v4 = [asks, piece(cut, payload.len()), piece(0, cut)];

    let mut asks = Vec::new();
    let mut answers = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64)
        .udp(40_000, 53)
        .write(&mut asks, &query)
        .expect("in memory");
    PacketBuilder::ipv6([2; 16], [1; 16], 64)
        .udp(53, 40_000)
        .write(&mut answers, &answer)
        .expect("in memory");
    let (header, payload) = Ipv6Header::from_slice(&answers).expect("a header");
    let piece = |start: usize, end: usize| {
        let header = Ipv6Header {
            payload_length: u16::try_from(8 + end - start).expect("short"),
            next_header: IpNumber::IPV6_FRAGMENTATION_HEADER,
            ..header.clone()
        };
        let offset = u16::try_from(start / 8).expect("short");
        let fragment = Ipv6FragmentHeader {
            next_header: IpNumber::UDP,
            fragment_offset: IpFragOffset::try_new(offset).expect("13 bits"),
            more_fragments: end < payload.len(),
            identification: 77,
        };
        let bytes = [&header.to_bytes()[..], &fragment.to_bytes()].concat();
        [&bytes[..], &payload[start..end]].concat()
    };
    let v6 = [asks, piece(0, cut), piece(cut, payload.len())];

    for (name, packets) in [("v4", v4), ("v6", v6)] {
        let path = directory.path().join(name);
        capture(&path, &packets);
        let report = diff(program(), &path).expect("both sides");
        assert_eq!(report.unexplained, Vec::<String>::new(), "{name}: {report}");
        assert_eq!((report.messages, report.compared), (2, 1), "{name}");
        let line = replay(program(), &path).expect("an event");
        let event: Value = serde_json::from_str(line.trim()).expect("one event");
        assert_eq!(event["answers"].as_array().map(Vec::len), Some(120));
        // To the last fragment.
        assert_eq!(event["latency_ns"], 2_000_000);
    }
}
