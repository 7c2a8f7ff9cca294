//! The container and the process that own a flow's socket, and at a device of the node the pod.
//!
//! A pod with one container needs nothing of this for the container: the index names it. For a pod with several, and
//! for the node, the cgroup of each packet that a socket sent is kept until its event is emitted. So is the process,
//! for every pod.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::fair_table::{self, FairTable, Room};
use crate::identity::Index;
use crate::model::event::Ends;
use crate::model::flow::{Direction, Flow, Ifindex, Protocol};
use crate::model::heap_bytes::ALLOCATION;
use crate::model::identity::Process;
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{Observation, What};
use crate::model::time::Timestamp;

/// Flows and who sent them. Without its entry a flow's events name no container and no process, until the pod sends
/// another packet that has a record.
const ROOM: Room = Room {
    entries: 32_768,
    bytes: 8 << 20,
};
/// A connection can be silent for that long.
const KEPT: Duration = Duration::from_hours(1);
/// The last event of an exchange, or of a connection that ends, comes before that.
const KEPT_TO_THE_END: Duration = Duration::from_secs(30);
/// Cgroups that were asked about. One scan answers for all of them.
const MAX_UNKNOWN: usize = 256;
/// A cgroup that no scan explained is asked about again after this time, and then each time after twice as long.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// The id of the root cgroup. The kernel's own sockets are in it, and all sockets where only version 1 is in use.
pub(super) const ROOT_CGROUP: u64 = 1;
/// A scan for the containers' only processes is asked for no more often, while there are packets of unknown processes.
const ASK_FOR_PROCESSES: Duration = Duration::from_secs(10);
/// How long an event of the node waits for the first answer about its cgroup. A scan follows within a second.
const WAIT: Duration = Duration::from_secs(2);

/// A flow, or with no peer all flows of a pod's port.
///
/// A port of a pod is of one container, even if a flow's beginning was not seen. It can be of several processes' sockets
/// with different peers, and at the node of several pods'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    ifindex: Ifindex,
    protocol: Protocol,
    port: u16,
    peer: Option<SocketAddr>,
}

impl fair_table::Key for Key {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }
}

/// What matters at an interface.
#[derive(Clone, Copy, Debug, Default)]
struct Interface {
    of_node: bool,
    /// The index alone does not know the pod's container.
    several_containers: bool,
}

/// The owner of the socket that sent the latest packet.
#[derive(Debug)]
struct Sender {
    cgroup: u64,
    process: Option<Process>,
}

impl Key {
    fn of_flow(flow: &Flow) -> Key {
        Key {
            peer: Some(flow.peer),
            ..Key::of_port(flow)
        }
    }

    fn of_port(flow: &Flow) -> Key {
        Key {
            ifindex: flow.ifindex,
            protocol: flow.protocol,
            port: flow.pod.port(),
            peer: None,
        }
    }
}

impl Sender {
    fn heap_bytes(&self) -> usize {
        let process = self.process.as_ref();
        process.map_or(0, |process| ALLOCATION + process.comm.len())
    }
}

/// When a cgroup was asked about.
#[derive(Clone, Copy, Debug)]
struct Asked {
    first: Timestamp,
    latest: Timestamp,
}

/// Who sent the flows of the node and of pods.
#[derive(Debug)]
pub(super) struct Senders {
    interfaces: HashMap<Ifindex, Interface, RandomState>,
    flows: FairTable<Key, Sender>,
    asked: HashMap<u64, Asked, RandomState>,
    /// A cgroup was asked about since the last look.
    unknown: bool,
    asked_for_processes: Option<Timestamp>,
    losses: Losses,
}

impl Default for Senders {
    fn default() -> Senders {
        Senders {
            interfaces: HashMap::default(),
            flows: FairTable::new(ROOM),
            asked: HashMap::default(),
            unknown: false,
            asked_for_processes: None,
            losses: Losses::default(),
        }
    }
}

