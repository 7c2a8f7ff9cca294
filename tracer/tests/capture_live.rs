//! The real probes on real packets, in network namespaces of the tests' own.

mod netns;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use netns::{Netns, may_run};
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use tracer::capture::{Capture, CaptureMessage, InterfaceEvent, KernelStats, Options};
use tracer::model::flow::Way;
use tracer::model::record::Record;

/// The gateway address that every pod's host end has, see `Netns::add_pod`.
const GATEWAY: &str = "10.9.255.254";

/// A capture with what it sent so far.
struct Live {
    capture: Capture,
    messages: Receiver<CaptureMessage>,
    records: Vec<Record>,
    events: Vec<InterfaceEvent>,
}

impl Live {
    fn start(node: &Netns, options: Options) -> Live {
        let (capture, messages) = node
            .enter(|| Capture::start(options))
            .expect("the capture starts");
        Live {
            capture,
            messages,
            records: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Receives until `enough`, which must be before a generous deadline.
    fn wait(&mut self, what: &str, enough: impl Fn(&Live) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !enough(self) {
            assert!(
                Instant::now() < deadline,
                "no {what}: {:?} {:?}",
                self.events,
                self.capture.stats()
            );
            match self.messages.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(1)),
                Err(TryRecvError::Disconnected) => panic!("the capture ended, no {what}"),
            }
        }
    }

    fn take(&mut self, message: CaptureMessage) {
        match message {
            CaptureMessage::Records(records) => self.records.extend(records),
            CaptureMessage::Interface(event) => self.events.push(event),
        }
    }

    /// Ends it and receives the rest.
    fn stop(mut self) -> (Vec<Record>, KernelStats) {
        self.capture.shutdown();
        while let Some(message) = self.messages.blocking_recv() {
            self.take(message);
        }
        (self.records, self.capture.stop().expect("stops"))
    }
}

/// The way, and the payload behind plain IPv4 and UDP headers.
fn udp(record: &Record) -> (Way, &[u8]) {
    (record.way, record.bytes.get(28..).unwrap_or_default())
}

#[test]
fn dns_over_udp_is_recorded_on_both_hooks() {
    if !may_run() {
        return;
    }
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(&node, Options::default());
    let server = node
        .enter(|| UdpSocket::bind((GATEWAY, 53)))
        .expect("binds");
    let client = pod.enter(|| UdpSocket::bind("10.9.0.1:0")).expect("binds");
    client.send_to(b"a question", (GATEWAY, 53)).expect("sends");
    let mut buffer = [0; 100];
    let (_, from) = server.recv_from(&mut buffer).expect("is asked");
    server.send_to(b"an answer", from).expect("answers");

    live.wait("two records", |live| live.records.len() == 2);
    let seen: Vec<_> = live.records.iter().map(udp).collect();
    assert_eq!(
        seen,
        [
            (Way::FromPod, &b"a question"[..]),
            (Way::ToPod, &b"an answer"[..])
        ]
    );

    let flows = live.capture.sweep().expect("sweeps");
    let flow = flows
        .iter()
        .find(|flow| flow.flow.peer.port() == 53)
        .expect("the flow is counted");
    assert_eq!(flow.flow.pod, client.local_addr().expect("bound"));
    assert_eq!(
        (flow.totals.tx.bytes, flow.totals.rx.bytes),
        (28 + 10, 28 + 9)
    );
    live.stop();
}
