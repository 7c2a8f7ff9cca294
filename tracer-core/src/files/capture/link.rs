//! Link-layer headers: where the IP packet starts in a captured frame, and the direction that the header
//! shows.
//!
//! Link types are those of tcpdump.org/linktypes.html.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice, ether_type};

use super::LinkDirection;

/// A supported link type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// LINKTYPE_ETHERNET.
    Ethernet,
    /// LINKTYPE_RAW and its variants: starts with the IP header.
    Raw,
    /// LINKTYPE_NULL and LINKTYPE_LOOP: four bytes of address family, whose values and byte order differ by
    /// system.
    Loopback,
    /// LINKTYPE_LINUX_SLL.
    Cooked1,
    /// LINKTYPE_LINUX_SLL2.
    Cooked2,
}

/// The network part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network<'a> {
    pub(super) ethertype: u16,
    /// The bytes from the network header on.
    pub(super) bytes: &'a [u8],
    /// Their length on the wire.
    pub(super) wire_len: u32,
    pub(super) direction: Option<LinkDirection>,
    /// The interface, if the link header has it.
    pub(super) device: u32,
}

/// Why a frame holds no IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotIp {
    /// Something else: ARP, LLDP, spanning tree. Not a fault.
    Other,
    /// The captured bytes end within the link header.
    CutShort,
}

impl Link {
    pub(super) fn from_number(link_type: u32) -> Option<Link> {
        match link_type {
            0 | 108 => Some(Link::Loopback),
            1 => Some(Link::Ethernet),
            // 12 and 14 are DLT_RAW of most systems and of OpenBSD; some files contain them although they
            // should not.
            12 | 14 | 101 | 228 | 229 => Some(Link::Raw),
            113 => Some(Link::Cooked1),
            276 => Some(Link::Cooked2),
            _ => None,
        }
    }

    /// Finds the IP packet in a frame of `wire_len` bytes, of which `frame` was captured.
    pub(super) fn network(self, frame: &[u8], wire_len: u32) -> Result<Network<'_>, NotIp> {
        let mut direction = None;
        let mut device = 0;
        let (tag, header_len) = match self {
            Link::Raw => (None, 0),
            Link::Loopback => (None, 4),
            Link::Ethernet => {
                let header =
                    Ethernet2HeaderSlice::from_slice(frame).map_err(|_| NotIp::CutShort)?;
                (Some(header.ether_type().0), header.slice().len())
            }
            Link::Cooked1 => {
                let header: &[u8; 16] = frame.first_chunk().ok_or(NotIp::CutShort)?;
                direction = cooked_direction(u16::from_be_bytes([header[0], header[1]]));
                (Some(u16::from_be_bytes([header[14], header[15]])), 16)
            }
            Link::Cooked2 => {
                let header: &[u8; 20] = frame.first_chunk().ok_or(NotIp::CutShort)?;
                device = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                direction = cooked_direction(u16::from(header[10]));
                (Some(u16::from_be_bytes([header[0], header[1]])), 20)
            }
        };
        let mut bytes = frame.get(header_len..).ok_or(NotIp::CutShort)?;
        let ethertype = match tag {
            Some(tag) => untag(tag, &mut bytes)?,
            None => match bytes.first().ok_or(NotIp::CutShort)? >> 4 {
                4 => ether_type::IPV4.0,
                6 => ether_type::IPV6.0,
                _ => return Err(NotIp::Other),
            },
        };
        if ethertype != ether_type::IPV4.0 && ethertype != ether_type::IPV6.0 {
            return Err(NotIp::Other);
        }
        let before = u32::try_from(frame.len() - bytes.len()).unwrap_or(u32::MAX);
        let mut wire_len = wire_len.saturating_sub(before);
        // A network card pads short frames and may append the checksum; the packet ends where IP says.
        if tag.is_some()
            && let Some(ip_len) = ip_length(ethertype, bytes).filter(|&ip_len| ip_len < wire_len)
        {
            wire_len = ip_len;
            let end = usize::try_from(ip_len).unwrap_or(usize::MAX);
            bytes = bytes.get(..end).unwrap_or(bytes);
        }
        Ok(Network {
            ethertype,
            bytes,
            wire_len,
            direction,
            device,
        })
    }
}

/// The packet type of Linux cooked captures (`sll_pkttype` of packet(7)).
fn cooked_direction(packet_type: u16) -> Option<LinkDirection> {
    match packet_type {
        0..=3 => Some(LinkDirection::Incoming),
        4 => Some(LinkDirection::Outgoing),
        _ => None,
    }
}

