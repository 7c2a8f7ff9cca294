//! The state of one TCP connection, and what it reports. What opens and ends it is in [`super::opening`] and
//! [`super::ending`].

use std::time::Duration;

use super::activity::{Activity, Sent};
use super::segments::Segments;
use super::sent_by_pod::{RECENT, SentByPod};
use crate::correlate::meter::Meter;
use crate::model::connection::{RefusedBy, TcpConnection, TcpState};
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::evidence::{OtherReply, Reset, TcpEvidence};
use crate::model::flow::{Direction, Flow, FlowSnapshot, Role};
use crate::model::observation::{IcmpError, Observation, TcpSegment};
use crate::model::time::Timestamp;

/// How long an ended connection is remembered after its last segment, so that late ones open no new one. A
/// retransmission comes at most 120 s after the previous one.
pub(super) const LINGER: Duration = Duration::from_secs(180);
/// How long a SYN that follows its SYN-ACK in a capture may be late.
const REORDERING: Duration = Duration::from_secs(1);
/// The first repetition of a SYN is due after one second (RFC 6298 section 2.1), the next after twice the
/// previous time, give or take a timer's inaccuracy.
const FIRST_SYN_REPEAT: Duration = Duration::from_millis(1_250);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// SYN seen, no answer.
    Opening,
    /// As `Opening`, and reported as a timeout.
    TimedOut,
    /// As `Opening`, and reported as refused by an ICMP error. The opener may retry: Linux does if the error
    /// arrives before connect(2) leaves the socket.
    Rejected,
    /// SYN-ACK seen, but the opener may have given up before it came, or, where its SYN was not seen, never
    /// have asked. At the given time it is established.
    Answered {
        until: Timestamp,
        /// It was reported as a timeout.
        timed_out: bool,
    },
    /// Established, or first seen in the middle.
    Established,
    /// It ended in this state; its last segments may still come, until this time.
    Closing { state: TcpState, until: Timestamp },
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) role: Role,
    /// Time of the first SYN, or of the first packet seen.
    pub(super) started: Timestamp,
    /// The first SYN's sequence number; `None` if neither it nor its answer was seen.
    pub(super) isn: Option<u32>,
    /// Payload of the first SYN (TCP Fast Open), which its answer may acknowledge.
    pub(super) syn_data: u32,
    pub(super) syn_retransmits: u32,
    pub(super) handshake: Option<Duration>,
    pub(super) phase: Phase,
    /// `established` was emitted.
    pub(super) announced: bool,
    pub(super) fin_from_pod: bool,
    pub(super) fin_to_pod: bool,
    pub(super) last: Timestamp,
    pub(super) meter: Meter,
    pub(super) sent: SentByPod,
    /// First seen in the middle: the opener is a guess.
    pub(super) picked_up: bool,
    /// The opener acknowledged the SYN-ACK.
    pub(super) confirmed: bool,
    /// A SYN came after the latest SYN-ACK, which the next SYN-ACK answers.
    pub(super) syn_pending: bool,
    pub(super) syn_ack_repeats: u32,
    pub(super) syn_ack_repeats_reported: u32,
    pub(super) last_syn: Timestamp,
    /// When the next repetition of the SYN is due, and late by now.
    pub(super) syn_due: Timestamp,
    pub(super) given_up: Option<Timestamp>,
    pub(super) late_answer: Option<Duration>,
    pub(super) activity: Activity,
    pub(super) segments: Option<Box<Segments>>,
    pub(super) reply_from: Option<Box<OtherReply>>,
    pub(super) replies_reported: u32,
    pub(super) reset: Option<Box<Reset>>,
}

impl Connection {
    pub(super) fn opened(observation: &Observation, segment: &TcpSegment) -> Connection {
        Connection {
            isn: Some(segment.sequence),
            syn_data: segment.length,
            phase: Phase::Opening,
            picked_up: false,
            syn_pending: true,
            meter: Meter::starting(observation),
            ..Connection::unknown(observation, segment, opener(observation.direction))
        }
    }

