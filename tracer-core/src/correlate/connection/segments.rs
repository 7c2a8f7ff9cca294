//! Segments that their receiver never got, by sequence and acknowledgment numbers.
//!
//! Only where every segment is observed, so in captures. A segment counts as lost only if its receiver says so:
//! it acknowledges what precedes the segment and nothing more. A packet that the capture missed leaves no such
//! trace.

use std::time::Duration;

use crate::model::evidence::LargeLost;
use crate::model::flow::Direction;
use crate::model::observation::TcpSegment;
use crate::model::time::Timestamp;

/// Every path carries a segment of this size (RFC 9293 section 3.7.1), so a lost one says nothing about sizes.
const SMALL: u32 = 536;
/// Retransmission repairs an ordinary loss sooner.
const LOST_AFTER: Duration = Duration::from_secs(3);
/// Transmissions of one segment, the first included, from which it counts as lost.
const MIN_TRANSMISSIONS: u32 = 3;

/// The segments of both directions.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    from_pod: Half,
    to_pod: Half,
    /// The span of a lost segment that the rules know of.
    reported: Duration,
}

/// The segments of one direction.
#[derive(Clone, Debug, Default)]
struct Half {
    /// The numbers below are known.
    begun: bool,
    /// The end of what was sent.
    next: u32,
    /// The end of what was acknowledged.
    acknowledged: u32,
    /// The largest segment that was acknowledged.
    delivered: u32,
    /// The largest segment that waits to be acknowledged: its size and its end.
    pending: Option<(u32, u32)>,
    /// The first segment that is not acknowledged, if it was sent again.
    head: Option<Head>,
    /// The first gap in what was observed.
    hole: Option<Hole>,
    /// The end of the FIN.
    fin: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    size: u32,
    seen: u32,
    since: Timestamp,
    last: Timestamp,
}

/// Bytes that were not observed although later ones were.
#[derive(Clone, Copy, Debug)]
struct Hole {
    start: u32,
    bytes: u32,
    /// Time of the first segment behind it.
    since: Timestamp,
    /// When its receiver last acknowledged only what precedes it.
    confirmed: Option<Timestamp>,
}

impl Segments {
    /// Takes a segment other than a reset.
    pub(super) fn observe(&mut self, at: Timestamp, sender: Direction, segment: &TcpSegment) {
        let (own, other) = match sender {
            Direction::FromPod => (&mut self.from_pod, &mut self.to_pod),
            Direction::ToPod => (&mut self.to_pod, &mut self.from_pod),
        };
        own.sent(at, segment);
        if segment.ack {
            other.acknowledged(at, segment.acknowledgment);
        }
        if self.lost_segment().is_none() {
            self.reported = Duration::ZERO;
        }
    }

    /// Whether the segment repeats the last byte that was acknowledged, to provoke an acknowledgment.
    pub(super) fn is_probe(&self, sender: Direction, segment: &TcpSegment) -> bool {
        let half = match sender {
            Direction::FromPod => &self.from_pod,
            Direction::ToPod => &self.to_pod,
        };
        half.begun
            && segment.length <= 1
            && segment.sequence == half.next.wrapping_sub(1)
            && half.acknowledged == half.next
    }

    /// Whether both FINs were acknowledged.
    pub(super) fn all_acknowledged(&self) -> bool {
        [&self.from_pod, &self.to_pod]
            .into_iter()
            .all(|half| half.fin.is_some_and(|end| !after(end, half.acknowledged)))
    }

    /// Whether these numbers continue what `sender` sent and acknowledged so far, give or take a window.
    pub(super) fn continues(&self, sender: Direction, segment: &TcpSegment) -> bool {
        let (own, other) = match sender {
            Direction::FromPod => (&self.from_pod, &self.to_pod),
            Direction::ToPod => (&self.to_pod, &self.from_pod),
        };
        let near = |a: u32, b: u32| a.wrapping_sub(b).min(b.wrapping_sub(a)) <= WINDOW;
        own.begun
            && other.begun
            && segment.ack
            && near(segment.sequence, own.next)
            && !after(segment.acknowledgment, other.next)
            && near(segment.acknowledgment, other.next)
    }

