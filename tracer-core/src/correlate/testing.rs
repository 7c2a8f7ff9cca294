//! Shared by the tests of this stage: a correlator with a virtual clock, and short constructors of
//! observations.

use std::sync::Arc;

use std::time::Duration;

use super::Correlator;
use crate::model::connection::{TcpConnection, UdpFlow};
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::dns::{
    DnsName, Flags, Message, OpCode, Question, RecordType, ResourceRecord, ResponseCode,
};
use crate::model::echo::Echo;
use crate::model::exchange::Exchange;
use crate::model::flow::{
    Direction, Flow, FlowSnapshot, FlowTotals, Ifindex, Protocol, QuotedFlow, SeenFlags, Traffic,
    host,
};
use crate::model::observation::{EchoMessage, IcmpError, Observation, TcpSegment, What};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

/// Milliseconds on the virtual clock.
pub(super) fn ms(milliseconds: u64) -> Timestamp {
    Timestamp(milliseconds * 1_000_000)
}

/// A correlator and its output since it was last taken.
pub(super) struct Bench {
    correlator: Correlator,
    out: Vec<Correlated>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Bench {
        Bench::of(Thresholds::default(), &limits)
    }

    pub(super) fn waiting(thresholds: Thresholds) -> Bench {
        Bench::of(thresholds, &Limits::default())
    }

    fn of(thresholds: Thresholds, limits: &Limits) -> Bench {
        Bench {
            correlator: Correlator::new(thresholds, limits),
            out: Vec::new(),
        }
    }

    /// Passes an observation to the correlator.
    pub(super) fn see(&mut self, observation: Observation) -> &mut Bench {
        self.correlator.observe(observation, &mut self.out);
        self
    }

    /// Advances time.
    pub(super) fn at(&mut self, milliseconds: u64) -> &mut Bench {
        self.correlator.advance(ms(milliseconds), &mut self.out);
        self
    }

    /// Passes a sweep of one flow's counters.
    pub(super) fn sweep(
        &mut self,
        now: u64,
        flow: Flow,
        last: u64,
        tx: u64,
        rx: u64,
    ) -> &mut Bench {
        let snapshot = FlowSnapshot {
            flow,
            totals: totals(tx, rx),
            first: ms(0),
            last: ms(last),
            tcp_flags: SeenFlags::default(),
        };
        self.correlator
            .counters(ms(now), &[snapshot], &mut self.out);
        self
    }

    /// Passes a sweep of one flow's counters, packets and bytes of both directions.
    pub(super) fn sweep_bytes(
        &mut self,
        now: u64,
        flow: Flow,
        last: u64,
        tx: (u64, u64),
        rx: (u64, u64),
    ) -> &mut Bench {
        let traffic = |(packets, bytes)| Traffic { packets, bytes };
        let snapshot = FlowSnapshot {
            flow,
            totals: FlowTotals {
                tx: traffic(tx),
                rx: traffic(rx),
                ..FlowTotals::default()
            },
            first: ms(0),
            last: ms(last),
            tcp_flags: SeenFlags::default(),
        };
        self.correlator
            .counters(ms(now), &[snapshot], &mut self.out);
        self
    }

    /// Ends the input.
    pub(super) fn end(&mut self, milliseconds: u64) -> &mut Bench {
        self.correlator.end(ms(milliseconds), &mut self.out);
        self
    }

    /// Takes the output, without the `Asked` events.
    pub(super) fn events(&mut self) -> Vec<Correlated> {
        let mut out = std::mem::take(&mut self.out);
        out.retain(|item| {
            let shown = &item.event;
            !matches!(shown, CorrelatedEvent::Asked(_) | CorrelatedEvent::MadeRoom)
        });
        out
    }

    /// Takes the whole output.
    pub(super) fn all(&mut self) -> Vec<Correlated> {
        std::mem::take(&mut self.out)
    }

    /// The only exchange in the output.
    pub(super) fn exchange(&mut self) -> Exchange {
        match only(self.events()).event {
            CorrelatedEvent::Exchange(exchange) => Arc::unwrap_or_clone(exchange),
            other => panic!("not an exchange: {other:?}"),
        }
    }

    /// The only TCP connection in the output.
    pub(super) fn tcp(&mut self) -> TcpConnection {
        match only(self.events()).event {
            CorrelatedEvent::Tcp(connection) => *connection,
            other => panic!("not a TCP connection: {other:?}"),
        }
    }

    /// The only evidence on a TCP connection in the output.
    pub(super) fn progress(&mut self) -> TcpConnection {
        match only(self.events()).event {
            CorrelatedEvent::TcpProgress(connection) => *connection,
            other => panic!("not evidence on a TCP connection: {other:?}"),
        }
    }

    /// The only UDP flow in the output.
    pub(super) fn udp(&mut self) -> UdpFlow {
        match only(self.events()).event {
            CorrelatedEvent::Udp(flow) => *flow,
            other => panic!("not a UDP flow: {other:?}"),
        }
    }

    /// The only echo run in the output.
    pub(super) fn echo(&mut self) -> Echo {
        match only(self.events()).event {
            CorrelatedEvent::Echo(echo) => *echo,
            other => panic!("not an echo run: {other:?}"),
        }
    }

    /// Asserts that there is no output.
    pub(super) fn silent(&mut self) -> &mut Bench {
        assert_eq!(self.events(), []);
        self
    }

    /// The count of a loss.
    pub(super) fn lost(&self, reason: &str) -> u64 {
        self.correlator
            .losses()
            .iter()
            .filter(|loss| loss.reason == reason)
            .map(|loss| loss.count)
            .sum()
    }

