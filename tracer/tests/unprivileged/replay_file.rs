//! `tracer observe --replay` as a user runs it: files, pipes, damaged files, and where it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// How long the file header of a pcap file is.
const PCAP_HEADER: usize = 24;

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tracer-core/tests/fixtures/captures")
        .join(file)
}

fn tracer(file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command
        .args(["observe", "-o", "json", "--node-name", "n", "--replay"])
        .arg(file)
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (Vec<Value>, String, Option<i32>) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program runs");
    let lines = String::from_utf8(stdout).expect("text");
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let said = String::from_utf8(stderr).expect("text");
    (events, said, status.code())
}

fn replay(file: &Path, arguments: &[&str]) -> Vec<Value> {
    let (events, said, code) = run(tracer(file).args(arguments));
    assert_eq!(code, Some(0), "{said}");
    events
}

/// The scenario's inventory in a file.
fn inventory(directory: &Path) -> String {
    let path = directory.join("inventory.yaml");
    let inventory = testbed::lab::Inventory::scenario().expect("the scenario's inventory");
    fs::write(&path, inventory.to_yaml().expect("YAML")).expect("there is room");
    path.to_str().expect("text").to_owned()
}

#[test]
fn a_capture_is_reported_with_names_from_the_inventory_and_its_own_times() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let inventory = inventory(directory.path());
    let (events, said, code) =
        run(tracer(&fixture("ethernet.pcap")).args(["--inventory", &inventory]));
    assert_eq!(code, Some(0));
    let dns: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "dns" && event["peer"]["ip"] == "10.1.235.206")
        .collect();
    assert_eq!(dns.len(), 3, "{events:#?}");
    for event in dns {
        assert_eq!(event["pod"]["name"], "deb-ubuntu");
        assert_eq!(event["pod"]["namespace"], "default");
        assert_eq!(event["peer"]["pod"]["name"], "coredns-6f5f9b5d74-pf4ld");
    }
    // The stamps that tshark reads.
    let first = events.iter().find(|event| event["type"] == "dns");
    assert_eq!(
        first.expect("an exchange")["time"],
        "2026-11-23T07:27:32.546475462Z"
    );
    assert!(
        said.contains("40 packets seen") && said.contains("2 not IP"),
        "{said}"
    );
    assert!(said.contains("lost: nothing"), "{said}");
}

#[test]
fn a_file_s_name_reaches_no_terminal_raw() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Sets the window's title on a terminal.
    let name = directory.path().join("\u{1b}]0;owned\u{7}.pcap");
    let whole = fs::read(fixture("ethernet.pcap")).expect("the fixture");
    // One that cannot be read at all, and one that ends early, as the summary reports.
    for (bytes, says, code) in [
        (&b"no capture"[..], "is not a capture file", 2),
        (&whole[..whole.len() - 3], "ends within the packet", 0),
    ] {
        fs::write(&name, bytes).expect("there is room");
        let (_, said, exit) = run(&mut tracer(&name));
        assert_eq!(exit, Some(code), "{said}");
        assert!(said.contains(says), "{said}");
        let raw = said.contains(|character: char| character.is_control() && character != '\n');
        assert!(!raw, "{said:?}");
    }
}

#[test]
fn without_an_inventory_the_client_is_the_pod() {
    let events = replay(&fixture("ethernet.pcap"), &["--type", "dns"]);
    assert_eq!(events.len(), 4);
    for event in events {
        assert_eq!(event["direction"], "client");
        let client = event["pod"]["ip"].as_str().expect("an address");
        assert!(["10.1.39.193", "fd00::39:193"].contains(&client));
    }
}

