//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each section with its own interfaces.

use pcap_parser::pcapng::{
    EnhancedPacketBlock, OptionCode, PcapNGOption, SimplePacketBlock, parse_enhancedpacketblock_be,
    parse_enhancedpacketblock_le, parse_interfacedescriptionblock_be,
    parse_interfacedescriptionblock_le, parse_sectionheaderblock, parse_simplepacketblock_be,
    parse_simplepacketblock_le,
};
use pcap_parser::traits::PcapNGPacketBlock as _;

use super::link::Link;
use super::reader::{Frame, LostBefore, Step, Stop, Tally};
use super::signal;
use super::stamps::Clock;
use super::window::Window;
use super::{LinkDirection, Malformed, Origin};
use crate::model::time::Timestamp;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_LITTLE: [u8; 4] = [0x4d, 0x3c, 0x2b, 0x1a];
const BYTE_ORDER_BIG: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];

/// The least block: type, length, and the length again.
const MIN_BLOCK_LEN: u32 = 12;
const MIN_SECTION_HEADER_LEN: u32 = 28;
/// The limit for blocks that are parsed; others are skipped, whatever their length.
const MAX_BLOCK_BYTES: u32 = 4 << 20;
/// A recording has one interface per pod of a node, and pods come and go.
const MAX_INTERFACES: usize = 65_536;

/// Options of an enhanced packet block.
const EPB_FLAGS: OptionCode = OptionCode(2);
const EPB_DROPCOUNT: OptionCode = OptionCode(4);

/// The parser's state between two blocks.
#[derive(Default)]
pub(super) struct PcapNg {
    big_endian: bool,
    section: Option<u32>,
    interfaces: Vec<Interface>,
    /// The latest packet's timestamp.
    last: Timestamp,
    /// Packets that were lost so far, modulo 2^16.
    lost: u16,
}

struct Interface {
    /// `None` if the link type is not supported.
    link: Option<Link>,
    snaplen: u32,
    clock: Clock,
    /// Packets that were lost so far, modulo 2^16.
    lost: u16,
}

impl PcapNg {
    /// Recognizes the format by its first four bytes.
    pub(super) fn is_one(start: &[u8]) -> bool {
        start.starts_with(&SECTION_HEADER.to_be_bytes())
    }

    /// The number of interfaces in the section so far.
    pub(super) fn interfaces(&self) -> usize {
        self.interfaces.len()
    }

    pub(super) fn next(&mut self, window: &mut Window, tally: &mut Tally) -> Result<Step, Stop> {
        let shortest = MIN_BLOCK_LEN as usize;
        if !window.want(shortest)? {
            return match window.data() {
                [] => Ok(Step::End),
                some => Err(Stop::CutShort {
                    have: some.len() as u64,
                    need: shortest as u64,
                }),
            };
        }
        let [kind, length, order] = first_words(window.data());
        let block_type = if kind == SECTION_HEADER.to_be_bytes() {
            // The type reads the same in both byte orders; the third word shows the section's.
            self.big_endian = match order {
                BYTE_ORDER_BIG => true,
                BYTE_ORDER_LITTLE => false,
                other => return Err(Malformed::ByteOrder(u32::from_be_bytes(other)).into()),
            };
            SECTION_HEADER
        } else {
            self.number(kind)
        };
        let length = self.number(length);
        let least = match block_type {
            SECTION_HEADER => MIN_SECTION_HEADER_LEN,
            _ => MIN_BLOCK_LEN,
        };
        if length < least || !length.is_multiple_of(4) {
            return Err(Malformed::BlockLength(length).into());
        }
        match block_type {
            SECTION_HEADER | INTERFACE_DESCRIPTION | SIMPLE_PACKET | ENHANCED_PACKET => {
                self.block(block_type, length, window, tally)
            }
            signal::BLOCK if length <= signal::MAX_BLOCK_BYTES => {
                self.block(block_type, length, window, tally)
            }
            _ => self.skip_block(length, window),
        }
    }

