//! The fields of a JSON line that differ by event type: one structure each.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::super::{WallClock, words};
use super::dns_details::{DetailFields, ExtendedErrorFields, extended_errors};
use super::nanoseconds;
use super::time::rfc3339;
use crate::model::connection::{RefusedBy, TcpConnection, TcpState, UdpFlow};
use crate::model::dns::{ResourceRecord, rcode_mnemonic, type_mnemonic};
use crate::model::echo::Echo;
use crate::model::event::Body;
use crate::model::evidence::OtherReply;
use crate::model::exchange::{self, Exchange};
use crate::model::finding::Finding;
use crate::model::flow::{Protocol, Traffic};
use crate::model::lookup::{Lookup, Place, Step};
use crate::model::loss::Loss;
use crate::model::observation::IcmpError;
use crate::model::sentence::Sentence;

/// Whether the ends of this event have ports.
pub(super) fn has_ports(body: &Body) -> bool {
    match body {
        Body::Dns(..) | Body::Lookup(_) | Body::Tcp(_) | Body::Udp(_) | Body::Finding(_) => true,
        Body::Echo(_) | Body::IcmpError(_) | Body::Lost(_) => false,
    }
}

/// The fields of each event type.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Fields<'a> {
    Dns(Box<DnsFields<'a>>),
    Lookup(LookupFields<'a>),
    Tcp(TcpFields),
    Udp(UdpFields),
    Echo(EchoFields),
    IcmpError(IcmpErrorFields),
    Finding(FindingFields<'a>),
    Lost(LostFields),
}

impl<'a> Fields<'a> {
    pub(super) fn new(body: &'a Body, clock: &dyn WallClock) -> Fields<'a> {
        match body {
            Body::Dns(exchange, place) => {
                Fields::Dns(Box::new(DnsFields::new(exchange, place.as_ref())))
            }
            Body::Lookup(lookup) => Fields::Lookup(LookupFields::new(lookup)),
            Body::Tcp(connection) => Fields::Tcp(TcpFields::new(connection)),
            Body::Udp(flow) => Fields::Udp(UdpFields::new(flow)),
            Body::Echo(echo) => Fields::Echo(EchoFields::new(echo)),
            Body::IcmpError(error) => Fields::IcmpError(IcmpErrorFields {
                kind: "error",
                error: IcmpDetail::new(error),
            }),
            Body::Finding(finding) => Fields::Finding(FindingFields::new(finding, clock)),
            Body::Lost(loss) => Fields::Lost(LostFields::new(loss)),
        }
    }
}

#[derive(Serialize)]
pub(super) struct DnsFields<'a> {
    transport: &'static str,
    id: u16,
    name: Option<&'a str>,
    qtype: Option<Cow<'static, str>>,
    rcode: Option<Cow<'static, str>>,
    outcome: &'static str,
    answers: Vec<RecordFields<'a>>,
    latency_ns: Option<u64>,
    attempts: u32,
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lookup: Option<PlaceFields<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorities: Vec<RecordFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<IcmpDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_peer: Option<AddressFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragments_lost: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<TransportStepFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(flatten)]
    details: DetailFields<'a>,
}

#[derive(Serialize)]
struct TransportStepFields {
    transport: &'static str,
    outcome: &'static str,
    latency_ns: Option<u64>,
}

#[derive(Serialize)]
struct RecordFields<'a> {
    name: &'a str,
    r#type: Cow<'static, str>,
    ttl: u32,
    data: &'a str,
}

#[derive(Serialize)]
struct PlaceFields<'a> {
    asked: Option<&'a str>,
    candidate: u32,
    of: Option<u32>,
}

