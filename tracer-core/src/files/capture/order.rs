//! Sorts the packets of several interfaces by timestamp.
//!
//! A program that captures on several interfaces at once (dumpcap, Wireshark) writes their packets in
//! batches, so that the file has an answer before its query, tens of milliseconds apart. A capture of one
//! interface is in order and passes without delay, so that the packets of a live pipe arrive at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Packet;
use crate::model::time::Timestamp;

/// How late a packet may arrive: libpcap delivers a batch within a second.
const MAX_LATENESS: Duration = Duration::from_secs(1);

/// The memory limit for waiting packets; beyond it the earliest is released.
const MAX_BYTES: usize = 32 << 20;

/// The memory overhead of a packet.
const PACKET_BYTES: usize = 256;

/// Packets that wait for earlier ones, and packets that are ready.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// By timestamp, then by arrival.
    waiting: BTreeMap<(Timestamp, u64), Packet>,
    waiting_bytes: usize,
    ready: VecDeque<Packet>,
    section: u32,
    latest: Timestamp,
    taken: u64,
}

impl Order {
    /// Adds a packet; with `hold` it waits for earlier ones.
    pub(super) fn push(&mut self, packet: Packet, hold: bool) {
        if packet.origin.section != self.section || !hold {
            // Another section is another capture, from any time.
            self.end();
            self.section = packet.origin.section;
            self.latest = packet.time;
        }
        if !hold {
            self.ready.push_back(packet);
            return;
        }
        self.latest = self.latest.max(packet.time);
        self.waiting_bytes += memory_bytes(&packet);
        self.waiting.insert((packet.time, self.taken), packet);
        self.taken += 1;
        while let Some((&(time, _), _)) = self.waiting.first_key_value()
            && (self.latest.since(time) > MAX_LATENESS || self.waiting_bytes > MAX_BYTES)
        {
            self.release();
        }
    }

    /// The input ended: releases everything.
    pub(super) fn end(&mut self) {
        while self.release() {}
    }

    /// Whether packets are waiting.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next packet in order.
    pub(super) fn pop(&mut self) -> Option<Packet> {
        self.ready.pop_front()
    }

    fn release(&mut self) -> bool {
        let Some((_, packet)) = self.waiting.pop_first() else {
            return false;
        };
        self.waiting_bytes -= memory_bytes(&packet);
        self.ready.push_back(packet);
        true
    }
}

fn memory_bytes(packet: &Packet) -> usize {
    packet.bytes.len() + PACKET_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    fn packet(section: u32, milliseconds: u64) -> Packet {
        Packet {
            time: Timestamp(milliseconds * 1_000_000),
            origin: Origin {
                section,
                ..Origin::default()
            },
            direction: None,
            ethertype: 0x0800,
            wire_len: 0,
            bytes: Vec::new(),
            lost: 0,
            recorded: None,
        }
    }

    fn popped(order: &mut Order) -> Vec<u64> {
        let all = std::iter::from_fn(|| order.pop());
        all.map(|packet| packet.time.0 / 1_000_000).collect()
    }

    #[test]
    fn packets_of_several_interfaces_are_sorted_by_timestamp() {
        let mut order = Order::default();
        for time in [500, 100, 900, 100, 1_400] {
            order.push(packet(0, time), true);
        }
        assert_eq!(popped(&mut order), [100, 100]);
        order.end();
        assert_eq!(popped(&mut order), [500, 900, 1_400]);
    }

    #[test]
    fn packets_of_one_interface_pass_without_delay() {
        let mut order = Order::default();
        for time in [500, 100] {
            order.push(packet(0, time), false);
            assert_eq!(popped(&mut order), [time]);
        }
    }

    #[test]
    fn an_earlier_section_comes_first_whatever_its_timestamps() {
        let mut order = Order::default();
        order.push(packet(0, 9_000), true);
        order.push(packet(1, 200), true);
        order.push(packet(1, 100), true);
        order.end();
        assert_eq!(popped(&mut order), [9_000, 100, 200]);
    }

    #[test]
    fn waiting_packets_are_bounded() {
        let mut order = Order::default();
        let large = Packet {
            bytes: vec![0; 1 << 20],
            ..packet(0, 5)
        };
        for _ in 0..40 {
            order.push(large.clone(), true);
        }
        assert!(popped(&mut order).len() >= 8);
    }
}