    /// Reads and parses a whole block.
    fn block(
        &mut self,
        block_type: u32,
        length: u32,
        window: &mut Window,
        tally: &mut Tally,
    ) -> Result<Step, Stop> {
        if length > MAX_BLOCK_BYTES {
            return Err(Stop::TooLong {
                length: u64::from(length),
                limit: u64::from(MAX_BLOCK_BYTES),
            });
        }
        let len = usize::try_from(length).unwrap_or(usize::MAX);
        if !window.want(len)? {
            return Err(Stop::CutShort {
                have: window.data().len() as u64,
                need: len as u64,
            });
        }
        let block = window.data().get(..len).unwrap_or_default();
        self.check_end(length, block)?;
        let step = match block_type {
            SECTION_HEADER => self.open_section(block).map(|()| Step::Nothing),
            INTERFACE_DESCRIPTION => self.describe(block).map(|()| Step::Nothing),
            SIMPLE_PACKET => Ok(self.simple_packet(block, tally)),
            signal::BLOCK => {
                tally.signal(block.get(8..len - 4).unwrap_or_default());
                Ok(Step::Nothing)
            }
            _ => Ok(self.enhanced_packet(block, tally)),
        };
        // Also skips the description of an unsupported interface: reading continues after it.
        window.advance(len);
        step
    }

    /// Skips an irrelevant block (name resolution, statistics, secrets, other writers' own) without keeping
    /// it in memory.
    fn skip_block(&self, length: u32, window: &mut Window) -> Result<Step, Stop> {
        let cut_short = |missing: u64| Stop::CutShort {
            have: u64::from(length) - missing,
            need: u64::from(length),
        };
        let missing = window.skip(u64::from(length) - 4)?;
        if missing > 0 {
            return Err(cut_short(missing + 4));
        }
        if !window.want(4)? {
            return Err(cut_short(4 - window.data().len() as u64));
        }
        self.check_end(length, window.data().get(..4).unwrap_or_default())?;
        window.advance(4);
        Ok(Step::Nothing)
    }

    /// Compares the lengths at both ends of a block: the cheapest sign of lost synchronisation.
    fn check_end(&self, start: u32, block: &[u8]) -> Result<(), Malformed> {
        let end = self.number(block.last_chunk().copied().unwrap_or_default());
        if start == end {
            Ok(())
        } else {
            Err(Malformed::BlockEnd { start, end })
        }
    }

    fn open_section(&mut self, block: &[u8]) -> Result<(), Stop> {
        let Ok((_, header)) = parse_sectionheaderblock(block) else {
            return Err(Malformed::SectionHeader.into());
        };
        // Another major version has other blocks.
        if header.major_version != 1 {
            return Err(Malformed::SectionHeader.into());
        }
        self.section = Some(self.section.map_or(0, |section| section.saturating_add(1)));
        self.interfaces.clear();
        Ok(())
    }

