//! What an event says about a request and its answer at one end.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Clock;
use crate::fair_table::Key;
use crate::model::connection::{RefusedBy, TcpConnection, TcpState, UdpFlow, UdpState};
use crate::model::echo::{Echo, EchoState};
use crate::model::event::{Body, Ends, Event};
use crate::model::exchange::{Exchange, Outcome, Transport};
use crate::model::flow::{Direction, Flow, Ifindex, Protocol, Role};
use crate::model::signal::PacketDrop;
use crate::model::time::Timestamp;

/// Two events of one connection can differ by some nanoseconds in its start: an agent converts each by its wall clock,
/// which is adjusted meanwhile. A port is hardly used for the same peer again within this time. In nanoseconds.
const SAME_START_NS: u64 = 10_000_000;
/// Pings without a reply after which a running ping counts as unanswered so far.
const SILENT_PINGS: u64 = 3;

/// What identifies a sighting at its node. A later event of the same flow and start replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SightingKey {
    pub(super) ifindex: Ifindex,
    pub(super) role: Role,
    pub(super) protocol: Protocol,
    pub(super) pod: SocketAddr,
    pub(super) peer: SocketAddr,
    /// By the node's own clock; to [`SAME_START_NS`], except for DNS, where several queries start at once.
    pub(super) started: Timestamp,
}

impl SightingKey {
    /// The keys that another event of the same connection can have.
    pub(super) fn alike(&self) -> [SightingKey; 3] {
        let Timestamp(at) = self.started;
        let started = [
            at,
            at.saturating_sub(SAME_START_NS),
            at.saturating_add(SAME_START_NS),
        ];
        started.map(|at| SightingKey {
            started: Timestamp(at),
            ..*self
        })
    }
}

/// The group of sightings at the same pod address.
pub(super) const SAME_POD: usize = 0;
/// The group of sightings with the same peer address.
pub(super) const SAME_PEER: usize = 1;

impl Key for SightingKey {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }

    fn hash_group<H: Hasher>(&self, group: usize, state: &mut H) {
        match group {
            SAME_POD => self.pod.ip().hash(state),
            _ => self.peer.ip().hash(state),
        }
    }
}

/// The answer as one end saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// No verdict is possible.
    Unknown,
    /// None came, or none was sent.
    Silence,
    /// What was asked for: SYN-ACK, datagram, DNS message, echo reply.
    Given,
    /// A RST to the SYN.
    Reset,
    /// An ICMP error from this address.
    Icmp(IpAddr),
    /// An answer from this address instead of the peer's.
    Untranslated(SocketAddr),
    /// Established, then reset by this end.
    Broken(Role),
}

/// A request and its answer, at one end.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    /// By the node's own clock.
    pub(super) started: Timestamp,
    /// Corrected by the node's clock, as the other times here.
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// The error of these times.
    pub(super) error: Duration,
    /// Requests: SYNs, datagrams, queries, pings.
    pub(super) asked: u64,
    pub(super) answer: Answer,
    pub(super) incomplete: bool,
    pub(super) ends: Ends,
}

/// The sighting in an event, if it has one.
pub(super) fn from_event(event: &Event, clock: Clock) -> Option<(SightingKey, Sighting)> {
    let ends = event.ends.as_ref()?;
    let (flow, role, last, asked, answer) = match &event.body {
        Body::Tcp(tcp) => (tcp.flow, tcp.role, tcp.last, syns(tcp), of_tcp(tcp)),
        Body::Udp(udp) => (udp.flow, udp.role, udp.last, requests(udp), of_udp(udp)),
        // The answer of another server than the one that was asked belongs to no request.
        Body::Dns(exchange, _) if exchange.asked_peer.is_none() && exchange.attempts > 0 => (
            exchange.flow,
            exchange.role,
            exchange.last_attempt,
            u64::from(exchange.attempts),
            of_dns(exchange),
        ),
        Body::Echo(echo) => (echo.flow, echo.role, echo.last, echo.sent, of_echo(echo)),
        _ => return None,
    };
    let Flow {
        ifindex,
        protocol,
        pod,
        peer,
    } = flow;
    let key = SightingKey {
        ifindex,
        role,
        protocol,
        pod,
        peer,
        started: match event.body {
            Body::Dns(..) => event.time,
            _ => Timestamp(event.time.0 - event.time.0 % SAME_START_NS),
        },
    };
    let sighting = Sighting {
        started: event.time,
        first: clock.corrected(event.time),
        last: clock.corrected(last.max(event.time)),
        error: clock.error,
        asked,
        answer,
        incomplete: event.incomplete,
        ends: ends.clone(),
    };
    Some((key, sighting))
}

