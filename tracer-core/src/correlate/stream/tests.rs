//! Streams of messages that hickory-proto encoded, cut, shuffled, repeated and lost in every way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::model::flow::{Ifindex, Protocol};

mod bounds;
mod connection;
mod gaps;
mod order;

const MILLISECOND: u64 = 1_000_000;

fn name(written: &str) -> Name {
    Name::from_ascii(written).expect("a name")
}

fn query(id: u16, written: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(written), RecordType::A));
    message.to_vec().expect("an encoded message")
}

/// A response with that many addresses.
fn response(id: u16, written: &str, addresses: u8) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name(written), RecordType::A));
    for last in 0..addresses {
        let address = RData::A(A(Ipv4Addr::new(10, 1, 39, last)));
        message.add_answer(Record::from_rdata(name(written), 30, address));
    }
    message.to_vec().expect("an encoded message")
}

/// A response of at least this many bytes.
fn long_response(id: u16, written: &str, bytes: usize) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name(written), RecordType::TXT));
    for _ in 0..bytes.div_ceil(200) {
        let text = RData::TXT(TXT::new(vec!["x".repeat(200)]));
        message.add_answer(Record::from_rdata(name(written), 30, text));
    }
    message.to_vec().expect("an encoded message")
}

/// Queries and responses of different lengths.
fn some_messages() -> Vec<Vec<u8>> {
    vec![
        query(0x0a01, "clusterip-nginx-ds.default.svc.cluster.local."),
        response(0x0102, "kube-dns.kube-system.svc.cluster.local.", 3),
        query(0xffff, "a."),
        response(0, "www.example.org.", 0),
        long_response(0x2000, "txt.example.org.", 700),
        response(0x0c00, "headless.default.svc.cluster.local.", 40),
        query(12, "."),
        query(1, "apache-ds-myns.myns.svc.cluster.local."),
    ]
}

/// The messages with their length prefixes, one after another.
fn concatenated(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for message in messages {
        let length = u16::try_from(message.len()).expect("a message");
        stream.extend(length.to_be_bytes());
        stream.extend(message);
    }
    stream
}

/// The range of each message, with its prefix, in the concatenation.
fn places(messages: &[Vec<u8>]) -> Vec<Range<usize>> {
    let mut at = 0;
    let place = |message: &Vec<u8>| {
        let start = at;
        at += 2 + message.len();
        start..at
    };
    messages.iter().map(place).collect()
}

fn flow(port: u16) -> Flow {
    Flow {
        ifindex: Ifindex(7),
        protocol: Protocol::Tcp,
        pod: SocketAddr::new(IpAddr::from([10, 1, 39, 193]), port),
        peer: SocketAddr::new(IpAddr::from([10, 152, 183, 10]), 53),
    }
}

/// The table's memory, summed again.
impl Streams {
    fn each(&self) -> impl Iterator<Item = &Connection> {
        self.open.values()
    }

    fn connections(&self) -> usize {
        self.each().count()
    }

    /// Bytes of payload.
    fn held(&self) -> usize {
        self.each()
            .map(|connection| connection.from_pod.held() + connection.to_pod.held())
            .sum()
    }

    fn measured_memory(&self) -> usize {
        self.each().map(Connection::held_memory).sum()
    }
}

/// One direction of one connection, a millisecond of virtual time from segment to segment.
struct Wire {
    streams: Streams,
    out: Vec<StreamMessage>,
    flow: Flow,
    direction: Direction,
    /// The sequence number of the stream's first byte.
    first: u32,
    now: Timestamp,
}

impl Wire {
    /// First seen in the middle.
    fn unopened(first: u32) -> Wire {
        Wire {
            streams: Streams::new(StreamLimits::default()),
            out: Vec::new(),
            flow: flow(40_000),
            direction: Direction::FromPod,
            first,
            now: Timestamp(MILLISECOND),
        }
    }

    fn opened(first: u32) -> Wire {
        let mut wire = Wire::unopened(first);
        wire.syn();
        wire
    }

    fn limited(limits: StreamLimits) -> Wire {
        let mut wire = Wire::unopened(1);
        wire.streams = Streams::new(limits);
        wire.syn();
        wire
    }

    fn syn(&mut self) {
        let segment = TcpSegment {
            sequence: self.first.wrapping_sub(1),
            syn: true,
            ..TcpSegment::default()
        };
        self.pass(&segment);
    }

    fn pass(&mut self, segment: &TcpSegment) {
        self.pass_of(segment, Extent::whole(segment));
    }

    fn pass_of(&mut self, segment: &TcpSegment, extent: Extent) {
        self.now = self.now.after(Duration::from_millis(1));
        let (now, flow, direction) = (self.now, self.flow, self.direction);
        self.streams
            .segment(now, flow, direction, segment, extent, &mut self.out);
        self.check_books();
    }

    fn at(&self, offset: usize) -> u32 {
        let offset = u32::try_from(offset).expect("a short stream");
        self.first.wrapping_add(offset)
    }

    /// A segment with these bytes, `offset` bytes into the stream.
    fn data(&mut self, offset: usize, bytes: &[u8]) {
        let segment = TcpSegment {
            sequence: self.at(offset),
            ack: true,
            payload: bytes.to_vec(),
            ..TcpSegment::default()
        };
        self.pass(&segment);
    }

    fn fin(&mut self, offset: usize, bytes: &[u8]) {
        let segment = TcpSegment {
            sequence: self.at(offset),
            ack: true,
            fin: true,
            payload: bytes.to_vec(),
            ..TcpSegment::default()
        };
        self.pass(&segment);
    }

    fn rst(&mut self, offset: usize) {
        let segment = TcpSegment {
            sequence: self.at(offset),
            rst: true,
            ..TcpSegment::default()
        };
        self.pass(&segment);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.streams.advance(self.now, &mut self.out);
        self.check_books();
    }

    /// The messages so far.
    fn messages(&self) -> Vec<&[u8]> {
        self.out.iter().map(|message| &message.bytes[..]).collect()
    }

    fn lost(&self, reason: &str) -> u64 {
        let losses = self.streams.losses().iter();
        losses
            .filter(|loss| loss.reason == reason)
            .map(|loss| loss.count)
            .sum()
    }

    /// Every received byte is in exactly one place.
    fn check_books(&self) {
        let counts = self.streams.counts();
        let message: usize = self.out.iter().map(|message| message.bytes.len() + 2).sum();
        assert_eq!(counts.delivered, message as u64);
        let gone = counts.delivered + counts.repeated + counts.dropped;
        assert_eq!(counts.received, gone + self.streams.held() as u64);
    }
}

/// A small xorshift (Marsaglia 2003): the same numbers in every run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).expect("44 bits") % limit
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
