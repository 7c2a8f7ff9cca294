//! Converts TCP connections, UDP flows, pings and ICMP errors.

use std::time::Duration;

use super::ends::{address_from_wire, address_to_wire};
use super::words::WireEnum;
use super::{Unreadable, nanoseconds, proto, small, timestamp, wall};
use crate::intern::intern;
use tracer_core::model::connection::{TcpConnection, UdpFlow};
use tracer_core::model::echo::{Echo, EchoState, Rtt};
use tracer_core::model::evidence::{OtherReply, TcpEvidence};
use tracer_core::model::flow::{Flow, FlowTotals, Ifindex, Protocol, QuotedFlow, Traffic};
use tracer_core::model::observation::IcmpError;
use tracer_core::model::signal::{DropPlace, PacketDrop, Tuple};
use tracer_core::view::WallClock;

pub(super) fn flow_to_wire(flow: &Flow) -> proto::Flow {
    proto::Flow {
        ifindex: flow.ifindex.0,
        protocol: u32::from(flow.protocol.number()),
        pod: Some(address_to_wire(flow.pod)),
        peer: Some(address_to_wire(flow.peer)),
    }
}

pub(super) fn flow_from_wire(wire: Option<proto::Flow>) -> Result<Flow, Unreadable> {
    let wire = wire.ok_or(Unreadable::Missing("the flow"))?;
    Ok(Flow {
        ifindex: Ifindex(wire.ifindex),
        protocol: protocol(wire.protocol)?,
        pod: address_from_wire(wire.pod)?,
        peer: address_from_wire(wire.peer)?,
    })
}

fn protocol(number: u32) -> Result<Protocol, Unreadable> {
    Ok(Protocol::from_number(small(number, "a protocol")?))
}

fn traffic_to_wire(traffic: Traffic) -> proto::Traffic {
    proto::Traffic {
        packets: traffic.packets,
        bytes: traffic.bytes,
    }
}

/// A missing message means zero: an encoder may leave out a message of zeros.
fn traffic_from_wire(wire: Option<proto::Traffic>) -> Traffic {
    let wire = wire.unwrap_or_default();
    Traffic {
        packets: wire.packets,
        bytes: wire.bytes,
    }
}

pub(super) fn totals_to_wire(totals: FlowTotals) -> proto::Totals {
    proto::Totals {
        tx: Some(traffic_to_wire(totals.tx)),
        rx: Some(traffic_to_wire(totals.rx)),
        retransmits: totals.retransmits,
    }
}

fn totals_from_wire(wire: Option<proto::Totals>) -> FlowTotals {
    let wire = wire.unwrap_or_default();
    FlowTotals {
        tx: traffic_from_wire(wire.tx),
        rx: traffic_from_wire(wire.rx),
        retransmits: wire.retransmits,
    }
}

pub(super) fn tcp_to_wire(connection: &TcpConnection, clock: &dyn WallClock) -> proto::Tcp {
    proto::Tcp {
        flow: Some(flow_to_wire(&connection.flow)),
        role: connection.role.to_wire(),
        state: connection.state.to_wire(),
        handshake_ns: connection.handshake.map(nanoseconds),
        syn_retransmits: connection.syn_retransmits,
        totals: Some(totals_to_wire(connection.totals)),
        icmp: connection.icmp.as_ref().map(icmp_to_wire),
        last_unix_ns: wall(clock, connection.last),
        reply_from: (connection.evidence.reply_from.as_ref())
            .map(|reply| other_reply_to_wire(reply, clock)),
        given_up_unix_ns: connection.evidence.given_up.map(|at| wall(clock, at)),
        late_answer_ns: connection.evidence.late_answer.map(nanoseconds),
    }
}

fn other_reply_to_wire(reply: &OtherReply, clock: &dyn WallClock) -> proto::OtherReply {
    proto::OtherReply {
        from: Some(address_to_wire(reply.from)),
        packets: reply.packets,
        resets: reply.resets,
        first_unix_ns: wall(clock, reply.first),
        last_unix_ns: wall(clock, reply.last),
        syn_ack: reply.syn_ack,
    }
}

