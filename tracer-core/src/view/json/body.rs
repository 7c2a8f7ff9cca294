//! The fields of a JSON line that differ by event type. Those of queries and lookups are in [`dns`] and
//! [`lookup`]; the others, which are few, are a structure each that serde_json writes.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::super::{WallClock, words};
use super::line::Line;
use super::time::rfc3339;
use super::{dns, lookup, nanoseconds};
use crate::diagnose::settled;
use crate::model::connection::{RefusedBy, TcpConnection, TcpState, UdpFlow};
use crate::model::echo::Echo;
use crate::model::event::Body;
use crate::model::evidence::OtherReply;
use crate::model::finding::Finding;
use crate::model::flow::{Protocol, Traffic};
use crate::model::loss::Loss;
use crate::model::observation::IcmpError;
use crate::model::path::{Hop, Path};
use crate::model::sentence::Sentence;
use crate::model::signal::{DropPlace, PacketDrop, Tuple};

/// Whether the ends of this event have ports.
pub(super) fn has_ports(body: &Body) -> bool {
    match body {
        Body::Dns(..)
        | Body::Lookup(_)
        | Body::Tcp(_)
        | Body::Udp(_)
        | Body::Drop(_)
        | Body::Finding(_) => true,
        Body::Echo(_) | Body::IcmpError(_) | Body::Lost(_) => false,
    }
}

/// Appends the fields of the event's type.
pub(super) fn fields(
    line: &mut Line<'_>,
    body: &Body,
    clock: &dyn WallClock,
) -> serde_json::Result<()> {
    match body {
        Body::Dns(exchange, place) => dns::fields(line, exchange, place.as_ref(), clock),
        Body::Lookup(lookup) => {
            lookup::fields(line, lookup);
            Ok(())
        }
        Body::Tcp(connection) => line.fields(&TcpFields::new(connection)),
        Body::Udp(flow) => line.fields(&UdpFields::new(flow)),
        Body::Echo(echo) => line.fields(&EchoFields::new(echo)),
        Body::IcmpError(error) => line.fields(&IcmpErrorFields {
            kind: "error",
            error: IcmpDetail::new(error),
        }),
        Body::Drop(dropped) => line.fields(&DropFields::new(dropped)),
        Body::Finding(finding) => line.fields(&FindingFields::new(&settled(finding), clock)),
        Body::Lost(loss) => line.fields(&LostFields::new(loss)),
    }
}

#[derive(Serialize)]
struct TrafficFields {
    packets: u64,
    bytes: u64,
}

fn traffic(traffic: Traffic) -> TrafficFields {
    TrafficFields {
        packets: traffic.packets,
        bytes: traffic.bytes,
    }
}

#[derive(Serialize)]
struct TcpFields {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_ns: Option<u64>,
    syn_retransmits: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmits: Option<u64>,
    tx: TrafficFields,
    rx: TrafficFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<IcmpDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_from: Option<AddressFields>,
}

impl TcpFields {
    fn new(connection: &TcpConnection) -> TcpFields {
        TcpFields {
            state: words::tcp_state(connection.state),
            by: match connection.state {
                TcpState::Refused(RefusedBy::Rst) => Some("rst"),
                TcpState::Refused(RefusedBy::Icmp) => Some("icmp"),
                _ => None,
            },
            handshake_ns: connection.handshake.map(nanoseconds),
            syn_retransmits: connection.syn_retransmits,
            retransmits: connection.totals.retransmits,
            tx: traffic(connection.totals.tx),
            rx: traffic(connection.totals.rx),
            icmp: connection.icmp.as_ref().map(IcmpDetail::new),
            reply_from: connection.evidence.reply_from.map(sender),
        }
    }
}

#[derive(Serialize)]
struct UdpFields {
    state: &'static str,
    tx: TrafficFields,
    rx: TrafficFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<IcmpDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_from: Option<AddressFields>,
}

impl UdpFields {
    fn new(flow: &UdpFlow) -> UdpFields {
        UdpFields {
            state: words::udp_state(flow.state),
            tx: traffic(flow.totals.tx),
            rx: traffic(flow.totals.rx),
            icmp: flow.icmp.as_ref().map(IcmpDetail::new),
            reply_from: flow.reply_from.map(sender),
        }
    }
}

fn sender(reply: OtherReply) -> AddressFields {
    AddressFields {
        ip: reply.from.ip(),
        port: Some(reply.from.port()),
    }
}

#[derive(Serialize)]
struct EchoFields {
    kind: &'static str,
    id: u16,
    sent: u64,
    received: u64,
    duplicates: u64,
    loss: Option<f64>,
    samples: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ns: Option<RttFields>,
    state: &'static str,
    errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<IcmpDetail>,
}

#[derive(Serialize)]
struct RttFields {
    min: u64,
    avg: u64,
    max: u64,
    mdev: u64,
}

impl EchoFields {
    fn new(echo: &Echo) -> EchoFields {
        EchoFields {
            kind: "echo",
            id: echo.id,
            sent: echo.sent,
            received: echo.received,
            duplicates: echo.duplicates,
            loss: echo.loss(),
            samples: echo.samples,
            rtt_ns: echo.rtt.map(|rtt| RttFields {
                min: nanoseconds(rtt.min),
                avg: nanoseconds(rtt.avg),
                max: nanoseconds(rtt.max),
                mdev: nanoseconds(rtt.mdev),
            }),
            state: words::echo_state(echo.state),
            errors: echo.errors,
            last_error: echo.last_error.as_ref().map(IcmpDetail::new),
        }
    }
}

