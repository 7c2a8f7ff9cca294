//! The container that owns a flow's socket, and at a device of the node the pod.
//!
//! A pod with one container needs nothing of this: the index names it. For a pod with several, and for the node, the
//! cgroup of each packet that a socket sent is kept by flow until its event is emitted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::identity::Index;
use crate::model::event::Ends;
use crate::model::flow::{Direction, Flow, Ifindex, Protocol};
use crate::model::observation::Observation;
use crate::model::time::Timestamp;

/// Flows kept for an interface. All are dropped when there are more: their events name no container.
const MAX_FLOWS: usize = 512;
/// The same for the node, which has more processes.
const MAX_FLOWS_OF_NODE: usize = 8_192;
/// Cgroups that were asked about. One scan answers for all of them.
const MAX_UNKNOWN: usize = 256;
/// A cgroup that no scan explained is asked about again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How long an event of the node waits for the first answer about its cgroup. A scan follows within a second.
const WAIT: Duration = Duration::from_secs(2);

/// The protocol and the pod's port. At the node also the peer: its processes share a port towards several peers.
type Key = (Protocol, u16, Option<SocketAddr>);

/// The flows of an interface and the cgroups that sent them.
#[derive(Debug, Default)]
struct Interface {
    of_node: bool,
    flows: HashMap<Key, u64, RandomState>,
}

impl Interface {
    fn key(&self, flow: &Flow) -> Key {
        let peer = self.of_node.then_some(flow.peer);
        (flow.protocol, flow.pod.port(), peer)
    }

    fn cgroup(&self, flow: &Flow) -> Option<u64> {
        self.flows.get(&self.key(flow)).copied()
    }
}

/// When a cgroup was asked about.
#[derive(Clone, Copy, Debug)]
struct Asked {
    first: Timestamp,
    latest: Timestamp,
}

/// The cgroups that sent the flows of pods with several containers.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// Those of the node, and of pods whose container the index alone does not know.
    interfaces: HashMap<Ifindex, Interface, RandomState>,
    asked: HashMap<u64, Asked, RandomState>,
    /// A cgroup was asked about since the last look.
    unknown: bool,
}

impl Senders {
    /// Learns which cgroup sent a packet, where that matters.
    pub(super) fn learn(&mut self, observation: &Observation, cgroup: u64) {
        if cgroup == 0 || observation.direction != Direction::FromPod {
            return;
        }
        let flow = &observation.flow;
        let Some(interface) = self.interfaces.get_mut(&flow.ifindex) else {
            return;
        };
        let key = interface.key(flow);
        let limit = match interface.of_node {
            true => MAX_FLOWS_OF_NODE,
            false => MAX_FLOWS,
        };
        let flows = &mut interface.flows;
        if flows.len() >= limit && !flows.contains_key(&key) {
            flows.clear();
        }
        flows.insert(key, cgroup);
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
            .filter(|interface| interface.of_node && index.has_inventory())
            .and_then(|interface| interface.cgroup(flow))
            .filter(|cgroup| index.pod_of_cgroup(*cgroup).is_none())?;
        self.ask(now, cgroup);
        let until = self.asked.get(&cgroup)?.first.after(WAIT);
        (now < until).then_some(until)
    }

    /// Names the pod's container in an event.
    pub(super) fn name(&mut self, index: &Index, at: Timestamp, flow: &Flow, ends: &mut Ends) {
        let interface = self.interfaces.get(&flow.ifindex);
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
        if known.is_some_and(|asked| at.since(asked.latest) < ASK_AGAIN) {
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