    fn describe(&mut self, block: &[u8]) -> Result<(), Stop> {
        let parsed = if self.big_endian {
            parse_interfacedescriptionblock_be(block)
        } else {
            parse_interfacedescriptionblock_le(block)
        };
        let Ok((_, description)) = parsed else {
            return Err(Malformed::InterfaceDescription.into());
        };
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(Malformed::Interfaces(MAX_INTERFACES).into());
        }
        let link_type = description.linktype.0.cast_unsigned();
        let link = Link::from_number(link_type);
        self.interfaces.push(Interface {
            link,
            snaplen: description.snaplen,
            clock: Clock::from_description(&description, self.big_endian),
            lost: 0,
        });
        match link {
            Some(_) => Ok(()),
            None => Err(Stop::LinkType(link_type)),
        }
    }

    fn enhanced_packet(&mut self, block: &[u8], tally: &mut Tally) -> Step {
        let parsed = if self.big_endian {
            parse_enhancedpacketblock_be(block)
        } else {
            parse_enhancedpacketblock_le(block)
        };
        let Ok((_, packet)) = parsed else {
            tally.lose("capture block malformed");
            return Step::Nothing;
        };
        let lost = self.lost_before(&packet);
        let Some(interface) = self.interface(packet.if_id) else {
            tally.lose("capture packet of an undescribed interface");
            return Step::Nothing;
        };
        let Some(link) = interface.link else {
            tally.lose("capture link type not supported");
            return Step::Nothing;
        };
        let stamp = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
        let time = interface.clock.time(stamp);
        let frame = Frame {
            time,
            origin: self.origin(packet.if_id),
            link,
            direction: self.direction(&packet),
            wire_len: packet.origlen,
            lost,
            data: packet.packet_data(),
        };
        let packet = tally.packet(&frame, comments(&packet.options));
        self.last = time;
        packet.map_or(Step::Nothing, Step::Packet)
    }

    /// A simple packet has no timestamp: it takes that of the packet before it.
    fn simple_packet(&self, block: &[u8], tally: &mut Tally) -> Step {
        let parsed: Result<(_, SimplePacketBlock<'_>), _> = if self.big_endian {
            parse_simplepacketblock_be(block)
        } else {
            parse_simplepacketblock_le(block)
        };
        let Ok((_, packet)) = parsed else {
            tally.lose("capture block malformed");
            return Step::Nothing;
        };
        // By definition it belongs to the section's first interface.
        let Some(interface) = self.interface(0) else {
            tally.lose("capture packet of an undescribed interface");
            return Step::Nothing;
        };
        let Some(link) = interface.link else {
            tally.lose("capture link type not supported");
            return Step::Nothing;
        };
        // The block does not state the captured length: it is the least of the remaining bytes, the snaplen
        // and the original length.
        let mut data = packet.packet_data();
        if interface.snaplen != 0 {
            let snaplen = usize::try_from(interface.snaplen).unwrap_or(usize::MAX);
            data = data.get(..snaplen).unwrap_or(data);
        }
        let frame = Frame {
            time: self.last,
            origin: self.origin(0),
            link,
            direction: None,
            wire_len: packet.origlen,
            lost: LostBefore {
                of_interface: interface.lost,
                of_file: self.lost,
            },
            data,
        };
        let packet = tally.packet(&frame, std::iter::empty());
        packet.map_or(Step::Nothing, Step::Packet)
    }

    /// Adds the packets that were lost between this one and the previous one of its interface.
    fn lost_before(&mut self, packet: &EnhancedPacketBlock<'_>) -> LostBefore {
        let count = packet
            .options
            .iter()
            .find(|option| option.code == EPB_DROPCOUNT)
            .and_then(|option| <[u8; 8]>::try_from(option.as_bytes().ok()?).ok());
        let count = match (count, self.big_endian) {
            (None, _) => 0,
            (Some(count), true) => u64::from_be_bytes(count),
            (Some(count), false) => u64::from_le_bytes(count),
        };
        // Any loss changes the sum, a multiple of 2^16 too.
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.lost = self.lost.wrapping_add(count);
        let number = usize::try_from(packet.if_id).unwrap_or(usize::MAX);
        let of_interface = self.interfaces.get_mut(number).map(|interface| {
            interface.lost = interface.lost.wrapping_add(count);
            interface.lost
        });
        LostBefore {
            of_interface: of_interface.unwrap_or_default(),
            of_file: self.lost,
        }
    }

    fn interface(&self, number: u32) -> Option<&Interface> {
        self.interfaces.get(usize::try_from(number).ok()?)
    }

    fn origin(&self, interface: u32) -> Origin {
        Origin {
            section: self.section.unwrap_or_default(),
            interface,
            device: 0,
        }
    }

    fn direction(&self, packet: &EnhancedPacketBlock<'_>) -> Option<LinkDirection> {
        let flags = packet
            .options
            .iter()
            .find(|option| option.code == EPB_FLAGS)?;
        let flags = self.number(flags.as_bytes().ok()?.try_into().ok()?);
        match flags & 0b11 {
            0b01 => Some(LinkDirection::Incoming),
            0b10 => Some(LinkDirection::Outgoing),
            _ => None,
        }
    }

    fn number(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }
}

fn comments<'a>(options: &'a [PcapNGOption<'_>]) -> impl Iterator<Item = &'a [u8]> {
    options
        .iter()
        .filter(|option| option.code == OptionCode::Comment)
        .filter_map(|option| option.as_bytes().ok())
}

fn first_words(data: &[u8]) -> [[u8; 4]; 3] {
    let mut words = data
        .chunks_exact(4)
        .map(|word| [word[0], word[1], word[2], word[3]]);
    [(); 3].map(|()| words.next().unwrap_or_default())
}
