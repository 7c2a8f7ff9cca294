//! `tracer diagnose` and `tracer explain` with the captures of two nodes: the path of a connection that only one of them
//! shows, and what it changes in their words.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use etherparse::PacketBuilder;
use serde_json::Value;

const CLIENT: ([u8; 4], &str) = ([10, 1, 39, 193], "k8s-worker03");
const SERVER: ([u8; 4], &str) = ([10, 1, 79, 66], "k8s-worker01");
const PORT: u16 = 90;
const LINKTYPE_RAW: u32 = 101;
/// When the captures begin, microseconds since 1970.
const START_US: u64 = 1_770_000_000_000_000;

/// Raw IP packets, each with its time in microseconds since 1970.
struct Capture {
    packets: Vec<(u64, Vec<u8>)>,
    /// How far the clock of its node is ahead.
    ahead_us: u64,
}

impl Capture {
    fn new(ahead_us: u64) -> Capture {
        Capture {
            packets: Vec::new(),
            ahead_us,
        }
    }

    fn packet(&mut self, at_us: u64, packet: &[u8]) {
        let at = START_US + at_us + self.ahead_us;
        self.packets.push((at, packet.to_vec()));
    }

    /// As tcpdump writes it: a classic pcap file.
    fn pcap(&self) -> Vec<u8> {
        let mut bytes = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, LINKTYPE_RAW]);
        for (at, packet) in &self.packets {
            let [seconds, micros] = [at / 1_000_000, at % 1_000_000].map(word);
            let length = word(packet.len() as u64);
            bytes.extend(words(&[seconds, micros, length, length]));
            bytes.extend(packet);
        }
        bytes
    }

    /// As `--record` does where dropped packets are seen: pcapng, with a block that says so.
    fn recording(&self) -> Vec<u8> {
        let mut bytes = block(0x0a0d_0d0a, words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
        bytes.extend(block(1, words(&[LINKTYPE_RAW, 65_535])));
        let begun = self.packets.first().expect("a packet").0;
        let seen = format!("tracer signal: {begun}000 drops true");
        bytes.extend(block(0x8000_5452, seen.into_bytes()));
        for (at, packet) in &self.packets {
            let length = word(packet.len() as u64);
            let mut body = words(&[0, word(at >> 32), word(at & 0xffff_ffff), length, length]);
            body.extend(packet);
            bytes.extend(block(6, body));
        }
        bytes
    }
}