#[test]
fn packed_piped_and_replayed_again_it_is_the_same() {
    let file = fixture("ethernet.pcap");
    let expected = replay(&file, &[]);
    assert!(expected.len() > 10);
    assert_eq!(replay(&file, &[]), expected);
    assert_eq!(replay(&fixture("ethernet.pcap.gz"), &[]), expected);
    let stdin = Path::new("-");
    let (from_file, _, _) = run(tracer(stdin).stdin(fs::File::open(&file).expect("the fixture")));
    assert_eq!(from_file, expected);
    let mut cat = Command::new("cat")
        .arg(fixture("ethernet.pcap.gz"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("cat");
    let pipe = cat.stdout.take().expect("a pipe");
    let (from_pipe, _, code) = run(tracer(stdin).stdin(pipe));
    cat.wait().expect("cat ends");
    assert_eq!((from_pipe, code), (expected, Some(0)));
}

#[test]
fn filters_count_and_duration_hold_as_they_do_live() {
    let file = fixture("ethernet.pcap");
    let all = replay(&file, &[]);
    assert_eq!(replay(&file, &["--count", "3"]), all[..3]);
    let failed = replay(&file, &["--type", "dns", "--rcode", "NXDOMAIN"]);
    assert_eq!(failed.len(), 1);
    assert_eq!(
        failed[0]["name"],
        "no-such-service.default.svc.cluster.local."
    );
    assert_eq!(
        replay(&file, &["--last", "2"]),
        all[all.len() - 2..],
        "a file has a past"
    );

    // For a file --duration is the capture's time: the two queries within the first 1.7 s of it.
    let started = Instant::now();
    let (events, said, code) = run(tracer(&file).args(["--type", "dns", "--duration", "1700ms"]));
    assert_eq!(code, Some(0));
    assert_eq!(events.len(), 2, "{events:#?}");
    assert!(said.starts_with("1.70 s: "), "{said}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn what_cannot_be_read_is_named_with_file_offset_cause_and_remedy() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let whole = fs::read(fixture("ethernet.pcap")).expect("the fixture");
    fs::write(path("empty"), []).expect("there is room");
    fs::write(path("text"), "hello, world\n").expect("there is room");
    let mut other_link = whole.clone();
    other_link[20] = 105;
    fs::write(path("wifi"), &other_link).expect("there is room");
    for (name, says) in [
        ("missing", &["cannot open", "No such file"][..]),
        ("empty", &["is empty", "allowed to capture"]),
        ("text", &["not a capture file", "tcpdump -w"]),
        ("wifi", &["link type 105", "byte 0", "tcpdump -i any"]),
    ] {
        let (events, said, code) = run(&mut tracer(&path(name)));
        assert_eq!((events.len(), code), (0, Some(2)), "{said}");
        for says in says {
            assert!(said.contains(says), "{name}: {says:?} is not in {said}");
        }
        assert!(said.contains(name), "{said}");
    }
    // A capture without packets is an error of another kind.
    fs::write(path("none"), &whole[..PCAP_HEADER]).expect("there is room");
    let (events, said, code) = run(&mut tracer(&path("none")));
    assert_eq!((events.len(), code), (0, Some(0)));
    assert!(said.contains("no packets in "), "{said}");
}

#[test]
fn a_cut_or_damaged_file_is_reported_up_to_the_damage() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let whole = fs::read(fixture("ethernet.pcap")).expect("the fixture");
    let expected = replay(&fixture("ethernet.pcap"), &["--type", "dns"]);
    let cut = directory.path().join("cut.pcap");
    fs::write(&cut, &whole[..whole.len() - 10]).expect("there is room");
    let (events, said, code) = run(tracer(&cut).args(["--type", "dns"]));
    assert_eq!((events, code), (expected.clone(), Some(0)));
    assert!(
        said.contains("warning: ") && said.contains("cut.pcap ends within the packet"),
        "{said}"
    );
    assert!(said.contains("still being written"), "{said}");
    assert!(said.contains("39 packets seen"), "{said}");

    // Compressed, and the end is missing.
    let packed = fs::read(fixture("ethernet.pcap.gz")).expect("the fixture");
    let cut = directory.path().join("cut.pcap.gz");
    fs::write(&cut, &packed[..packed.len() - 40]).expect("there is room");
    let (events, said, code) = run(tracer(&cut).args(["--type", "dns"]));
    assert_eq!((events, code), (expected, Some(0)));
    assert!(said.contains("warning: "), "{said}");
}

fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(now.as_nanos()).expect("before 2554")
}

/// The pcap header and the first query of the fixture with its answer, as a packet each that was captured at
/// `time`.
fn query_and_answer() -> (Vec<u8>, impl Fn(usize, u64) -> Vec<u8>) {
    let file = fs::read(fixture("ethernet.pcap")).expect("the fixture");
    let header = file[..PCAP_HEADER].to_vec();
    let mut packets = Vec::new();
    let mut rest = &file[PCAP_HEADER..];
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("4 bytes"));
        let len = word(8) as usize;
        let bytes = &rest[16..16 + len];
        // Ethernet, IPv4, UDP with port 53 at either end.
        let dns = bytes.len() > 42
            && bytes[12..14] == [8, 0]
            && bytes[23] == 17
            && (bytes[34..36] == [0, 53] || bytes[36..38] == [0, 53]);
        if dns {
            packets.push(bytes.to_vec());
        }
        rest = &rest[16 + len..];
    }
    let packet = move |index: usize, time: u64| {
        let bytes = &packets[index];
        let seconds = u32::try_from(time / 1_000_000_000).expect("before 2106");
        let rest = u32::try_from(time % 1_000_000_000).expect("less than a billion");
        let len = u32::try_from(bytes.len()).expect("short");
        let words = [seconds, rest, len, len].map(u32::to_le_bytes).concat();
        [&words[..], bytes].concat()
    };
    (header, packet)
}

