//! Reassembles IP fragments, so that a message in several fragments is decoded completely.
//!
//! A live run decodes only the first fragment: it has the ports, and the pipeline must not wait. A replay can
//! look for the rest. Uses etherparse's buffer for one packet, but not its pool of them, which is unbounded.
//! Fragments that cannot be reassembled (one is missing, or was truncated by the capture, or two contradict
//! each other) continue unchanged, and the decoder treats them as in a live run.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use etherparse::defrag::IpDefragBuf;
use etherparse::{
    IpFragOffset, IpNumber, Ipv4HeaderSlice, Ipv6ExtensionSlice, Ipv6FragmentHeader, LaxIpSlice,
};
use lru::LruCache;

use super::{LinkDirection, Origin, Packet};
use crate::model::flow::{Direction, Ifindex, Traffic};
use crate::model::loss::{Losses, Stage};

/// How long fragments wait for the rest of their packet. They normally follow each other closely. A receiver
/// waits longer, but an answer's first fragment must be known before its query counts as unanswered.
const MAX_FRAGMENT_GAP: Duration = Duration::from_secs(2);

/// Packets in reassembly at a time.
const MAX_SETS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// The memory limit for them.
const MAX_BYTES: usize = 32 << 20;
/// The memory overhead of a fragment.
const FRAGMENT_BYTES: usize = 256;
/// The longest packet over the smallest IPv4 MTU (RFC 791) has this many fragments.
const MAX_FRAGMENTS: usize = 1_366;

const IPV6_HEADER: usize = 40;

/// A complete packet, and what it was on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) packet: Packet,
    /// Packets and bytes on the wire, if it was fragmented.
    pub(super) fragments: Option<Traffic>,
}

/// What identifies the fragments of one packet. A packet captured at two places counts as two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    direction: Option<LinkDirection>,
    recorded: Option<(Ifindex, Direction)>,
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// Part of the key in IPv4 (RFC 791). In IPv6 only the first fragment's protocol counts (RFC 8200).
    protocol: Option<IpNumber>,
}

/// The fragments of one packet.
#[derive(Debug)]
struct Set {
    packets: Vec<Packet>,
    /// The index of the first fragment, and the offset of its fragmentable part.
    first: Option<(usize, usize)>,
    buffer: IpDefragBuf,
    memory_bytes: usize,
}

/// Fragments that wait for the rest, and packets that are ready.
#[derive(Debug)]
pub(super) struct Fragments {
    /// Least recently extended first.
    sets: LruCache<Key, Set>,
    bytes: usize,
    ready: VecDeque<Whole>,
    reassembled: u64,
    evicted: u64,
}

impl Default for Fragments {
    fn default() -> Fragments {
        Fragments {
            sets: LruCache::new(MAX_SETS),
            bytes: 0,
            ready: VecDeque::new(),
            reassembled: 0,
            evicted: 0,
        }
    }
}

/// The fragment fields of a packet.
struct Piece {
    key: Key,
    offset: IpFragOffset,
    more: bool,
    number: IpNumber,
    /// The range of the payload in the packet.
    payload: std::ops::Range<usize>,
}

impl Fragments {
    /// Adds a packet.
    pub(super) fn push(&mut self, packet: Packet) {
        while let Some((_, set)) = self.sets.peek_lru()
            && set.is_overdue(&packet)
        {
            self.release_oldest();
        }
        match Piece::from_packet(&packet) {
            None => self.pass(packet),
            Some(piece) => self.add(piece, packet),
        }
    }

    /// The input ended: releases everything.
    pub(super) fn end(&mut self) {
        while self.release_oldest() {}
    }

    /// The next ready packet.
    pub(super) fn pop(&mut self) -> Option<Whole> {
        self.ready.pop_front()
    }

    /// Whether fragments are waiting.
    pub(super) fn has_waiting(&self) -> bool {
        !self.sets.is_empty()
    }

