//! Bytes to a pipeline's inputs: each step is a byte for the delay, a byte for the kind, and the kind's
//! parameters.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tracer_core::files::inventory;
use tracer_core::model::cluster::{ClusterChange, Inventory};
use tracer_core::model::flow::{
    Direction, Flow, FlowSnapshot, FlowTotals, Ifindex, Protocol, SeenFlags, Traffic,
};
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::Input;

use super::super::record::{TO_POD, TOTALS, TOTALS_BYTES, record};
use super::super::source::{Source, direction};
use super::packet;

/// A packet as it is: an interface, the packet's length, then as [`record`] has it.
pub const RAW: u8 = 0;
/// A change of the cluster.
pub const CHANGE: u8 = 10;
/// The change is that this pod of the lab, by its number, is behind an interface.
pub const POD: u8 = 2;
/// The change is that these objects of the lab are there: 0 for all.
pub const OBJECTS: u8 = 4;
/// Limit of the steps, such that an input takes at most a second.
const MAX_STEPS: usize = 2_000;

/// The lab's cluster.
static CLUSTER: LazyLock<Inventory> = LazyLock::new(|| {
    inventory::parse(include_str!("../../../../testbed/lab/inventory.yaml"))
        .expect("the lab's inventory")
        .inventory
});

/// The inputs that the bytes encode, with the end of the input long after the last step.
pub fn inputs(source: &mut Source<'_>) -> Vec<Input> {
    let mut steps = Steps {
        now: Timestamp(1_000_000_000),
        inputs: Vec::new(),
        sent: None,
    };
    while !source.is_empty() && steps.inputs.len() < MAX_STEPS {
        steps.step(source);
    }
    // Everything is decided by then.
    let end = steps.now.after(super::all_thresholds());
    steps.inputs.push(Input::Tick(end));
    steps.inputs.push(Input::End(end));
    steps.inputs
}

struct Steps {
    now: Timestamp,
    inputs: Vec<Input>,
    /// The latest packet, to be quoted by an ICMP error, and which way it went.
    sent: Option<(Vec<u8>, Direction)>,
}

impl Steps {
    fn step(&mut self, source: &mut Source<'_>) {
        let later = source.byte();
        let unit = [0, 1, 30, 1_000][usize::from(later >> 6)];
        self.now = self
            .now
            .after(Duration::from_millis(unit) * u32::from(later & 0x3f));
        match source.byte() % 12 {
            RAW => {
                let ifindex = ifindex(source);
                let length = usize::from(source.u16());
                let record = record(self.now, ifindex, source, length);
                self.inputs.push(Input::Record(record));
            }
            1..=3 => self.dns(source),
            4 | 5 => self.tcp(source),
            6 => self.echo(source),
            7 => self.icmp_error(source),
            8 => self.udp(source),
            9 => self.counters(source),
            CHANGE => self.change(source),
            _ => self.inputs.push(Input::Tick(self.now)),
        }
    }

    fn dns(&mut self, source: &mut Source<'_>) {
        let switches = source.byte();
        // From a client's pod or to a server's, and back.
        let (response, to_pod) = (switches & 1 != 0, switches & 2 != 0);
        let serves = response != to_pod;
        let ends = Ends::read(source, serves, 53);
        let message = packet::dns(source, response);
        let (src, dst) = ends.direction(to_pod);
        if switches & 4 == 0 {
            self.packet(
                source,
                ends.ifindex,
                to_pod,
                packet::udp(src, dst, &message),
            );
        } else {
            let length = u16::try_from(message.len()).expect("a short message");
            let stream = [&length.to_be_bytes()[..], &message].concat();
            let bits = 2 | ((switches >> 3) & 0xd);
            let (sequence, offset) = (source.byte().into(), usize::from(source.byte()));
            let part = &stream[offset.min(stream.len())..];
            let segment = packet::tcp(src, dst, bits, sequence, 1, part);
            self.packet(source, ends.ifindex, to_pod, segment);
        }
    }

