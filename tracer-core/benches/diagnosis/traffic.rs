//! One pod's traffic, and the events that the stages before the diagnosis make of it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr as _;

use etherparse::PacketBuilder;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record as ResourceRecord, RecordType};
use tracer_core::model::cluster::{ClusterChange, Inventory, Pod, Service, ServicePort};
use tracer_core::model::correlated::Asked;
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::flow::{Direction, Ifindex};
use tracer_core::model::loss::Missing;
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};

const IFINDEX: Ifindex = Ifindex(7);
const POD: [u8; 4] = [10, 1, 0, 2];
const SERVER: [u8; 4] = [10, 96, 0, 10];
const WEB: [u8; 4] = [10, 96, 0, 80];
/// 20,000 lookups or connections a second.
const PAUSE: u64 = 50_000;
const START: u64 = 1_000_000_000_000;

/// What the pod does.
#[derive(Clone, Copy, Debug)]
pub enum Mix {
    /// Lookups of names that exist.
    Answered,
    /// Half of its lookups find an address, a quarter no record, a quarter no name: 25 names each.
    Failures,
    /// The same with 1,000 names each.
    ManyFailures,
    /// A and AAAA through the search path, with an answer to the last candidate.
    Search,
    /// Connections that are established and closed.
    Connections,
}

impl Mix {
    pub const ALL: [Mix; 5] = [
        Mix::Answered,
        Mix::Failures,
        Mix::ManyFailures,
        Mix::Search,
        Mix::Connections,
    ];
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Input of the diagnosis.
pub enum Seen {
    Asked(Timestamp, Ends, Asked),
    Event(Timestamp, Event),
}

/// A round of traffic.
pub struct Traffic {
    pub pipeline: Pipeline,
    pub seen: Vec<Seen>,
    /// Its packets.
    pub packets: u64,
    /// Its length in nanoseconds.
    pub span: u64,
    out: Vec<Event>,
}

impl Traffic {
    pub fn new(mix: Mix) -> Traffic {
        let mut traffic = Traffic {
            pipeline: Pipeline::new(Settings::default()),
            seen: Vec::new(),
            packets: 0,
            span: 0,
            out: Vec::new(),
        };
        let uid = Some("pod-1".into());
        for change in [
            ClusterChange::Replace(Box::new(inventory())),
            ClusterChange::Interface {
                ifindex: IFINDEX,
                uid,
            },
        ] {
            traffic.step(Input::Change(Timestamp(START - 1), change));
        }
        for number in 0..2000 {
            let at = START + number * PAUSE;
            let port = 20_000 + u16::try_from(number).unwrap_or_default();
            match mix {
                Mix::Answered => traffic.lookup(at, port, number, 100, false),
                Mix::Failures => traffic.lookup(at, port, number, 25, true),
                Mix::ManyFailures => traffic.lookup(at, port, number, 1000, true),
                Mix::Search => traffic.search(at, port, number),
                Mix::Connections => traffic.connect(at, port),
            }
        }
        traffic.step(Input::Tick(Timestamp(START + 10_000_000_000)));
        traffic.span = 2000 * PAUSE;
        traffic
    }

    fn lookup(&mut self, at: u64, port: u16, number: u64, names: u64, failures: bool) {
        let kind = if failures { number % 4 } else { 0 };
        let name = (number / 4) % names;
        let (name, rcode, found) = match kind {
            0 | 1 => (
                format!("www{name}.example.com."),
                ResponseCode::NoError,
                true,
            ),
            2 => (
                format!("empty{name}.example.com."),
                ResponseCode::NoError,
                false,
            ),
            _ => (
                format!("none{name}.example.com."),
                ResponseCode::NXDomain,
                false,
            ),
        };
        self.exchange(at, port, &name, RecordType::A, rcode, found);
    }

    fn search(&mut self, at: u64, port: u16, number: u64) {
        let name = format!("www{}.example.com.", number % 100);
        let suffixes = [
            "default.svc.cluster.local.",
            "svc.cluster.local.",
            "cluster.local.",
            "",
        ];
        for (place, suffix) in (0..).zip(suffixes) {
            let at = at + place * 10_000;
            let rcode = match suffix {
                "" => ResponseCode::NoError,
                _ => ResponseCode::NXDomain,
            };
            for (qtype, found) in [
                (RecordType::A, suffix.is_empty()),
                (RecordType::AAAA, false),
            ] {
                self.exchange(at, port, &format!("{name}{suffix}"), qtype, rcode, found);
            }
        }
    }