    /// The large segment that does not arrive, if there is one.
    pub(super) fn large_lost(&self) -> Option<LargeLost> {
        self.lost_segment()
            .filter(|lost| lost.bytes > SMALL && lost.largest_delivered < lost.bytes)
    }

    /// Whether a lost segment is news to the rules, once and whenever its time has doubled.
    pub(super) fn is_news(&mut self) -> bool {
        let Some(lost) = self.large_lost() else {
            return false;
        };
        let span = lost.last.since(lost.since);
        let news = self.reported.is_zero() || span >= self.reported.saturating_mul(2);
        if news {
            self.reported = span;
        }
        news
    }

    fn lost_segment(&self) -> Option<LargeLost> {
        [
            (Direction::ToPod, &self.to_pod),
            (Direction::FromPod, &self.from_pod),
        ]
        .into_iter()
        .find_map(|(sender, half)| half.lost(sender))
    }
}

/// Numbers further apart than a large window belong to another connection.
const WINDOW: u32 = 1 << 20;

impl Half {
    fn sent(&mut self, at: Timestamp, segment: &TcpSegment) {
        let start = segment.sequence.wrapping_add(u32::from(segment.syn));
        let end = start.wrapping_add(segment.length);
        if !self.begun {
            self.begun = true;
            self.next = start;
            self.acknowledged = start;
        }
        if segment.fin {
            self.fin = Some(end.wrapping_add(1));
        }
        if segment.length == 0 {
            if segment.fin && end == self.next {
                self.next = end.wrapping_add(1);
            }
            return;
        }
        if after(start, self.next) {
            if self.hole.is_none() {
                self.hole = Some(Hole {
                    start: self.next,
                    bytes: start.wrapping_sub(self.next),
                    since: at,
                    confirmed: None,
                });
            }
            self.next = end;
        } else if after(end, self.next) {
            self.next = end;
        } else if start == self.acknowledged && after(end, self.acknowledged) {
            let head = self.head.get_or_insert(Head {
                size: segment.length,
                // The first transmission, which was not repeated then.
                seen: 1,
                since: at,
                last: at,
            });
            head.size = head.size.max(segment.length);
            head.seen += 1;
            head.last = at;
        }
        if self
            .hole
            .is_some_and(|hole| !after(start, hole.start) && after(end, hole.start))
        {
            // Only delayed.
            self.hole = None;
        }
        if self.pending.is_none_or(|(size, _)| size < segment.length) {
            self.pending = Some((segment.length, end));
        }
    }

    fn acknowledged(&mut self, at: Timestamp, number: u32) {
        if !self.begun {
            self.begun = true;
            self.next = number;
            self.acknowledged = number;
            return;
        }
        if after(number, self.acknowledged) {
            self.acknowledged = number;
            self.head = None;
            if after(number, self.next) {
                // The capture missed what its receiver got.
                self.next = number;
            }
        }
        if let Some((size, end)) = self.pending
            && !after(end, self.acknowledged)
        {
            self.delivered = self.delivered.max(size);
            self.pending = None;
        }
        if let Some(hole) = &mut self.hole {
            if after(self.acknowledged, hole.start) {
                self.hole = None;
            } else if number == hole.start {
                hole.confirmed = Some(at);
            }
        }
    }

    fn lost(&self, sender: Direction) -> Option<LargeLost> {
        if let Some(hole) = self.hole
            && let Some(last) = hole.confirmed
            && last.since(hole.since) >= LOST_AFTER
        {
            return Some(LargeLost {
                sender,
                bytes: hole.bytes,
                seen: 0,
                // What is behind the hole did arrive.
                largest_delivered: self.delivered.max(self.pending.map_or(0, |(size, _)| size)),
                since: hole.since,
                last,
            });
        }
        let head = self.head?;
        (head.seen >= MIN_TRANSMISSIONS && head.last.since(head.since) >= LOST_AFTER).then_some(
            LargeLost {
                sender,
                bytes: head.size,
                seen: head.seen,
                largest_delivered: self.delivered,
                since: head.since,
                last: head.last,
            },
        )
    }
}

/// Whether `a` is after `b` in sequence space.
fn after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}
