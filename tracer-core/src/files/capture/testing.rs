//! Shared by the tests of this module: the captures made by `tests/fixtures/captures/make.sh`, tshark's
//! reading of them, and blocks built byte by byte according to the format's description.

use std::fs;
use std::io::Cursor;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{FileError, Packet, Reader};

/// The client pod in the captures.
pub(super) const CLIENT: [&str; 2] = ["10.1.39.193", "fd00::39:193"];
/// The server pod in the captures.
pub(super) const SERVER: [&str; 2] = ["10.1.235.206", "fd00::235:206"];

/// Captures with the frames of the client pod's veth.
pub(super) const CAPTURES: [&str; 11] = [
    "any.pcap",
    "cooked1.pcap",
    "ethernet.pcap",
    "ethernet.pcapng",
    "inside.pcap",
    "merged.pcapng",
    "microseconds.pcap",
    "modified.pcap",
    "raw.pcap",
    "snapped.pcap",
    "two-interfaces.pcapng",
];

pub(super) fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/captures")
        .join(file)
}

pub(super) fn bytes(file: &str) -> Vec<u8> {
    fs::read(path(file)).expect("the fixture is in the repository")
}

/// Reads bytes to the end or to the first error.
pub(super) fn read(bytes: Vec<u8>) -> (Vec<Packet>, Option<FileError>) {
    let mut packets = Vec::new();
    for item in Reader::new("test", Cursor::new(bytes)) {
        match item {
            Ok(packet) => packets.push(packet),
            Err(error) => return (packets, Some(error)),
        }
    }
    (packets, None)
}

/// All packets of a capture.
pub(super) fn packets(file: &str) -> Vec<Packet> {
    Reader::open(path(file))
        .expect("the fixture is in the repository")
        .collect::<Result<_, _>>()
        .expect("it is whole")
}

pub(super) fn is_one_of(addresses: &[&str]) -> impl Fn(IpAddr) -> bool {
    let addresses: Vec<IpAddr> = addresses
        .iter()
        .map(|address| address.parse().expect("an address"))
        .collect();
    move |address| addresses.contains(&address)
}

/// One IP packet according to tshark.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Truth {
    pub(super) time_ns: u64,
    /// Bytes of the frame that the capture truncated.
    pub(super) missing: u32,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// The bytes from the network header on.
    pub(super) len: u32,
}

/// tshark's reading of a capture, one packet per line: `time captured-length length source destination
/// ip-length ...`.
pub(super) fn truth(file: &str) -> Vec<Truth> {
    let expected = String::from_utf8(bytes("expected.txt")).expect("text");
    let title = format!("# {file}");
    expected
        .lines()
        .skip_while(|line| *line != title)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let (seconds, fraction) = fields[0].split_once('.').expect("a stamp");
            let number = |field: &str| field.parse::<u32>().expect("a number");
            let src: IpAddr = fields[3].parse().expect("an address");
            Truth {
                time_ns: format!("{seconds}{fraction:0<9}").parse().expect("a stamp"),
                missing: number(fields[2]) - number(fields[1]),
                src,
                dst: fields[4].parse().expect("an address"),
                // IPv6 does not count its own header.
                len: number(fields[5]) + if src.is_ipv6() { 40 } else { 0 },
            }
        })
        .collect()
}

/// The addresses, read directly from the header.
pub(super) fn addresses(packet: &[u8]) -> (IpAddr, IpAddr) {
    fn at<const N: usize>(packet: &[u8], start: usize) -> [u8; N] {
        packet[start..start + N].try_into().expect("enough bytes")
    }
    match packet[0] >> 4 {
        4 => (at::<4>(packet, 12).into(), at::<4>(packet, 16).into()),
        6 => (at::<16>(packet, 8).into(), at::<16>(packet, 24).into()),
        other => panic!("IP version {other}"),
    }
}

/// Encodes numbers in the byte order of the file under construction.
#[derive(Clone, Copy)]
pub(super) enum Order {
    Big,
    Little,
}