fn syns(tcp: &TcpConnection) -> u64 {
    u64::from(tcp.syn_retransmits) + 1
}

fn of_tcp(tcp: &TcpConnection) -> Answer {
    match tcp.state {
        TcpState::Opening | TcpState::Timeout => match tcp.evidence.reply_from {
            Some(reply) => Answer::Untranslated(reply.from),
            None if tcp.evidence.late_answer.is_some() => Answer::Given,
            None => Answer::Silence,
        },
        TcpState::Refused(RefusedBy::Rst) => Answer::Reset,
        TcpState::Refused(RefusedBy::Icmp) => match tcp.icmp {
            Some(error) => Answer::Icmp(error.from.ip()),
            None => Answer::Unknown,
        },
        TcpState::Established | TcpState::Closed | TcpState::Idle => Answer::Given,
        TcpState::Reset => match tcp.evidence.reset {
            Some(reset) => Answer::Broken(match (reset.sender, tcp.role) {
                (Direction::FromPod, role) => role,
                (Direction::ToPod, Role::Client) => Role::Server,
                (Direction::ToPod, Role::Server) => Role::Client,
            }),
            None => Answer::Given,
        },
        TcpState::Undecided => Answer::Unknown,
    }
}

fn requests(udp: &UdpFlow) -> u64 {
    match udp.role {
        Role::Client => udp.totals.tx.packets,
        Role::Server => udp.totals.rx.packets,
    }
}

fn of_udp(udp: &UdpFlow) -> Answer {
    let answers = match udp.role {
        Role::Client => udp.totals.rx.packets,
        Role::Server => udp.totals.tx.packets,
    };
    match udp.state {
        UdpState::IcmpError => match udp.icmp {
            Some(error) => Answer::Icmp(error.from.ip()),
            None => Answer::Unknown,
        },
        _ if answers > 0 => Answer::Given,
        UdpState::Unanswered => match udp.reply_from {
            Some(reply) => Answer::Untranslated(reply.from),
            None => Answer::Silence,
        },
        UdpState::Open | UdpState::Closed | UdpState::Undecided => Answer::Unknown,
    }
}

fn of_dns(exchange: &Exchange) -> Answer {
    match (exchange.rcode, exchange.icmp, exchange.outcome) {
        (Some(_), ..) => Answer::Given,
        (None, Some(error), _) => Answer::Icmp(error.from.ip()),
        (None, None, Outcome::Timeout) if exchange.transport == Transport::Udp => Answer::Silence,
        _ => Answer::Unknown,
    }
}

fn of_echo(echo: &Echo) -> Answer {
    match (echo.received, echo.last_error, echo.state) {
        (1.., ..) => Answer::Given,
        (0, Some(error), _) => Answer::Icmp(error.from.ip()),
        (0, None, EchoState::Done) => Answer::Silence,
        (0, None, EchoState::Running) if echo.sent >= SILENT_PINGS => Answer::Silence,
        (0, None, _) => Answer::Unknown,
    }
}

/// The group of drops from the same address.
pub(super) const SAME_SOURCE: usize = 0;
/// The group of drops to the same address.
pub(super) const SAME_DESTINATION: usize = 1;

/// What identifies a drop at its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DropKey {
    pub(super) ifindex: Ifindex,
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) started: Timestamp,
}

impl Key for DropKey {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }

    fn hash_group<H: Hasher>(&self, group: usize, state: &mut H) {
        match group {
            SAME_SOURCE => self.src.ip().hash(state),
            _ => self.dst.ip().hash(state),
        }
    }
}

/// A dropped packet.
#[derive(Clone, Debug)]
pub(super) struct Dropped {
    pub(super) at: Timestamp,
    pub(super) error: Duration,
    pub(super) packet: PacketDrop,
}

/// The drop in an event.
pub(super) fn drop_from_event(event: &Event, clock: Clock) -> Option<(DropKey, Dropped)> {
    let Body::Drop(packet) = &event.body else {
        return None;
    };
    let key = DropKey {
        ifindex: event.ends.as_ref()?.ifindex,
        src: packet.tuple.src,
        dst: packet.tuple.dst,
        started: event.time,
    };
    let dropped = Dropped {
        at: clock.corrected(event.time),
        error: clock.error,
        packet: (**packet).clone(),
    };
    Some((key, dropped))
}

/// A pod's name, or its address.
pub(super) fn pod_name(ends: &Ends) -> Arc<str> {
    match &ends.pod.identity {
        Ok(pod) => Arc::clone(&pod.name),
        Err(_) => ends.pod.ip.to_string().into(),
    }
}
