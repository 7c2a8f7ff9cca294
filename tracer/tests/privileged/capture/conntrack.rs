//! The node's conntrack, against what the server's socket knows and the kernel's own counters.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use testbed::turn;

use super::agent::Tracer;
use super::netns::Netns;

/// A Service's address, its port and the endpoint.
const SERVICE: &str = "10.96.0.1:80";
const ENDPOINT: &str = "10.9.0.2:8080";
/// A port of the same pod that no packet reaches.
const SILENT: &str = "10.9.0.2:8081";
/// Connections that fill the table. An established one is not removed to make room.
const CONNECTIONS: usize = 64;
/// Connections until one is reported.
const ATTEMPTS: usize = 10;
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// A client and a server on one node, which translates the Service's address.
struct Bed {
    node: Netns,
    client: Netns,
    server: Netns,
    listener: TcpListener,
}

impl Bed {
    fn with_nftables() -> Bed {
        let bed = Bed::new();
        let (address, port) = SERVICE.split_once(':').expect("a port");
        bed.node.sh(&format!(
            "nft add table ip nat
             nft 'add chain ip nat pre {{ type nat hook prerouting priority -100; }}'
             nft add rule ip nat pre ip daddr {address} tcp dport {port} dnat to {ENDPOINT}"
        ));
        bed
    }

    /// As kube-proxy does it: the node has the address itself, and IPVS updates conntrack's entries, which a rule asks for.
    fn with_ipvs() -> Bed {
        let bed = Bed::new();
        let (address, _) = SERVICE.split_once(':').expect("a port");
        bed.node.sh(&format!(
            "for module in /modules/ipvs/*.ko; do busybox insmod $module; done
             ip addr add {address}/32 dev lo
             echo 1 > /proc/sys/net/ipv4/vs/conntrack
             ipvsadm -A -t {SERVICE} -s rr
             ipvsadm -a -t {SERVICE} -r {ENDPOINT} -m
             nft add table ip t
             nft 'add chain ip t pre {{ type filter hook prerouting priority 0; }}'
             nft add rule ip t pre ct state new counter"
        ));
        bed
    }

    fn new() -> Bed {
        let (node, client, server) = (Netns::new(), Netns::new(), Netns::new());
        node.add_pod(&client, "pod1", 1);
        node.add_pod(&server, "pod2", 2);
        node.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        let listener = server.enter(|| TcpListener::bind(ENDPOINT).expect("a free port"));
        Bed {
            node,
            client,
            server,
            listener,
        }
    }

    fn connect(&self, to: &str, patience: Duration) -> std::io::Result<TcpStream> {
        let to: SocketAddr = to.parse().expect("an address");
        self.client
            .enter(|| TcpStream::connect_timeout(&to, patience))
    }

    /// Connects to the Service: both ends.
    fn connected(&self) -> (TcpStream, TcpStream) {
        let client = self.connect(SERVICE, Duration::from_secs(20));
        let (server, from) = self.listener.accept().expect("the connection");
        let client = client.expect("it connects");
        assert_eq!(from, client.local_addr().expect("bound"));
        (client, server)
    }

    /// Packets that conntrack dropped in the node's namespace: a column of the kernel's table, a line for each CPU.
    fn dropped(&self) -> u64 {
        let table = self.node.sh("cat /proc/net/stat/nf_conntrack");
        let mut lines = table.lines();
        let names = lines.next().expect("the columns").split_whitespace();
        let column = names.clone().position(|name| name == "drop");
        let column = column.expect("a column of this name");
        let counts = lines.filter_map(|line| line.split_whitespace().nth(column));
        let counts = counts.map(|count| u64::from_str_radix(count, 16).expect("a number"));
        counts.sum()
    }
}

fn is_end(end: &Value, address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("an address");
    end["ip"] == address.ip().to_string() && end["port"] == address.port()
}

#[test]
fn a_connection_that_nftables_translates_has_the_endpoint_that_accepted_it() {
    let _turn = turn::shared();
    has_the_endpoint(&Bed::with_nftables());
}

/// Its name comes last, so that the kernel has no IPVS while the others run.
#[test]
#[ignore = "needs IPVS: `cargo xtask kernels` runs it"]
fn with_ipvs_a_connection_has_the_endpoint_that_accepted_it() {
    let _turn = turn::alone();
    has_the_endpoint(&Bed::with_ipvs());
}

fn has_the_endpoint(bed: &Bed) {
    let mut tracer = Tracer::start(&bed.node, "pod1, pod2");
    // It says that it traces before the last program is attached, and an emulated machine is slow.
    let reported = (0..ATTEMPTS).any(|_| {
        let (client, server) = bed.connected();
        let port = client.local_addr().expect("bound").port();
        let accepted = server.local_addr().expect("bound").to_string();
        tracer.reports_within(Duration::from_secs(3), |event| {
            let peer = &event["peer"];
            event["type"] == "tcp"
                && event["pod"]["port"] == port
                && is_end(peer, SERVICE)
                && is_end(&peer["backend"], &accepted)
        })
    });
    let (events, _) = tracer.stop();
    assert!(reported, "no connection with its endpoint: {events:?}");
}

/// The limit is the kernel's, not the namespace's, so this runs on a machine of its own.
#[test]
#[ignore = "changes a limit of the whole kernel: `cargo xtask kernels` runs it"]
fn a_full_table_under_nftables_is_found_and_silence_before_it_is_not() {
    let _turn = turn::alone();
    let bed = Bed::with_nftables();
    let port = SILENT.rsplit(':').next().expect("a port");
    bed.server.sh(&format!(
        "nft add table ip t
         nft 'add chain ip t input {{ type filter hook input priority 0; }}'
         nft add rule ip t input tcp dport {port} drop"
    ));
    let mut tracer = Tracer::start(&bed.node, "pod1, pod2");
    let patience = Duration::from_secs(12);
    let silent = bed.connect(SILENT, patience).expect_err("dropped");
    assert_eq!(silent.kind(), ErrorKind::TimedOut);
    let about = |event: &Value, to| event["type"] == "finding" && is_end(&event["peer"], to);
    tracer.wait_for("finding about silence", |event| about(event, SILENT));

    let held: Vec<_> = (0..CONNECTIONS).map(|_| bed.connected()).collect();
    let count = "/proc/sys/net/netfilter/nf_conntrack_count";
    let entries = bed.node.sh(&format!("cat {count}"));
    let before = fs::read_to_string(MAX).expect("the limit");
    fs::write(MAX, entries.trim()).expect("the kernel's own namespace");
    let full = bed.connect(SERVICE, patience);
    fs::write(MAX, before).expect("the limit as it was");
    let full = full.expect_err("no room");
    assert_eq!(full.kind(), ErrorKind::TimedOut);
    assert!(bed.dropped() > 0, "the kernel dropped nothing");
    tracer.wait_for("finding about the table", |event| {
        about(event, SERVICE) && event["rule"] == "conntrack-full"
    });
    let (events, _) = tracer.stop();
    let other = events.iter().filter(|event| about(event, SILENT));
    for finding in other {
        assert_ne!(finding["rule"], "conntrack-full", "{finding}");
    }
    drop(held);
}
