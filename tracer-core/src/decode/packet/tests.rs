use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, PacketBuilder, UdpHeader};

use crate::decode::testing::{captures, from_pod, to_pod};
use crate::decode::{Decoder, Fault};
use crate::model::flow::{Direction, Ifindex, Protocol};
use crate::model::observation::{Observation, What};
use crate::model::record::Record;

fn decode(record: &Record) -> Result<Observation, Fault> {
    Decoder::new(vec![53]).decode(record)
}

/// In the notation of the captures' tshark lines.
fn words(observation: &Observation) -> String {
    let (src, dst) = match observation.direction {
        Direction::FromPod => (observation.flow.pod, observation.flow.peer),
        Direction::ToPod => (observation.flow.peer, observation.flow.pod),
    };
    let ends = format!("{} {} > {} {}", src.ip(), src.port(), dst.ip(), dst.port());
    match &observation.what {
        What::Dns(message) => format!("dns {ends} id {}", message.id),
        What::Tcp(tcp) => {
            let flags: String = [
                (tcp.syn, 'S'),
                (tcp.ack, 'A'),
                (tcp.fin, 'F'),
                (tcp.rst, 'R'),
            ]
            .into_iter()
            .filter_map(|(set, letter)| set.then_some(letter))
            .collect();
            format!("tcp {ends} {flags} seq {}", tcp.sequence)
        }
        What::Echo(echo) => {
            let kind = if echo.reply { "reply" } else { "request" };
            assert_eq!(
                (observation.flow.pod.port(), observation.flow.peer.port()),
                (echo.id, 0)
            );
            format!(
                "echo {kind} {} > {} id {} seq {}",
                src.ip(),
                dst.ip(),
                echo.id,
                echo.sequence
            )
        }
        What::IcmpError(error) => {
            assert_eq!((error.from.ip(), error.v6), (src.ip(), src.is_ipv6()));
            assert_eq!((src.port(), dst.port()), (0, 0));
            let mtu = error.mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
            let (quoted_src, quoted_dst) = (error.about.src, error.about.dst);
            let about = match (error.about.protocol, error.echo_sequence) {
                (Protocol::Icmp | Protocol::Icmpv6, Some(sequence)) => {
                    let (from, to) = (quoted_src.ip(), quoted_dst.ip());
                    format!("echo {from} > {to} id {} seq {sequence}", quoted_src.port())
                }
                (protocol, _) => {
                    let kind = if protocol == Protocol::Tcp {
                        "tcp"
                    } else {
                        "udp"
                    };
                    let (from, to) = (quoted_src, quoted_dst);
                    format!(
                        "{kind} {} {} > {} {}",
                        from.ip(),
                        from.port(),
                        to.ip(),
                        to.port()
                    )
                }
            };
            let (icmp_type, icmp_code) = (error.icmp_type, error.icmp_code);
            format!(
                "error {icmp_type} {icmp_code} {} > {}{mtu} about {about}",
                src.ip(),
                dst.ip()
            )
        }
        What::Other => format!("udp {ends}"),
    }
}

#[test]
fn captured_packets_decode_as_tshark_decodes_them() {
    let captures = captures();
    assert_eq!(captures.len(), 15);
    for capture in captures {
        for packet in capture.packets {
            let observation = decode(&packet.record).expect(packet.tshark);
            assert_eq!(words(&observation), packet.tshark, "{}", capture.case);
            assert_eq!(observation.wire_len, packet.record.wire_len);
            assert_eq!(observation.flow.ifindex, Ifindex(7));
        }
    }
}

fn udp_v4(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64).udp(4000, 5000);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).expect("fits");
    bytes
}

/// UDP in IPv4 with these header fields set.
fn udp_in(mut change: impl FnMut(&mut Ipv4Header)) -> Vec<u8> {
    let udp = UdpHeader::without_ipv4_checksum(4000, 5000, 4).expect("short");
    let mut ip =
        Ipv4Header::new(12, 64, IpNumber::UDP, [10, 1, 0, 1], [10, 1, 0, 2]).expect("short");
    change(&mut ip);
    let mut bytes = Vec::new();
    ip.write(&mut bytes).expect("writes");
    udp.write(&mut bytes).expect("writes");
    bytes.extend(b"data");
    bytes
}

