//! The node's own flows at its uplink, on every kernel: sockets of a cgroup, beside what the node forwards and what its
//! kernel answers.

use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testbed::turn;
use tracer::capture::{HookChoice, Options};
use tracer_core::model::flow::{Direction, Ifindex};
use tracer_core::model::record::Record;

use super::interfaces::{attached, by};
use super::live::{Live, udp_socket};
use super::netns::Netns;

const NODE: &str = "10.8.0.1";
const OTHER: &str = "10.8.0.2";

/// Held while this process is in another cgroup than before.
static MOVED: Mutex<()> = Mutex::new(());

/// This process is in a cgroup (version 2) of its own. Sockets that it makes stay there.
pub struct Inside {
    cgroup: PathBuf,
    home: PathBuf,
    /// It came from the root cgroup.
    pub from_root: bool,
    _moved: MutexGuard<'static, ()>,
}

impl Inside {
    pub fn new(name: &str) -> Inside {
        let moved = MOVED.lock().unwrap_or_else(PoisonError::into_inner);
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let mut mounts = mounts.into_iter();
        let mount = mounts.find(|mount| mount.join("cgroup.procs").exists());
        let mount = mount.expect("version 2 is mounted");
        let own = fs::read_to_string("/proc/self/cgroup").expect("readable");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let own = own.expect("a cgroup of version 2");
        let home = mount.join(own);
        let from_root = own.is_empty();
        let cgroup = mount.join(format!("tracer-test-{name}-{}", std::process::id()));
        fs::create_dir(&cgroup).expect("a new cgroup");
        fs::write(cgroup.join("cgroup.procs"), "0").expect("it moves");
        Inside {
            cgroup,
            home,
            from_root,
            _moved: moved,
        }
    }

    pub fn id(&self) -> u64 {
        fs::metadata(&self.cgroup).expect("it is there").ino()
    }

