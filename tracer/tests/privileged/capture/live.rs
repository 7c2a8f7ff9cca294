//! A capture in a test, with the messages it has sent.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use tracer::capture::Options;
use tracer::capture::live::{Capture, CaptureMessage, InterfaceEvent, KernelStats};
use tracer_core::model::flow::Ifindex;
use tracer_core::model::loss::InterfaceLoss;
use tracer_core::model::record::Record;
use tracer_core::model::signal::PacketDrop;
use tracer_core::model::time::Timestamp;

use super::netns::Netns;

/// The gateway address that every pod's host end has, see `Netns::add_pod`.
pub const GATEWAY: &str = "10.9.255.254";

pub struct Live {
    pub capture: Capture,
    messages: Receiver<CaptureMessage>,
    pub records: Vec<Record>,
    pub events: Vec<InterfaceEvent>,
    pub lost: Vec<InterfaceLoss>,
    pub drops: Vec<PacketDrop>,
    pub read_until: Timestamp,
}

impl Live {
    /// Starts it and waits for every pod interface: on a busy machine some are attached to only after the start.
    pub fn start(node: &Netns, options: Options) -> Live {
        let (capture, messages) = node
            .enter(|| Capture::start(options))
            .expect("the capture starts");
        let mut live = Live {
            capture,
            messages,
            records: Vec::new(),
            events: Vec::new(),
            lost: Vec::new(),
            drops: Vec::new(),
            read_until: Timestamp(0),
        };
        live.wait("word of an interface", |live| {
            let mut names = live.capture.waiting().iter();
            names.all(|name| live.events.iter().any(|event| event.name() == name))
        });
        live
    }

    /// Receives until `enough`, which must be before a generous deadline.
    pub fn wait(&mut self, what: &str, enough: impl Fn(&Live) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
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

    /// Receives what has arrived.
    pub fn receive(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.take(message);
        }
    }

    /// Receives until the kernel has counted this many packets of any kind.
    pub fn wait_seen(&mut self, packets: u64) {
        self.wait(&format!("{packets} packets"), |live| {
            live.stats().seen >= packets
        });
    }

    /// The IPv4 records: only those come from the test alone, IPv6 looks for neighbours and routers by
    /// itself.
    pub fn ipv4(&self) -> Vec<&Record> {
        self.records
            .iter()
            .filter(|record| record.ethertype == 0x0800)
            .collect()
    }

    /// The index of a traced interface.
    pub fn ifindex(&self, name: &str) -> Ifindex {
        let interfaces = self.capture.interfaces().into_iter();
        let mut found = interfaces.filter(|status| status.link.name == name);
        found.next().expect("it is traced").link.ifindex
    }

    pub fn stats(&self) -> KernelStats {
        self.capture.stats().expect("statistics")
    }

    fn take(&mut self, message: CaptureMessage) {
        match message {
            CaptureMessage::Records(records) => self.records.extend(records),
            CaptureMessage::Drop(_, dropped) => self.drops.push(dropped),
            CaptureMessage::Lost(lost) => self.lost.extend(lost),
            CaptureMessage::ReadUntil(until) => self.read_until = until,
            CaptureMessage::Interface(event) => self.events.push(event),
        }
    }

    /// Stops it and receives the rest.
    pub fn stop(mut self) -> (Vec<Record>, KernelStats) {
        self.capture.shutdown();
        while let Some(message) = self.messages.blocking_recv() {
            self.take(message);
        }
        let stats = self.capture.stop().expect("stops");
        assert_eq!(
            stats.due,
            stats.emitted + stats.ring_full + stats.suppressed + stats.copy_failed,
            "{stats:?}"
        );
        assert_eq!(stats.undecodable, 0);
        (self.records, stats)
    }
}

/// A UDP socket in a namespace.
pub fn udp_socket(netns: &Netns, address: &str) -> UdpSocket {
    let socket = netns.enter(|| UdpSocket::bind(address)).expect("binds");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    socket
}

/// The payload behind an IPv4 header without options and a UDP header.
pub fn udp_payload(record: &Record) -> &[u8] {
    record.bytes.get(28..).unwrap_or_default()
}
