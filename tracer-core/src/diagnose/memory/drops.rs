//! Packets of a pod that its node's kernel dropped, by flow, for the attempt that fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::recent::Recent;
use crate::model::flow::Protocol;
use crate::model::signal::{DropPlace, PacketDrop};
use crate::model::time::Timestamp;

/// The verdict on an attempt comes sooner, also where the client tries for a minute.
const KEEP: Duration = Duration::from_secs(90);
/// Flows of a pod.
const MAX_FLOWS: usize = 128;

/// The drops of one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct FlowDrops {
    /// The pod's peer in the dropped packets: after translation the endpoint.
    pub peer: SocketAddr,
    /// Sent by the pod; otherwise answers to it.
    pub from_pod: bool,
    /// The kernel's reason.
    pub reason: &'static str,
    /// The kernel function.
    pub function: Option<Arc<str>>,
    pub place: DropPlace,
    pub device: Option<Arc<str>>,
    /// Packets: at least this many.
    pub packets: u64,
    pub last: Timestamp,
}

/// The latest drops, by protocol and the pod's port.
#[derive(Debug)]
pub(in crate::diagnose) struct Drops {
    by_flow: Recent<(Protocol, u16), FlowDrops>,
}

impl Drops {
    pub fn new() -> Drops {
        Drops {
            by_flow: Recent::new(MAX_FLOWS),
        }
    }

    /// Takes in a drop of a packet from or to the pod with this address. Returns the number of entries that gave
    /// way. The pod's own packets count rather than answers: they were dropped first.
    pub fn add(&mut self, at: Timestamp, pod: SocketAddr, dropped: &PacketDrop) -> u64 {
        let tuple = dropped.tuple;
        let from_pod = tuple.src == pod;
        let peer = if from_pod { tuple.dst } else { tuple.src };
        let key = (tuple.protocol, pod.port());
        if let Some(known) = self.by_flow.touch(at, &key)
            && (known.peer, known.reason, known.from_pod) == (peer, dropped.reason, from_pod)
        {
            known.packets += 1;
            known.last = at;
            return 0;
        }
        if !from_pod && self.by_flow.get(&key).is_some_and(|known| known.from_pod) {
            return 0;
        }
        let drops = FlowDrops {
            peer,
            from_pod,
            reason: dropped.reason,
            function: dropped.function.clone(),
            place: dropped.place,
            device: dropped.device.clone(),
            packets: 1,
            last: at,
        };
        self.by_flow.insert(at, key, drops)
    }

    /// The drops of a flow from this port.
    pub fn get(&self, protocol: Protocol, port: u16) -> Option<&FlowDrops> {
        self.by_flow.get(&(protocol, port))
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_flow.expire(now, KEEP);
    }

    pub fn is_empty(&self) -> bool {
        self.by_flow.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_flow.bytes()
    }
}
