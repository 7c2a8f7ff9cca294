//! The blocks of a recording as bytes.

use std::borrow::Cow;

use pcap_parser::pcapng::{
    EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, PcapNGOption, SectionHeaderBlock,
};
use pcap_parser::{Linktype, ToVec};

use super::super::note;
use crate::model::flow::Direction;
use crate::model::record::Record;
use crate::model::time::Timestamp;

/// The limit for comments and names. An option's length is a 16-bit number, and longer comments are
/// unreadable anyway.
const MAX_TEXT_BYTES: usize = 1_000;

const EPB_FLAGS: OptionCode = OptionCode(2);
/// Packets lost between this one and the previous one of its interface.
const EPB_DROPCOUNT: OptionCode = OptionCode(4);
/// From the node's point of view: a packet that the pod sends is inbound.
const INBOUND: u32 = 0b01;
const OUTBOUND: u32 = 0b10;

/// `if_tsresol`: units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// The section header.
pub(super) fn section() -> Vec<u8> {
    bytes(SectionHeaderBlock {
        block_type: 0,
        block_len1: 0,
        bom: 0,
        major_version: 1,
        minor_version: 0,
        section_len: -1,
        options: vec![option(
            OptionCode::ShbUserAppl,
            concat!("tracer ", env!("CARGO_PKG_VERSION")).as_bytes(),
        )],
        block_len2: 0,
    })
}

/// An interface's description.
pub(super) fn interface(name: &str) -> Vec<u8> {
    let mut options = vec![option(OptionCode::IfTsresol, &[NANOSECONDS])];
    if !name.is_empty() {
        options.push(option(OptionCode::IfName, name.as_bytes()));
    }
    bytes(InterfaceDescriptionBlock {
        block_type: 0,
        block_len1: 0,
        linktype: Linktype::RAW,
        reserved: 0,
        snaplen: 0,
        options,
        block_len2: 0,
        if_tsresol: NANOSECONDS,
        if_tsoffset: 0,
    })
}

/// A packet with its comments.
pub(super) fn packet(
    interface: u32,
    stamp: Timestamp,
    record: &Record,
    lost: u16,
    comment: &str,
) -> Vec<u8> {
    let flags = match record.direction {
        Direction::FromPod => INBOUND,
        Direction::ToPod => OUTBOUND,
    };
    let flags = flags.to_le_bytes();
    let captured = u32::try_from(record.bytes.len()).unwrap_or(u32::MAX);
    let note = note::from_record(record);
    let mut options = vec![option(EPB_FLAGS, &flags)];
    let lost = u64::from(lost).to_le_bytes();
    if lost != [0; 8] {
        options.push(option(EPB_DROPCOUNT, &lost));
    }
    let comment = clip(comment);
    if !comment.is_empty() {
        options.push(option(OptionCode::Comment, comment.as_bytes()));
    }
    options.push(option(OptionCode::Comment, note.as_bytes()));
    bytes(EnhancedPacketBlock {
        block_type: 0,
        block_len1: 0,
        if_id: interface,
        ts_high: (stamp.0 >> 32) as u32,
        ts_low: (stamp.0 & 0xffff_ffff) as u32,
        caplen: captured,
        origlen: record.wire_len.max(captured),
        data: &record.bytes,
        options,
        block_len2: 0,
    })
}

/// The first bytes of a text, cut at a character boundary.
pub(super) fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES))
        .unwrap_or_default()
}

fn bytes(mut block: impl ToVec) -> Vec<u8> {
    // Writing into memory cannot fail.
    block.to_vec().unwrap_or_default()
}

fn option(code: OptionCode, value: &[u8]) -> PcapNGOption<'_> {
    PcapNGOption {
        code,
        len: u16::try_from(value.len()).unwrap_or(u16::MAX),
        value: Cow::Borrowed(value),
    }
}