impl Senders {
    /// Learns who sent a packet, where that matters.
    pub(super) fn learn(
        &mut self,
        observation: &Observation,
        cgroup: u64,
        process: Option<Process>,
    ) {
        let now = observation.time;
        while self.flows.pop_due(now).is_some() {}
        // Without a socket it is the kernel's, and says nothing about the flow's owner.
        if (cgroup == 0 && process.is_none()) || observation.direction != Direction::FromPod {
            return;
        }
        let flow = &observation.flow;
        let interface = self.interface(flow.ifindex);
        let until = now.after(match &observation.what {
            What::Tcp(segment) if !segment.fin && !segment.rst => KEPT,
            What::Other => KEPT,
            _ => KEPT_TO_THE_END,
        });
        let of_flow = Key::of_flow(flow);
        let process = process.or_else(|| self.process_so_far(observation).cloned());
        if process.is_none() && cgroup > ROOT_CGROUP {
            self.ask_for_processes(now);
        }
        if process.is_some() || interface.of_node {
            self.keep(of_flow, Sender { cgroup, process }, until);
        } else {
            // Another socket has the port now.
            self.flows.remove(&of_flow);
        }
        if interface.several_containers && !interface.of_node {
            let process = None;
            self.keep(Key::of_port(flow), Sender { cgroup, process }, until);
        }
    }

    /// The process of a TCP connection that continues: until the next SYN the port towards this peer is of one socket.
    fn process_so_far(&self, observation: &Observation) -> Option<&Process> {
        let opens = matches!(&observation.what, What::Tcp(segment) if segment.syn);
        let continues = observation.flow.protocol == Protocol::Tcp && !opens;
        continues.then(|| self.process(&observation.flow)).flatten()
    }

    fn keep(&mut self, key: Key, sender: Sender, until: Timestamp) {
        let heap = sender.heap_bytes();
        let made_room = self.flows.insert(key, sender, heap, until);
        let lost = made_room.len() as u64;
        self.losses.add(Stage::Table, "senders of flows", lost);
    }

    fn interface(&self, ifindex: Ifindex) -> Interface {
        self.interfaces.get(&ifindex).copied().unwrap_or_default()
    }

    fn cgroup(&self, flow: &Flow) -> Option<u64> {
        let of_flow = self.flows.get(&Key::of_flow(flow));
        let sender = of_flow.or_else(|| self.flows.get(&Key::of_port(flow)))?;
        (sender.cgroup != 0).then_some(sender.cgroup)
    }

    fn process(&self, flow: &Flow) -> Option<&Process> {
        self.flows.get(&Key::of_flow(flow))?.process.as_ref()
    }

    /// The node's own sockets are behind this interface.
    pub(super) fn is_of_node(&mut self, ifindex: Ifindex) {
        self.interfaces.entry(ifindex).or_default().of_node = true;
    }

    /// Until when an event of the node waits, because a scan may still find its pod.
    pub(super) fn deadline(
        &mut self,
        index: &Index,
        now: Timestamp,
        flow: &Flow,
    ) -> Option<Timestamp> {
        let of_node = self.interface(flow.ifindex).of_node;
        let cgroup = of_node.then(|| self.cgroup(flow))??;
        self.wait_for(index, now, cgroup)
    }

    /// Until when an event waits for the pod of a cgroup, because a scan may still find it.
    pub(super) fn wait_for(
        &mut self,
        index: &Index,
        now: Timestamp,
        cgroup: u64,
    ) -> Option<Timestamp> {
        if !index.has_inventory() || index.pod_of_cgroup(cgroup).is_some() {
            return None;
        }
        self.ask(now, cgroup);
        let until = self.asked.get(&cgroup)?.first.after(WAIT);
        (now < until).then_some(until)
    }

    /// Names the pod's container and process in an event.
    pub(super) fn name(&mut self, index: &Index, at: Timestamp, flow: &Flow, ends: &mut Ends) {
        ends.pod.process = self.process(flow).cloned();
        if self.interface(flow.ifindex).of_node {
            if let Some(cgroup) = self.cgroup(flow) {
                name_by_cgroup(index, at, cgroup, ends);
            }
            return;
        }
        if ends.pod.container.is_some() {
            return;
        }
        let Ok(pod) = &ends.pod.identity else {
            return;
        };
        let interface = self.interfaces.entry(flow.ifindex).or_default();
        interface.several_containers = true;
        let Some(cgroup) = self.cgroup(flow) else {
            return;
        };
        match index.container_of(pod, cgroup) {
            Some(container) => ends.pod.container = Some(Arc::clone(container)),
            None => self.ask(at, cgroup),
        }
    }

