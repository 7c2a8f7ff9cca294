//! The state of one TCP connection, and the meaning of a segment to it.

use std::time::Duration;

use super::activity::{Activity, Sent};
use super::segments::Segments;
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
/// From this time on the opener may have given up before the SYN-ACK came, which then does not establish the
/// connection. No program is less patient.
const PATIENCE: Duration = Duration::from_millis(100);
/// The opener resets a SYN-ACK that it no longer expects at once; it is on this node.
const REACTION: Duration = Duration::from_millis(50);
/// How long a SYN that follows its SYN-ACK in a capture may be late.
const REORDERING: Duration = Duration::from_secs(1);
/// The last segments of a connection follow each other within this time. The first retransmission comes after
/// 200 ms.
const SETTLES: Duration = Duration::from_millis(300);
/// As [`SETTLES`], where both ends have acknowledged the other's end.
const SETTLED: Duration = Duration::from_millis(100);
/// Retransmissions of a FIN are twice as far apart each time.
const BACKOFF: f64 = 2.5;
/// No retransmission is later.
const MAX_BACKOFF: Duration = Duration::from_secs(120);
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
    syn_data: u32,
    pub(super) syn_retransmits: u32,
    pub(super) handshake: Option<Duration>,
    pub(super) phase: Phase,
    /// `established` was emitted.
    pub(super) announced: bool,
    pub(super) fin_from_pod: bool,
    pub(super) fin_to_pod: bool,
    pub(super) last: Timestamp,
    pub(super) meter: Meter,
    /// First seen in the middle: the opener is a guess.
    pub(super) picked_up: bool,
    /// The opener acknowledged the SYN-ACK.
    confirmed: bool,
    /// A SYN came after the latest SYN-ACK, which the next SYN-ACK answers.
    syn_pending: bool,
    syn_ack_repeats: u32,
    syn_ack_repeats_reported: u32,
    last_syn: Timestamp,
    /// When the next repetition of the SYN is due, and late by now.
    syn_due: Timestamp,
    given_up: Option<Timestamp>,
    late_answer: Option<Duration>,
    pub(super) activity: Activity,
    pub(super) segments: Option<Box<Segments>>,
    pub(super) reply_from: Option<Box<OtherReply>>,
    replies_reported: u32,
    reset: Option<Box<Reset>>,
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
            ..Connection::unknown(observation, opener(observation.direction))
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
                ..Connection::unknown(observation, answerer(observation.direction))
            };
        }
        let role = if flow.pod.port() < flow.peer.port() {
            Role::Server
        } else {
            Role::Client
        };
        let mut connection = Connection {
            confirmed: true,
            ..Connection::unknown(observation, role)
        };
        connection.track(observation, segment);
        connection
    }

    fn unknown(observation: &Observation, role: Role) -> Connection {
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
                unanswered: self.activity.unanswered(),
                large_lost: self.segments().and_then(Segments::large_lost),
                payload: self.activity.payload,
            },
        }
    }

    /// The connection's segments, if every one of them was observed.
    fn segments(&self) -> Option<&Segments> {
        self.segments.as_deref().filter(|_| self.sees_all())
    }

    /// Whether every packet so far was observed.
    fn sees_all(&self) -> bool {
        let unseen = self.meter.unseen();
        unseen.tx.packets == 0 && unseen.rx.packets == 0
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
        if matches!(self.phase, Phase::Closing { .. }) {
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

    /// Counts a repeated SYN, and reports the connection as opening once enough were repeated.
    pub(super) fn retransmitted(
        &mut self,
        observation: &Observation,
        opening_retransmits: u32,
        out: &mut Vec<Correlated>,
    ) {
        if opener(observation.direction) != self.role {
            return;
        }
        let now = observation.time;
        if self.picked_up {
            self.began_before_its_answer(observation, out);
            return;
        }
        self.syn_pending = true;
        if !self.unanswered() {
            return;
        }
        let interval = now.since(self.last_syn).max(Duration::from_secs(1));
        self.syn_due = now.after(interval.mul_f64(BACKOFF));
        self.last_syn = self.last_syn.max(now);
        self.given_up = None;
        self.syn_retransmits = self.syn_retransmits.saturating_add(1);
        if self.syn_retransmits == opening_retransmits && self.phase == Phase::Opening {
            out.push(self.event(observation.flow, TcpState::Opening, None));
        }
    }

    /// The SYN of a connection whose SYN-ACK was seen first: the capture has them in the wrong order.
    fn began_before_its_answer(&mut self, observation: &Observation, out: &mut Vec<Correlated>) {
        self.picked_up = false;
        self.last_syn = observation.time;
        let apart = observation.time.since(self.started);
        self.handshake = Some(apart.max(self.started.since(observation.time)));
        self.started = self.started.min(observation.time);
        self.establish(observation.flow, out);
    }

    /// Takes a SYN-ACK.
    pub(super) fn answered(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        out: &mut Vec<Correlated>,
    ) {
        if !self.answered_by(observation, segment) {
            return;
        }
        let now = observation.time;
        if !self.unanswered() {
            if self.handshake.is_none() && !self.picked_up && self.late_answer.is_none() {
                // The opener's acknowledgment was seen first.
                self.handshake = Some(now.since(self.started));
            }
            let repeats = !std::mem::take(&mut self.syn_pending);
            if repeats && !matches!(self.phase, Phase::Closing { .. }) {
                self.syn_ack_repeats = self.syn_ack_repeats.saturating_add(1);
            }
            return;
        }
        self.syn_pending = false;
        self.given_up = None;
        let handshake = now.since(self.started);
        self.handshake = Some(handshake);
        // Only a pod's reaction is at once; another end's takes a round trip, and live only resets are seen.
        if self.role == Role::Client && handshake >= PATIENCE && self.phase != Phase::Rejected {
            self.phase = Phase::Answered {
                until: now.after(REACTION),
                timed_out: self.phase == Phase::TimedOut,
            };
        } else {
            self.establish(observation.flow, out);
        }
    }

    /// It is established: reports it once, unless it was first seen in the middle.
    pub(super) fn establish(&mut self, flow: Flow, out: &mut Vec<Correlated>) {
        self.phase = Phase::Established;
        if !self.picked_up && !self.announced {
            self.announced = true;
            out.push(self.event(flow, TcpState::Established, None));
        }
    }

    /// The opener will not send its SYN again. Returns the event, unless a timeout was reported already.
    pub(super) fn give_up(&mut self, flow: Flow, now: Timestamp) -> Option<Correlated> {
        self.given_up.get_or_insert(now);
        let reported = match self.phase {
            Phase::TimedOut | Phase::Rejected => true,
            Phase::Answered { timed_out, .. } => timed_out,
            _ => false,
        };
        if let Phase::Answered { .. } = self.phase {
            self.late_answer = self.handshake.take();
        }
        if reported {
            let news = self.late_answer.is_some();
            self.phase = Phase::TimedOut;
            return news.then(|| self.progress(flow));
        }
        let state = self.without_answer();
        Some(self.event(flow, state, None))
    }

    /// The state of an attempt that ends without an answer: a timeout only if it was repeated often enough.
    pub(super) fn without_answer(&self) -> TcpState {
        if self.syn_retransmits >= 2 {
            TcpState::Timeout
        } else {
            TcpState::Undecided
        }
    }

    /// Notes that the SYN was not repeated when that was due.
    pub(super) fn overdue(&mut self, now: Timestamp) {
        if now > self.syn_due {
            self.given_up.get_or_insert(self.syn_due);
        }
    }

    /// Takes a RST of either end.
    pub(super) fn reset(
        &mut self,
        observation: &Observation,
        segment: &TcpSegment,
        out: &mut Vec<Correlated>,
    ) -> After {
        let flow = observation.flow;
        let sender = observation.direction;
        let by_opener = opener(sender) == self.role;
        match self.phase {
            Phase::Closing { .. } => return After::Settles,
            Phase::Answered { .. } if by_opener => {
                // Neither a success nor, where the SYN was not seen, a failure.
                if !self.picked_up {
                    out.extend(self.give_up(flow, observation.time));
                }
                return After::Ended;
            }
            Phase::Answered { .. } => self.establish(flow, out),
            Phase::Opening | Phase::TimedOut | Phase::Rejected if by_opener => {
                // A reset with another number rejects a segment that does not belong to this attempt: the
                // challenge of an end that still has an earlier connection (RFC 5961 section 4). The SYN is
                // sent again.
                let own = (self.isn)
                    .is_none_or(|isn| segment.sequence.wrapping_sub(isn) <= self.syn_data + 1);
                if !own {
                    return After::Continues;
                }
                out.extend(self.give_up(flow, observation.time));
                return After::Ended;
            }
            Phase::Opening | Phase::TimedOut | Phase::Rejected => {
                if !self.answered_by(observation, segment) {
                    // It acknowledges another SYN than the pending one.
                    return After::Continues;
                }
                // An ICMP error already reported the connection as refused.
                if self.phase != Phase::Rejected {
                    let refused = TcpState::Refused(RefusedBy::Rst);
                    out.push(self.event(flow, refused, None));
                    return After::Failed(refused);
                }
                return After::Ended;
            }
            Phase::Established => {}
        }
        let state = if self.fin_from_pod || self.fin_to_pod {
            // One side had finished: an abrupt close, not a broken connection.
            TcpState::Closed
        } else {
            self.reset = Some(Box::new(self.reset_evidence(observation)));
            TcpState::Reset
        };
        self.close(state, observation.time);
        After::Failed(state)
    }

    fn reset_evidence(&self, observation: &Observation) -> Reset {
        let (at, sender) = (observation.time, observation.direction);
        let established = self.started.after(self.handshake.unwrap_or_default());
        let totals = self.meter.totals();
        let (opened, answered) = match self.role {
            Role::Client => (totals.tx.packets, sender == Direction::FromPod),
            Role::Server => (totals.rx.packets, sender == Direction::ToPod),
        };
        let syns = u64::from(self.syn_retransmits) + 1;
        Reset {
            sender,
            age: at.since(established),
            idle: self.activity.idle_before_reset(at, self.last, sender),
            answers_payload: self.activity.awaits_payload_of(sender),
            completed: self.confirmed || self.picked_up || opened > syns + u64::from(answered),
        }
    }

    /// Its end was seen; its last segments still count.
    pub(super) fn close(&mut self, state: TcpState, now: Timestamp) {
        self.phase = Phase::Closing {
            state,
            until: now.after(match state {
                TcpState::Reset => SETTLED,
                _ => SETTLES,
            }),
        };
    }

    /// A segment came after the end; `last` is the time of the one before.
    pub(super) fn lingers(&mut self, now: Timestamp, last: Timestamp) {
        let acknowledged = self.segments().is_some_and(Segments::all_acknowledged);
        if let Phase::Closing { until, .. } = &mut self.phase {
            let more = if acknowledged {
                SETTLED
            } else {
                let gap = now.since(last).mul_f64(BACKOFF);
                gap.clamp(SETTLES, MAX_BACKOFF)
            };
            *until = if acknowledged {
                now.after(more)
            } else {
                (*until).max(now.after(more))
            };
        }
    }

    pub(super) fn unanswered(&self) -> bool {
        matches!(
            self.phase,
            Phase::Opening | Phase::TimedOut | Phase::Rejected
        )
    }

    /// Whether a SYN-ACK or RST answers the observed SYN.
    pub(super) fn answered_by(&self, observation: &Observation, segment: &TcpSegment) -> bool {
        answerer(observation.direction) == self.role
            && (!segment.ack || accepts_acknowledgment(self, segment.acknowledgment))
    }

    /// Whether the opener continues as if its SYN had been answered.
    pub(super) fn continues_unanswered(
        &self,
        observation: &Observation,
        segment: &TcpSegment,
    ) -> bool {
        matches!(
            self.phase,
            Phase::Opening | Phase::TimedOut | Phase::Rejected | Phase::Answered { .. }
        ) && segment.ack
            && !segment.syn
            && !segment.rst
            && opener(observation.direction) == self.role
    }

    /// Whether a SYN opens another connection on the same ports.
    pub(super) fn replaced_by(&self, observation: &Observation, segment: &TcpSegment) -> bool {
        let same_direction = opener(observation.direction) == self.role;
        match self.isn {
            Some(isn) => match same_direction {
                true => isn != segment.sequence,
                // While both ends try, it is a simultaneous open (RFC 9293 section 3.5); afterwards it is a
                // new connection.
                false => !self.unanswered(),
            },
            None => true,
        }
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

/// What a RST does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing: it does not concern it.
    Continues,
    /// It had ended already.
    Settles,
    /// It ended, in this state.
    Failed(TcpState),
    /// It ended without a state of its own.
    Ended,
}

/// Whether a SYN-ACK or RST with this number answers the connection's SYN.
pub(super) fn accepts_acknowledgment(connection: &Connection, number: u32) -> bool {
    connection
        .isn
        .is_none_or(|isn| number.wrapping_sub(isn.wrapping_add(1)) <= connection.syn_data)
}

/// The pod's role if this packet opens a connection.
pub(in crate::correlate) fn opener(direction: Direction) -> Role {
    match direction {
        Direction::FromPod => Role::Client,
        Direction::ToPod => Role::Server,
    }
}

/// The pod's role if this packet answers one that opened a connection.
fn answerer(direction: Direction) -> Role {
    match direction {
        Direction::FromPod => Role::Server,
        Direction::ToPod => Role::Client,
    }
}
