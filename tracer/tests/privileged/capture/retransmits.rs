//! Segments that sockets of pods send again, against the socket's own count and that of its network namespace.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use testbed::turn;
use tracer::capture::Options;
use tracer_core::model::flow::{Direction, FlowTotals, Ifindex};

use super::live::{GATEWAY, Live};
use super::netns::Netns;

const POD: &str = "10.9.0.1";

/// Segments that sockets of a namespace have sent again: `RetransSegs` of /proc/net/snmp.
fn sent_again_in(netns: &Netns) -> u64 {
    let text = netns.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"));
    let text = text.expect("the namespace's counters");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs
        .find(|(name, _)| *name == "RetransSegs")
        .expect("a counter");
    value.parse().expect("a number")
}

/// What a socket has sent again: `tcpi_total_retrans`.
fn sent_again_by(socket: &TcpStream) -> u64 {
    // SAFETY: a plain structure of integers, which the kernel fills up to its length.
    let info = unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of_val(&info) as libc::socklen_t;
        let read = libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        );
        assert_eq!(read, 0, "{}", std::io::Error::last_os_error());
        info
    };
    info.tcpi_total_retrans.into()
}

/// A socket that drops every segment that reaches it, before TCP acknowledges it.
struct Deaf<'a>(&'a TcpStream);

impl Deaf<'_> {
    fn new(socket: &TcpStream) -> Deaf<'_> {
        // `ret 0`: keep no byte.
        let mut program = libc::sock_filter {
            code: 6,
            jt: 0,
            jf: 0,
            k: 0,
        };
        let filter = libc::sock_fprog {
            len: 1,
            filter: &raw mut program,
        };
        set(socket, libc::SO_ATTACH_FILTER, &filter);
        Deaf(socket)
    }
}

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        set(self.0, libc::SO_DETACH_FILTER, &0_i32);
    }
}

fn set<T>(socket: &TcpStream, option: i32, value: &T) {
    // SAFETY: the kernel reads the value, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// A connection between two namespaces: the client's end and the server's.
fn connect(client: &Netns, server: &Netns, address: &str) -> (TcpStream, TcpStream) {
    let address: IpAddr = address.parse().expect("an address");
    let listener = server.enter(|| TcpListener::bind((address, 0)));
    let listener = listener.expect("it listens");
    let to = listener.local_addr().expect("bound");
    let connected = client.enter(|| TcpStream::connect(to));
    let (accepted, _) = listener.accept().expect("it accepts");
    (connected.expect("it connects"), accepted)
}

/// Sends, and sends again until the other end's deafness ends after `times` repetitions; until then nothing arrives.
fn send_over_loss(sender: &mut TcpStream, receiver: &mut TcpStream, times: u64) {
    // Several segments, and less than the smallest buffer of a socket: until it arrives it is all in there.
    let payload = vec![7; 8_000];
    let deaf = Deaf::new(receiver);
    sender.write_all(&payload).expect("into its buffer");
    let deadline = Instant::now() + Duration::from_secs(30);
    while sent_again_by(sender) < times {
        assert!(Instant::now() < deadline, "it is not sent again");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(deaf);
    let mut received = vec![0; payload.len()];
    receiver.read_exact(&mut received).expect("it arrives");
}

/// Closes both ends and waits until the kernel has.
fn close((client, server): (TcpStream, TcpStream)) {
    drop(client);
    let mut server = server;
    let _ = server.read(&mut [0; 16]);
    drop(server);
    std::thread::sleep(Duration::from_millis(100));
}

/// The latest totals of the flow of a pod's socket, by a sweep.
fn swept(live: &mut Live, interface: Ifindex, pod: SocketAddr) -> FlowTotals {
    let flows = live.capture.sweep().expect("sweeps");
    let mut found = flows
        .iter()
        .filter(|flow| flow.flow.ifindex == interface && flow.flow.pod == pod);
    found.next().expect("the flow had packets").totals
}

fn local(socket: &TcpStream) -> SocketAddr {
    socket.local_addr().expect("bound")
}

#[test]
fn what_a_pods_socket_sends_again_is_counted_in_its_flow_and_in_no_other() {
    let _turn = turn::shared();
    let (node, pod, other) = (Netns::new(), Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    node.add_pod(&other, "pod2", 2);
    let mut live = Live::start(&node, Options::default());
    assert_eq!(live.capture.retransmits_uncounted(), None);
    let (first, second) = (live.ifindex("pod1"), live.ifindex("pod2"));

    let mut lossy = connect(&pod, &node, GATEWAY);
    let mut healthy = connect(&pod, &node, GATEWAY);
    let mut in_other = connect(&other, &node, GATEWAY);
    // The node's socket sends to a server in the pod.
    let mut of_node = connect(&node, &pod, POD);
    send_over_loss(&mut lossy.0, &mut lossy.1, 3);
    send_over_loss(&mut of_node.0, &mut of_node.1, 2);
    for (client, server) in [&mut healthy, &mut in_other] {
        client.write_all(&[7; 60_000]).expect("sends");
        server.read_exact(&mut [0; 60_000]).expect("receives");
    }

    let expected = sent_again_by(&lossy.0);
    assert!(expected >= 3);
    assert!(sent_again_by(&of_node.0) >= 2);
    assert_eq!((sent_again_in(&pod), sent_again_in(&other)), (expected, 0));
    let flows = live.capture.sweep().expect("sweeps");
    let again = |interface: Ifindex, socket: SocketAddr| {
        let mut found = flows
            .iter()
            .filter(|flow| flow.flow.ifindex == interface && flow.flow.pod == socket);
        found.next().expect("a flow").totals.retransmits
    };
    assert_eq!(again(first, local(&lossy.0)), Some(expected));
    assert_eq!(again(first, local(&healthy.0)), Some(0));
    assert_eq!(again(second, local(&in_other.0)), Some(0));
    assert_eq!(again(first, local(&of_node.1)), Some(0));
    let stats = live.stats();
    assert_eq!(
        (stats.retransmits, stats.retransmits_outside),
        (expected, 0)
    );
    // The record of the end has it as well.
    let port = local(&lossy.0).port();
    close(lossy);
    live.wait("the end of the connection", |live| {
        live.records.iter().any(|record| is_fin(record, port))
    });
    let end = live.records.iter().find(|record| is_fin(record, port));
    let totals = end.and_then(|record| record.totals).expect("counted");
    assert_eq!(totals.retransmits, Some(expected));
    live.stop();
}

/// Whether the pod's socket with this port ends its connection with this segment, over IPv4 without options.
fn is_fin(record: &tracer_core::model::record::Record, port: u16) -> bool {
    record.direction == Direction::FromPod
        && record.ethertype == 0x0800
        && record.bytes.get(20..22) == Some(&port.to_be_bytes())
        && record.bytes.get(33).is_some_and(|flags| flags & 1 != 0)
}

#[test]
fn what_a_pods_server_sends_again_over_ipv6_is_counted() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(&node, Options::default());
    let interface = live.ifindex("pod1");
    let mut connection = connect(&node, &pod, "fd09::1");
    send_over_loss(&mut connection.1, &mut connection.0, 2);
    let expected = sent_again_by(&connection.1);
    assert_eq!(sent_again_in(&pod), expected);
    let totals = swept(&mut live, interface, local(&connection.1));
    assert_eq!(totals.retransmits, Some(expected));
    live.stop();
}

#[test]
fn repeated_syns_are_counted() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(&node, Options::default());
    // The node forwards nothing.
    let to: SocketAddr = "10.9.0.77:80".parse().expect("an address");
    let attempt = pod.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(3_500)));
    assert!(attempt.is_err(), "nothing answers");
    let expected = sent_again_in(&pod);
    assert!(expected >= 2);
    let flows = live.capture.sweep().expect("sweeps");
    let flow = flows.iter().find(|flow| flow.flow.peer == to);
    let totals = flow.expect("the SYNs' flow").totals;
    assert_eq!(
        (totals.tx.packets, totals.retransmits),
        (expected + 1, Some(expected))
    );
    live.stop();
}

