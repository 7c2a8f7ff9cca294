//! Plausible packets: headers by etherparse, DNS messages by hand, so that they can be wrong.

use std::net::{IpAddr, SocketAddr};

use etherparse::{Icmpv4Type, Icmpv6Type, IpHeaders, PacketBuilder, PacketBuilderStep};

use super::super::source::Source;

/// A resolver's candidates for two names, names of the cluster, and bytes that must not reach a terminal.
const NAMES: [&[&[u8]]; 8] = [
    &[b"web", b"default", b"svc", b"cluster", b"local"],
    &[b"web", b"svc", b"cluster", b"local"],
    &[b"web", b"cluster", b"local"],
    &[b"web"],
    &[b"kube-dns", b"kube-system", b"svc", b"cluster", b"local"],
    &[b"WeB", b"DEFAULT", b"svc", b"cluster", b"LOCAL"],
    &[b"\x1b[31m\x07\xff.\\", b"example"],
    &[],
];
/// A, AAAA, SRV, PTR, ANY, HTTPS and an unassigned one.
const QTYPES: [u16; 7] = [1, 28, 33, 12, 255, 65, 65_280];
/// A, AAAA, CNAME, SOA, OPT, TXT, RRSIG, and an unassigned one.
const RTYPES: [u16; 8] = [1, 28, 5, 6, 41, 16, 46, 65_280];

fn ip(src: IpAddr, dst: IpAddr) -> PacketBuilderStep<IpHeaders> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => PacketBuilder::ipv4(src.octets(), dst.octets(), 64),
        (src, dst) => PacketBuilder::ipv6(v6(src), v6(dst), 64),
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

const SHORT: &str = "a short payload, written to memory";

/// A datagram.
pub fn udp(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    ip(src.ip(), dst.ip())
        .udp(src.port(), dst.port())
        .write(&mut packet, payload)
        .expect(SHORT);
    packet
}

/// A segment with the flags of `bits`: SYN, ACK, FIN, RST from the lowest up.
pub fn tcp(
    src: SocketAddr,
    dst: SocketAddr,
    bits: u8,
    sequence: u32,
    acknowledgment: u32,
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = ip(src.ip(), dst.ip()).tcp(src.port(), dst.port(), sequence, 64_000);
    if bits & 1 != 0 {
        segment = segment.syn();
    }
    if bits & 2 != 0 {
        segment = segment.ack(acknowledgment);
    }
    if bits & 4 != 0 {
        segment = segment.fin();
    }
    if bits & 8 != 0 {
        segment = segment.rst();
    }
    let mut packet = Vec::new();
    segment.write(&mut packet, payload).expect(SHORT);
    packet
}

/// An ICMP or ICMPv6 message.
pub fn icmp(
    src: IpAddr,
    dst: IpAddr,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = Vec::new();
    let (type_u8, code_u8, bytes5to8) = (kind, code, rest);
    let written = if src.is_ipv4() && dst.is_ipv4() {
        let message = Icmpv4Type::Unknown {
            type_u8,
            code_u8,
            bytes5to8,
        };
        ip(src, dst).icmpv4(message).write(&mut packet, payload)
    } else {
        let message = Icmpv6Type::Unknown {
            type_u8,
            code_u8,
            bytes5to8,
        };
        ip(src, dst).icmpv6(message).write(&mut packet, payload)
    };
    written.expect(SHORT);
    packet
}

/// A DNS message: identifier, response or not, what is asked; then what the header counts and the records.
pub fn dns(source: &mut Source<'_>, response: bool) -> Vec<u8> {
    let id = source.byte() % 4;
    let name = source.one_of(NAMES);
    let qtype = source.one_of(QTYPES);
    let mut message = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    write_name(&mut message, name);
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    if response {
        message[2] |= 0x80;
        // RCODE, and the counts of the three sections.
        message[3] = source.byte() & 0xf;
        let counts = source.byte();
        for (at, shift) in [(7, 0), (9, 2), (11, 4)] {
            let count = counts >> shift & 3;
            message[at] = count;
            (0..count).for_each(|_| record(source, &mut message));
        }
        if counts & 0x40 != 0 {
            // TC.
            message[2] |= 2;
        }
        if counts & 0x80 != 0 {
            message.truncate(usize::from(source.byte()));
        }
    }
    message
}

/// Type, TTL and data; the owner is the name asked for.
fn record(source: &mut Source<'_>, message: &mut Vec<u8>) {
    let rtype = source.one_of(RTYPES);
    let mut data = Vec::new();
    match rtype {
        1 => data.extend([10, 152, 183, source.byte()]),
        28 => data.extend([&[0xfd; 15][..], &[source.byte()]].concat()),
        5 => write_name(&mut data, source.one_of(NAMES)),
        6 => {
            write_name(&mut data, source.one_of(NAMES));
            write_name(&mut data, source.one_of(NAMES));
            data.extend([0; 19]);
            data.push(source.byte());
        }
        _ => {
            let count = source.byte() % 32;
            data.extend(source.bytes(count.into()));
        }
    }
    message.extend([0xc0, 12]);
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, source.byte()]);
    message.extend(
        u16::try_from(data.len())
            .expect("a few names")
            .to_be_bytes(),
    );
    message.extend(data);
}

fn write_name(out: &mut Vec<u8>, labels: &[&[u8]]) {
    for label in labels {
        out.push(u8::try_from(label.len()).expect("a label of this file"));
        out.extend(*label);
    }
    out.push(0);
}
