//! The container that owns a flow's socket.
//!
//! A pod with one container needs nothing of this: the index names it. For a pod with several, the cgroup of each
//! packet that a socket of the pod sent is kept by flow until its event is emitted.

use std::collections::HashMap;
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
/// Cgroups that were asked about. One scan answers for all of them.
const MAX_UNKNOWN: usize = 256;
/// A cgroup that no scan explained is asked about again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// The cgroups that sent the flows of pods with several containers.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// Interfaces of pods whose container the index alone does not know.
    flows: HashMap<Ifindex, HashMap<(Protocol, u16), u64, RandomState>, RandomState>,
    asked: HashMap<u64, Timestamp, RandomState>,
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
        let Some(flows) = self.flows.get_mut(&flow.ifindex) else {
            return;
        };
        let key = (flow.protocol, flow.pod.port());
        if flows.len() >= MAX_FLOWS && !flows.contains_key(&key) {
            flows.clear();
        }
        flows.insert(key, cgroup);
    }

    /// Names the pod's container in an event.
    pub(super) fn name(&mut self, index: &Index, at: Timestamp, flow: &Flow, ends: &mut Ends) {
        if ends.pod.container.is_some() {
            return;
        }
        let Ok(pod) = &ends.pod.identity else {
            return;
        };
        let flows = self.flows.entry(flow.ifindex).or_default();
        let Some(&cgroup) = flows.get(&(flow.protocol, flow.pod.port())) else {
            return;
        };
        match index.container_of(pod, cgroup) {
            Some(container) => ends.pod.container = Some(Arc::clone(container)),
            None => self.ask(at, cgroup),
        }
    }

    fn ask(&mut self, at: Timestamp, cgroup: u64) {
        let recent = self.asked.get(&cgroup);
        if recent.is_some_and(|asked| at.since(*asked) < ASK_AGAIN) {
            return;
        }
        if self.asked.len() >= MAX_UNKNOWN {
            self.asked.clear();
        }
        self.asked.insert(cgroup, at);
        self.unknown = true;
    }

    /// Whether packets came from cgroups of unknown containers since the last call.
    pub(super) fn take_unknown(&mut self) -> bool {
        std::mem::take(&mut self.unknown)
    }

    /// The interface is no longer traced.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.flows.remove(&ifindex);
    }
}