fn other_reply_from_wire(wire: proto::OtherReply) -> Result<OtherReply, Unreadable> {
    Ok(OtherReply {
        from: address_from_wire(wire.from)?,
        packets: wire.packets,
        resets: wire.resets,
        first: timestamp(wire.first_unix_ns),
        last: timestamp(wire.last_unix_ns),
        syn_ack: wire.syn_ack,
    })
}

pub(super) fn tcp_from_wire(wire: proto::Tcp) -> Result<TcpConnection, Unreadable> {
    Ok(TcpConnection {
        flow: flow_from_wire(wire.flow)?,
        role: WireEnum::from_wire(wire.role)?,
        state: WireEnum::from_wire(wire.state)?,
        handshake: wire.handshake_ns.map(Duration::from_nanos),
        syn_retransmits: wire.syn_retransmits,
        totals: totals_from_wire(wire.totals),
        icmp: optional_icmp(wire.icmp)?,
        last: timestamp(wire.last_unix_ns),
        // Only what an event shows travels: the rules run where the packets are.
        evidence: TcpEvidence {
            reply_from: wire.reply_from.map(other_reply_from_wire).transpose()?,
            given_up: wire.given_up_unix_ns.map(timestamp),
            late_answer: wire.late_answer_ns.map(Duration::from_nanos),
            ..TcpEvidence::default()
        },
    })
}

pub(super) fn udp_to_wire(flow: &UdpFlow, clock: &dyn WallClock) -> proto::Udp {
    proto::Udp {
        flow: Some(flow_to_wire(&flow.flow)),
        role: flow.role.to_wire(),
        state: flow.state.to_wire(),
        totals: Some(totals_to_wire(flow.totals)),
        icmp: flow.icmp.as_ref().map(icmp_to_wire),
        last_unix_ns: wall(clock, flow.last),
        reply_from: (flow.reply_from.as_ref()).map(|reply| other_reply_to_wire(reply, clock)),
    }
}

pub(super) fn udp_from_wire(wire: proto::Udp) -> Result<UdpFlow, Unreadable> {
    Ok(UdpFlow {
        flow: flow_from_wire(wire.flow)?,
        role: WireEnum::from_wire(wire.role)?,
        state: WireEnum::from_wire(wire.state)?,
        totals: totals_from_wire(wire.totals),
        icmp: optional_icmp(wire.icmp)?,
        last: timestamp(wire.last_unix_ns),
        unanswered: None,
        reply_from: wire.reply_from.map(other_reply_from_wire).transpose()?,
    })
}

pub(super) fn drop_to_wire(dropped: &PacketDrop) -> proto::Drop {
    proto::Drop {
        protocol: u32::from(dropped.tuple.protocol.number()),
        src: Some(address_to_wire(dropped.tuple.src)),
        dst: Some(address_to_wire(dropped.tuple.dst)),
        tcp_flags: dropped.tcp_flags.map(u32::from),
        reason: dropped.reason.to_string(),
        function: dropped.function.as_deref().map(str::to_owned),
        place: match dropped.place {
            DropPlace::Node => proto::DropPlace::Node,
            DropPlace::Pod => proto::DropPlace::Pod,
            DropPlace::Unknown => proto::DropPlace::Unspecified,
        }
        .into(),
        device: dropped.device.as_deref().map(str::to_owned),
        unreported: dropped.unreported,
    }
}

pub(super) fn drop_from_wire(wire: proto::Drop) -> Result<PacketDrop, Unreadable> {
    let place = match wire.place() {
        proto::DropPlace::Node => DropPlace::Node,
        proto::DropPlace::Pod => DropPlace::Pod,
        proto::DropPlace::Unspecified => DropPlace::Unknown,
    };
    Ok(PacketDrop {
        tuple: Tuple {
            protocol: Protocol::from_number(small(wire.protocol, "a protocol")?),
            src: address_from_wire(wire.src)?,
            dst: address_from_wire(wire.dst)?,
        },
        tcp_flags: wire
            .tcp_flags
            .map(|flags| small(flags, "TCP flags"))
            .transpose()?,
        reason: intern(&wire.reason),
        function: wire.function.map(Into::into),
        place,
        device: wire.device.map(Into::into),
        unreported: wire.unreported,
    })
}