    /// First seen in the middle. A SYN-ACK shows the opener, and its SYN may follow; otherwise the lower port
    /// is taken for the server's until more is known.
    pub(super) fn picked_up(observation: &Observation, segment: &TcpSegment) -> Connection {
        let flow = &observation.flow;
        if segment.syn {
            return Connection {
                isn: Some(segment.acknowledgment.wrapping_sub(1)),
                phase: Phase::Answered {
                    until: observation.time.after(REORDERING),
                    timed_out: false,
                },
                ..Connection::unknown(observation, segment, answerer(observation.direction))
            };
        }
        let role = if flow.pod.port() < flow.peer.port() {
            Role::Server
        } else {
            Role::Client
        };
        let mut connection = Connection {
            confirmed: true,
            ..Connection::unknown(observation, segment, role)
        };
        connection.track(observation, segment);
        connection
    }

    fn unknown(observation: &Observation, segment: &TcpSegment, role: Role) -> Connection {
        let mut sent = SentByPod::default();
        sent.observe(observation.direction, segment);
        Connection {
            role,
            started: observation.time,
            isn: None,
            syn_data: 0,
            syn_retransmits: 0,
            handshake: None,
            phase: Phase::Established,
            announced: false,
            fin_from_pod: false,
            fin_to_pod: false,
            last: observation.time,
            meter: Meter::picked_up(observation),
            sent,
            picked_up: true,
            confirmed: false,
            syn_pending: false,
            syn_ack_repeats: 0,
            syn_ack_repeats_reported: 0,
            last_syn: observation.time,
            syn_due: observation.time.after(FIRST_SYN_REPEAT),
            given_up: None,
            late_answer: None,
            activity: Activity::default(),
            segments: None,
            reply_from: None,
            replies_reported: 0,
            reset: None,
        }
    }

    pub(super) fn event(&self, flow: Flow, state: TcpState, icmp: Option<IcmpError>) -> Correlated {
        Correlated {
            time: self.started,
            flow,
            role: self.role,
            event: CorrelatedEvent::Tcp(Box::new(self.report(flow, state, icmp))),
        }
    }

    /// Whether the pod took part in a connection that was first seen in the middle. Any host can send it
    /// segments that it ignores.
    pub(super) fn pod_takes_part(&self) -> bool {
        !self.picked_up || self.meter.totals().tx.packets > 0
    }

    /// Evidence for the rules; the state is the one that was reported last.
    pub(super) fn progress(&self, flow: Flow) -> Correlated {
        let state = match self.phase {
            Phase::Opening => TcpState::Opening,
            Phase::TimedOut => TcpState::Timeout,
            Phase::Answered { timed_out, .. } if timed_out => TcpState::Timeout,
            Phase::Answered { .. } => TcpState::Opening,
            Phase::Rejected => TcpState::Refused(RefusedBy::Icmp),
            Phase::Established => TcpState::Established,
            Phase::Closing { state, .. } => state,
        };
        Correlated {
            time: self.started,
            flow,
            role: self.role,
            event: CorrelatedEvent::TcpProgress(Box::new(self.report(flow, state, None))),
        }
    }

    fn report(&self, flow: Flow, state: TcpState, icmp: Option<IcmpError>) -> TcpConnection {
        let state = match self.pod_takes_part() {
            true => state,
            false => TcpState::Undecided,
        };
        TcpConnection {
            flow,
            role: self.role,
            state,
            handshake: self.handshake,
            syn_retransmits: self.syn_retransmits,
            totals: self.meter.totals(),
            icmp,
            last: self.last,
            evidence: TcpEvidence {
                picked_up: self.picked_up,
                last_syn: (!self.picked_up).then_some(self.last_syn),
                given_up: self.given_up,
                late_answer: self.late_answer,
                syn_ack_repeats: self.syn_ack_repeats,
                reply_from: self.reply_from.as_deref().copied(),
                reset: self.reset.as_deref().copied(),
                unanswered: (self.activity.unanswered()).filter(|_| self.pod_takes_part()),
                large_lost: self.segments().and_then(Segments::large_lost),
                payload: self.activity.payload,
            },
        }
    }

    /// The connection's segments, if every one of them was observed.
    pub(super) fn segments(&self) -> Option<&Segments> {
        self.segments.as_deref().filter(|_| self.sees_all())
    }

