//! The hostNetwork pod at the other end of a flow, where that is a process of the same node: a NodeLocal DNSCache that
//! answers, the kubelet's probe or another client.
//!
//! Its address is the node's, or one that it listens on, and names no pod. But its packets have its socket's cgroup
//! when they reach the pod's interface. Forwarded packets have none there, so other pods and hosts stay what their
//! address says.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::senders::{ROOT_CGROUP, Senders};
use crate::fair_table::{FairTable, Key, Room};
use crate::identity::Index;
use crate::model::event::Ends;
use crate::model::flow::{Direction, Flow, Ifindex, Protocol};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{Observation, What};
use crate::model::time::Timestamp;

/// Flows of all interfaces.
const ROOM: Room = Room {
    entries: 16_384,
    bytes: 4 << 20,
};
/// How long a flow is kept after its latest packet with a record. The first and the last packets of a connection have
/// one, so what is forgotten is named again.
const KEPT: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OfFlow(Flow);

impl Key for OfFlow {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.0.ifindex
    }
}

/// The cgroups of the node's sockets at the other end of flows.
#[derive(Debug)]
pub(super) struct LocalPeers {
    cgroups: FairTable<OfFlow, u64>,
    losses: Losses,
}

impl Default for LocalPeers {
    fn default() -> LocalPeers {
        LocalPeers {
            cgroups: FairTable::new(ROOM),
            losses: Losses::default(),
        }
    }
}

impl LocalPeers {
    /// Learns who sent a packet to the pod.
    pub(super) fn learn(&mut self, observation: &Observation, cgroup: u64) {
        let at = observation.time;
        while self.cgroups.pop_due(at).is_some() {}
        let to_pod = observation.direction == Direction::ToPod;
        let key = OfFlow(observation.flow);
        if to_pod && cgroup > ROOT_CGROUP {
            let made_room = self.cgroups.insert(key, cgroup, 0, at.after(KEPT));
            let lost = made_room.len() as u64;
            self.losses
                .add(Stage::Table, "local processes at the other end", lost);
            return;
        }
        // Another socket may have the address by now. What the kernel sends by itself shows nothing: resets, the last
        // acknowledgment of a connection.
        let sent_by_socket = to_pod && observation.flow.protocol == Protocol::Udp;
        if !self.cgroups.is_empty() && (sent_by_socket || opens(&observation.what)) {
            self.cgroups.remove(&key);
        }
    }

    /// Until when an event waits, because the other end's pod may still be found.
    pub(super) fn deadline(
        &self,
        senders: &mut Senders,
        index: &Index,
        now: Timestamp,
        flow: &Flow,
    ) -> Option<Timestamp> {
        let cgroup = *self.cgroups.get(&OfFlow(*flow))?;
        senders.wait_for(index, now, cgroup)
    }

    /// Names the pod at the other end, if no address does.
    pub(super) fn name(&self, index: &Index, flow: &Flow, ends: &mut Ends) {
        if ends.peer.pod.is_none()
            && let Some(cgroup) = self.cgroups.get(&OfFlow(*flow))
        {
            ends.peer.host_pod = index.pod_of_cgroup(*cgroup).map(Arc::clone);
        }
    }

    /// Flows removed to make room.
    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }
}

/// Whether a packet begins something that another socket may answer than the one before.
fn opens(what: &What) -> bool {
    match what {
        What::Dns(message) => !message.response,
        What::Tcp(segment) => segment.syn && !segment.ack,
        What::Echo(echo) => !echo.reply,
        What::IcmpError(_) | What::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observation::TcpSegment;

    fn seen(protocol: Protocol, direction: Direction, what: What) -> Observation {
        Observation {
            time: Timestamp(1),
            flow: Flow {
                ifindex: Ifindex(7),
                protocol,
                pod: "10.1.0.9:40000".parse().expect("an address"),
                peer: "169.254.20.10:53".parse().expect("an address"),
            },
            direction,
            wire_len: 60,
            totals: None,
            what,
        }
    }

    fn segment(syn: bool, ack: bool) -> What {
        What::Tcp(TcpSegment {
            syn,
            ack,
            ..TcpSegment::default()
        })
    }

    fn known(peers: &LocalPeers, of: &Observation) -> Option<u64> {
        peers.cgroups.get(&OfFlow(of.flow)).copied()
    }

    #[test]
    fn only_what_a_process_sent_to_the_pod_names_it() {
        let mut peers = LocalPeers::default();
        let question = seen(Protocol::Tcp, Direction::FromPod, segment(true, false));
        peers.learn(&question, 9);
        assert_eq!(known(&peers, &question), None, "the pod's own socket");
        let answer = seen(Protocol::Tcp, Direction::ToPod, segment(true, true));
        for cgroup in [0, ROOT_CGROUP] {
            peers.learn(&answer, cgroup);
            assert_eq!(known(&peers, &answer), None, "forwarded, or the kernel's");
        }
        peers.learn(&answer, 5);
        assert_eq!(known(&peers, &answer), Some(5));
        let reset = seen(Protocol::Tcp, Direction::ToPod, segment(false, true));
        peers.learn(&reset, 0);
        assert_eq!(known(&peers, &reset), Some(5), "of the same connection");
        peers.learn(&question, 9);
        assert_eq!(known(&peers, &question), None, "another connection");
    }

    #[test]
    fn a_forwarded_datagram_takes_the_flow_from_a_process_of_the_node() {
        let mut peers = LocalPeers::default();
        let answer = seen(Protocol::Udp, Direction::ToPod, What::Other);
        peers.learn(&answer, 5);
        assert_eq!(known(&peers, &answer), Some(5));
        peers.learn(&answer, 0);
        assert_eq!(known(&peers, &answer), None);
    }
}
