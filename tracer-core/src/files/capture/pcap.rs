//! The pcap format (draft-ietf-opsawg-pcap): a file header, then packets.

use pcap_parser::pcap::{
    LegacyPcapBlock, PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified,
    parse_pcap_header,
};

use super::Origin;
use super::link::Link;
use super::reader::{Frame, LostBefore, Step, Stop, Tally};
use super::window::Window;
use crate::model::time::Timestamp;

const HEADER_LEN: usize = 24;
const PACKET_HEADER_LEN: usize = 16;
/// Alexey Kuznetzov's variant has eight bytes more.
const MODIFIED_PACKET_HEADER_LEN: usize = 24;

/// libpcap takes no more than 256 KiB; a BIG TCP segment can be 512 KiB.
const MAX_PACKET_BYTES: u32 = 1 << 20;

/// A pcap file whose header has been read.
pub(super) struct Pcap {
    header: PcapHeader,
    link: Link,
}

impl Pcap {
    /// Recognizes the format by its first four bytes.
    pub(super) fn is_one(start: &[u8]) -> bool {
        matches!(
            start,
            // Microseconds, nanoseconds and Kuznetzov's variant, little-endian; then big-endian.
            [0xd4, 0xc3, 0xb2, 0xa1, ..]
                | [0x4d, 0x3c, 0xb2, 0xa1, ..]
                | [0x34, 0xcd, 0xb2, 0xa1, ..]
                | [0xa1, 0xb2, 0xc3, 0xd4, ..]
                | [0xa1, 0xb2, 0x3c, 0x4d, ..]
        )
    }

    /// Reads the file's header.
    pub(super) fn open(window: &mut Window) -> Result<Pcap, Stop> {
        if !window.want(HEADER_LEN)? {
            return Err(cut_short(window, HEADER_LEN));
        }
        let Ok((_, header)) = parse_pcap_header(window.data()) else {
            // All bytes are there and the magic number was checked.
            return Err(cut_short(window, HEADER_LEN));
        };
        // The upper bits state whether frames end with a checksum, which the IP length cuts off.
        let link_type = header.network.0.cast_unsigned() & 0xffff;
        let link = Link::from_number(link_type).ok_or(Stop::LinkType(link_type))?;
        window.advance(HEADER_LEN);
        Ok(Pcap { header, link })
    }

    pub(super) fn next(&mut self, window: &mut Window, tally: &mut Tally) -> Result<Step, Stop> {
        let (parse, header_len) = if self.header.is_modified_format() {
            (
                parse_pcap_frame_modified as fn(_) -> _,
                MODIFIED_PACKET_HEADER_LEN,
            )
        } else if self.header.is_bigendian() {
            (parse_pcap_frame_be as fn(_) -> _, PACKET_HEADER_LEN)
        } else {
            (parse_pcap_frame as fn(_) -> _, PACKET_HEADER_LEN)
        };
        if !window.want(header_len)? {
            return match window.data() {
                [] => Ok(Step::End),
                _ => Err(cut_short(window, header_len)),
            };
        }
        let captured = self.captured_len(window.data());
        if captured > MAX_PACKET_BYTES {
            return Err(Stop::TooLong {
                length: u64::from(captured),
                limit: u64::from(MAX_PACKET_BYTES),
            });
        }
        let len = header_len + usize::try_from(captured).unwrap_or(usize::MAX);
        if !window.want(len)? {
            return Err(cut_short(window, len));
        }
        let parsed: Result<(_, LegacyPcapBlock<'_>), _> = parse(window.data());
        let Ok((_, packet)) = parsed else {
            return Err(cut_short(window, len));
        };
        let frame = Frame {
            time: self.time(&packet),
            origin: Origin::default(),
            link: self.link,
            direction: None,
            wire_len: packet.origlen,
            lost: LostBefore::default(),
            data: packet.data,
        };
        let packet = tally.packet(&frame, std::iter::empty());
        window.advance(len);
        Ok(packet.map_or(Step::Nothing, Step::Packet))
    }

    /// The captured length, the third field of a packet's header, before the packet itself has been read.
    fn captured_len(&self, header: &[u8]) -> u32 {
        let bytes = header
            .get(8..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or_default();
        if self.header.is_bigendian() {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }

    fn time(&self, packet: &LegacyPcapBlock<'_>) -> Timestamp {
        let unit_ns = if self.header.is_nanosecond_precision() {
            1
        } else {
            1_000
        };
        Timestamp(u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_usec) * unit_ns)
    }
}

fn cut_short(window: &Window, need: usize) -> Stop {
    Stop::CutShort {
        have: window.data().len() as u64,
        need: need as u64,
    }
}