    fn exchange(
        &mut self,
        at: u64,
        port: u16,
        name: &str,
        qtype: RecordType,
        rcode: ResponseCode,
        found: bool,
    ) {
        let id = port ^ u16::from(qtype);
        let name = Name::from_str(name).expect("a name");
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name.clone(), qtype));
        let query = message.to_vec().expect("a query");
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = rcode;
        if found {
            let data = RData::A(A(Ipv4Addr::new(192, 0, 2, 1)));
            message.add_answer(ResourceRecord::from_rdata(name, 30, data));
        } else {
            let zone = name.base_name();
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 7200, 1800, 86_400, 30);
            message.add_authority(ResourceRecord::from_rdata(zone, 30, RData::SOA(soa)));
        }
        let answer = message.to_vec().expect("an answer");
        let out = PacketBuilder::ipv4(POD, SERVER, 64).udp(port, 53);
        let back = PacketBuilder::ipv4(SERVER, POD, 64).udp(53, port);
        let packet = |builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>,
                      payload: &[u8]| {
            let mut bytes = Vec::new();
            builder.write(&mut bytes, payload).expect("a packet");
            bytes
        };
        self.record(at, Direction::FromPod, packet(out, &query));
        self.record(at + 5000, Direction::ToPod, packet(back, &answer));
    }

    fn connect(&mut self, at: u64, port: u16) {
        let tcp = |from_pod: bool, sequence: u32| {
            let (from, to) = if from_pod { (POD, WEB) } else { (WEB, POD) };
            let (src, dst) = if from_pod { (port, 80) } else { (80, port) };
            PacketBuilder::ipv4(from, to, 64).tcp(src, dst, sequence, 1000)
        };
        let steps = [
            (true, tcp(true, 100).syn()),
            (false, tcp(false, 500).syn().ack(101)),
            (true, tcp(true, 101).fin().ack(501)),
            (false, tcp(false, 501).fin().ack(102)),
        ];
        for (place, (from_pod, builder)) in (0..).zip(steps) {
            let mut bytes = Vec::new();
            builder.write(&mut bytes, &[]).expect("a packet");
            let direction = match from_pod {
                true => Direction::FromPod,
                false => Direction::ToPod,
            };
            self.record(at + place * 1000, direction, bytes);
        }
    }

    fn record(&mut self, at: u64, direction: Direction, bytes: Vec<u8>) {
        self.packets += 1;
        self.step(Input::Record(Record {
            time: Timestamp(at),
            ifindex: IFINDEX,
            direction,
            ethertype: 0x0800,
            wire_len: u32::try_from(bytes.len()).unwrap_or_default(),
            chunk_offset: 0,
            totals: None,
            missing: Missing::default(),
            sender_cgroup: 0,
            sender_process: None,
            bytes,
        }));
    }

    fn step(&mut self, input: Input) {
        let now = input.time();
        self.pipeline.step(input, &mut self.out);
        for event in self.out.drain(..) {
            if let (Body::Dns(exchange, _), Some(ends)) = (&event.body, &event.ends)
                && let Some(question) = exchange.question.clone()
            {
                let asked = Asked {
                    exchange: exchange.number,
                    id: exchange.id,
                    question,
                    attempt: 1,
                };
                self.seen.push(Seen::Asked(event.time, ends.clone(), asked));
            }
            if !matches!(event.body, Body::Finding(_) | Body::Lost(_)) {
                self.seen.push(Seen::Event(now, event));
            }
        }
    }
}

/// The pod, and the Services that it uses.
fn inventory() -> Inventory {
    let service = |namespace: &str, name: &str, ip: [u8; 4], protocol: &str, port| Service {
        namespace: namespace.into(),
        name: name.into(),
        cluster_ips: vec![Ipv4Addr::from(ip).into()],
        ports: vec![ServicePort {
            protocol: protocol.into(),
            port,
            ..ServicePort::default()
        }],
        ..Service::default()
    };
    Inventory {
        pods: vec![Pod {
            namespace: "default".into(),
            name: "client".into(),
            uid: "pod-1".into(),
            ips: vec![Ipv4Addr::from(POD).into()],
            ..Pod::default()
        }],
        services: vec![
            service("kube-system", "kube-dns", SERVER, "UDP", 53),
            service("default", "web", WEB, "TCP", 80),
        ],
        ..Inventory::default()
    }
}