    fn tcp(&mut self, source: &mut Source<'_>) {
        let switches = source.byte();
        let to_pod = switches & 1 != 0;
        let ends = Ends::read(source, switches & 2 != 0, 80);
        let (src, dst) = ends.direction(to_pod);
        let (sequence, acknowledgment) = (source.byte() % 4, source.byte() % 4);
        let segment = packet::tcp(
            src,
            dst,
            switches >> 4,
            sequence.into(),
            acknowledgment.into(),
            &[],
        );
        self.packet(source, ends.ifindex, to_pod, segment);
    }

    fn udp(&mut self, source: &mut Source<'_>) {
        let switches = source.byte();
        let to_pod = switches & 1 != 0;
        let ends = Ends::read(source, switches & 2 != 0, 514);
        let (src, dst) = ends.direction(to_pod);
        self.packet(
            source,
            ends.ifindex,
            to_pod,
            packet::udp(src, dst, b"hello"),
        );
    }

    fn echo(&mut self, source: &mut Source<'_>) {
        let switches = source.byte();
        let (reply, to_pod) = (switches & 1 != 0, switches & 2 != 0);
        let ends = Ends::read(source, false, 0);
        let (src, dst) = ends.direction(to_pod);
        let rest = [0, source.byte() % 2, 0, source.byte()];
        let kind = match (src.is_ipv4(), reply) {
            (true, false) => 8,
            (true, true) => 0,
            (false, false) => 128,
            (false, true) => 129,
        };
        let message = packet::icmp(src.ip(), dst.ip(), kind, 0, rest, &[0; 16]);
        self.packet(source, ends.ifindex, to_pod, message);
    }

    /// About the packet before, or a part of it.
    fn icmp_error(&mut self, source: &mut Source<'_>) {
        let Some((sent, direction)) = self.sent.clone() else {
            return;
        };
        let ends = Ends::read(source, false, 0);
        let (kind, code) = (source.byte(), source.byte());
        let to_pod = direction == Direction::FromPod;
        let (src, dst) = ends.direction(to_pod);
        let kinds = if src.is_ipv4() {
            [3, 11, 12, 5]
        } else {
            [1, 2, 3, 4]
        };
        let kind = kinds[usize::from(kind % 4)];
        let quoted = &sent[..sent.len().min(usize::from(source.byte()))];
        let rest = [0, 0, source.byte(), source.byte()];
        let message = packet::icmp(src.ip(), dst.ip(), kind, code % 16, rest, quoted);
        self.packet(source, ends.ifindex, to_pod, message);
    }

    /// Records of two processors overtake each other by a little.
    fn packet(&mut self, source: &mut Source<'_>, ifindex: Ifindex, to_pod: bool, bytes: Vec<u8>) {
        let switches = source.byte();
        self.sent = Some((bytes.clone(), direction(to_pod)));
        let overtaken = u64::from(switches >> 6) * 10_000;
        let totals = if switches & TOTALS != 0 {
            TOTALS_BYTES
        } else {
            0
        };
        // Only the switch for known flow counters applies.
        let mut header = vec![(u8::from(to_pod) * TO_POD) | (switches & TOTALS)];
        header.extend(source.bytes(totals));
        header.resize(1 + totals, 0);
        header.extend(bytes);
        let time = Timestamp(self.now.0 - overtaken);
        let record: Record = record(time, ifindex, &mut Source::new(&header), usize::MAX);
        self.inputs.push(Input::Record(record));
    }

    fn counters(&mut self, source: &mut Source<'_>) {
        let count = source.byte() % 4;
        let snapshots = (0..count).map(|_| {
            let protocol = source.one_of([Protocol::Tcp, Protocol::Udp, Protocol::Icmp]);
            let port = source.one_of([80, 514, 53, 0]);
            let ends = Ends::read(source, source.clone().byte() & 1 != 0, port);
            let mut traffic = || Traffic {
                packets: source.byte().into(),
                bytes: source.u16().into(),
            };
            FlowSnapshot {
                flow: Flow {
                    ifindex: ends.ifindex,
                    protocol,
                    pod: ends.pod,
                    peer: ends.peer,
                },
                totals: FlowTotals {
                    tx: traffic(),
                    rx: traffic(),
                    retransmits: None,
                },
                first: Timestamp(self.now.0 - u64::from(source.byte())),
                last: self.now,
                tcp_flags: SeenFlags {
                    tx: source.byte(),
                    rx: source.byte(),
                },
            }
        });
        let snapshots = snapshots.collect();
        self.inputs.push(Input::Counters(self.now, snapshots));
    }