    fn ask(&mut self, at: Timestamp, cgroup: u64) {
        let known = self.asked.get(&cgroup).copied();
        // The kubelet probes pods all the time, and no scan explains it: ask ever less often.
        let again = |asked: Asked| ASK_AGAIN.max(asked.latest.since(asked.first));
        if known.is_some_and(|asked| at.since(asked.latest) < again(asked)) {
            return;
        }
        if known.is_none() && self.asked.len() >= MAX_UNKNOWN {
            self.asked.clear();
        }
        let asked = Asked {
            first: known.map_or(at, |asked| asked.first),
            latest: at,
        };
        self.asked.insert(cgroup, asked);
        self.unknown = true;
    }

    /// A packet came from a socket of an unknown process. A scan finds the containers that have only one.
    fn ask_for_processes(&mut self, at: Timestamp) {
        let asked = self.asked_for_processes;
        if asked.is_none_or(|asked| at.since(asked) >= ASK_FOR_PROCESSES) {
            self.asked_for_processes = Some(at);
            self.unknown = true;
        }
    }

    /// Whether packets came from cgroups of unknown containers or from unknown processes since the last call.
    pub(super) fn take_unknown(&mut self) -> bool {
        std::mem::take(&mut self.unknown)
    }

    /// The interface is no longer traced.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.interfaces.remove(&ifindex);
        self.flows.remove_owner(&ifindex);
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }
}

