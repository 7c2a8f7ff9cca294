//! When each end of a connection or flow was last heard, and what it sent without an answer.
//!
//! From the packets where every one is observed, else from the kernel's flow counters. Those show packets and
//! bytes, no flags: only packets with payload count as sends, because a bare acknowledgment expects no answer.

use std::time::Duration;

use crate::model::evidence::{Payload, Unanswered};
use crate::model::flow::{Direction, FlowTotals, Traffic};
use crate::model::time::Timestamp;

/// A shorter silence is part of an ordinary conversation.
const PAUSE: Duration = Duration::from_secs(10);
/// A TCP segment without payload has at most this many bytes: IPv6 header, TCP header and 40 bytes of options.
const MAX_BARE_BYTES: u64 = 100;
/// Rules see unanswered sends first after this time, and again whenever it has doubled. A retransmission
/// timeout starts at 200 ms and doubles, so this is the fifth transmission.
const FIRST_REPORT: Duration = Duration::from_secs(3);
/// Fewer sends than this are no pattern.
const MIN_SENDS: u64 = 3;

/// The end of a silence: the packet that followed it.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// How long it had lasted.
    length: Duration,
    /// The end that sent the packet; `None` if the counters do not show it.
    sender: Option<Direction>,
}

/// The activity of both ends.
#[derive(Clone, Debug, Default)]
pub(in crate::correlate) struct Activity {
    heard_from_pod: Option<Timestamp>,
    heard_to_pod: Option<Timestamp>,
    pub(in crate::correlate) payload: Payload,
    last_payload: Option<Direction>,
    unanswered: Option<Unanswered>,
    pause: Option<Pause>,
    /// The span of unanswered sends that the rules know of.
    reported: Duration,
}

/// What a packet is to the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::correlate) enum Sent {
    /// It expects an answer, and carries payload.
    Payload,
    /// It expects an answer: a FIN.
    Fin,
    /// It expects an answer: a keepalive probe.
    Probe,
    /// It only answers.
    Bare,
}

impl Activity {
    /// Takes a packet other than a reset; `last` is the time of the packet before it.
    pub(in crate::correlate) fn packet(
        &mut self,
        at: Timestamp,
        last: Timestamp,
        sender: Direction,
        sent: Sent,
    ) {
        self.pauses(at, last, Some(sender));
        match sender {
            Direction::FromPod => self.heard_from_pod = Some(at),
            Direction::ToPod => self.heard_to_pod = Some(at),
        }
        if sent == Sent::Payload {
            match sender {
                Direction::FromPod => self.payload.from_pod = true,
                Direction::ToPod => self.payload.to_pod = true,
            }
            self.last_payload = Some(sender);
        }
        match (&mut self.unanswered, sent) {
            (Some(sends), Sent::Bare) if sends.sender == sender => {}
            (unanswered, Sent::Bare) => {
                *unanswered = None;
                self.reported = Duration::ZERO;
            }
            (Some(sends), _) if sends.sender == sender => {
                sends.packets += 1;
                sends.probes += u64::from(sent == Sent::Probe);
                sends.last = sends.last.max(at);
            }
            (unanswered, _) => {
                *unanswered = Some(Unanswered {
                    sender,
                    packets: 1,
                    probes: u64::from(sent == Sent::Probe),
                    retransmits: None,
                    since: at,
                    last: at,
                    heard: match sender {
                        Direction::FromPod => self.heard_to_pod,
                        Direction::ToPod => self.heard_from_pod,
                    },
                    counted: false,
                });
                self.reported = Duration::ZERO;
            }
        }
    }