    fn change(&mut self, source: &mut Source<'_>) {
        let kind = source.byte() % 6;
        let ifindex = ifindex(source);
        let change = match kind {
            0 => ClusterChange::InterfaceGone(ifindex),
            1 => ClusterChange::Interface { ifindex, uid: None },
            POD | 3 => ClusterChange::Interface {
                ifindex,
                uid: Some(
                    CLUSTER.pods[usize::from(source.byte()) % CLUSTER.pods.len()]
                        .uid
                        .clone(),
                ),
            },
            OBJECTS => ClusterChange::Replace(Box::new(some_of(source.byte()))),
            _ => ClusterChange::Replace(Box::new(odd_names(source.byte()))),
        };
        self.inputs.push(Input::Change(self.now, change));
    }
}

/// The lab's cluster without some of its pods and Services.
fn some_of(mask: u8) -> Inventory {
    let mut inventory = CLUSTER.clone();
    let mut number = 0;
    let mut kept = || {
        number += 1;
        mask >> (number % 8) & 1 == 0
    };
    inventory.pods.retain(|_| kept());
    inventory.services.retain(|_| kept());
    inventory
}

/// Names that an API server refuses, and that a file may contain.
fn odd_names(byte: u8) -> Inventory {
    let mut inventory = CLUSTER.clone();
    let odd: Arc<str> = format!("\u{1b}[2J\u{202e}\n{}\u{9b}", char::from(byte)).into();
    for pod in &mut inventory.pods {
        pod.name = odd.clone();
        pod.node = Some(odd.clone());
    }
    for service in &mut inventory.services {
        service.namespace = odd.clone();
    }
    inventory
}

/// Few, so that flows meet.
fn ifindex(source: &mut Source<'_>) -> Ifindex {
    Ifindex(u32::from(source.byte() % 3) + 1)
}

/// The ends of a flow, as the pod's interface sees them.
struct Ends {
    ifindex: Ifindex,
    pod: SocketAddr,
    peer: SocketAddr,
}

impl Ends {
    /// Two bytes: which interface, which addresses and which of the client's ports. The server's port is
    /// `port`.
    fn read(source: &mut Source<'_>, serves: bool, port: u16) -> Ends {
        let which = source.byte();
        let ifindex = Ifindex(u32::from(which % 3) + 1);
        let family = usize::from(which >> 7);
        let pods = &CLUSTER.pods;
        let pod = address(&pods[usize::from(which >> 3 & 1) % pods.len()].ips, family);
        let peer = match which >> 4 & 3 {
            0 | 1 => address(
                &CLUSTER.services[usize::from(which >> 4 & 1)].cluster_ips,
                family,
            ),
            2 => address(&pods[3].ips, family),
            _ => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        };
        let client = if port == 0 {
            0
        } else {
            40_000 + u16::from(source.byte() % 8)
        };
        let (pod_port, peer_port) = if serves {
            (port, client)
        } else {
            (client, port)
        };
        Ends {
            ifindex,
            pod: SocketAddr::new(pod, pod_port),
            peer: SocketAddr::new(peer, peer_port),
        }
    }

    /// Source and destination.
    fn direction(&self, to_pod: bool) -> (SocketAddr, SocketAddr) {
        if to_pod {
            (self.peer, self.pod)
        } else {
            (self.pod, self.peer)
        }
    }
}

/// Of this family, if there is one.
fn address(addresses: &[IpAddr], family: usize) -> IpAddr {
    let address = addresses.get(family).or(addresses.first());
    address.copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