fn word(number: u64) -> u32 {
    u32::try_from(number).expect("32 bits")
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A block of pcapng.
fn block(kind: u32, mut body: Vec<u8>) -> Vec<u8> {
    body.resize(body.len().next_multiple_of(4), 0);
    let length = word(body.len() as u64 + 12);
    [words(&[kind, length]), body, words(&[length])].concat()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a capture");
    path
}

fn built(builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>) -> Vec<u8> {
    let mut packet = Vec::new();
    builder.write(&mut packet, &[]).expect("a packet");
    packet
}

fn syn(port: u16) -> Vec<u8> {
    let ip = PacketBuilder::ipv4(CLIENT.0, SERVER.0, 64);
    built(ip.tcp(port, PORT, 100, 64_000).syn())
}

fn syn_ack(port: u16) -> Vec<u8> {
    let ip = PacketBuilder::ipv4(SERVER.0, CLIENT.0, 64);
    built(ip.tcp(PORT, port, 900, 64_000).syn().ack(101))
}

/// A connection that both nodes see: 1 ms there, 1 ms back.
fn answered(client: &mut Capture, server: &mut Capture, at_us: u64, port: u16) {
    client.packet(at_us, &syn(port));
    server.packet(at_us + 1_000, &syn(port));
    server.packet(at_us + 1_100, &syn_ack(port));
    client.packet(at_us + 2_100, &syn_ack(port));
}

/// Three SYNs at these captures, the first one's a millisecond earlier than the other's.
fn unanswered(captures: &mut [&mut Capture], at_us: u64, port: u16) {
    for (later, capture) in captures.iter_mut().enumerate() {
        for after in [0, 1_030_000, 3_070_000] {
            capture.packet(at_us + after + 1_000 * later as u64, &syn(port));
        }
    }
}

fn diagnose(arguments: &[String]) -> Output {
    run_with(&["diagnose"], arguments)
}

fn run_with(command: &[&str], arguments: &[String]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let inventory = root.join("testbed/lab/inventory.yaml");
    let mut run = Command::new(env!("CARGO_BIN_EXE_tracer"));
    run.args(command)
        .arg("--inventory")
        .arg(inventory)
        .args(arguments);
    run.output().expect("tracer runs")
}

fn finding(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let findings = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found: Vec<Value> = findings
        .filter(|line| line["type"] == "finding" && line["rule"] == "connect-timeout")
        .collect();
    assert_eq!(found.len(), 1, "{output:?}");
    found[0].clone()
}

/// What the nodes capture. `arrives`: the SYNs reach the server's node.
fn captures(server_ahead_us: u64, arrives: bool) -> [Capture; 2] {
    let mut client = Capture::new(0);
    let mut server = Capture::new(server_ahead_us);
    answered(&mut client, &mut server, 0, 50_001);
    match arrives {
        true => unanswered(&mut [&mut client, &mut server], 5_000_000, 50_002),
        false => unanswered(&mut [&mut client], 5_000_000, 50_002),
    }
    answered(&mut client, &mut server, 40_000_000, 50_003);
    [client, server]
}

/// The files of both nodes, in a folder of their own.
fn written(folder: &Path, [client, server]: [Vec<u8>; 2]) -> [String; 2] {
    let files = [
        ("client.pcap", CLIENT.1, client),
        ("server.pcap", SERVER.1, server),
    ];
    files.map(|(name, node, bytes)| {
        let path = write(folder, name, &bytes);
        format!("--replay={node}={}", path.display())
    })
}

fn captured(folder: &Path, server_ahead_us: u64, arrives: bool) -> [String; 2] {
    let captures = captures(server_ahead_us, arrives);
    written(folder, captures.map(|capture| capture.pcap()))
}

fn run_on(files: &[String]) -> Value {
    let mut arguments = files.to_vec();
    arguments.extend(["-o".to_owned(), "json".to_owned()]);
    finding(&diagnose(&arguments))
}

fn run(server_ahead_us: u64, arrives: bool) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    run_on(&captured(folder.path(), server_ahead_us, arrives))
}

/// With recordings of both nodes that would have a drop, what neither has was lost between them.
#[test]
fn a_syn_that_recordings_show_neither_dropped_nor_arriving_was_lost_between_the_nodes() {
    let folder = tempfile::tempdir().expect("a folder");
    let recordings = captures(0, false).map(|capture| capture.recording());
    let finding = run_on(&written(folder.path(), recordings));
    let verdict = &finding["path"]["verdict"];
    assert_eq!(verdict, "lost-between-nodes", "{finding}");

    let [client, server] = captures(0, false);
    let one = written(folder.path(), [client.recording(), server.pcap()]);
    let verdict = &run_on(&one)["path"]["verdict"];
    assert_eq!(
        verdict, "lost-before-pod",
        "the server's node may have dropped it"
    );
}

#[test]
fn a_syn_that_only_the_clients_node_saw_was_lost_before_the_pod() {
    for ahead_us in [0, 2_000_000, 90_000_000] {
        let finding = run(ahead_us, false);
        assert_eq!(finding["path"]["verdict"], "lost-before-pod", "{finding}");
        let line = finding["path"]["line"].as_str().expect("a line");
        assert!(line.starts_with("deb-ubuntu ─✓─ k8s-worker03 "), "{line}");
        assert!(
            line.contains("✗ apache-ds-myns-5tjrr (did not arrive"),
            "{line}"
        );
        let hops = finding["path"]["hops"].as_array().expect("hops");
        assert_eq!(hops[0]["what"], "sent 3 SYNs");
        assert_eq!(hops.last().expect("a hop")["seen"], false);
    }
}