#[test]
fn ipv4_options_are_skipped() {
    let bytes = udp_in(|ip| {
        // Record route with room for two addresses, padded.
        ip.options =
            Ipv4Options::try_from(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]).expect("whole words");
        ip.set_payload_len(12).expect("short");
    });
    assert_eq!(bytes[0], 0x48);
    let observation = decode(&from_pod(&bytes)).expect("a packet");
    assert_eq!(
        (observation.flow.pod.port(), observation.flow.peer.port()),
        (4000, 5000)
    );
    assert_eq!(observation.what, What::Other);
}

#[test]
fn ipv6_extension_headers_are_skipped() {
    let mut udp = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64)
        .udp(4000, 5000)
        .write(&mut udp, b"data")
        .expect("fits");
    // Hop-by-hop (0), routing (43) and destination options (60) of eight bytes each before UDP (17).
    let extensions = [
        43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 4, 0, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0,
    ];
    let mut bytes = udp[..40].to_vec();
    bytes[6] = 0;
    bytes[5] += 24;
    bytes.extend(extensions);
    bytes.extend(&udp[40..]);
    let observation = decode(&to_pod(&bytes)).expect("a packet");
    assert_eq!(observation.flow.protocol, Protocol::Udp);
    assert_eq!(
        (observation.flow.peer.port(), observation.flow.pod.port()),
        (4000, 5000)
    );
    for end in 41..64 {
        assert_eq!(
            decode(&to_pod(&bytes[..end])),
            Err(Fault::CutShort),
            "cut at {end}"
        );
    }
}

#[test]
fn a_first_fragment_has_ports_and_later_ones_are_a_fault() {
    let first = udp_in(|ip| ip.more_fragments = true);
    assert_eq!(
        decode(&from_pod(&first)).map(|seen| seen.flow.peer.port()),
        Ok(5000)
    );
    let later = udp_in(|ip| ip.fragment_offset = IpFragOffset::try_new(185).expect("in range"));
    assert_eq!(decode(&from_pod(&later)), Err(Fault::LaterFragment));

    let mut udp = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64)
        .udp(4000, 5000)
        .write(&mut udp, b"data")
        .expect("fits");
    for (offset, expected) in [(0, Ok(5000)), (185, Err(Fault::LaterFragment))] {
        let mut bytes = udp[..40].to_vec();
        bytes[6] = 44;
        bytes[5] += 8;
        let offset_and_more = u16::to_be_bytes(offset << 3 | 1);
        bytes.extend([17, 0, offset_and_more[0], offset_and_more[1], 0, 0, 0, 9]);
        bytes.extend(&udp[40..]);
        assert_eq!(
            decode(&from_pod(&bytes)).map(|seen| seen.flow.peer.port()),
            expected
        );
    }
}

#[test]
fn truncated_payload_is_no_fault_but_truncated_headers_are() {
    let bytes = udp_v4(&[0; 400]);
    for end in 28..bytes.len() {
        assert!(decode(&from_pod(&bytes[..end])).is_ok(), "cut at {end}");
    }
    for end in 0..28 {
        assert_eq!(
            decode(&from_pod(&bytes[..end])),
            Err(Fault::CutShort),
            "cut at {end}"
        );
    }
}

#[test]
fn a_segment_too_long_for_its_length_field_is_read_to_its_end() {
    // A GSO segment beyond 64 KiB (BIG TCP) has length 0 in its IPv6 header.
    let mut bytes = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64)
        .tcp(40000, 53, 7, 100)
        .psh()
        .write(&mut bytes, b"payload")
        .expect("fits");
    bytes[4..6].fill(0);
    let What::Tcp(segment) = decode(&from_pod(&bytes)).expect("a packet").what else {
        panic!("not TCP")
    };
    assert_eq!(segment.payload, b"payload");
}