pub(super) fn echo_to_wire(echo: &Echo, clock: &dyn WallClock) -> proto::Echo {
    proto::Echo {
        flow: Some(flow_to_wire(&echo.flow)),
        role: echo.role.to_wire(),
        id: u32::from(echo.id),
        sent: echo.sent,
        received: echo.received,
        duplicates: echo.duplicates,
        errors: echo.errors,
        last_error: echo.last_error.as_ref().map(icmp_to_wire),
        samples: echo.samples,
        rtt: echo.rtt.map(|rtt| proto::Rtt {
            min_ns: nanoseconds(rtt.min),
            avg_ns: nanoseconds(rtt.avg),
            max_ns: nanoseconds(rtt.max),
            mdev_ns: nanoseconds(rtt.mdev),
        }),
        done: echo.state == EchoState::Done,
        undecided: echo.state == EchoState::Undecided,
        last_unix_ns: wall(clock, echo.last),
    }
}

pub(super) fn echo_from_wire(wire: proto::Echo) -> Result<Echo, Unreadable> {
    Ok(Echo {
        flow: flow_from_wire(wire.flow)?,
        role: WireEnum::from_wire(wire.role)?,
        id: small(wire.id, "an identifier")?,
        sent: wire.sent,
        received: wire.received,
        duplicates: wire.duplicates,
        errors: wire.errors,
        last_error: optional_icmp(wire.last_error)?,
        samples: wire.samples,
        rtt: wire.rtt.map(|rtt| Rtt {
            min: Duration::from_nanos(rtt.min_ns),
            avg: Duration::from_nanos(rtt.avg_ns),
            max: Duration::from_nanos(rtt.max_ns),
            mdev: Duration::from_nanos(rtt.mdev_ns),
        }),
        state: match (wire.undecided, wire.done) {
            (true, _) => EchoState::Undecided,
            (false, true) => EchoState::Done,
            (false, false) => EchoState::Running,
        },
        last: timestamp(wire.last_unix_ns),
    })
}

pub(super) fn icmp_to_wire(error: &IcmpError) -> proto::IcmpError {
    proto::IcmpError {
        from: Some(address_to_wire(error.from)),
        v6: error.v6,
        icmp_type: u32::from(error.icmp_type),
        icmp_code: u32::from(error.icmp_code),
        mtu: error.mtu,
        about: Some(proto::QuotedFlow {
            protocol: u32::from(error.about.protocol.number()),
            src: Some(address_to_wire(error.about.src)),
            dst: Some(address_to_wire(error.about.dst)),
        }),
        echo_sequence: error.echo_sequence.map(u32::from),
        opens: error.opens,
        datagram_id: error.datagram_id.map(u32::from),
        unconfirmed: error.unconfirmed,
    }
}

pub(super) fn icmp_from_wire(wire: &proto::IcmpError) -> Result<IcmpError, Unreadable> {
    let number = |number: Option<u32>| {
        number
            .map(|number| small(number, "an ICMP field"))
            .transpose()
    };
    let about = wire
        .about
        .clone()
        .ok_or(Unreadable::Missing("the quoted packet"))?;
    Ok(IcmpError {
        from: address_from_wire(wire.from.clone())?,
        v6: wire.v6,
        icmp_type: small(wire.icmp_type, "an ICMP type")?,
        icmp_code: small(wire.icmp_code, "an ICMP code")?,
        mtu: wire.mtu,
        about: QuotedFlow {
            protocol: protocol(about.protocol)?,
            src: address_from_wire(about.src)?,
            dst: address_from_wire(about.dst)?,
        },
        echo_sequence: number(wire.echo_sequence)?,
        opens: wire.opens,
        datagram_id: number(wire.datagram_id)?,
        sequence: None,
        unconfirmed: wire.unconfirmed,
    })
}

pub(super) fn optional_icmp(
    wire: Option<proto::IcmpError>,
) -> Result<Option<IcmpError>, Unreadable> {
    wire.as_ref().map(icmp_from_wire).transpose()
}
