//! A synthetic interface for each pod of a capture, and which of a packet's copies is the one at the pod.
//!
//! `tcpdump -i any` on a node sees one packet at the pod's veth, at a bridge and at the uplink, the last with other
//! addresses where it is translated. The live program sees only the pod's interface, so replay must choose: a pod is at
//! the interface where its own packets are seen first, and its packets elsewhere at about the same time are copies.
//! (A packet reaches the node at the pod's veth before anywhere else. Captured inside the pod there is only one place.)

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{LinkDirection, Origin};
use crate::model::flow::{Direction, Ifindex};
use crate::model::time::Timestamp;

/// Synthetic interface indices start here, so they never meet a kernel's, which are positive 32-bit integers.
pub const SYNTHETIC_INTERFACES: u32 = 0x8000_0000;

/// Copies of a packet are microseconds apart. A pod that was silent for longer may have moved: its address was given to
/// another pod, or another capture was appended to the file.
const HOME_TRUST: Duration = Duration::from_secs(1);

/// Where a pod's packets are to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    origin: Origin,
    /// In which direction those go that the pod sends, where the capture tells: in on the node, out in the pod.
    sends: Option<LinkDirection>,
}

#[derive(Debug)]
struct Pod {
    ifindex: Ifindex,
    place: Place,
    /// By a packet that it sent. One that was sent to it may have been seen at the uplink first.
    sure: bool,
    last: Timestamp,
}

/// Pod addresses by order of appearance.
#[derive(Debug)]
pub(super) struct Interfaces {
    pods: HashMap<IpAddr, Pod>,
    limit: usize,
    fresh: Vec<(Ifindex, IpAddr)>,
    /// Interfaces of a recording, with the pod that was told of them.
    recorded: HashMap<Ifindex, IpAddr>,
    overflow: u64,
    copies: u64,
}

impl Interfaces {
    /// For `limit` pod addresses. Those beyond share one interface, and their packets' copies are not told apart.
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

    /// Packets that were copies of others.
    pub(super) fn copies(&self) -> u64 {
        self.copies
    }

    /// Packets of pods beyond the limit.
    pub(super) fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Interfaces that appeared since the last call, with the pod's address.
    pub(super) fn fresh(&mut self) -> Vec<(Ifindex, IpAddr)> {
        std::mem::take(&mut self.fresh)
    }

    /// A recording says that this pod is behind this interface.
    pub(super) fn recorded(&mut self, ifindex: Ifindex, pod: IpAddr) {
        if !self.recorded.contains_key(&ifindex) && self.recorded.len() < self.limit {
            self.recorded.insert(ifindex, pod);
            self.fresh.push((ifindex, pod));
        }
    }

    /// The pod's interface, unless this packet is a copy of what was or will be seen there.
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
                    sure: sent,
                    last: now,
                },
            );
            return Some(ifindex);
        };
        if known.place == place {
            known.sure |= sent;
            known.last = now;
            return Some(known.ifindex);
        }
        let silent = now.since(known.last).max(known.last.since(now)) > HOME_TRUST;
        let another_section = known.place.origin.section != origin.section;
        if another_section || (sent && (silent || !known.sure)) {
            known.place = place;
            known.sure = sent;
            known.last = now;
            return Some(known.ifindex);
        }
        self.copies += 1;
        None
    }
}
