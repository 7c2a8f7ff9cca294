//! Frames that a capture has twice, as from a mirror port or two hooks of one interface.
//!
//! Equal bytes alone do not make a copy: a program may send the same datagram again. But a host numbers its IPv4
//! packets, so equal packets with a number, one shortly after the other, are one packet. Of packets without a
//! number (IPv6, and IPv4 packets that may not be fragmented from some senders) only those are taken for copies
//! that no host repeats so soon: SYNs, their answers, and DNS messages.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::Packet;
use crate::model::time::Timestamp;

/// Copies of a packet follow it within microseconds; a busy capturing host needs more.
const MAX_DISTANCE: Duration = Duration::from_millis(1);
/// Packets remembered at a time.
const MAX_PACKETS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// The bytes compared: the headers with their checksums, which cover the rest.
const COMPARED_BYTES: usize = 128;

const IPV6_HEADER: usize = 40;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 0x02;

/// The latest packets.
#[derive(Debug)]
pub(super) struct Duplicates {
    latest: LruCache<u64, Timestamp>,
    dns_ports: Vec<u16>,
    found: u64,
}

impl Duplicates {
    pub(super) fn new(dns_ports: &[u16]) -> Duplicates {
        Duplicates {
            latest: LruCache::new(MAX_PACKETS),
            dns_ports: dns_ports.to_vec(),
            found: 0,
        }
    }

    /// Whether the same frame was there a moment ago, at the same place and in the same direction.
    pub(super) fn is_copy(&mut self, packet: &Packet) -> bool {
        if !is_numbered(&packet.bytes) && !self.is_never_repeated(&packet.bytes) {
            return false;
        }
        // With fixed keys, so that a replay repeats itself.
        let mut hasher = DefaultHasher::new();
        packet.origin.hash(&mut hasher);
        packet.direction.hash(&mut hasher);
        packet.wire_len.hash(&mut hasher);
        let compared = packet.bytes.len().min(COMPARED_BYTES);
        packet.bytes.get(..compared).hash(&mut hasher);
        let key = hasher.finish();
        let earlier = self.latest.get(&key).copied();
        self.latest.put(key, packet.time);
        let copy = earlier.is_some_and(|earlier| {
            packet.time.since(earlier).max(earlier.since(packet.time)) <= MAX_DISTANCE
        });
        self.found += u64::from(copy);
        copy
    }

    /// Whether no host sends such a packet twice within a moment.
    fn is_never_repeated(&self, bytes: &[u8]) -> bool {
        let (protocol, transport) = match bytes {
            [first, ..] if first >> 4 == 4 => {
                let header = usize::from(first & 0x0f) * 4;
                (bytes.get(9), bytes.get(header..))
            }
            [first, ..] if first >> 4 == 6 => (bytes.get(6), bytes.get(IPV6_HEADER..)),
            _ => return false,
        };
        match (protocol, transport) {
            (Some(&TCP), Some(segment)) => segment.get(13).is_some_and(|flags| flags & SYN != 0),
            (Some(&UDP), Some(&[a, b, c, d, ..])) => {
                let ports = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
                ports.iter().any(|port| self.dns_ports.contains(port))
            }
            _ => false,
        }
    }

    /// The number of copies.
    pub(super) fn found(&self) -> u64 {
        self.found
    }
}

/// Whether it is an IPv4 packet whose sender numbers its packets.
fn is_numbered(bytes: &[u8]) -> bool {
    match bytes {
        [first, _, _, _, high, low, ..] => first >> 4 == 4 && (*high, *low) != (0, 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    fn packet(microseconds: u64, id: u8, content: u8) -> Packet {
        let mut bytes = vec![0; 40];
        bytes[0] = 0x45;
        bytes[5] = id;
        bytes[39] = content;
        Packet {
            time: Timestamp(microseconds * 1_000),
            origin: Origin::default(),
            direction: None,
            ethertype: 0x0800,
            wire_len: 40,
            bytes,
            lost: 0,
            recorded: None,
        }
    }

    #[test]
    fn the_same_frame_a_moment_later_is_a_copy() {
        let mut duplicates = Duplicates::new(&[53]);
        assert!(!duplicates.is_copy(&packet(0, 7, 1)));
        assert!(duplicates.is_copy(&packet(316, 7, 1)));
        assert_eq!(duplicates.found(), 1);
    }

    #[test]
    fn a_repetition_with_another_number_or_much_later_is_none() {
        let mut duplicates = Duplicates::new(&[53]);
        assert!(!duplicates.is_copy(&packet(0, 7, 1)));
        assert!(!duplicates.is_copy(&packet(10, 8, 1)));
        assert!(!duplicates.is_copy(&packet(20, 7, 2)));
        assert!(!duplicates.is_copy(&packet(5_000, 7, 1)));
        // Without a number nothing shows that they are the same.
        assert!(!duplicates.is_copy(&packet(6_000, 0, 1)));
        assert!(!duplicates.is_copy(&packet(6_010, 0, 1)));
    }

    #[test]
    fn a_syn_ack_and_a_query_need_no_number() {
        let mut duplicates = Duplicates::new(&[53]);
        let mut syn_ack = packet(0, 0, 1);
        syn_ack.bytes[9] = TCP;
        syn_ack.bytes[33] = SYN;
        assert!(!duplicates.is_copy(&syn_ack));
        assert!(duplicates.is_copy(&syn_ack));
        let mut query = packet(0, 0, 1);
        query.bytes[9] = UDP;
        query.bytes[23] = 53;
        assert!(!duplicates.is_copy(&query));
        assert!(duplicates.is_copy(&query));
        query.bytes[23] = 54;
        assert!(!duplicates.is_copy(&query));
        assert!(!duplicates.is_copy(&query));
    }
}