/// Skips VLAN tags; their number is limited by the frame's length.
fn untag(mut tag: u16, bytes: &mut &[u8]) -> Result<u16, NotIp> {
    while tag == ether_type::VLAN_TAGGED_FRAME.0
        || tag == ether_type::PROVIDER_BRIDGING.0
        || tag == ether_type::VLAN_DOUBLE_TAGGED_FRAME.0
    {
        let header = SingleVlanHeaderSlice::from_slice(bytes).map_err(|_| NotIp::CutShort)?;
        tag = header.ether_type().0;
        *bytes = bytes.get(header.slice().len()..).ok_or(NotIp::CutShort)?;
    }
    Ok(tag)
}

/// The length in the IP header. `None` if it has none: a GSO packet beyond 64 KiB states 0.
fn ip_length(ethertype: u16, bytes: &[u8]) -> Option<u32> {
    let (at, header) = if ethertype == ether_type::IPV4.0 {
        (2, 0)
    } else {
        (4, 40)
    };
    let [high, low] = *bytes.get(at..at + 2)?.first_chunk()?;
    match u16::from_be_bytes([high, low]) {
        0 => None,
        stated => Some(u32::from(stated) + header),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::udp;
    use super::*;

    fn ip() -> Vec<u8> {
        udp(("10.0.0.1", 4_000), ("10.0.0.2", 9), b"x")
    }

    fn network(
        link_type: u32,
        header: &[u8],
        trailer: &[u8],
    ) -> Result<(u16, u32, Vec<u8>), NotIp> {
        let frame = [header, &ip(), trailer].concat();
        let len = u32::try_from(frame.len()).expect("short");
        let link = Link::from_number(link_type).expect("supported");
        let network = link.network(&frame, len)?;
        Ok((network.ethertype, network.wire_len, network.bytes.to_vec()))
    }

    #[test]
    fn vlan_tags_and_padding_are_not_part_of_the_packet() {
        let addresses = [2; 12];
        let frames: [(&[u8], &[u8]); 4] = [
            (&[0x08, 0x00], &[]),
            (&[0x08, 0x00], &[0; 17]),
            (&[0x81, 0x00, 0, 5, 0x08, 0x00], &[]),
            (&[0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 6, 0x08, 0x00], &[0; 4]),
        ];
        for (types, trailer) in frames {
            let header = [&addresses, types].concat();
            assert_eq!(
                network(1, &header, trailer),
                Ok((0x0800, 29, ip())),
                "{types:02x?}"
            );
        }
    }

    #[test]
    fn loopback_headers_of_any_system_and_byte_order_are_skipped() {
        for header in [[2, 0, 0, 0], [0, 0, 0, 2], [30, 0, 0, 0]] {
            for link_type in [0, 108] {
                assert_eq!(network(link_type, &header, &[]), Ok((0x0800, 29, ip())));
            }
        }
    }

    #[test]
    fn cooked_headers_show_direction_and_device() {
        let mut sll2 = [0; 20];
        sll2[..2].copy_from_slice(&[0x08, 0x00]);
        sll2[7] = 9;
        sll2[10] = 4;
        let frame = [&sll2[..], &ip()].concat();
        let network = Link::Cooked2.network(&frame, 49).expect("IP");
        assert_eq!(
            (network.device, network.direction, network.wire_len),
            (9, Some(LinkDirection::Outgoing), 29)
        );
        let mut sll = [0; 16];
        sll[14..].copy_from_slice(&[0x08, 0x00]);
        let frame = [&sll[..], &ip()].concat();
        let network = Link::Cooked1.network(&frame, 45).expect("IP");
        assert_eq!(network.direction, Some(LinkDirection::Incoming));
    }

    #[test]
    fn a_packet_without_a_stated_length_is_as_long_as_its_frame() {
        let mut frame = [&[2; 12][..], &[0x08, 0x00], &ip(), &[0; 9]].concat();
        frame[16..18].fill(0);
        let network = Link::Ethernet.network(&frame, 100_014).expect("IP");
        assert_eq!((network.wire_len, network.bytes.len()), (100_000, 38));
    }

    #[test]
    fn truncated_frames_are_distinguished_from_frames_that_are_not_ip() {
        for link_type in [0, 1, 101, 113, 276] {
            let link = Link::from_number(link_type).expect("supported");
            assert_eq!(link.network(&[], 0), Err(NotIp::CutShort), "{link_type}");
        }
        let tagged = [&[2; 12][..], &[0x81, 0x00, 0]].concat();
        assert_eq!(Link::Ethernet.network(&tagged, 64), Err(NotIp::CutShort));
        let arp = [&[2; 12][..], &[0x08, 0x06], &[0; 28]].concat();
        assert_eq!(Link::Ethernet.network(&arp, 42), Err(NotIp::Other));
        assert_eq!(Link::Raw.network(&[0x10], 1), Err(NotIp::Other));
        assert_eq!(Link::from_number(105), None);
    }
}
