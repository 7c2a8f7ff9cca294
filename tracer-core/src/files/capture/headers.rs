//! The headers that identify a packet's flow and its initiator. Everything else belongs to [`crate::decode`].

use std::net::{IpAddr, SocketAddr};

use etherparse::{Ipv6ExtensionSlice, LaxIpSlice, icmpv4, icmpv6};

use crate::model::flow::{Direction, Protocol};
use crate::model::record::Record;

const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

const UDP_HEADER_LEN: usize = 8;
const ICMP_HEADER_LEN: usize = 8;

/// A packet's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) protocol: Protocol,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// 0 if the protocol has no ports.
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    /// The identifier of an ICMP echo.
    pub(super) echo_id: Option<u16>,
    pub(super) sign: Option<Sign>,
    pub(super) fragment: Option<Fragment>,
    /// The flow that an ICMP error quotes.
    pub(super) about: Option<About>,
}

/// A flow as quoted by an ICMP error, seen from the sender of the quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) protocol: Protocol,
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    /// The sign in the quoted packet.
    pub(super) sign: Option<Sign>,
}

/// Proof of which end initiated a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The sender did: a SYN, a DNS query, an echo request.
    Began,
    /// The receiver did: a SYN-ACK, a DNS answer, an echo reply. Also an ICMP error with an unreadable quote,
    /// because most are sent to the initiator.
    Answers,
}

/// A fragment of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    /// Equal for all fragments of a packet.
    pub(super) id: u32,
    /// Whether it is the one with the transport header.
    pub(super) first: bool,
}

impl Headers {
    /// Reads the headers; `None` if not even the addresses are there.
    pub(super) fn read(bytes: &[u8], dns_ports: &[u16]) -> Option<Headers> {
        let (mut headers, transport) = Headers::outer(bytes, dns_ports)?;
        // No errors are sent about errors, so a quote contains no further quote.
        if headers.is_error()
            && let Some(quote) = transport.get(ICMP_HEADER_LEN..)
            && let Some((quoted, _)) = Headers::outer(quote, dns_ports)
        {
            let (src, dst) = quoted.ends();
            headers.about = Some(About {
                protocol: quoted.protocol,
                src,
                dst,
                sign: quoted.sign,
            });
        }
        Some(headers)
    }

    /// The outermost headers, and the payload of the network header.
    fn outer<'a>(bytes: &'a [u8], dns_ports: &[u16]) -> Option<(Headers, &'a [u8])> {
        let (ip, stopped) = LaxIpSlice::from_slice(bytes).ok()?;
        let payload = ip.payload();
        // etherparse must not iterate over a truncated chain of extension headers: its iterator relies on
        // every header that another one announces, and would read beyond the packet.
        let fragment = match stopped {
            None => fragment(&ip),
            Some(_) => None,
        };
        let mut headers = Headers {
            protocol: Protocol::from_number(payload.ip_number.0),
            src: ip.source_addr(),
            dst: ip.destination_addr(),
            src_port: 0,
            dst_port: 0,
            echo_id: None,
            sign: None,
            fragment,
            about: None,
        };
        if fragment.is_none_or(|fragment| fragment.first) {
            headers.transport(payload.payload, dns_ports);
        }
        Some((headers, payload.payload))
    }

    fn is_error(&self) -> bool {
        matches!(self.protocol, Protocol::Icmp | Protocol::Icmpv6)
            && self.echo_id.is_none()
            && self.sign == Some(Sign::Answers)
    }

    /// Both ends with their ports.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        (
            SocketAddr::new(self.src, self.src_port),
            SocketAddr::new(self.dst, self.dst_port),
        )
    }

    fn transport(&mut self, bytes: &[u8], dns_ports: &[u16]) {
        match self.protocol {
            Protocol::Tcp | Protocol::Udp => {
                let [src_high, src_low, dst_high, dst_low, ..] = *bytes else {
                    return;
                };
                self.src_port = u16::from_be_bytes([src_high, src_low]);
                self.dst_port = u16::from_be_bytes([dst_high, dst_low]);
                self.sign = match self.protocol {
                    Protocol::Tcp => bytes.get(13).and_then(|&flags| tcp_sign(flags)),
                    _ if dns_ports.contains(&self.src_port)
                        || dns_ports.contains(&self.dst_port) =>
                    {
                        // The flags follow the identifier (RFC 1035 section 4.1.1).
                        bytes.get(UDP_HEADER_LEN + 2).map(|&flags| dns_sign(flags))
                    }
                    _ => None,
                };
            }
            Protocol::Icmp | Protocol::Icmpv6 => {
                let Some(&icmp_type) = bytes.first() else {
                    return;
                };
                self.sign = icmp_sign(self.protocol, icmp_type);
                if is_echo(self.protocol, icmp_type)
                    && let Some(&[high, low]) = bytes.get(4..).and_then(|rest| rest.first_chunk())
                {
                    self.echo_id = Some(u16::from_be_bytes([high, low]));
                }
            }
            Protocol::Other(_) => {}
        }
    }
}

