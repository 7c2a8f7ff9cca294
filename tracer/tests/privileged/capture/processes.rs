//! The process behind a socket, against what the process says about itself in /proc.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, id};

use testbed::turn;
use tracer::capture::Options;
use tracer_core::model::flow::Direction;
use tracer_core::model::identity::Process;
use tracer_core::model::record::Record;

use super::live::{GATEWAY, Live, udp_socket};
use super::netns::Netns;

/// A test's node and pod, and a server in the node.
struct Bed {
    node: Netns,
    pod: Netns,
    server: TcpListener,
}

impl Bed {
    fn new() -> Bed {
        let (node, pod) = (Netns::new(), Netns::new());
        node.add_pod(&pod, "pod1", 1);
        let server = node.enter(|| TcpListener::bind((GATEWAY, 0)));
        let server = server.expect("it listens");
        Bed { node, pod, server }
    }

    /// Its node takes some hundred microseconds for a packet that the probe has seen, as one with many Services does.
    fn with_many_rules() -> Bed {
        let bed = Bed::new();
        bed.node.sh("{ echo 'table ip t {' &&
             echo 'chain c { type filter hook prerouting priority 0;' &&
             yes 'udp sport 1 drop' | head -n 10000 &&
             echo } && echo }; } | nft -f -");
        bed
    }

    fn address(&self) -> (&'static str, u16) {
        (GATEWAY, self.server.local_addr().expect("bound").port())
    }

    fn connect(&self) -> TcpStream {
        let connected = self.pod.enter(|| TcpStream::connect(self.address()));
        connected.expect("it connects")
    }
}

/// A process by what /proc says of it.
fn in_proc(pid: u32) -> Process {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).expect("it lives");
    Process {
        pid,
        comm: comm.trim_end().into(),
    }
}

fn port(stream: &TcpStream) -> u16 {
    stream.local_addr().expect("bound").port()
}

/// A question from this socket. Its name is the number, so that its record is found by it.
fn ask(socket: &UdpSocket, number: u16) -> std::io::Result<usize> {
    let mut message = number.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend([1, b'a', 0, 0, 1, 0, 1]);
    socket.send_to(&message, (GATEWAY, 53))
}

/// The processes of the questions with this number, the number being the DNS message's identifier.
fn asked(live: &Live, number: u16) -> Vec<Option<Process>> {
    let records = live.ipv4().into_iter();
    let questions = records.filter(|record| {
        record.direction == Direction::FromPod
            && record.bytes.get(9) == Some(&17)
            && record.bytes.get(28..30) == Some(&number.to_be_bytes())
    });
    questions
        .map(|record| record.sender_process.clone())
        .collect()
}

/// Starts a capture that names the processes of UDP sockets. `None` where the kernel is too old.
fn start_for_datagrams(bed: &Bed) -> Option<Live> {
    let live = start(bed)?;
    match tracer::capture::live::socket_processes() {
        Ok(Ok(())) => Some(live),
        Ok(Err(why)) | Err(why) => {
            assert!(why.contains("before Linux 6.3"), "{why}");
            live.stop();
            None
        }
    }
}

/// The records from this port of the pod, or to it.
fn of_port(live: &Live, port: u16, direction: Direction) -> Vec<&Record> {
    let at = match direction {
        Direction::FromPod => 20..22,
        Direction::ToPod => 22..24,
    };
    let records = live.ipv4().into_iter();
    let fits = |record: &&Record| {
        record.direction == direction && record.bytes.get(at.clone()) == Some(&port.to_be_bytes())
    };
    records.filter(fits).collect()
}

/// Starts a capture. `None` if this kernel names no processes, which is an old one's right.
fn start(bed: &Bed) -> Option<Live> {
    let live = Live::start(&bed.node, Options::default());
    let Some(why) = live.capture.processes_unnamed() else {
        return Some(live);
    };
    assert!(why.contains("before Linux 5.12"), "{why}");
    live.stop();
    None
}

#[test]
fn packets_of_a_socket_have_the_process_that_connected_it() {
    let _turn = turn::shared();
    let bed = Bed::new();
    let Some(mut live) = start(&bed) else {
        // Records are complete without.
        let mut live = Live::start(&bed.node, Options::default());
        let stream = bed.connect();
        let port = port(&stream);
        live.wait("a SYN", |live| {
            !of_port(live, port, Direction::FromPod).is_empty()
        });
        let records = of_port(&live, port, Direction::FromPod);
        assert!(records.iter().all(|record| record.sender_process.is_none()));
        return;
    };
    let stream = bed.connect();
    let port = port(&stream);
    drop(stream);
    // SYN and FIN; the thread of this test has another name than the process.
    live.wait("two records", |live| {
        of_port(live, port, Direction::FromPod).len() >= 2
    });
    let expected = Some(in_proc(id()));
    for record in of_port(&live, port, Direction::FromPod) {
        assert_eq!(record.sender_process, expected);
    }
    for record in of_port(&live, port, Direction::ToPod) {
        assert_eq!(record.sender_process, None);
    }
    live.stop();
}