#[test]
fn a_syn_that_both_nodes_saw_was_not_answered_by_the_pod() {
    for ahead_us in [0, 2_000_000, 90_000_000] {
        let finding = run(ahead_us, true);
        let verdict = &finding["path"]["verdict"];
        assert_eq!(verdict, "not-answered-by-pod", "{ahead_us} {finding}");
    }
}

#[test]
fn the_words_leave_out_what_the_path_rules_out() {
    let between = "the network between them is on the way";
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or("").to_owned();
    let arrived = run(0, true);
    assert!(!text(&arrived, "why").contains(between), "{arrived}");
    assert_eq!(text(&arrived, "fix"), "check apache-ds-myns-5tjrr");
    let headline = text(&arrived, "headline");
    let says = "it came to apache-ds-myns-5tjrr, which sent nothing";
    assert!(headline.ends_with(says), "{headline}");
    assert_eq!(arrived["try"], serde_json::json!([]));
    // Near miss: the path ends on the way.
    let lost = run(0, false);
    assert!(text(&lost, "why").contains(between), "{lost}");
    let command = lost["try"][0].as_str().unwrap_or("");
    assert!(command.contains("ping"), "{lost}");
}

#[test]
fn an_explanation_shows_the_path_of_the_attempt_that_failed() {
    for (arrives, verdict, says) in [
        (true, "not-answered-by-pod", "which sent nothing"),
        (false, "lost-before-pod", "lost on the way to"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut arguments = captured(folder.path(), 0, arrives).to_vec();
        let to = format!("10.1.79.66:{PORT}");
        let question = ["explain", "default/deb-ubuntu", "--to", &to];
        let shown = run_with(&question, &arguments);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert_eq!(
            shown.matches("deb-ubuntu ─✓─ k8s-worker03").count(),
            1,
            "{shown}"
        );
        arguments.extend(["-o".to_owned(), "json".to_owned()]);
        let output = run_with(&question, &arguments);
        let answer: Value = serde_json::from_slice(&output.stdout).expect("an object");
        let path = &answer["attempts"]["path"];
        assert_eq!(path["verdict"], verdict, "{answer}");
        assert_eq!(path["hops"][0]["what"], "sent 3 SYNs", "{answer}");
        let answer = answer["verdict"]["says"].as_str().expect("an answer");
        assert!(answer.contains(says), "{answer}");
    }
}

#[test]
fn an_explanation_of_unnamed_captures_has_no_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = captured(folder.path(), 0, true);
    let mut arguments = files.map(|argument| {
        let file = argument.rsplit('=').next().unwrap_or_default().to_owned();
        format!("--replay={file}")
    });
    arguments.reverse();
    let output = run_with(
        &[
            "explain",
            "default/deb-ubuntu",
            "--to",
            "10.1.79.66",
            "-o",
            "json",
        ],
        &arguments,
    );
    let answer: Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert_eq!(answer["attempts"].get("path"), None, "{answer}");
    assert_eq!(answer["attempts"]["groups"][0]["kind"], "tcp", "{answer}");
}

#[test]
fn the_report_draws_the_path_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = diagnose(&captured(folder.path(), 0, true));
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.lines().find(|line| line.starts_with("  path "));
    let path = path.unwrap_or_else(|| panic!("no path: {text}"));
    assert!(
        path.contains("✗ apache-ds-myns-5tjrr (got 3 SYNs, sent nothing)"),
        "{path}"
    );
}

#[test]
fn captures_of_unknown_nodes_show_no_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = captured(folder.path(), 0, false).map(|argument| {
        let file = argument.rsplit('=').next().unwrap_or_default().to_owned();
        format!("--replay={file}")
    });
    let mut arguments = arguments.to_vec();
    arguments.extend(["-o".to_owned(), "json".to_owned()]);
    let output = diagnose(&arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("\"path\""), "{text}");
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(
        notes.contains("name the node with --replay NODE=FILE"),
        "{notes}"
    );
}