#[test]
fn what_a_socket_sends_again_whose_port_by_nftables_is_another_is_in_no_flow() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    // As a sidecar does: what comes to port 80 goes to the proxy.
    pod.sh("nft add table ip t; \
         nft 'add chain ip t in { type nat hook prerouting priority -100; }'; \
         nft add rule ip t in tcp dport 80 counter dnat to 10.9.0.1:15006");
    let mut live = Live::start(&node, Options::default());
    let interface = live.ifindex("pod1");
    let proxy = pod.enter(|| TcpListener::bind((POD, 15_006)));
    let proxy = proxy.expect("it listens");
    let client = node.enter(|| TcpStream::connect((POD, 80)));
    let mut client = client.expect("it connects");
    let (mut server, _) = proxy.accept().expect("it accepts");
    send_over_loss(&mut server, &mut client, 2);
    let expected = sent_again_in(&pod);
    assert!(expected >= 2);
    let pod_end = SocketAddr::new(POD.parse().expect("an address"), 80);
    assert_eq!(swept(&mut live, interface, pod_end).retransmits, None);
    let stats = live.stats();
    assert_eq!(
        (stats.retransmits, stats.retransmits_outside),
        (expected, expected)
    );
    live.stop();
}

#[test]
fn nothing_is_known_of_what_is_sent_again_where_it_is_switched_off() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(
        &node,
        Options {
            retransmits: false,
            ..Options::default()
        },
    );
    assert_eq!(live.capture.retransmits_uncounted(), Some("switched off"));
    let interface = live.ifindex("pod1");
    let mut connection = connect(&pod, &node, GATEWAY);
    send_over_loss(&mut connection.0, &mut connection.1, 2);
    assert!(sent_again_in(&pod) >= 2);
    let totals = swept(&mut live, interface, local(&connection.0));
    assert_eq!(totals.retransmits, None);
    live.stop();
}