#[test]
fn a_live_pipe_reports_answers_as_they_come_and_timeouts_without_another_packet() {
    let (header, packet) = query_and_answer();
    let mut child = tracer(Path::new("-"))
        .args(["--type", "dns", "--dns-timeout", "1s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    input.write_all(&header).expect("it reads");
    let asked = now();
    input.write_all(&packet(0, asked)).expect("it reads");
    input
        .write_all(&packet(1, asked + 1_000_000))
        .expect("it reads");
    // The pipe stays open.
    let event = line();
    assert_eq!(event["outcome"], "answered");
    assert_eq!(event["latency_ns"], 1_000_000);
    input.write_all(&packet(2, now())).expect("it reads");
    let sent = Instant::now();
    let event = line();
    assert_eq!(event["outcome"], "timeout", "{event}");
    // One second of patience and the two by which a pipe may lag behind.
    assert!(sent.elapsed() > Duration::from_millis(2_500));
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_pipe_that_is_late_is_reported_and_has_no_clock_but_its_packets() {
    let (header, packet) = query_and_answer();
    let mut child = tracer(Path::new("-"))
        .args(["--type", "dns", "--dns-timeout", "1s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    let asked = now() - 20_000_000_000;
    input.write_all(&header).expect("it reads");
    input.write_all(&packet(0, asked)).expect("it reads");
    while !said.contains("-U") {
        assert!(
            stderr.read_line(&mut said).expect("text") > 0,
            "nothing of it: {said}"
        );
    }
    assert!(said.contains("packets come 20 s after"), "{said}");
    // It is not unanswered: its answer is only late.
    input
        .write_all(&packet(1, asked + 900_000_000))
        .expect("it reads");
    drop(input);
    let mut output = String::new();
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_to_string(&mut output).expect("text");
    let event: Value = serde_json::from_str(&output).expect("one event");
    assert_eq!(event["outcome"], "answered");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_recording_gives_the_endpoints_and_drops_that_it_holds() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let inventory = inventory(directory.path());
    // Recorded signals, two of which cannot be read.
    let recording = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tracer-core/fuzz/seeds/capture_file/recorded-signals.pcapng");
    let events = replay(&recording, &["--inventory", &inventory]);
    let of = |kind: &str| -> Vec<&Value> {
        let found = events.iter().filter(|event| event["type"] == kind);
        found.collect()
    };
    let [connection] = of("tcp")[..] else {
        panic!("{events:#?}");
    };
    assert_eq!(connection["peer"]["backend"]["ip"], "10.1.79.66");
    let [dropped] = of("drop")[..] else {
        panic!("{events:#?}");
    };
    assert_eq!(dropped["reason"], "NETFILTER_DROP");
    assert_eq!(dropped["device"], "eth0");
    assert_eq!(dropped["pod"]["name"], "deb-ubuntu");
    let lost: Vec<_> = of("lost")
        .into_iter()
        .map(|lost| (lost["reason"].as_str(), lost["count"].as_u64()))
        .collect();
    let expected = [
        (Some("drop of an unknown pod"), Some(1)),
        (Some("recorded signal unreadable"), Some(2)),
    ];
    assert_eq!(lost, expected);
}