    /// Whether every packet so far was observed.
    fn sees_all(&self) -> bool {
        let unseen = self.meter.unseen();
        unseen.tx.packets == 0 && unseen.rx.packets == 0
    }

    /// Whether the pod sent a segment with this number, by `now`.
    pub(super) fn has_sent(&self, sequence: u32, now: Timestamp) -> bool {
        let sent = self.meter.totals().tx;
        if self.unanswered() && self.role == Role::Client {
            // Nothing but SYNs.
            return self.isn == Some(sequence);
        }
        (self.sent.includes(sequence, sent.bytes))
            .unwrap_or_else(|| sent.packets > 0 && now.since(self.last) <= RECENT)
    }

    /// Takes note of when the ends were heard and what waits for an answer. Before `last` is updated.
    pub(super) fn track(&mut self, observation: &Observation, segment: &TcpSegment) {
        if segment.syn || segment.rst {
            return;
        }
        let (at, sender) = (observation.time, observation.direction);
        if opener(sender) == self.role {
            self.confirmed = true;
        }
        // Live, only the ends of a connection have records.
        if self.segments.is_none() && !segment.fin && self.sees_all() {
            self.segments = Some(Box::default());
        }
        let mut sent = match (segment.length, segment.fin) {
            (0, false) => Sent::Bare,
            (0, true) => Sent::Fin,
            _ => Sent::Payload,
        };
        if let Some(segments) = &mut self.segments {
            if !segment.fin && segments.is_probe(sender, segment) {
                sent = Sent::Probe;
            }
            segments.observe(at, sender, segment);
        }
        self.activity.packet(at, self.last, sender, sent);
    }

    /// Takes the kernel's counters.
    pub(super) fn count(&mut self, snapshot: &FlowSnapshot) {
        let before = self.meter.totals();
        self.meter.count(snapshot.last, snapshot.totals);
        if !self.sees_all() {
            self.segments = None;
        }
        if snapshot.last > self.last {
            let now = self.meter.totals();
            (self.activity).counted(snapshot.last, self.last, before, now, true);
            self.last = snapshot.last;
        }
    }

    /// Whether evidence arose that the rules do not know yet; `true` once for each piece.
    pub(super) fn has_news(&mut self) -> bool {
        if matches!(self.phase, Phase::Closing { .. }) || !self.pod_takes_part() {
            return false;
        }
        let established = self.phase == Phase::Established;
        let whole = self.segments().is_some();
        let sends = established && self.activity.is_news();
        let lost = established
            && whole
            && (self.segments.as_mut()).is_some_and(|segments| segments.is_news());
        let doubled = |count: u32, reported: &mut u32| {
            let news = count > 0 && count >= reported.saturating_mul(2).max(1) && count > *reported;
            if news {
                *reported = count;
            }
            news
        };
        let repeats = doubled(self.syn_ack_repeats / 2, &mut self.syn_ack_repeats_reported);
        let replies = (self.reply_from.as_ref()).map_or(0, |reply| reply.packets);
        let replies = doubled(replies, &mut self.replies_reported);
        sends || lost || repeats || replies
    }

    /// When the passage of time alone changes the connection's state.
    pub(super) fn due(&self, timeout: Duration, idle: Duration) -> Timestamp {
        match self.phase {
            Phase::Opening => self.started.after(timeout),
            Phase::Rejected => self.last.after(LINGER),
            Phase::TimedOut => self.last.after(idle),
            Phase::Answered { until, .. } | Phase::Closing { until, .. } => until,
            // One end has finished, and the other's FIN may have passed unseen.
            Phase::Established if self.fin_from_pod || self.fin_to_pod => self.last.after(idle),
            // An idle connection is not closed.
            Phase::Established => Timestamp(u64::MAX),
        }
    }
}

/// The pod's role if this packet opens a connection.
pub(in crate::correlate) fn opener(direction: Direction) -> Role {
    match direction {
        Direction::FromPod => Role::Client,
        Direction::ToPod => Role::Server,
    }
}

/// The pod's role if this packet answers one that opened a connection.
pub(super) fn answerer(direction: Direction) -> Role {
    match direction {
        Direction::FromPod => Role::Server,
        Direction::ToPod => Role::Client,
    }
}