impl Order {
    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Order::Big => value.to_be_bytes(),
            Order::Little => value.to_le_bytes(),
        }
    }

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Order::Big => value.to_be_bytes(),
            Order::Little => value.to_le_bytes(),
        }
    }

    pub(super) fn block(self, block_type: u32, body: &[u8]) -> Vec<u8> {
        let length = self.u32(u32::try_from(body.len() + 12).expect("short"));
        [&self.u32(block_type), &length, body, &length].concat()
    }

    pub(super) fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).expect("short");
        let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
        [&self.u16(code), &self.u16(length), value, &padding].concat()
    }

    pub(super) fn section(self) -> Vec<u8> {
        let body = [
            &self.u32(0x1a2b_3c4d)[..],
            &self.u16(1),
            &self.u16(0),
            &[0xff; 8],
        ];
        self.block(0x0a0d_0d0a, &body.concat())
    }

    pub(super) fn interface(self, link_type: u16, snaplen: u32, options: &[Vec<u8>]) -> Vec<u8> {
        let body = [
            &self.u16(link_type)[..],
            &[0; 2],
            &self.u32(snaplen),
            &options.concat(),
        ];
        self.block(1, &body.concat())
    }

    pub(super) fn packet(
        self,
        interface: u32,
        stamp: u64,
        data: &[u8],
        wire_len: u32,
        options: &[Vec<u8>],
    ) -> Vec<u8> {
        let padding = vec![0; data.len().next_multiple_of(4) - data.len()];
        let body = [
            &self.u32(interface)[..],
            &self.u32((stamp >> 32) as u32),
            &self.u32(stamp as u32),
            &self.u32(u32::try_from(data.len()).expect("short")),
            &self.u32(wire_len),
            data,
            &padding,
            &options.concat(),
        ];
        self.block(6, &body.concat())
    }

    pub(super) fn simple_packet(self, data: &[u8], wire_len: u32) -> Vec<u8> {
        let padding = vec![0; data.len().next_multiple_of(4) - data.len()];
        self.block(3, &[&self.u32(wire_len)[..], data, &padding].concat())
    }

    /// A pcap file's header with nanosecond timestamps.
    pub(super) fn pcap(self, link_type: u32) -> Vec<u8> {
        [
            &self.u32(0xa1b2_3c4d)[..],
            &self.u16(2),
            &self.u16(4),
            &[0; 8],
            &self.u32(262_144),
            &self.u32(link_type),
        ]
        .concat()
    }

    pub(super) fn pcap_packet(self, time_ns: u64, data: &[u8], wire_len: u32) -> Vec<u8> {
        let captured = u32::try_from(data.len()).expect("short");
        let seconds = u32::try_from(time_ns / 1_000_000_000).expect("before 2106");
        let rest = u32::try_from(time_ns % 1_000_000_000).expect("less than a billion");
        [
            &self.u32(seconds)[..],
            &self.u32(rest),
            &self.u32(captured),
            &self.u32(wire_len),
            data,
        ]
        .concat()
    }
}

/// An IPv4 packet of a UDP datagram.
pub(super) fn udp(src: (&str, u16), dst: (&str, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4(octets(src.0), octets(dst.0), 64);
    builder
        .udp(src.1, dst.1)
        .write(&mut packet, payload)
        .expect("in memory");
    packet
}

/// An IPv4 packet of a TCP segment with these flags (`S`, `A`, `F`, `R`).
pub(super) fn tcp(src: (&str, u16), dst: (&str, u16), flags: &str) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(src.1, dst.1, 1, 1_024);
    header.syn = flags.contains('S');
    header.ack = flags.contains('A');
    header.fin = flags.contains('F');
    header.rst = flags.contains('R');
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4(octets(src.0), octets(dst.0), 64)
        .tcp_header(header)
        .write(&mut packet, &[])
        .expect("in memory");
    packet
}

fn octets(address: &str) -> [u8; 4] {
    address
        .parse::<std::net::Ipv4Addr>()
        .expect("an address")
        .octets()
}
