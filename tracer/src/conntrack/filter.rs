//! A filter for the events' socket: the kernel queues only entries whose destination is translated.
//!
//! Without it every new flow of the node is copied, those of its own processes included. A classic BPF program,
//! because attaching one to a socket needs no capability; include/uapi/linux/filter.h has its extensions.

use std::io;
use std::os::fd::AsFd;

use socket2::{SockFilter, SockRef};

use super::message::{NFGEN_BYTES, attribute};
use super::socket::HEADER_BYTES;

/// `IPS_DST_NAT` of include/uapi/linux/netfilter/nf_conntrack_common.h.
pub(super) const DESTINATION_TRANSLATED: u32 = 1 << 5;
/// `SKF_AD_OFF + SKF_AD_NLATTR`: loads the offset of an attribute, from the offset in A and the number in X.
const FIND_ATTRIBUTE: u32 = (-0x1000_i32 + 12).cast_unsigned();
/// Where the attributes begin.
const ATTRIBUTES: u32 = (HEADER_BYTES + NFGEN_BYTES) as u32;

const LOAD_IMMEDIATE: u16 = 0x00;
const LOAD_ABSOLUTE: u16 = 0x20;
const LOAD_INDIRECT: u16 = 0x40;
const LOAD_X: u16 = 0x01;
const COPY_TO_X: u16 = 0x07;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Filters a socket of conntrack events.
pub(super) fn attach(socket: &impl AsFd) -> io::Result<()> {
    let step = SockFilter::new;
    SockRef::from(socket).attach_filter(&[
        step(LOAD_X, 0, 0, attribute::STATUS.into()),
        step(LOAD_IMMEDIATE, 0, 0, ATTRIBUTES),
        step(LOAD_ABSOLUTE, 0, 0, FIND_ATTRIBUTE),
        // An entry without a status is for the reader to judge.
        step(JUMP_IF_EQUAL, 3, 0, 0),
        step(COPY_TO_X, 0, 0, 0),
        step(LOAD_INDIRECT, 0, 0, 4),
        step(JUMP_IF_SET, 0, 1, DESTINATION_TRANSLATED),
        step(RETURN, 0, 0, u32::MAX),
        step(RETURN, 0, 0, 0),
    ])
}
