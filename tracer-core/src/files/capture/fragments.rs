//! Puts IP fragments together again, so that a message in several of them is read whole.
//!
//! Live only the first fragment is decoded: it has the ports, and the pipeline must not wait. Here the rest may be looked
//! for. etherparse's buffer of one packet is used and not its pool of them, which knows no bound. What cannot be put
//! together (a fragment is missing, or was cut by the capture, or two contradict each other) goes on as it came, and the
//! decoder does with it what it does live.

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

/// The fragments of a packet follow each other closely. A receiver waits longer, but an answer's first fragment must be
/// known before its query is taken for unanswered.
const PATIENCE: Duration = Duration::from_secs(2);

/// Packets that are put together at a time.
const MAX_SETS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// What they cost in memory.
const MAX_BYTES: usize = 32 << 20;
/// What a fragment costs beside its bytes.
const FRAGMENT_BYTES: usize = 256;
/// The least MTU of IPv4 (RFC 791) makes so many of the longest packet.
const MAX_FRAGMENTS: usize = 1_366;

const IPV6_HEADER: usize = 40;

/// A packet, and what it was on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) packet: Packet,
    /// Packets and bytes, where it came in fragments.
    pub(super) fragments: Option<Traffic>,
}

/// What the fragments of one packet have in common. The same packet captured at two places is two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    direction: Option<LinkDirection>,
    recorded: Option<(Ifindex, Direction)>,
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// Part of the key in IPv4 (RFC 791); in IPv6 only the first fragment's counts (RFC 8200).
    protocol: Option<IpNumber>,
}

/// Fragments of one packet.
#[derive(Debug)]
struct Set {
    packets: Vec<Packet>,
    /// Which of them is the first, and where its fragmentable part starts.
    first: Option<(usize, usize)>,
    together: IpDefragBuf,
    cost: usize,
}

/// Fragments that wait for others, and packets that need not wait.
#[derive(Debug)]
pub(super) struct Fragments {
    /// In the order in which they grew.
    sets: LruCache<Key, Set>,
    bytes: usize,
    ready: VecDeque<Whole>,
    reassembled: u64,
    crowded_out: u64,
}

impl Default for Fragments {
    fn default() -> Fragments {
        Fragments {
            sets: LruCache::new(MAX_SETS),
            bytes: 0,
            ready: VecDeque::new(),
            reassembled: 0,
            crowded_out: 0,
        }
    }
}

/// What a fragment says of itself.
struct Piece {
    key: Key,
    offset: IpFragOffset,
    more: bool,
    number: IpNumber,
    /// Where the payload stands in the packet.
    payload: std::ops::Range<usize>,
}

impl Fragments {
    /// Takes a packet.
    pub(super) fn push(&mut self, packet: Packet) {
        while let Some((_, set)) = self.sets.peek_lru()
            && set.is_overdue(&packet)
        {
            self.give_up_oldest();
        }
        match Piece::of(&packet) {
            None => self.pass(packet),
            Some(piece) => self.add(piece, packet),
        }
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        while self.give_up_oldest() {}
    }

    /// The next packet.
    pub(super) fn pop(&mut self) -> Option<Whole> {
        self.ready.pop_front()
    }

    /// Whether fragments wait for others.
    pub(super) fn holds(&self) -> bool {
        !self.sets.is_empty()
    }

    /// Packets that were put together.
    pub(super) fn reassembled(&self) -> u64 {
        self.reassembled
    }

    /// What the limits cost.
    pub(super) fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        losses.add(Stage::Table, "replay fragment table full", self.crowded_out);
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
                self.bytes -= set.cost;
                set
            }
            None => Set {
                packets: Vec::new(),
                first: None,
                together: IpDefragBuf::new(number, Vec::new(), Vec::new()),
                cost: 0,
            },
        };
        // What was cut by the capture has a payload that is not all there.
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
        if set.together.is_complete() {
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
            self.crowded_out += 1;
            return self.release(set);
        }
        set.cost = set.together.data().capacity()
            + set
                .packets
                .iter()
                .map(|packet| packet.bytes.len() + FRAGMENT_BYTES)
                .sum::<usize>();
        self.bytes += set.cost;
        self.keep(key, set);
    }

    fn keep(&mut self, key: Key, set: Set) {
        while self.sets.len() >= MAX_SETS.get() || (self.bytes > MAX_BYTES && !self.sets.is_empty())
        {
            self.crowded_out += 1;
            self.give_up_oldest();
        }
        self.sets.put(key, set);
    }

    fn give_up_oldest(&mut self) -> bool {
        let Some((_, set)) = self.sets.pop_lru() else {
            return false;
        };
        self.bytes -= set.cost;
        self.release(set);
        true
    }

    /// Lets fragments go as they came.
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
    /// Whether nothing of it came for long, or the stamps went back to another time.
    fn is_overdue(&self, now: &Packet) -> bool {
        self.packets.last().is_some_and(|last| {
            now.origin.section != last.origin.section
                || now.time.since(last.time).max(last.time.since(now.time)) > PATIENCE
        })
    }

    /// Adds a fragment's payload; false if it does not fit the others.
    fn take(&mut self, offset: IpFragOffset, more: bool, payload: &[u8]) -> bool {
        let start = usize::from(offset.byte_offset());
        let end = start + payload.len();
        // A fragment may come twice. One that says otherwise than another is an error or an attack (RFC 5722).
        let contradicts = self.together.sections().iter().any(|section| {
            let low = start.max(usize::from(section.start));
            let high = end.min(usize::from(section.end));
            low < high
                && self.together.data().get(low..high) != payload.get(low - start..high - start)
        });
        !contradicts && self.together.add(offset, more, payload).is_ok()
    }

    /// The packet, as if it had never been cut. It is there when the last fragment is.
    fn whole(self) -> Result<Whole, Set> {
        let assembled = self.first.and_then(|(first, start)| {
            let first = self.packets.get(first)?;
            let header = first.bytes.get(..start)?;
            let bytes = unfragmented(header, self.together.data())?;
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
    /// `None` for a packet that is whole, or not to be read.
    fn of(packet: &Packet) -> Option<Piece> {
        let (ip, stopped) = LaxIpSlice::from_slice(&packet.bytes).ok()?;
        // etherparse must not be asked for extension headers that are not all there: see `headers`.
        if stopped.is_some() {
            return None;
        }
        let key = |id, protocol| Key {
            origin: packet.origin,
            direction: packet.direction,
            recorded: packet
                .recorded
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

/// The packet of the first fragment's headers and the whole payload. In IPv6 the fragment header stays, and says that this
/// is all (an atomic fragment, RFC 6946). `None` where the packet would be longer than a packet can be.
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
