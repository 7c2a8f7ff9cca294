//! How a connection ends: given up, reset, or closed, with its last segments.

use std::time::Duration;

use super::life::{Connection, Phase, opener};
use super::segments::Segments;
use crate::model::connection::{RefusedBy, TcpState};
use crate::model::correlated::Correlated;
use crate::model::evidence::Reset;
use crate::model::flow::{Direction, Flow, Role};
use crate::model::observation::{Observation, TcpSegment};
use crate::model::time::Timestamp;

/// The last segments of a connection follow each other within this time. The first retransmission comes after
/// 200 ms.
const SETTLES: Duration = Duration::from_millis(300);
/// As [`SETTLES`], where both ends have acknowledged the other's end.
const SETTLED: Duration = Duration::from_millis(100);
/// Retransmissions of a FIN are twice as far apart each time.
const BACKOFF: f64 = 2.5;
/// No retransmission is later.
const MAX_BACKOFF: Duration = Duration::from_secs(120);

impl Connection {
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
            Phase::Established if self.only_resets(sender) => return After::Ended,
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

    /// Whether this reset is all that the pod has to do with a connection that was first seen in the middle: it
    /// answers segments of a connection that the pod does not have.
    fn only_resets(&self, sender: Direction) -> bool {
        let reset = u64::from(sender == Direction::FromPod);
        self.picked_up && self.meter.totals().tx.packets <= reset
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