    /// The number of reassembled packets.
    pub(super) fn reassembled(&self) -> u64 {
        self.reassembled
    }

    /// Losses caused by the limits.
    pub(super) fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        losses.add(Stage::Table, "replay fragment table full", self.evicted);
        losses
    }

    fn add(&mut self, piece: Piece, packet: Packet) {
        let Piece {
            key,
            offset,
            more,
            number,
            payload,
        } = piece;
        let mut set = match self.sets.pop(&key) {
            Some(set) => {
                self.bytes -= set.memory_bytes;
                set
            }
            None => Set {
                packets: Vec::new(),
                first: None,
                buffer: IpDefragBuf::new(number, Vec::new(), Vec::new()),
                memory_bytes: 0,
            },
        };
        // The payload of a packet that the capture truncated is incomplete.
        let fits = packet
            .bytes
            .get(payload.clone())
            .is_some_and(|bytes| set.take(offset, more, bytes));
        if offset.value() == 0 && set.first.is_none() {
            set.first = Some((set.packets.len(), payload.start));
        }
        set.packets.push(packet);
        if !fits {
            return self.release(set);
        }
        if set.buffer.is_complete() {
            match set.whole() {
                Ok(whole) => {
                    self.reassembled += 1;
                    self.ready.push_back(whole);
                }
                Err(set) => self.release(set),
            }
            return;
        }
        if set.packets.len() >= MAX_FRAGMENTS {
            self.evicted += 1;
            return self.release(set);
        }
        set.memory_bytes = set.buffer.data().capacity()
            + set
                .packets
                .iter()
                .map(|packet| packet.bytes.len() + FRAGMENT_BYTES)
                .sum::<usize>();
        self.bytes += set.memory_bytes;
        self.keep(key, set);
    }

    fn keep(&mut self, key: Key, set: Set) {
        while self.sets.len() >= MAX_SETS.get() || (self.bytes > MAX_BYTES && !self.sets.is_empty())
        {
            self.evicted += 1;
            self.release_oldest();
        }
        self.sets.put(key, set);
    }

    fn release_oldest(&mut self) -> bool {
        let Some((_, set)) = self.sets.pop_lru() else {
            return false;
        };
        self.bytes -= set.memory_bytes;
        self.release(set);
        true
    }

    /// Releases fragments unchanged.
    fn release(&mut self, set: Set) {
        for packet in set.packets {
            self.pass(packet);
        }
    }

    fn pass(&mut self, packet: Packet) {
        self.ready.push_back(Whole {
            packet,
            fragments: None,
        });
    }
}

impl Set {
    /// Whether its last fragment is too old, or the timestamps jumped.
    fn is_overdue(&self, now: &Packet) -> bool {
        self.packets.last().is_some_and(|last| {
            now.origin.section != last.origin.section
                || now.time.since(last.time).max(last.time.since(now.time)) > MAX_FRAGMENT_GAP
        })
    }

    /// Adds a fragment's payload; false if it does not fit the others.
    fn take(&mut self, offset: IpFragOffset, more: bool, payload: &[u8]) -> bool {
        let start = usize::from(offset.byte_offset());
        let end = start + payload.len();
        // A fragment may be repeated. One that contradicts another is an error or an attack (RFC 5722).
        let contradicts = self.buffer.sections().iter().any(|section| {
            let low = start.max(usize::from(section.start));
            let high = end.min(usize::from(section.end));
            low < high
                && self.buffer.data().get(low..high) != payload.get(low - start..high - start)
        });
        !contradicts && self.buffer.add(offset, more, payload).is_ok()
    }

