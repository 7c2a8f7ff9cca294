//! DNS over TCP: segments of a few connections, in one of two ways.
//!
//! The first byte selects it. [`arbitrary`] segments contradict each other in every way: the promise is
//! that memory stays within its limits and that every byte is accounted for. [`honest`] segments are parts of
//! one stream, in any order, repeated or missing: the promise is that every message reported as certain was
//! sent.

use std::net::SocketAddr;
use std::time::Duration;

use tracer_core::correlate::stream::{Extent, StreamLimits, StreamMessage, Streams};
use tracer_core::model::flow::{Direction, Flow, Ifindex, Protocol};
use tracer_core::model::observation::TcpSegment;
use tracer_core::model::time::Timestamp;

use super::source::{Source, direction};

/// Segments contradict each other.
pub const ARBITRARY: u8 = 0;
/// Segments are parts of one stream.
pub const HONEST: u8 = 1;

/// Time passes, in tenths of seconds.
pub const WAIT: u8 = 0xff;
/// A connection ended elsewhere.
const CLOSE: u8 = 0xfe;

/// SYN.
pub const SYN: u8 = 1;
const FIN: u8 = 1 << 1;
const RST: u8 = 1 << 2;
const TO_POD: u8 = 1 << 3;
/// The payload starts elsewhere within its segment, and the segment is longer than it.
const CHUNK: u8 = 1 << 4;
/// The capture cut it.
const CUT: u8 = 1 << 5;
/// Its sequence number may be any.
const FAR: u8 = 1 << 6;

/// The target.
pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    if source.byte() & 1 == ARBITRARY {
        arbitrary(&mut source);
    } else {
        honest(&mut source);
    }
}

/// Streams, and what is known about them from outside.
struct Wire {
    streams: Streams,
    limits: StreamLimits,
    out: Vec<StreamMessage>,
    received: u64,
    now: Timestamp,
}

impl Wire {
    fn new(limits: StreamLimits) -> Wire {
        Wire {
            streams: Streams::new(limits.clone()),
            limits,
            out: Vec::new(),
            received: 0,
            now: Timestamp(1),
        }
    }

    fn segment(&mut self, flow: Flow, direction: Direction, segment: &TcpSegment, extent: Extent) {
        self.now = self.now.after(Duration::from_millis(1));
        let before = self.streams.counts().received;
        self.streams
            .segment(self.now, flow, direction, segment, extent, &mut self.out);
        let received = self.streams.counts().received - before;
        // A reset's payload is not part of the stream (RFC 9293 section 3.10.7.4), and a table without
        // entries has no room.
        assert!(received == segment.payload.len() as u64 || segment.rst);
        self.received += received;
        self.check();
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.streams.advance(self.now, &mut self.out);
        self.check();
    }

    fn end(&mut self) {
        self.streams.end(&mut self.out);
        self.check();
        assert_eq!(
            self.streams.memory(),
            0,
            "memory is held for no connection at all"
        );
        assert_eq!(self.held(), 0, "bytes are neither reported nor counted");
    }

    /// Bytes that came in and did not leave.
    fn held(&self) -> u64 {
        let counts = self.streams.counts();
        let gone = counts.delivered + counts.repeated + counts.dropped;
        counts
            .received
            .checked_sub(gone)
            .expect("no more leaves than came in")
    }

    fn check(&mut self) {
        // The caller asks for this after each segment.
        let _ = self.streams.take_notices();
        let counts = self.streams.counts();
        assert_eq!(counts.received, self.received);
        assert_eq!(counts.messages, self.out.len() as u64);
        let reported: usize = self
            .out
            .iter()
            .map(|reported| reported.bytes.len() + 2)
            .sum();
        assert_eq!(counts.delivered, reported as u64);
        let memory = self.streams.memory();
        assert!(
            self.held() <= memory as u64,
            "{} bytes held in {memory}",
            self.held()
        );
        assert!(
            memory <= self.limits.total_bytes,
            "{memory} bytes of {}",
            self.limits.total_bytes
        );
    }
}

/// Few enough that they meet, and enough for the table to overflow.
fn flow(byte: u8) -> Flow {
    Flow {
        ifindex: Ifindex(7),
        protocol: Protocol::Tcp,
        pod: SocketAddr::from(([10, 1, 39, 193], 40_000 + u16::from(byte % 6))),
        peer: SocketAddr::from(([10, 152, 183, 10], 53)),
    }
}

