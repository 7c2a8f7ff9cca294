//! A synthetic interface for each pod of a capture, and the choice of the packet copy that was taken at the
//! pod.
//!
//! `tcpdump -i any` on a node sees one packet at the pod's veth, at a bridge and at the uplink, where it may
//! have translated addresses. A live run sees only the pod's interface, so replay must choose: a pod is at
//! the interface where its own packets appear first, and packets of it elsewhere at about the same time are
//! copies. (A packet reaches the node at the pod's veth before anywhere else. In a capture from inside the
//! pod there is only one place.)

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{LinkDirection, Origin};
use crate::model::flow::{Direction, Ifindex};
use crate::model::time::Timestamp;

/// The first synthetic interface index. The kernel's are positive 32-bit integers, so they never collide.
pub const SYNTHETIC_INTERFACES: u32 = 0x8000_0000;

/// How long a pod's place is trusted. Copies of a packet are microseconds apart; a pod that was silent for
/// longer may have moved: its address was given to another pod, or another capture was appended to the file.
const PLACE_TRUST: Duration = Duration::from_secs(1);

/// The place where a pod's packets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    origin: Origin,
    /// The direction of the pod's own packets, if the capture shows it: in on the node, out inside the pod.
    sends: Option<LinkDirection>,
}

#[derive(Debug)]
struct Pod {
    ifindex: Ifindex,
    place: Place,
    /// Whether the place is proven by a packet that the pod sent. One that was sent to it may have been seen
    /// at the uplink first.
    proven: bool,
    last: Timestamp,
}

/// Pod addresses by order of appearance.
#[derive(Debug)]
pub(super) struct Interfaces {
    pods: HashMap<IpAddr, Pod>,
    limit: usize,
    fresh: Vec<(Ifindex, IpAddr)>,
    /// Interfaces of a recording, each with its reported pod.
    recorded: HashMap<Ifindex, IpAddr>,
    overflow: u64,
    copies: u64,
}

impl Interfaces {
    /// Tracks up to `limit` pod addresses. Those beyond share one interface, and copies of their packets are
    /// not removed.
    pub(super) fn new(limit: usize) -> Interfaces {
        Interfaces {
            pods: HashMap::new(),
            limit,
            fresh: Vec::new(),
            recorded: HashMap::new(),
            overflow: 0,
            copies: 0,
        }
    }

    /// The number of packets that were copies of others.
    pub(super) fn copies(&self) -> u64 {
        self.copies
    }

    /// The number of packets of pods beyond the limit.
    pub(super) fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Interfaces that appeared since the last call, with the pod's address.
    pub(super) fn fresh(&mut self) -> Vec<(Ifindex, IpAddr)> {
        std::mem::take(&mut self.fresh)
    }

    /// A recording states that this pod is behind this interface.
    pub(super) fn recorded(&mut self, ifindex: Ifindex, pod: IpAddr) {
        if !self.recorded.contains_key(&ifindex) && self.recorded.len() < self.limit {
            self.recorded.insert(ifindex, pod);
            self.fresh.push((ifindex, pod));
        }
    }

    /// The pod's interface, unless this packet is a copy of one that is seen there.
    pub(super) fn admit(
        &mut self,
        pod: IpAddr,
        direction: Direction,
        origin: Origin,
        link_direction: Option<LinkDirection>,
        now: Timestamp,
    ) -> Option<Ifindex> {
        let sends = match direction {
            Direction::FromPod => link_direction,
            Direction::ToPod => link_direction.map(LinkDirection::reverse),
        };
        let place = Place { origin, sends };
        let sent = direction == Direction::FromPod;
        let count = self.pods.len();
        let Some(known) = self.pods.get_mut(&pod) else {
            if count >= self.limit {
                self.overflow += 1;
                return Some(Ifindex(SYNTHETIC_INTERFACES));
            }
            let number = u32::try_from(count).unwrap_or(u32::MAX / 2);
            let ifindex = Ifindex(
                SYNTHETIC_INTERFACES
                    .saturating_add(number)
                    .saturating_add(1),
            );
            self.fresh.push((ifindex, pod));
            self.pods.insert(
                pod,
                Pod {
                    ifindex,
                    place,
                    proven: sent,
                    last: now,
                },
            );
            return Some(ifindex);
        };
        if known.place == place {
            known.proven |= sent;
            known.last = now;
            return Some(known.ifindex);
        }
        let silent = now.since(known.last).max(known.last.since(now)) > PLACE_TRUST;
        let another_section = known.place.origin.section != origin.section;
        if another_section || (sent && (silent || !known.proven)) {
            known.place = place;
            known.proven = sent;
            known.last = now;
            return Some(known.ifindex);
        }
        self.copies += 1;
        None
    }
}