    /// Moves the process back. The cgroup stays for its sockets until the end.
    pub fn leave(&self) {
        fs::write(self.home.join("cgroup.procs"), "0").expect("it moves back");
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = fs::write(self.home.join("cgroup.procs"), "0");
        // A child of another test may still be in it.
        for _ in 0..1_000 {
            if fs::remove_dir(&self.cgroup).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn ask(client: &UdpSocket, server: &UdpSocket) {
    let mut buffer = [0; 64];
    let to = server.local_addr().expect("an address");
    client.send_to(b"question", to).expect("sends");
    let (_, from) = server.recv_from(&mut buffer).expect("a question");
    server.send_to(b"answer", from).expect("sends");
    client.recv_from(&mut buffer).expect("an answer");
}

/// The direction, the protocol and the node's port.
fn summary(record: &Record) -> (Direction, u8, u16) {
    let port = |at: usize| u16::from_be_bytes([record.bytes[at], record.bytes[at + 1]]);
    let own = match record.direction {
        Direction::FromPod => port(20),
        Direction::ToPod => port(22),
    };
    (record.direction, record.bytes[9], own)
}

/// A node with an uplink to another host.
fn connected() -> (Netns, Netns) {
    let (node, other) = (Netns::new(), Netns::new());
    node.sh(&format!(
        "ip link add uplink type veth peer name eth0 netns {} && ip addr add {NODE}/24 dev uplink
         ip link set uplink up && echo 1 > /proc/sys/net/ipv4/ip_forward",
        other.path()
    ));
    other.sh(&format!(
        "ip addr add {OTHER}/24 dev eth0 && ip link set eth0 up && ip route add 10.9.0.0/16 via {NODE}"
    ));
    node.sh(&format!("ip route add default via {OTHER}"));
    (node, other)
}

fn traced(node: &Netns, options: Options) -> (Live, Ifindex) {
    let mut live = Live::start(
        node,
        Options {
            node: true,
            ..options
        },
    );
    live.wait("uplink", |live| attached(live, "uplink"));
    let uplink = live.ifindex("uplink");
    (live, uplink)
}

fn only_flows_that_the_node_opens_are_seen(hook: HookChoice) {
    let _turn = turn::shared();
    let (node, other) = connected();
    let pod = Netns::new();
    node.add_pod(&pod, "pod1", 1);
    let (mut live, uplink) = traced(&node, by(hook));
    let server = udp_socket(&other, &format!("{OTHER}:53"));

    let inside = Inside::new(&format!("uplink-{hook:?}"));
    let own = udp_socket(&node, &format!("{NODE}:40000"));
    let refused = node.enter(|| TcpStream::connect((OTHER, 9)));
    assert!(refused.is_err(), "nothing listens there");
    inside.leave();
    ask(&own, &server);
    let of_pod = udp_socket(&pod, "10.9.0.1:40001");
    ask(&of_pod, &server);
    // The node's kernel refuses, and no socket of the node has asked.
    let refused = other.enter(|| TcpStream::connect((NODE, 9)));
    assert!(refused.is_err(), "nothing listens there");
    // A socket in the root cgroup cannot be told from the kernel's.
    if inside.from_root {
        ask(&udp_socket(&node, &format!("{NODE}:40002")), &server);
    }
    ask(&own, &server);

    live.wait("records", |live| {
        let own = live
            .records
            .iter()
            .filter(|record| record.ifindex == uplink);
        own.count() >= 6
    });
    let counted = live.capture.interfaces().into_iter();
    let counted = counted.filter(|status| status.link.ifindex == uplink);
    let packets: Vec<u64> = counted
        .map(|status| status.totals.tx.packets + status.totals.rx.packets)
        .collect();
    assert_eq!(packets, [6], "nothing else is counted");
    let (records, _) = live.stop();
    let seen: Vec<&Record> = (records.iter())
        .filter(|record| record.ifindex == uplink)
        .collect();
    let (out, back) = (Direction::FromPod, Direction::ToPod);
    let tcp = summary(seen[0]).2;
    let expected = [
        (out, 6, tcp),
        (back, 6, tcp),
        (out, 17, 40_000),
        (back, 17, 40_000),
        (out, 17, 40_000),
        (back, 17, 40_000),
    ];
    let found: Vec<_> = seen.iter().map(|record| summary(record)).collect();
    assert_eq!(found, expected);
    for record in seen {
        let expected = match record.direction {
            Direction::FromPod => inside.id(),
            Direction::ToPod => 0,
        };
        assert_eq!(record.sender_cgroup, expected);
    }
    let of_pods = records.iter().filter(|record| record.ifindex != uplink);
    let of_pods = of_pods.filter(|record| record.ethertype == 0x0800);
    assert_eq!(of_pods.count(), 2, "the pod's exchange, once");
}

#[test]
fn only_flows_that_the_node_opens_are_seen_with_tcx() {
    only_flows_that_the_node_opens_are_seen(HookChoice::Tcx);
}

#[test]
fn only_flows_that_the_node_opens_are_seen_with_clsact() {
    only_flows_that_the_node_opens_are_seen(HookChoice::Clsact);
}

/// An answer passes only where a flow of the node can exist. So it does for a flow from an address that is new, for one
/// that sweeps have found, and for one that comes again after a sweep has removed it.
#[test]
fn every_answer_to_a_flow_of_the_node_is_seen() {
    let _turn = turn::shared();
    let (node, other) = connected();
    other.sh("ip addr add fd08::2/64 dev eth0 nodad");
    let (mut live, uplink) = traced(
        &node,
        Options {
            flow_linger: Duration::ZERO,
            ..by(HookChoice::Auto)
        },
    );
    let servers = [
        udp_socket(&other, &format!("{OTHER}:53")),
        udp_socket(&other, "[fd08::2]:53"),
    ];
    let inside = Inside::new("answers");
    node.sh("ip addr add 10.8.0.7/24 dev uplink && ip addr add fd08::7/64 dev uplink nodad");
    let clients = [
        udp_socket(&node, "10.8.0.7:40000"),
        udp_socket(&node, "[fd08::7]:40001"),
    ];
    inside.leave();
    let ask_all = || {
        for (client, server) in clients.iter().zip(&servers) {
            ask(client, server);
        }
    };
    ask_all();
    live.capture.sweep().expect("sweeps");
    ask_all();
    live.capture.sweep().expect("sweeps");
    ask_all();
    // The entries go, and then what the probes know of them.
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(150));
        live.capture.sweep().expect("sweeps");
    }
    ask_all();

    let of_dns = |record: &&Record| {
        let protocol = if record.ethertype == 0x0800 { 9 } else { 6 };
        record.ifindex == uplink && record.bytes[protocol] == 17
    };
    live.wait("records", |live| {
        live.records.iter().filter(of_dns).count() >= 16
    });
    let (records, _) = live.stop();
    for ethertype in [0x0800, 0x86dd] {
        let seen = records.iter().filter(of_dns);
        let seen: Vec<&Record> = seen
            .filter(|record| record.ethertype == ethertype)
            .collect();
        let packets = |record: &Record| {
            let totals = record.totals.expect("an entry");
            (totals.tx.packets, totals.rx.packets)
        };
        let counted: Vec<_> = seen.iter().map(|record| packets(record)).collect();
        let expected = [
            (1, 0),
            (1, 1),
            (2, 1),
            (2, 2),
            (3, 2),
            (3, 3),
            (1, 0),
            (1, 1),
        ];
        assert_eq!(counted, expected, "a new entry for the last question alone");
    }
}