/// The usual ones, or such that a short input meets them.
fn limits(byte: u8) -> StreamLimits {
    if byte & 1 == 0 {
        return StreamLimits::default();
    }
    StreamLimits {
        connections: 4,
        connection_bytes: 3_000,
        total_bytes: 8_000,
        out_of_order: 4,
        ..StreamLimits::default()
    }
}

/// Steps of a kind, a flow, a sequence number, a length and that much payload.
fn arbitrary(source: &mut Source<'_>) {
    let mut wire = Wire::new(limits(source.byte()));
    while !source.is_empty() {
        let kind = source.byte();
        if kind == WAIT {
            wire.wait(Duration::from_millis(100) * u32::from(source.byte()));
            continue;
        }
        let flow = flow(source.byte());
        if kind == CLOSE {
            wire.streams.close(wire.now, flow, &mut wire.out);
            wire.check();
            continue;
        }
        let sequence = match kind & FAR {
            0 => 0_u32.wrapping_sub(0x4000).wrapping_add(source.u16().into()),
            _ => source.u32(),
        };
        let (payload_offset, length) = match kind & CHUNK {
            0 => (0, None),
            _ => (source.u32(), Some(source.u32())),
        };
        let count = usize::from(source.u16());
        let payload = source.bytes(count).to_vec();
        let segment = TcpSegment {
            sequence,
            syn: kind & SYN != 0,
            fin: kind & FIN != 0,
            rst: kind & RST != 0,
            ack: true,
            payload,
            payload_offset,
            ..TcpSegment::default()
        };
        let extent = Extent {
            length: length.unwrap_or(Extent::whole(&segment).length),
            cut: kind & CUT != 0,
        };
        wire.segment(flow, direction(kind & TO_POD != 0), &segment, extent);
    }
    wire.end();
}

/// Some messages, then which parts of their stream come when.
fn honest(source: &mut Source<'_>) {
    let first = source.u32();
    let count = 1 + source.byte() % 8;
    let messages: Vec<Vec<u8>> = (0..count).map(|id| message(id, source.u16())).collect();
    let stream: Vec<u8> = messages
        .iter()
        .flat_map(|message| framed(message))
        .collect();
    let mut wire = Wire::new(limits(source.byte()));
    let part = |offset: usize, bytes: &[u8], syn: bool| TcpSegment {
        sequence: first.wrapping_add(u32::try_from(offset).expect("a short stream")),
        syn,
        ack: true,
        payload: bytes.to_vec(),
        ..TcpSegment::default()
    };
    let pass = |wire: &mut Wire, segment: &TcpSegment| {
        wire.segment(flow(0), Direction::FromPod, segment, Extent::whole(segment));
    };
    let opening = TcpSegment {
        sequence: first.wrapping_sub(1),
        ..part(0, &[], true)
    };
    pass(&mut wire, &opening);
    let mut arrived = vec![false; stream.len()];
    while !source.is_empty() {
        let wait = source.byte();
        // Mostly none.
        if wait >= 0xf0 {
            wire.wait(Duration::from_millis(200) * u32::from(wait & 0xf));
        }
        let start = usize::from(source.u16()) % stream.len();
        let end = stream.len().min(start + usize::from(source.u16()));
        pass(&mut wire, &part(start, &stream[start..end], false));
        arrived[start..end].fill(true);
    }
    wire.end();
    let certain: Vec<&Vec<u8>> = wire
        .out
        .iter()
        .filter(|reported| !reported.resynchronised)
        .map(|reported| &reported.bytes)
        .collect();
    let mut sent = messages.iter();
    for reported in &certain {
        assert!(
            sent.any(|message| message == *reported),
            "reported as certain and not sent, or not in that order"
        );
    }
    if arrived.iter().all(|&arrived| arrived) && wire.streams.losses().total() == 0 {
        assert_eq!(certain, messages.iter().collect::<Vec<_>>());
    }
}

/// A query's header and a body; each with another identifier.
fn message(id: u8, length: u16) -> Vec<u8> {
    let mut message = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend((0..length % 3_000).map(|at| (at.wrapping_mul(7) ^ u16::from(id)) as u8));
    message
}

/// RFC 1035 section 4.2.2.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("a short message");
    [&length.to_be_bytes(), message].concat()
}