    /// Takes what the kernel counted since the previous sweep. `at` is the latest packet's time, `last` that
    /// of the latest packet before. With `bare` (TCP) packets without payload are no sends.
    pub(in crate::correlate) fn counted(
        &mut self,
        at: Timestamp,
        last: Timestamp,
        before: FlowTotals,
        now: FlowTotals,
        bare: bool,
    ) {
        let tx = since(now.tx, before.tx);
        let rx = since(now.rx, before.rx);
        let sender = match (tx.packets, rx.packets) {
            (0, 0) => return,
            (_, 0) => Some(Direction::FromPod),
            (0, _) => Some(Direction::ToPod),
            _ => None,
        };
        self.pauses(at, last, sender);
        for (traffic, direction) in [(tx, Direction::FromPod), (rx, Direction::ToPod)] {
            if traffic.packets == 0 {
                continue;
            }
            let carries = !bare || carries_payload(traffic);
            match direction {
                Direction::FromPod => {
                    self.heard_from_pod = Some(at);
                    self.payload.from_pod |= carries;
                }
                Direction::ToPod => {
                    self.heard_to_pod = Some(at);
                    self.payload.to_pod |= carries;
                }
            }
        }
        let Some(sender) = sender else {
            // Which came last is not known.
            self.unanswered = None;
            self.last_payload = None;
            self.reported = Duration::ZERO;
            return;
        };
        let traffic = match sender {
            Direction::FromPod => tx,
            Direction::ToPod => rx,
        };
        if bare && !carries_payload(traffic) {
            if self.unanswered.is_some_and(|sends| sends.sender != sender) {
                self.unanswered = None;
            }
            return;
        }
        let again = match sender {
            Direction::FromPod => (now.retransmits)
                .map(|now| now.saturating_sub(before.retransmits.unwrap_or_default())),
            Direction::ToPod => None,
        };
        self.last_payload = Some(sender);
        match &mut self.unanswered {
            Some(sends) if sends.sender == sender => {
                sends.packets += traffic.packets;
                sends.retransmits = match (sends.retransmits, again) {
                    (Some(sum), Some(more)) => Some(sum + more),
                    (before, more) => before.or(more),
                };
                sends.last = sends.last.max(at);
            }
            unanswered => {
                *unanswered = Some(Unanswered {
                    sender,
                    packets: traffic.packets,
                    probes: 0,
                    retransmits: again,
                    since: at,
                    last: at,
                    heard: match sender {
                        Direction::FromPod => self.heard_to_pod,
                        Direction::ToPod => self.heard_from_pod,
                    },
                    counted: true,
                });
                self.reported = Duration::ZERO;
            }
        }
    }

    /// Sends without an answer, if they are a pattern: several, over some time.
    pub(in crate::correlate) fn unanswered(&self) -> Option<Unanswered> {
        self.unanswered
            .filter(|sends| sends.packets >= MIN_SENDS && sends.span() >= FIRST_REPORT)
    }

    /// Sends without an answer, even a single one.
    pub(in crate::correlate) fn waiting(&self) -> Option<Unanswered> {
        self.unanswered
    }

    /// Whether the unanswered sends are news to the rules, once.
    pub(in crate::correlate) fn is_news(&mut self) -> bool {
        let Some(sends) = self.unanswered() else {
            return false;
        };
        let news = self.reported.is_zero() || sends.span() >= self.reported.saturating_mul(2);
        if news {
            self.reported = sends.span();
        }
        news
    }

    /// The silence before a reset at `at` by `sender`: before itself, or before the packet that it answers.
    pub(in crate::correlate) fn idle_before_reset(
        &self,
        at: Timestamp,
        last: Timestamp,
        sender: Direction,
    ) -> Duration {
        let own = at.since(last);
        match self.pause {
            Some(pause) if pause.sender.is_none_or(|waker| waker != sender) => {
                own.max(pause.length)
            }
            _ => own,
        }
    }

    /// Whether the latest payload was the other end's, so that a reset by `sender` came instead of an answer.
    pub(in crate::correlate) fn awaits_payload_of(&self, sender: Direction) -> bool {
        self.last_payload.is_some_and(|latest| latest != sender)
    }

    fn pauses(&mut self, at: Timestamp, last: Timestamp, sender: Option<Direction>) {
        let length = at.since(last);
        if length >= PAUSE && self.repeats(sender) {
            // Retransmissions, further and further apart: still the silence before the first of them.
        } else if length >= PAUSE {
            self.pause = Some(Pause { length, sender });
        } else if self.pause.is_some_and(|pause| pause.sender != sender) {
            // The other end answers: the connection outlived the silence.
            self.pause = None;
        }
    }

    /// Whether `sender` sends again without an answer since the end of a silence that it ended itself.
    fn repeats(&self, sender: Option<Direction>) -> bool {
        sender.is_some()
            && self.pause.is_some_and(|pause| pause.sender == sender)
            && self
                .unanswered
                .is_some_and(|sends| Some(sends.sender) == sender)
    }
}

/// Whether packets of this size carry payload.
fn carries_payload(traffic: Traffic) -> bool {
    traffic.bytes > traffic.packets.saturating_mul(MAX_BARE_BYTES)
}

fn since(now: Traffic, before: Traffic) -> Traffic {
    Traffic {
        packets: now.packets.saturating_sub(before.packets),
        bytes: now.bytes.saturating_sub(before.bytes),
    }
}