/// Names the pod whose process sent a flow from the node.
fn name_by_cgroup(index: &Index, at: Timestamp, cgroup: u64, ends: &mut Ends) {
    let Some(pod) = index.pod_of_cgroup(cgroup) else {
        return;
    };
    let container = index.container_of(pod, cgroup).cloned();
    ends.pod.container = container.or_else(|| index.only_container(pod));
    ends.pod.identity = Ok(Arc::clone(pod));
    index.name_peer(at, ends);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observation::TcpSegment;

    const CURL: &str = "10.96.0.1:80";
    const WGET: &str = "10.96.0.2:80";

    fn flow(peer: &str) -> Flow {
        Flow {
            ifindex: Ifindex(7),
            protocol: Protocol::Tcp,
            pod: "10.1.0.9:40000".parse().expect("an address"),
            peer: peer.parse().expect("an address"),
        }
    }

    fn sent(peer: &str) -> Observation {
        Observation {
            time: Timestamp(1),
            flow: flow(peer),
            direction: Direction::FromPod,
            wire_len: 60,
            totals: None,
            what: What::Other,
        }
    }

    fn process(comm: &str) -> Option<Process> {
        Some(Process {
            pid: 12,
            comm: comm.into(),
        })
    }

    fn known(senders: &Senders, peer: &str) -> Option<String> {
        let process = senders.process(&flow(peer))?;
        Some(process.comm.to_string())
    }

    #[test]
    fn a_port_of_two_connections_never_names_the_process_of_the_other() {
        let mut senders = Senders::default();
        senders.learn(&sent(CURL), 5, process("curl"));
        assert_eq!(known(&senders, CURL).as_deref(), Some("curl"));
        assert_eq!(known(&senders, WGET), None);
        senders.learn(&sent(WGET), 5, process("wget"));
        assert_eq!(known(&senders, WGET).as_deref(), Some("wget"));
        assert_eq!(known(&senders, CURL).as_deref(), Some("curl"));
    }

    fn segment(segment: TcpSegment) -> Observation {
        Observation {
            what: What::Tcp(segment),
            ..sent(CURL)
        }
    }

    #[test]
    fn a_connection_keeps_its_process_until_another_begins() {
        let mut senders = Senders::default();
        let syn = TcpSegment {
            syn: true,
            ..TcpSegment::default()
        };
        let fin = TcpSegment {
            fin: true,
            ack: true,
            ..TcpSegment::default()
        };
        senders.learn(&segment(syn.clone()), 5, process("curl"));
        // A reset that no socket sends, and a socket that is no longer in the table.
        senders.learn(&sent(CURL), 0, None);
        senders.learn(&segment(fin.clone()), 5, None);
        assert_eq!(known(&senders, CURL).as_deref(), Some("curl"));
        senders.learn(&segment(syn), 5, None);
        assert_eq!(known(&senders, CURL), None);
        senders.learn(&segment(fin), 5, None);
        assert_eq!(known(&senders, CURL), None);
    }

    #[test]
    fn a_datagram_of_an_unknown_process_takes_the_port() {
        let mut senders = Senders::default();
        let mut datagram = sent(CURL);
        datagram.flow.protocol = Protocol::Udp;
        senders.learn(&datagram, 5, process("dig"));
        assert!(senders.process(&datagram.flow).is_some());
        senders.learn(&datagram, 5, None);
        assert!(senders.process(&datagram.flow).is_none());
    }

    #[test]
    fn unknown_processes_ask_for_a_scan_at_intervals() {
        let mut senders = Senders::default();
        let mut asks = |seconds, cgroup, process| {
            let mut datagram = sent(CURL);
            datagram.time = Timestamp(0).after(Duration::from_secs(seconds));
            datagram.flow.protocol = Protocol::Udp;
            senders.learn(&datagram, cgroup, process);
            senders.take_unknown()
        };
        assert!(!asks(1, 5, process("dig")));
        assert!(!asks(2, ROOT_CGROUP, None), "the kernel's");
        assert!(asks(3, 5, None));
        assert!(!asks(4, 6, None));
        assert!(asks(13, 6, None));
    }

    fn from_port(ifindex: u32, port: u16) -> Observation {
        let mut observation = sent(CURL);
        observation.flow.ifindex = Ifindex(ifindex);
        observation.flow.pod.set_port(port);
        observation
    }

    #[test]
    fn an_interface_with_many_flows_displaces_only_its_own() {
        let mut senders = Senders::default();
        let calm = from_port(1, 40_000);
        senders.learn(&calm, 5, process("curl"));
        for port in 1..=u16::MAX {
            let busy = from_port(2, port);
            senders.learn(&busy, 6, process("flood"));
            assert!(senders.process(&busy.flow).is_some());
        }
        assert!(senders.flows.bytes() <= ROOM.bytes && senders.flows.len() <= ROOM.entries);
        assert!(senders.process(&calm.flow).is_some());
        let kept = senders.flows.len() as u64;
        assert_eq!(senders.losses.total(), u64::from(u16::MAX) + 1 - kept);
        senders.forget(Ifindex(2));
        assert_eq!(senders.flows.len(), 1);
        senders.forget(Ifindex(1));
        assert!(senders.flows.is_empty() && senders.interfaces.is_empty());
    }

    #[test]
    fn a_flow_is_kept_until_its_last_event() {
        let mut senders = Senders::default();
        let at = |observation: Observation, seconds| Observation {
            time: Timestamp(0).after(Duration::from_secs(seconds)),
            ..observation
        };
        let tcp = |fin| Observation {
            what: What::Tcp(TcpSegment {
                fin,
                ..TcpSegment::default()
            }),
            ..from_port(1, 40_000)
        };
        senders.learn(&at(tcp(false), 0), 5, process("curl"));
        let other = |seconds| at(from_port(2, 1), seconds);
        senders.learn(&other(3_599), 5, None);
        assert!(senders.process(&tcp(false).flow).is_some());
        senders.learn(&at(tcp(true), 3_599), 5, process("curl"));
        senders.learn(&other(3_628), 5, None);
        assert!(senders.process(&tcp(false).flow).is_some());
        senders.learn(&other(3_630), 5, None);
        assert!(senders.process(&tcp(false).flow).is_none());
        assert!(senders.flows.is_empty());
        assert_eq!(senders.losses.total(), 0);
    }
}