    /// The packet as if it had never been fragmented, at the time of its last fragment.
    fn whole(self) -> Result<Whole, Set> {
        let assembled = self.first.and_then(|(first, start)| {
            let first = self.packets.get(first)?;
            let header = first.bytes.get(..start)?;
            let bytes = unfragmented(header, self.buffer.data())?;
            Some((first, bytes))
        });
        let (Some((first, bytes)), Some(last)) = (assembled, self.packets.last()) else {
            return Err(self);
        };
        let fragments = Traffic {
            packets: self.packets.len() as u64,
            bytes: self
                .packets
                .iter()
                .map(|packet| u64::from(packet.wire_len))
                .sum(),
        };
        Ok(Whole {
            packet: Packet {
                time: last.time,
                wire_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                bytes,
                ..first.clone()
            },
            fragments: Some(fragments),
        })
    }
}

impl Piece {
    /// `None` for a packet that is not fragmented, or unreadable.
    fn from_packet(packet: &Packet) -> Option<Piece> {
        let (ip, stopped) = LaxIpSlice::from_slice(&packet.bytes).ok()?;
        // etherparse must not iterate over extension headers that are incomplete: see `headers`.
        if stopped.is_some() {
            return None;
        }
        let key = |id, protocol| Key {
            origin: packet.origin,
            direction: packet.direction,
            recorded: packet
                .recorded
                .as_ref()
                .map(|recorded| (recorded.ifindex, recorded.direction)),
            src: ip.source_addr(),
            dst: ip.destination_addr(),
            id,
            protocol,
        };
        match &ip {
            LaxIpSlice::Ipv4(ip) => {
                let header = ip.header();
                if !header.is_fragmenting_payload() {
                    return None;
                }
                let start = header.slice().len();
                let end = usize::from(header.total_len());
                Some(Piece {
                    key: key(u32::from(header.identification()), Some(header.protocol())),
                    offset: header.fragments_offset(),
                    more: header.more_fragments(),
                    number: header.protocol(),
                    payload: start..end.max(start),
                })
            }
            LaxIpSlice::Ipv6(ip) => {
                let mut start = IPV6_HEADER;
                for extension in ip.extensions().clone() {
                    start += extension_len(&extension);
                    let Ipv6ExtensionSlice::Fragment(fragment) = extension else {
                        continue;
                    };
                    if !fragment.is_fragmenting_payload() {
                        return None;
                    }
                    let end = IPV6_HEADER + usize::from(ip.header().payload_length());
                    return Some(Piece {
                        key: key(fragment.identification(), None),
                        offset: fragment.fragment_offset(),
                        more: fragment.more_fragments(),
                        number: fragment.next_header(),
                        payload: start..end.max(start),
                    });
                }
                None
            }
        }
    }
}

fn extension_len(extension: &Ipv6ExtensionSlice<'_>) -> usize {
    match extension {
        Ipv6ExtensionSlice::HopByHop(header)
        | Ipv6ExtensionSlice::Routing(header)
        | Ipv6ExtensionSlice::DestinationOptions(header) => header.slice().len(),
        Ipv6ExtensionSlice::Fragment(header) => header.slice().len(),
        Ipv6ExtensionSlice::Authentication(header) => header.slice().len(),
    }
}

/// A packet of the first fragment's headers and the whole payload. In IPv6 the fragment header stays and
/// marks the packet as an atomic fragment (RFC 6946). `None` if the packet would exceed the maximum length.
fn unfragmented(header: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = [header, payload].concat();
    if header.first()? >> 4 == 4 {
        let total = u16::try_from(bytes.len()).ok()?;
        let mut ip = Ipv4HeaderSlice::from_slice(header).ok()?.to_header();
        ip.total_len = total;
        ip.more_fragments = false;
        ip.fragment_offset = IpFragOffset::ZERO;
        ip.header_checksum = ip.calc_header_checksum();
        bytes
            .get_mut(..header.len())?
            .copy_from_slice(&ip.to_bytes());
    } else {
        let length = u16::try_from(bytes.len().checked_sub(IPV6_HEADER)?).ok()?;
        bytes.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
        let fragment = header.len().checked_sub(Ipv6FragmentHeader::LEN)?;
        bytes.get_mut(fragment + 2..fragment + 4)?.fill(0);
    }
    Some(bytes)
}
