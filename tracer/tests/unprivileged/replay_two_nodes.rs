//! `tracer diagnose` with the captures of two nodes: the path of a connection that only one of them shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use etherparse::PacketBuilder;
use serde_json::Value;

const CLIENT: ([u8; 4], &str) = ([10, 1, 39, 193], "k8s-worker03");
const SERVER: ([u8; 4], &str) = ([10, 1, 79, 66], "k8s-worker01");
const PORT: u16 = 90;
/// When the captures begin, microseconds since 1970.
const START_US: u64 = 1_770_000_000_000_000;

/// A classic pcap file of raw IP packets.
struct Capture {
    bytes: Vec<u8>,
    /// How far the clock of its node is ahead.
    ahead_us: u64,
}

impl Capture {
    fn new(ahead_us: u64) -> Capture {
        let words = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101];
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Capture { bytes, ahead_us }
    }

    fn packet(&mut self, at_us: u64, packet: &[u8]) {
        let at = START_US + at_us + self.ahead_us;
        let length = packet.len() as u64;
        for word in [at / 1_000_000, at % 1_000_000, length, length] {
            let word = u32::try_from(word).expect("small");
            self.bytes.extend(word.to_le_bytes());
        }
        self.bytes.extend(packet);
    }

    fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, &self.bytes).expect("a capture");
        path
    }
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let inventory = root.join("testbed/lab/inventory.yaml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command
        .args(["diagnose", "--inventory"])
        .arg(inventory)
        .args(arguments);
    command.output().expect("tracer runs")
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

/// The captures, in a folder of their own; `arrives`: the SYNs reach the server's node.
fn captured(folder: &Path, server_ahead_us: u64, arrives: bool) -> [String; 2] {
    let mut client = Capture::new(0);
    let mut server = Capture::new(server_ahead_us);
    answered(&mut client, &mut server, 0, 50_001);
    match arrives {
        true => unanswered(&mut [&mut client, &mut server], 5_000_000, 50_002),
        false => unanswered(&mut [&mut client], 5_000_000, 50_002),
    }
    answered(&mut client, &mut server, 40_000_000, 50_003);
    let [client, server] = [
        client.write(folder, "client.pcap"),
        server.write(folder, "server.pcap"),
    ];
    [
        format!("--replay={}={}", CLIENT.1, client.display()),
        format!("--replay={}={}", SERVER.1, server.display()),
    ]
}

fn run(server_ahead_us: u64, arrives: bool) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = captured(folder.path(), server_ahead_us, arrives).to_vec();
    arguments.extend(["-o".to_owned(), "json".to_owned()]);
    finding(&diagnose(&arguments))
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