/// The address at the pod's end of a record; `None` for a later chunk of a segment and for what is not IP.
pub fn pod_address(record: &Record) -> Option<IpAddr> {
    if record.chunk_offset != 0 {
        return None;
    }
    let (ip, _) = LaxIpSlice::from_slice(&record.bytes).ok()?;
    Some(match record.direction {
        Direction::FromPod => ip.source_addr(),
        Direction::ToPod => ip.destination_addr(),
    })
}

fn fragment(ip: &LaxIpSlice<'_>) -> Option<Fragment> {
    match ip {
        LaxIpSlice::Ipv4(ip) => {
            let header = ip.header();
            header.is_fragmenting_payload().then(|| Fragment {
                id: u32::from(header.identification()),
                first: header.fragments_offset().value() == 0,
            })
        }
        LaxIpSlice::Ipv6(ip) => {
            ip.extensions()
                .clone()
                .into_iter()
                .find_map(|extension| match extension {
                    Ipv6ExtensionSlice::Fragment(fragment) => Some(Fragment {
                        id: fragment.identification(),
                        first: fragment.fragment_offset().value() == 0,
                    }),
                    _ => None,
                })
        }
    }
}

fn tcp_sign(flags: u8) -> Option<Sign> {
    match (flags & TCP_SYN != 0, flags & TCP_ACK != 0) {
        (true, false) => Some(Sign::Began),
        (true, true) => Some(Sign::Answers),
        (false, _) => None,
    }
}

fn dns_sign(flags: u8) -> Sign {
    if flags & 0x80 == 0 {
        Sign::Began
    } else {
        Sign::Answers
    }
}

fn is_echo(protocol: Protocol, icmp_type: u8) -> bool {
    match protocol {
        Protocol::Icmp => {
            icmp_type == icmpv4::TYPE_ECHO_REQUEST || icmp_type == icmpv4::TYPE_ECHO_REPLY
        }
        _ => icmp_type == icmpv6::TYPE_ECHO_REQUEST || icmp_type == icmpv6::TYPE_ECHO_REPLY,
    }
}

fn icmp_sign(protocol: Protocol, icmp_type: u8) -> Option<Sign> {
    match protocol {
        Protocol::Icmp => match icmp_type {
            icmpv4::TYPE_ECHO_REQUEST => Some(Sign::Began),
            icmpv4::TYPE_ECHO_REPLY
            | icmpv4::TYPE_DEST_UNREACH
            | icmpv4::TYPE_TIME_EXCEEDED
            | icmpv4::TYPE_PARAMETER_PROBLEM => Some(Sign::Answers),
            _ => None,
        },
        _ => match icmp_type {
            icmpv6::TYPE_ECHO_REQUEST => Some(Sign::Began),
            // 0 to 127 are errors (RFC 4443 section 2.1).
            icmpv6::TYPE_ECHO_REPLY | 0..=127 => Some(Sign::Answers),
            _ => None,
        },
    }
}
