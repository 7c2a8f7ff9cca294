//! Records as the probes would emit them while dnsperf queries one server from one pod.
//!
//! Owns the three mixes that the project's throughput figures are about; [`packet`] makes their bytes,
//! [`cluster`] the inventory around the pod. Deterministic, so that two builds can be compared by their
//! instructions.

use std::net::Ipv4Addr;

use tracer_core::model::flow::{Direction, FlowTotals, Ifindex, Traffic};
use tracer_core::model::loss::Missing;
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;

use self::packet::Answer;

pub mod cluster;
mod packet;

/// The pod that asks.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 10);
/// The host end of its veth.
pub const IFINDEX: Ifindex = Ifindex(7);
/// The ClusterIP of the DNS server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The time of the first query. The pod's interface is known before.
pub const START: Timestamp = Timestamp(100_000_000_000);

/// Time between two queries: `cargo xtask bench` compares tools at this rate.
const INTERVAL_NS: u64 = 50_000;
/// Time until the answer.
const LATENCY_NS: u64 = 120_000;
/// Names in dnsperf's file, over and over.
const NAMES: u64 = 2_000;
/// The search list of a pod in the namespace "default", and the name itself at last.
const SEARCH: [&str; 4] = [
    ".default.svc.cluster.local",
    ".svc.cluster.local",
    ".cluster.local",
    "",
];

/// What the pod asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Every query is answered with an address. 8 sockets.
    Answered,
    /// Half are answered, a quarter is NODATA, a quarter NXDOMAIN. 8 sockets.
    Mixed,
    /// Names with fewer dots than `ndots`: three NXDOMAIN, then the answer. 50 sockets.
    Search,
}

/// A query and its answer.
struct Exchange {
    socket: u16,
    name: String,
    answer: Answer,
}

impl Mix {
    fn exchange(self, number: u64) -> Exchange {
        let pick = number % NAMES;
        match self {
            Mix::Answered => Exchange {
                socket: (number % 8) as u16,
                name: format!("host{pick}.bench.example"),
                answer: Answer::Address,
            },
            Mix::Mixed => {
                let (kind, answer) = match pick % 4 {
                    1 => ("empty", Answer::NoData),
                    3 => ("missing", Answer::NxDomain),
                    _ => ("host", Answer::Address),
                };
                Exchange {
                    socket: (number % 8) as u16,
                    name: format!("{kind}{pick}.bench.example"),
                    answer,
                }
            }
            Mix::Search => {
                let (socket, round) = (number % 50, number / 50);
                let candidate = (round % 4) as usize;
                let asked = (round / 4 * 50 + socket) % NAMES;
                Exchange {
                    socket: socket as u16,
                    name: format!("www{asked}.example.com{}", SEARCH[candidate]),
                    answer: if candidate == 3 {
                        Answer::Address
                    } else {
                        Answer::NxDomain
                    },
                }
            }
        }
    }
}

/// The records of this many queries and their answers, in order of time.
pub fn records(mix: Mix, queries: u64) -> Vec<Record> {
    let mut records: Vec<Record> = (0..queries)
        .flat_map(|number| {
            let Exchange {
                socket,
                name,
                answer,
            } = mix.exchange(number);
            let asked = START.0 + number * INTERVAL_NS;
            // dnsperf numbers the queries of each socket.
            let query = packet::query((number / 8) as u16, &name);
            let response = packet::response(&query, answer);
            let port = 40_000 + socket;
            [
                record(Direction::FromPod, asked, port, &query, number),
                record(
                    Direction::ToPod,
                    asked + LATENCY_NS,
                    port,
                    &response,
                    number,
                ),
            ]
        })
        .collect();
    records.sort_by_key(|record| record.time);
    records
}

fn record(direction: Direction, at: u64, port: u16, message: &[u8], number: u64) -> Record {
    let (pod, peer) = ((CLIENT, port), (SERVER, 53));
    let bytes = match direction {
        Direction::FromPod => packet::udp(pod, peer, message),
        Direction::ToPod => packet::udp(peer, pod, message),
    };
    let traffic = Traffic {
        packets: number / 8 + 1,
        bytes: (number / 8 + 1) * 80,
    };
    Record {
        time: Timestamp(at),
        ifindex: IFINDEX,
        direction,
        ethertype: 0x0800,
        wire_len: bytes.len() as u32,
        chunk_offset: 0,
        totals: Some(FlowTotals {
            tx: traffic,
            rx: traffic,
            retransmits: None,
        }),
        missing: Missing::default(),
        sender_cgroup: 0,
        sender_process: None,
        bytes,
    }
}