#[test]
fn tcp_payload_is_kept_on_dns_ports_only() {
    for (port, expected) in [(53, &b"payload"[..]), (80, &[])] {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
            .tcp(40000, port, 7, 100)
            .ack(9);
        builder.write(&mut bytes, b"payload").expect("fits");
        let What::Tcp(segment) = decode(&from_pod(&bytes)).expect("a packet").what else {
            panic!("not TCP")
        };
        assert_eq!(segment.payload, expected);
        assert_eq!(
            (segment.sequence, segment.acknowledgment, segment.ack),
            (7, 9, true)
        );
    }
}

#[test]
fn other_protocols_have_their_hosts() {
    let bytes = udp_in(|ip| ip.protocol = IpNumber::SCTP);
    let observation = decode(&from_pod(&bytes)).expect("a packet");
    assert_eq!(observation.what, What::Other);
    assert_eq!(observation.flow.protocol, Protocol::Other(132));
    assert_eq!(
        (observation.flow.pod.port(), observation.flow.peer.port()),
        (0, 0)
    );
}

#[test]
fn faults_have_their_names() {
    let arp = Record {
        ethertype: 0x0806,
        ..from_pod(&[0; 28])
    };
    assert_eq!(decode(&arp), Err(Fault::NotIp));
    let chunk = Record {
        chunk_offset: 2048,
        ..from_pod(&[0x45; 64])
    };
    assert_eq!(decode(&chunk), Err(Fault::LaterChunk));
    // An IPv4 header with a stated length of 16 bytes.
    let mut bytes = udp_v4(b"data");
    bytes[0] = 0x44;
    assert_eq!(decode(&from_pod(&bytes)), Err(Fault::IpHeader));
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64).tcp(40000, 80, 7, 100);
    builder.write(&mut bytes, b"").expect("fits");
    // A TCP header with a stated length of 8 bytes.
    bytes[32] = 0x20;
    assert_eq!(decode(&from_pod(&bytes)), Err(Fault::TcpHeader));
    // Destination unreachable that quotes zeros.
    let mut bytes = Vec::new();
    let icmp = etherparse::Icmpv4Type::DestinationUnreachable(
        etherparse::icmpv4::DestUnreachableHeader::Port,
    );
    PacketBuilder::ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
        .icmpv4(icmp)
        .write(&mut bytes, &[0; 28])
        .expect("fits");
    assert_eq!(decode(&from_pod(&bytes)), Err(Fault::IcmpQuote));
}

#[test]
fn neighbour_discovery_and_redirects_are_other_packets() {
    for icmp_type in [133, 135, 137] {
        let mut bytes = Vec::new();
        let icmp = etherparse::Icmpv6Type::Unknown {
            type_u8: icmp_type,
            code_u8: 0,
            bytes5to8: [0; 4],
        };
        PacketBuilder::ipv6([1; 16], [2; 16], 255)
            .icmpv6(icmp)
            .write(&mut bytes, &[0; 16])
            .expect("fits");
        assert_eq!(
            decode(&from_pod(&bytes)).map(|seen| seen.what),
            Ok(What::Other)
        );
    }
}

#[test]
fn an_icmp_error_has_the_datagrams_identifier_if_the_quote_includes_it() {
    use etherparse::{Icmpv4Type, icmpv4::DestUnreachableHeader};
    let query = udp_v4(&[0x12, 0x34, 1, 0, 0, 0]);
    // RFC 792 asks for the IP header and 8 bytes; most send more.
    for (quoted, id) in [
        (28, None),
        (29, None),
        (30, Some(0x1234)),
        (34, Some(0x1234)),
    ] {
        let kind = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
        let mut packet = Vec::new();
        PacketBuilder::ipv4([192, 168, 2, 33], [10, 1, 39, 193], 64)
            .icmpv4(kind)
            .write(&mut packet, &query[..quoted])
            .expect("a packet");
        let What::IcmpError(error) = decode(&to_pod(&packet)).expect("an error").what else {
            panic!("an ICMP error")
        };
        assert_eq!(error.datagram_id, id, "{quoted} bytes");
        assert_eq!(error.about.protocol, Protocol::Udp);
    }
}
