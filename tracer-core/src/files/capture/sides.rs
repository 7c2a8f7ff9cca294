//! Determines which end of a captured packet is the pod. A live record knows it from the interface, a file
//! does not.
//!
//! The inventory decides. Where both ends are pods the packet is seen twice, as in a live run: leaving one
//! pod and reaching the other. A packet without a listed pod is attributed to its client.
//! [`super::interfaces`] chooses among copies of a packet, [`super::roles`] determines the client of a flow.

use std::net::IpAddr;
use std::num::NonZeroUsize;

use super::Packet;
use super::duplicates::Duplicates;
use super::headers::{Headers, pod_address};
use super::interfaces::{Interfaces, SYNTHETIC_INTERFACES};
use super::roles::Roles;
use crate::model::flow::{Direction, Ifindex};
use crate::model::loss::{Losses, Missing, Stage, Thinning};
use crate::model::record::Record;

/// Pod addresses that get their own interface.
const MAX_PODS: usize = 65_536;

/// Counts of placed packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SidesStats {
    /// Packets dropped as copies: of ones seen at the pod, or the same frame again.
    pub copies: u64,
}

/// Turns packets into records.
#[derive(Debug)]
pub struct Sides {
    dns_ports: Vec<u16>,
    roles: Roles,
    interfaces: Interfaces,
    duplicates: Duplicates,
}

impl Sides {
    /// DNS servers use `dns_ports`; the clients of up to `flows` flows are remembered.
    pub fn new(dns_ports: &[u16], flows: usize) -> Sides {
        let flows = NonZeroUsize::new(flows).unwrap_or(NonZeroUsize::MIN);
        Sides {
            dns_ports: dns_ports.to_vec(),
            roles: Roles::new(dns_ports.to_vec(), flows),
            interfaces: Interfaces::new(MAX_PODS),
            duplicates: Duplicates::new(dns_ports),
        }
    }

    /// Appends the packet's records, without flow counters: none for a copy, two if both ends are pods.
    ///
    /// `is_pod` returns whether a pod has an address; without an inventory it is always false.
    pub fn place(
        &mut self,
        mut packet: Packet,
        is_pod: impl Fn(IpAddr) -> bool,
        out: &mut Vec<Record>,
    ) {
        if let Some(recorded) = packet.recorded.take() {
            let record = Record {
                totals: recorded.totals,
                sender_cgroup: recorded.sender_cgroup,
                sender_process: recorded.sender_process,
                ..record(packet, recorded.ifindex, recorded.direction)
            };
            if let Some(pod) = pod_address(&record).filter(|pod| is_pod(*pod)) {
                self.interfaces.recorded(recorded.ifindex, pod);
            }
            out.push(record);
            return;
        }
        if self.duplicates.is_copy(&packet) {
            return;
        }
        let Some(headers) = Headers::read(&packet.bytes, &self.dns_ports) else {
            // The decoder counts the fault.
            out.push(record(
                packet,
                Ifindex(SYNTHETIC_INTERFACES),
                Direction::FromPod,
            ));
            return;
        };
        let (from, to) = match (is_pod(headers.src), is_pod(headers.dst)) {
            (true, true) if headers.src != headers.dst => (true, true),
            (true, false) => (true, false),
            (false, true) => (false, true),
            // No pod is listed, or a host talks to itself: then only the ports distinguish the ends.
            _ => {
                let from = self.roles.sender_is_client(&headers);
                (from, !from)
            }
        };
        let (origin, link_direction, time) = (packet.origin, packet.direction, packet.time);
        let mut admit = |wanted: bool, pod: IpAddr, direction: Direction| {
            wanted
                .then(|| {
                    self.interfaces
                        .admit(pod, direction, origin, link_direction, time)
                })
                .flatten()
        };
        let sender = admit(from, headers.src, Direction::FromPod);
        let receiver = admit(to, headers.dst, Direction::ToPod);
        match (sender, receiver) {
            (Some(sender), Some(receiver)) => {
                out.push(record(packet.clone(), sender, Direction::FromPod));
                out.push(record(packet, receiver, Direction::ToPod));
            }
            (Some(sender), None) => out.push(record(packet, sender, Direction::FromPod)),
            (None, Some(receiver)) => out.push(record(packet, receiver, Direction::ToPod)),
            (None, None) => {}
        }
    }

    /// Interfaces that appeared since the last call, with their pod's address. The identity index needs them
    /// to know which pods were traced. Includes synthetic interfaces, and a recording's interfaces whose pod
    /// is listed.
    pub fn new_interfaces(&mut self) -> Vec<(Ifindex, IpAddr)> {
        self.interfaces.fresh()
    }

    /// Counts of placed packets.
    pub fn stats(&self) -> SidesStats {
        SidesStats {
            copies: self.interfaces.copies() + self.duplicates.found(),
        }
    }

    /// Losses caused by the limits.
    pub fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        losses.add(Stage::Table, "replay role table full", self.roles.evicted());
        losses.add(
            Stage::Table,
            "replay interface table full",
            self.interfaces.overflow(),
        );
        losses
    }
}

fn record(packet: Packet, ifindex: Ifindex, direction: Direction) -> Record {
    Record {
        time: packet.time,
        ifindex,
        direction,
        ethertype: packet.ethertype,
        wire_len: packet.wire_len,
        chunk_offset: 0,
        totals: None,
        missing: Missing {
            count: packet.lost,
            thinning: Thinning::default(),
        },
        sender_cgroup: 0,
        sender_process: None,
        bytes: packet.bytes,
    }
}