impl<'a> DnsFields<'a> {
    fn new(exchange: &'a Exchange, place: Option<&'a Place>) -> DnsFields<'a> {
        let question = exchange.question.as_ref();
        DnsFields {
            transport: exchange.transport.as_str(),
            id: exchange.id,
            name: question.map(|question| question.name.as_str()),
            qtype: question.map(|question| type_mnemonic(question.qtype)),
            rcode: exchange.rcode.map(rcode_mnemonic),
            outcome: exchange.outcome.as_str(),
            answers: exchange.answers.iter().map(record).collect(),
            latency_ns: exchange.latency.map(nanoseconds),
            attempts: exchange.attempts,
            late: exchange.late,
            lookup: place.map(|place| PlaceFields {
                asked: place.asked.as_deref(),
                candidate: place.candidate,
                of: place.of,
            }),
            authorities: exchange.authorities.iter().map(record).collect(),
            icmp: exchange.icmp.as_ref().map(IcmpDetail::new),
            connection: exchange.connection.map(|end| end.as_str()),
            asked_peer: exchange.asked_peer.map(|asked| AddressFields {
                ip: asked.ip(),
                port: Some(asked.port()),
            }),
            fragments_lost: Some(exchange.fragments_lost).filter(|&lost| lost > 0),
            steps: exchange.steps.iter().map(transport_step).collect(),
            fault: exchange.fault.as_ref().map(ToString::to_string),
            details: DetailFields::new(exchange),
        }
    }
}

fn transport_step(step: &exchange::Step) -> TransportStepFields {
    TransportStepFields {
        transport: step.transport.as_str(),
        outcome: step.outcome.as_str(),
        latency_ns: step.latency.map(nanoseconds),
    }
}

fn record(record: &ResourceRecord) -> RecordFields<'_> {
    RecordFields {
        name: record.name.as_str(),
        r#type: type_mnemonic(record.rtype),
        ttl: record.ttl,
        data: &record.data,
    }
}

#[derive(Serialize)]
pub(super) struct LookupFields<'a> {
    asked: Option<&'a str>,
    qtypes: Vec<Cow<'static, str>>,
    outcome: &'static str,
    queries: u32,
    duration_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ns: Option<u64>,
    steps: Vec<StepFields<'a>>,
}

#[derive(Serialize)]
struct StepFields<'a> {
    name: &'a str,
    qtype: Cow<'static, str>,
    outcome: Option<&'static str>,
    latency_ns: Option<u64>,
    attempts: u32,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    data: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ede: Vec<ExtendedErrorFields<'a>>,
}

impl<'a> LookupFields<'a> {
    fn new(lookup: &'a Lookup) -> LookupFields<'a> {
        LookupFields {
            asked: lookup.asked.as_deref(),
            qtypes: lookup.qtypes.iter().copied().map(type_mnemonic).collect(),
            outcome: lookup.outcome.as_str(),
            queries: lookup.queries,
            duration_ns: nanoseconds(lookup.duration),
            waited_ns: (!lookup.waited.is_zero()).then(|| nanoseconds(lookup.waited)),
            steps: lookup.steps.iter().map(step).collect(),
        }
    }
}

fn step(step: &Step) -> StepFields<'_> {
    StepFields {
        name: step.name.as_str(),
        qtype: type_mnemonic(step.qtype),
        outcome: step.outcome.map(|outcome| outcome.as_str()),
        latency_ns: step.latency.map(nanoseconds),
        attempts: step.attempts,
        data: &step.data,
        ede: extended_errors(&step.errors),
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
pub(super) struct TcpFields {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_ns: Option<u64>,
    syn_retransmits: u32,
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
            tx: traffic(connection.totals.tx),
            rx: traffic(connection.totals.rx),
            icmp: connection.icmp.as_ref().map(IcmpDetail::new),
            reply_from: connection.evidence.reply_from.map(sender),
        }
    }
}

#[derive(Serialize)]
pub(super) struct UdpFields {
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
pub(super) struct EchoFields {
    kind: &'static str,
    id: u16,
    sent: u64,
    received: u64,
    duplicates: u64,
    loss: f64,
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
pub(super) struct IcmpErrorFields {
    kind: &'static str,
    #[serde(flatten)]
    error: IcmpDetail,
}

/// An ICMP error: the fields of its own event, and the object "icmp" in the event that it ended.
#[derive(Serialize)]
struct IcmpDetail {
    from: IpAddr,
    v6: bool,
    icmp_type: u8,
    icmp_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    about: QuotedFields,
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
    fn new(error: &IcmpError) -> IcmpDetail {
        let ports = matches!(error.about.protocol, Protocol::Tcp | Protocol::Udp);
        let address = |address: SocketAddr| AddressFields {
            ip: address.ip(),
            port: ports.then(|| address.port()),
        };
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
        }
    }
}

#[derive(Serialize)]
pub(super) struct FindingFields<'a> {
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
        }
    }
}

#[derive(Serialize)]
pub(super) struct LostFields {
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
