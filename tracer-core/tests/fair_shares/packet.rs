//! Packets as they are on the wire, from the network header on.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};

const IN_MEMORY: &str = "written to memory";

fn ip(src: SocketAddr, dst: SocketAddr) -> PacketBuilderStep<IpHeaders> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (src.ip(), dst.ip()) else {
        panic!("IPv4 addresses")
    };
    PacketBuilder::ipv4(src.octets(), dst.octets(), 64)
}

pub fn udp(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let step = ip(src, dst).udp(src.port(), dst.port());
    step.write(&mut packet, payload).expect(IN_MEMORY);
    packet
}

/// `flags` from the lowest bit up: SYN, ACK, FIN.
pub fn tcp(src: SocketAddr, dst: SocketAddr, flags: u8, sequence: u32, ack: u32) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut step = ip(src, dst).tcp(src.port(), dst.port(), sequence, 64_000);
    if flags & 1 != 0 {
        step = step.syn();
    }
    if flags & 2 != 0 {
        step = step.ack(ack);
    }
    if flags & 4 != 0 {
        step = step.fin();
    }
    step.write(&mut packet, &[]).expect(IN_MEMORY);
    packet
}

/// An echo request or reply, the first one with this identifier.
pub fn echo(src: SocketAddr, dst: SocketAddr, reply: bool, id: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let step = match reply {
        false => ip(src, dst).icmpv4_echo_request(id, 1),
        true => ip(src, dst).icmpv4_echo_reply(id, 1),
    };
    step.write(&mut packet, &[0; 56]).expect(IN_MEMORY);
    packet
}

/// A query (RFC 1035 section 4.1) with recursion desired.
pub fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    message(id, 0x0100, 0, name, qtype)
}

/// The answer to a query for an A record.
pub fn answer(id: u16, name: &str) -> Vec<u8> {
    let mut message = message(id, 0x8180, 1, name, 1);
    message.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 9, 0, 1]);
    message
}

fn message(id: u16, flags: u16, answers: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut message = Vec::new();
    for field in [id, flags, 1, answers, 0, 0] {
        message.extend(field.to_be_bytes());
    }
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(qtype.to_be_bytes());
    message.extend(1_u16.to_be_bytes());
    message
}