#[test]
fn the_socket_of_a_forked_child_has_the_childs_process() {
    let _turn = turn::shared();
    let bed = Bed::new();
    let Some(mut live) = start(&bed) else {
        return;
    };
    let own = bed.connect();
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let address = bed.address();
    let mut child = Command::new("true");
    // SAFETY: the C library's allocator can be used in a forked child, and nothing else here takes a lock.
    unsafe {
        child.pre_exec(move || {
            let stream = TcpStream::connect(address)?;
            let comm = fs::read("/proc/self/comm")?;
            writer.write_all(&stream.local_addr()?.port().to_be_bytes())?;
            writer.write_all(&comm)
        });
    }
    let mut running = bed.pod.enter(|| child.spawn()).expect("it starts");
    let pid = running.id();
    drop(child);
    let mut said = Vec::new();
    reader.read_to_end(&mut said).expect("it has connected");
    running.wait().expect("it ends");
    let (childs_port, comm) = said.split_at(2);
    let childs_port = u16::from_be_bytes([childs_port[0], childs_port[1]]);
    live.wait("both SYNs", |live| {
        [port(&own), childs_port]
            .iter()
            .all(|port| !of_port(live, *port, Direction::FromPod).is_empty())
    });
    let process = |port| {
        of_port(&live, port, Direction::FromPod)[0]
            .sender_process
            .clone()
    };
    assert_eq!(process(port(&own)), Some(in_proc(id())));
    let expected = Process {
        pid,
        comm: String::from_utf8_lossy(comm).trim_end().into(),
    };
    assert_eq!(process(childs_port), Some(expected));
    live.stop();
}

#[test]
fn a_server_and_the_reset_of_a_closed_port_have_no_process() {
    let _turn = turn::shared();
    let bed = Bed::new();
    let Some(mut live) = start(&bed) else {
        return;
    };
    let server = bed.pod.enter(|| TcpListener::bind(("10.9.0.1", 0)));
    let server = server.expect("it listens");
    let open = server.local_addr().expect("bound").port();
    let closed = {
        let unused = bed.pod.enter(|| TcpListener::bind(("10.9.0.1", 0)));
        unused
            .expect("it listens")
            .local_addr()
            .expect("bound")
            .port()
    };
    let (accepted, refused) = bed.node.enter(|| {
        let connect = |port| TcpStream::connect(("10.9.0.1", port));
        (connect(open), connect(closed))
    });
    drop(accepted.expect("it connects"));
    assert!(refused.is_err());
    // The client in the node has a process, and it is not the pod's.
    live.wait("a SYN-ACK and a reset", |live| {
        [open, closed]
            .iter()
            .all(|port| !of_port(live, *port, Direction::FromPod).is_empty())
    });
    for port in [open, closed] {
        for direction in [Direction::FromPod, Direction::ToPod] {
            for record in of_port(&live, port, direction) {
                assert_eq!(record.sender_process, None);
            }
        }
    }
    live.stop();
}

#[test]
fn each_question_of_a_new_udp_socket_has_the_process_that_asks() {
    let _turn = turn::shared();
    let bed = Bed::new();
    let Some(mut live) = start_for_datagrams(&bed) else {
        return;
    };
    // With pauses that let the reader sleep, and without.
    let pauses = [0, 0, 1, 3, 30, 0, 2, 0, 0, 7];
    let mut number = 0;
    for pause in pauses.repeat(10) {
        number += 1;
        let socket = udp_socket(&bed.pod, "0.0.0.0:0");
        ask(&socket, number).expect("sends");
        std::thread::sleep(std::time::Duration::from_millis(pause));
    }
    live.wait("the last question", |live| !asked(live, number).is_empty());
    let expected = Some(in_proc(id()));
    for number in 1..=number {
        assert_eq!(
            asked(&live, number),
            std::slice::from_ref(&expected),
            "question {number}"
        );
    }
    live.stop();
}

#[test]
fn a_udp_socket_that_two_processes_send_from_has_no_process() {
    let _turn = turn::shared();
    let bed = Bed::with_many_rules();
    let Some(mut live) = start_for_datagrams(&bed) else {
        return;
    };
    for round in 0..20 {
        let [own, childs, again, other] = [0, 1, 2, 3].map(|step| round * 4 + step + 1);
        let socket = udp_socket(&bed.pod, "0.0.0.0:0");
        ask(&socket, own).expect("sends");
        live.wait("its question", |live| !asked(live, own).is_empty());
        // The reader sleeps before the child asks, and wakes for its question.
        std::thread::sleep(std::time::Duration::from_millis(30));
        let inherited = socket.try_clone().expect("a descriptor");
        let mut child = Command::new("true");
        // SAFETY: the closure takes no lock, and the allocator can be used in a forked child.
        unsafe {
            child.pre_exec(move || ask(&inherited, childs).map(drop));
        }
        let status = bed.pod.enter(|| child.status()).expect("it runs");
        assert!(status.success());
        ask(&socket, again).expect("sends");
        // Its neighbour is not concerned.
        ask(&udp_socket(&bed.pod, "0.0.0.0:0"), other).expect("sends");
        live.wait("the last question", |live| !asked(live, other).is_empty());
        let expected = Some(in_proc(id()));
        assert_eq!(asked(&live, own), std::slice::from_ref(&expected));
        assert_eq!(asked(&live, childs), [None], "round {round}");
        assert_eq!(asked(&live, again), [None], "round {round}");
        assert_eq!(asked(&live, other), [expected]);
    }
    live.stop();
}

#[test]
fn no_record_has_a_process_where_they_are_switched_off() {
    let _turn = turn::shared();
    let bed = Bed::new();
    let options = Options {
        processes: false,
        ..Options::default()
    };
    let mut live = Live::start(&bed.node, options);
    assert_eq!(live.capture.processes_unnamed(), Some("switched off"));
    let stream = bed.connect();
    let port = port(&stream);
    live.wait("a SYN", |live| {
        !of_port(live, port, Direction::FromPod).is_empty()
    });
    assert!(
        live.records
            .iter()
            .all(|record| record.sender_process.is_none())
    );
    live.stop();
}