#[derive(Serialize)]
struct DropFields<'a> {
    protocol: String,
    src: AddressFields,
    dst: AddressFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_flags: Option<u8>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    place: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    unreported: u64,
}

impl DropFields<'_> {
    fn new(dropped: &PacketDrop) -> DropFields<'_> {
        let Tuple { protocol, src, dst } = dropped.tuple;
        DropFields {
            protocol: words::protocol(protocol),
            src: end(protocol, src),
            dst: end(protocol, dst),
            tcp_flags: dropped.tcp_flags,
            reason: dropped.reason,
            function: dropped.function.as_deref(),
            place: match dropped.place {
                DropPlace::Node => Some("node"),
                DropPlace::Pod => Some("pod"),
                DropPlace::Unknown => None,
            },
            device: dropped.device.as_deref(),
            unreported: dropped.unreported,
        }
    }
}

/// An address, with its port if the protocol has ports.
fn end(protocol: Protocol, address: SocketAddr) -> AddressFields {
    AddressFields {
        ip: address.ip(),
        port: matches!(protocol, Protocol::Tcp | Protocol::Udp).then(|| address.port()),
    }
}

#[derive(Serialize)]
struct IcmpErrorFields {
    kind: &'static str,
    #[serde(flatten)]
    error: IcmpDetail,
}

/// An ICMP error: the fields of its own event, and the object "icmp" in the event that it ended.
#[derive(Serialize)]
pub(super) struct IcmpDetail {
    from: IpAddr,
    v6: bool,
    icmp_type: u8,
    icmp_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    about: QuotedFields,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unconfirmed: bool,
}

#[derive(Serialize)]
struct QuotedFields {
    protocol: String,
    src: AddressFields,
    dst: AddressFields,
}

#[derive(Serialize)]
struct AddressFields {
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl IcmpDetail {
    pub(super) fn new(error: &IcmpError) -> IcmpDetail {
        let address = |address| end(error.about.protocol, address);
        IcmpDetail {
            from: error.from.ip(),
            v6: error.v6,
            icmp_type: error.icmp_type,
            icmp_code: error.icmp_code,
            mtu: error.mtu,
            about: QuotedFields {
                protocol: words::protocol(error.about.protocol),
                src: address(error.about.src),
                dst: address(error.about.dst),
            },
            unconfirmed: error.unconfirmed,
        }
    }
}

#[derive(Serialize)]
struct FindingFields<'a> {
    id: &'a str,
    rule: &'static str,
    severity: &'static str,
    state: &'static str,
    first: String,
    last: String,
    count: u64,
    of: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<u64>,
    headline: &'a Sentence,
    summary: &'a Sentence,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<&'a Sentence>,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a Sentence>,
    r#try: &'a [Sentence],
    evidence: Vec<EvidenceFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathFields<'a>>,
}

#[derive(Serialize)]
struct PathFields<'a> {
    time: String,
    line: &'a str,
    verdict: &'static str,
    hops: Vec<HopFields<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    probable: bool,
}

#[derive(Serialize)]
struct HopFields<'a> {
    place: &'static str,
    name: &'a str,
    node: Option<&'a str>,
    seen: Option<bool>,
    what: &'a str,
}

impl<'a> PathFields<'a> {
    fn new(path: &'a Path, clock: &dyn WallClock) -> PathFields<'a> {
        fn hop(hop: &Hop) -> HopFields<'_> {
            HopFields {
                place: hop.place.as_str(),
                name: &hop.name,
                node: hop.node.as_deref(),
                seen: hop.seen,
                what: &hop.what,
            }
        }
        PathFields {
            time: rfc3339(clock.wall(path.time)),
            line: &path.line,
            verdict: path.verdict.as_str(),
            hops: path.hops.iter().map(hop).collect(),
            probable: path.probable,
        }
    }
}

#[derive(Serialize)]
struct EvidenceFields<'a> {
    text: &'a Sentence,
}

impl<'a> FindingFields<'a> {
    fn new(finding: &'a Finding, clock: &dyn WallClock) -> FindingFields<'a> {
        FindingFields {
            id: &finding.id,
            rule: finding.rule,
            severity: words::severity(finding.severity),
            state: words::finding_state(finding.state),
            first: rfc3339(clock.wall(finding.first)),
            last: rfc3339(clock.wall(finding.last)),
            count: finding.count,
            of: finding.of,
            pods: finding.pods.as_ref().map(|pods| pods.count),
            headline: &finding.headline,
            summary: &finding.summary,
            was: finding.was.as_ref(),
            why: Sentence::lines(&finding.why),
            fix: finding.fix.as_ref(),
            r#try: &finding.remedies,
            evidence: finding
                .evidence
                .iter()
                .map(|text| EvidenceFields { text })
                .collect(),
            path: (finding.path.as_deref()).map(|path| PathFields::new(path, clock)),
        }
    }
}

#[derive(Serialize)]
struct LostFields {
    stage: &'static str,
    count: u64,
    reason: &'static str,
}

impl LostFields {
    fn new(loss: &Loss) -> LostFields {
        LostFields {
            stage: loss.stage.as_str(),
            count: loss.count,
            reason: loss.reason,
        }
    }
}