    /// All losses.
    pub(super) fn all_lost(&self) -> u64 {
        self.correlator.losses().total()
    }
}

fn only(mut events: Vec<Correlated>) -> Correlated {
    assert_eq!(events.len(), 1, "{events:#?}");
    events.remove(0)
}

/// A flow from a pod's port to a server's port.
pub(super) fn flow(protocol: Protocol, pod_port: u16, peer_port: u16) -> Flow {
    Flow {
        ifindex: Ifindex(7),
        protocol,
        pod: ([10, 1, 39, 193], pod_port).into(),
        peer: ([10, 152, 183, 10], peer_port).into(),
    }
}

/// A packet of 100 bytes.
pub(super) fn packet(
    milliseconds: u64,
    direction: Direction,
    flow: Flow,
    what: What,
) -> Observation {
    Observation {
        time: ms(milliseconds),
        flow,
        direction,
        wire_len: 100,
        totals: None,
        what,
    }
}

/// The same packet with the kernel's counters: this many packets of 100 bytes so far.
pub(super) fn counted(observation: Observation, tx: u64, rx: u64) -> Observation {
    Observation {
        totals: Some(totals(tx, rx)),
        ..observation
    }
}

/// This many packets of 100 bytes.
pub(super) fn totals(tx: u64, rx: u64) -> FlowTotals {
    let traffic = |packets| Traffic {
        packets,
        bytes: packets * 100,
    };
    FlowTotals {
        tx: traffic(tx),
        rx: traffic(rx),
        ..FlowTotals::default()
    }
}

pub(super) fn question(name: &str, qtype: RecordType) -> Question {
    Question {
        name: DnsName::new(name),
        qtype,
    }
}

/// A DNS query.
pub(super) fn query(id: u16, name: &str, qtype: RecordType) -> Message {
    Message {
        id,
        response: false,
        opcode: OpCode::Query,
        rcode: ResponseCode::NoError,
        flags: Flags {
            recursion_desired: true,
            ..Flags::default()
        },
        question: Some(question(name, qtype)),
        answers: Vec::new(),
        authorities: Vec::new(),
        answer_count: 0,
        negative_ttl: None,
        edns: None,
        fragment: false,
        fault: None,
    }
}

/// A DNS response with these records in its answer section.
pub(super) fn response(
    id: u16,
    name: &str,
    qtype: RecordType,
    rcode: ResponseCode,
    answers: &[RecordType],
) -> Message {
    Message {
        response: true,
        rcode,
        answers: answers.iter().map(|rtype| resource(name, *rtype)).collect(),
        answer_count: answers.len() as u16,
        ..query(id, name, qtype)
    }
}

pub(super) fn resource(name: &str, rtype: RecordType) -> ResourceRecord {
    ResourceRecord {
        name: DnsName::new(name),
        rtype,
        ttl: 5,
        data: String::from("data"),
    }
}

pub(super) fn dns(
    milliseconds: u64,
    direction: Direction,
    flow: Flow,
    message: Message,
) -> Observation {
    packet(milliseconds, direction, flow, What::Dns(Box::new(message)))
}

/// A TCP segment with these flags, letters of S, A, F and R.
pub(super) fn tcp(
    milliseconds: u64,
    direction: Direction,
    flow: Flow,
    flags: &str,
    sequence: u32,
    acknowledgment: u32,
) -> Observation {
    let segment = TcpSegment {
        sequence,
        acknowledgment,
        syn: flags.contains('S'),
        ack: flags.contains('A'),
        fin: flags.contains('F'),
        rst: flags.contains('R'),
        ..TcpSegment::default()
    };
    packet(milliseconds, direction, flow, What::Tcp(segment))
}

/// The segment with this much payload.
pub(super) fn with_payload(mut seen: Observation, bytes: u32) -> Observation {
    if let What::Tcp(segment) = &mut seen.what {
        segment.length = bytes;
    }
    seen.wire_len += bytes;
    seen
}

/// An echo request or reply; the flow has the identifier.
pub(super) fn echo(
    milliseconds: u64,
    direction: Direction,
    reply: bool,
    id: u16,
    sequence: u16,
) -> Observation {
    let message = EchoMessage {
        reply,
        id,
        sequence,
    };
    packet(
        milliseconds,
        direction,
        flow(Protocol::Icmp, id, 0),
        What::Echo(message),
    )
}

/// "Port unreachable" from a node, to the pod, about a packet that the pod sent on this flow.
pub(super) fn unreachable(milliseconds: u64, about: Flow) -> Observation {
    icmp(milliseconds, about, 3, 3, None, None)
}

/// An ICMP error from a node, to the pod, about a packet that the pod sent on this flow.
pub(super) fn icmp(
    milliseconds: u64,
    about: Flow,
    icmp_type: u8,
    icmp_code: u8,
    mtu: Option<u32>,
    echo_sequence: Option<u16>,
) -> Observation {
    let node = ([192, 168, 2, 33], 0).into();
    let error = IcmpError {
        from: node,
        v6: false,
        icmp_type,
        icmp_code,
        mtu,
        about: QuotedFlow {
            protocol: about.protocol,
            src: about.pod,
            dst: about.peer,
        },
        echo_sequence,
        // The first segment of most tests.
        sequence: Some(100),
        unconfirmed: true,
        opens: false,
        datagram_id: None,
    };
    let flow = Flow {
        protocol: Protocol::Icmp,
        pod: host(about.pod.ip()),
        peer: node,
        ..about
    };
    packet(milliseconds, Direction::ToPod, flow, What::IcmpError(error))
}

pub(super) fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
