//! The container and the process that own a flow's socket, and at a device of the node the pod.
//!
//! A pod with one container needs nothing of this for the container: the index names it. For a pod with several, and
//! for the node, the cgroup of each packet that a socket sent is kept by flow until its event is emitted. So is the
//! process, for every pod.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::identity::Index;
use crate::model::event::Ends;
use crate::model::flow::{Direction, Flow, Ifindex, Protocol};
use crate::model::identity::Process;
use crate::model::observation::Observation;
use crate::model::time::Timestamp;

/// Flows kept for an interface. All are dropped when there are more: their events name no container and no
/// process, until the pod sends another packet that has a record.
const MAX_FLOWS: usize = 512;
/// The same for the node, which has more processes.
const MAX_FLOWS_OF_NODE: usize = 8_192;
/// Cgroups that were asked about. One scan answers for all of them.
const MAX_UNKNOWN: usize = 256;
/// A cgroup that no scan explained is asked about again after this time, and then each time after twice as long.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// The id of the root cgroup. The kernel's own sockets are in it, and all sockets where only version 1 is in use.
pub(super) const ROOT_CGROUP: u64 = 1;
/// How long an event of the node waits for the first answer about its cgroup. A scan follows within a second.
const WAIT: Duration = Duration::from_secs(2);

/// The protocol and the pod's port. At the node also the peer: its processes share a port towards several peers.
type Key = (Protocol, u16, Option<SocketAddr>);

/// The flows of an interface and who sent them.
#[derive(Debug, Default)]
struct Interface {
    of_node: bool,
    /// The index alone does not know the pod's container.
    several_containers: bool,
    flows: HashMap<Key, Sender, RandomState>,
}

/// The owner of the socket that sent the latest packet of a flow.
#[derive(Debug)]
struct Sender {
    cgroup: u64,
    /// The other end, and the process. A port of a pod can be of several sockets with different other ends.
    process: Option<(SocketAddr, Process)>,
}

impl Interface {
    fn key(&self, flow: &Flow) -> Key {
        let peer = self.of_node.then_some(flow.peer);
        (flow.protocol, flow.pod.port(), peer)
    }

    fn cgroup(&self, flow: &Flow) -> Option<u64> {
        let sender = self.flows.get(&self.key(flow))?;
        (sender.cgroup != 0).then_some(sender.cgroup)
    }

    fn process(&self, flow: &Flow) -> Option<&Process> {
        let sender = self.flows.get(&self.key(flow))?;
        let (peer, process) = sender.process.as_ref()?;
        (*peer == flow.peer).then_some(process)
    }
}

/// When a cgroup was asked about.
#[derive(Clone, Copy, Debug)]
struct Asked {
    first: Timestamp,
    latest: Timestamp,
}

/// Who sent the flows of the node and of pods.
#[derive(Debug, Default)]
pub(super) struct Senders {
    interfaces: HashMap<Ifindex, Interface, RandomState>,
    asked: HashMap<u64, Asked, RandomState>,
    /// A cgroup was asked about since the last look.
    unknown: bool,
}

impl Senders {
    /// Learns who sent a packet, where that matters.
    pub(super) fn learn(
        &mut self,
        observation: &Observation,
        cgroup: u64,
        process: Option<Process>,
    ) {
        // Without a socket it is the kernel's, and says nothing about the flow's owner.
        if (cgroup == 0 && process.is_none()) || observation.direction != Direction::FromPod {
            return;
        }
        let flow = &observation.flow;
        let interface = match process {
            Some(_) => self.interfaces.entry(flow.ifindex).or_default(),
            None => match self.interfaces.get_mut(&flow.ifindex) {
                Some(interface) => interface,
                None => return,
            },
        };
        let key = interface.key(flow);
        let wants_cgroup = interface.of_node || interface.several_containers;
        let limit = match interface.of_node {
            true => MAX_FLOWS_OF_NODE,
            false => MAX_FLOWS,
        };
        let flows = &mut interface.flows;
        if process.is_none() && !wants_cgroup {
            // Another socket has the port now.
            flows.remove(&key);
            return;
        }
        if flows.len() >= limit && !flows.contains_key(&key) {
            flows.clear();
        }
        let process = process.map(|process| (flow.peer, process));
        flows.insert(key, Sender { cgroup, process });
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
        let interface = self.interfaces.get(&flow.ifindex);
        let cgroup = interface
            .filter(|interface| interface.of_node)
            .and_then(|interface| interface.cgroup(flow))?;
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
        let interface = self.interfaces.get(&flow.ifindex);
        ends.pod.process = interface
            .and_then(|interface| interface.process(flow))
            .cloned();
        if let Some(interface) = interface.filter(|interface| interface.of_node) {
            if let Some(cgroup) = interface.cgroup(flow) {
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
        let Some(cgroup) = interface.cgroup(flow) else {
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

    /// Whether packets came from cgroups of unknown containers since the last call.
    pub(super) fn take_unknown(&mut self) -> bool {
        std::mem::take(&mut self.unknown)
    }

    /// The interface is no longer traced.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.interfaces.remove(&ifindex);
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
    use crate::model::observation::What;

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
        let process = senders.interfaces.get(&Ifindex(7))?.process(&flow(peer))?;
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
        assert_eq!(known(&senders, CURL), None);
        // Its next packet, such as a FIN, names it again.
        senders.learn(&sent(CURL), 5, process("curl"));
        assert_eq!(known(&senders, CURL).as_deref(), Some("curl"));
    }

    #[test]
    fn a_socket_of_an_unknown_process_takes_the_port_and_the_kernels_packets_do_not() {
        let mut senders = Senders::default();
        senders.learn(&sent(CURL), 5, process("curl"));
        // A reset that no socket sends.
        senders.learn(&sent(CURL), 0, None);
        assert_eq!(known(&senders, CURL).as_deref(), Some("curl"));
        senders.learn(&sent(CURL), 5, None);
        assert_eq!(known(&senders, CURL), None);
    }

    #[test]
    fn the_flows_of_an_interface_are_bounded() {
        let mut senders = Senders::default();
        for port in 1..=2_000 {
            let mut observation = sent(CURL);
            observation.flow.pod.set_port(port);
            senders.learn(&observation, 5, process("curl"));
            let flows = &senders.interfaces[&Ifindex(7)].flows;
            assert!(flows.contains_key(&(Protocol::Tcp, port, None)) && flows.len() <= MAX_FLOWS);
        }
        senders.forget(Ifindex(7));
        assert!(senders.interfaces.is_empty());
    }
}
