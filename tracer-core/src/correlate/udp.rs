//! UDP flows other than DNS: first packet, silence, ICMP error, end.
//!
//! Live, only the first packet of a flow arrives here; sweeps of the kernel's flow counters show whether it
//! was answered. A capture file supplies every packet.

use std::time::Duration;

use super::connection::activity::{Activity, Sent};
use super::declared::Declared;
use super::flow_key::{SAME_SOCKET, same_socket};
use super::icmp::Quoted;
use super::is_group;
use super::meter::Meter;
use crate::fair_table::{FairTable, Room};
use crate::model::connection::{UdpFlow, UdpState};
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::evidence::OtherReply;
use crate::model::flow::{Direction, Flow, FlowSnapshot, FlowTotals, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{IcmpError, Observation};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;

/// Interval at which a flow that waits for a sweep is checked again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Memory of the box that a flow may have.
const MAX_BOXES: usize = 32 + size_of::<OtherReply>();

/// Limits the search through the flows of one socket, the latest first.
const MAX_SEARCH: usize = 32;

#[derive(Clone, Debug)]
struct Conversation {
    role: Role,
    started: Timestamp,
    last: Timestamp,
    /// Enough time has passed to decide whether an answer came.
    decided: bool,
    state: UdpState,
    meter: Meter,
    activity: Activity,
    reply_from: Option<Box<OtherReply>>,
}

impl Conversation {
    fn event(&self, flow: Flow, state: UdpState, icmp: Option<IcmpError>) -> Correlated {
        let udp = Box::new(self.report(flow, state, icmp));
        Correlated {
            time: self.started,
            flow,
            role: self.role,
            event: CorrelatedEvent::Udp(udp),
        }
    }

    /// Evidence for the rules alone.
    fn progress(&self, flow: Flow) -> Correlated {
        let udp = Box::new(self.report(flow, self.state, None));
        Correlated {
            time: self.started,
            flow,
            role: self.role,
            event: CorrelatedEvent::UdpProgress(udp),
        }
    }

    fn report(&self, flow: Flow, state: UdpState, icmp: Option<IcmpError>) -> UdpFlow {
        UdpFlow {
            flow,
            role: self.role,
            state,
            totals: self.meter.totals(),
            icmp,
            last: self.last,
            unanswered: self.activity.unanswered(),
            reply_from: self.reply_from.as_deref().copied(),
        }
    }

    fn heard(&mut self, observation: &Observation) {
        self.meter.observe(observation);
        self.sent(observation);
        self.last = self.last.max(observation.time);
    }

    fn sent(&mut self, observation: &Observation) {
        let (at, sender) = (observation.time, observation.direction);
        (self.activity).packet(at, self.last, sender, Sent::Payload);
    }

    fn count(&mut self, snapshot: &FlowSnapshot) {
        let before = self.meter.totals();
        self.meter.count(snapshot.last, snapshot.totals);
        if snapshot.last > self.last {
            let now = self.meter.totals();
            (self.activity).counted(snapshot.last, self.last, before, now, false);
            self.last = snapshot.last;
        }
    }

    /// Passes evidence that is new to the rules. Silence from the first packet on has an event of its own.
    fn report_news(&mut self, flow: Flow, out: &mut Vec<Correlated>) {
        if self.answered() && self.activity.is_news() {
            out.push(self.progress(flow));
        }
    }

    /// Whether the pod sent something a short while ago that was not answered.
    fn waits(&self, now: Timestamp, timeout: Duration) -> bool {
        self.role == Role::Client
            && self.activity.waiting().is_some_and(|sends| {
                sends.sender == Direction::FromPod && now.since(sends.last) <= timeout
            })
    }

    fn answered(&self) -> bool {
        let totals = self.meter.totals();
        match self.role {
            Role::Client => totals.rx.packets > 0,
            Role::Server => totals.tx.packets > 0,
        }
    }
}

/// All UDP flows other than DNS.
#[derive(Debug)]
pub(super) struct UdpFlows {
    open: FairTable<Flow, Conversation, 1>,
    /// The latest sweep of the kernel's counters.
    swept: Timestamp,
    timeout: Duration,
    idle: Duration,
}

impl UdpFlows {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> UdpFlows {
        UdpFlows {
            open: FairTable::new(Room {
                entries: limits.udp_flows,
                bytes: limits.memory.udp_flows,
            }),
            swept: Timestamp(0),
            timeout: thresholds.udp_timeout,
            idle: thresholds.flow_idle,
        }
    }

    /// Takes a packet.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        declared: &dyn Declared,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let flow = observation.flow;
        if let Some(conversation) = self.open.get_mut(&flow) {
            conversation.heard(observation);
            conversation.report_news(flow, out);
            self.reschedule(&flow);
            return;
        }
        if self.answers_another(observation, declared, out) {
            return;
        }
        let group = is_group(flow.peer.ip());
        let mut conversation = Conversation {
            // A Service only answers: this is the middle of a flow.
            role: match observation.direction {
                Direction::ToPod if !declared.is_service(observation.time, &flow) => Role::Server,
                _ => Role::Client,
            },
            started: observation.time,
            last: observation.time,
            // A group of hosts does not answer from its address.
            decided: group,
            state: UdpState::Open,
            meter: Meter::starting(observation),
            activity: Activity::default(),
            reply_from: None,
        };
        if !group {
            conversation.sent(observation);
        }
        out.push(conversation.event(flow, UdpState::Open, None));
        let deadline = self.due(&conversation);
        self.keep(flow, conversation, deadline, losses, out);
    }

    fn keep(
        &mut self,
        flow: Flow,
        conversation: Conversation,
        deadline: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let boxed = (conversation.reply_from.as_ref()).map_or(0, |_| MAX_BOXES);
        for (flow, evicted) in (self.open).insert(flow, conversation, boxed, deadline) {
            losses.add_on(flow.ifindex, Stage::Table, "udp flow table full", 1);
            out.push(Correlated::made_room(evicted.started, flow, evicted.role));
            if !evicted.decided && !evicted.answered() {
                out.push(evicted.event(flow, UdpState::Undecided, None));
            }
        }
    }

    /// A packet of an unknown flow that an endpoint sends to a socket of the pod which waits for an answer of
    /// its Service: nothing translated its address back. It opens no flow.
    fn answers_another(
        &mut self,
        observation: &Observation,
        declared: &dyn Declared,
        out: &mut Vec<Correlated>,
    ) -> bool {
        let flow = observation.flow;
        let now = observation.time;
        if observation.direction != Direction::ToPod {
            return false;
        }
        let asked = self
            .open
            .group(SAME_SOCKET, &flow)
            .take(MAX_SEARCH)
            .find(|(other, conversation)| {
                same_socket(other, &flow)
                    && conversation.waits(now, self.timeout)
                    && declared.is_endpoint(now, other, flow.peer.ip())
            })
            .map(|(other, _)| *other);
        let Some(asked) = asked else { return false };
        if let Some(conversation) = self.open.get_mut(&asked) {
            let first = conversation.reply_from.is_none();
            let reply = conversation.reply_from.get_or_insert_with(|| {
                Box::new(OtherReply {
                    from: flow.peer,
                    packets: 0,
                    resets: 0,
                    first: now,
                    last: now,
                    syn_ack: false,
                })
            });
            reply.from = flow.peer;
            reply.packets = reply.packets.saturating_add(1);
            reply.last = reply.last.max(now);
            if first {
                out.push(conversation.progress(asked));
            }
        }
        true
    }

    /// Takes a flow's counters.
    pub(super) fn count(&mut self, snapshot: &FlowSnapshot, out: &mut Vec<Correlated>) {
        let Some(conversation) = self.open.get_mut(&snapshot.flow) else {
            return;
        };
        conversation.count(snapshot);
        conversation.report_news(snapshot.flow, out);
        self.reschedule(&snapshot.flow);
    }

    /// A sweep covered every counter that had changed by `now`: a flow it did not list had no packet.
    pub(super) fn swept(&mut self, now: Timestamp) {
        self.swept = self.swept.max(now);
    }

    /// Takes an ICMP error that arrived at `at` and quotes a packet of `flow` from `sender`. Returns whether
    /// that end has sent one; only the first error emits an event.
    pub(super) fn icmp(
        &mut self,
        flow: &Flow,
        sender: Direction,
        error: &IcmpError,
        at: Timestamp,
        out: &mut Vec<Correlated>,
    ) -> bool {
        let Some(conversation) = self.open.get_mut(flow).filter(|conversation| {
            let FlowTotals { tx, rx, .. } = conversation.meter.totals();
            match sender {
                Direction::FromPod => tx.packets > 0,
                Direction::ToPod => rx.packets > 0,
            }
        }) else {
            return false;
        };
        if conversation.state != UdpState::IcmpError {
            conversation.state = UdpState::IcmpError;
            conversation.decided = true;
            conversation.last = conversation.last.max(at);
            out.push(conversation.event(*flow, UdpState::IcmpError, Some(*error)));
        }
        self.reschedule(flow);
        true
    }

    /// The flow in which the pod sent the quoted datagram, and what it sent in it: the quoted flow, or one to
    /// a Service whose endpoint the error quotes.
    pub(super) fn quoted(
        &self,
        flow: &Flow,
        at: Timestamp,
        declared: &dyn Declared,
    ) -> Option<Quoted> {
        let sent = |conversation: &Conversation| {
            Some(conversation.meter.totals().tx)
                .filter(|tx| tx.packets > 0)
                .map(|tx| tx.bytes)
        };
        if let Some(conversation) = self.open.get(flow) {
            return sent(conversation).map(|sent_bytes| Quoted {
                flow: Some((*flow, conversation.role)),
                sent_bytes,
            });
        }
        self.open
            .group(SAME_SOCKET, flow)
            .take(MAX_SEARCH)
            .filter(|(other, _)| {
                same_socket(other, flow) && declared.is_endpoint(at, other, flow.peer.ip())
            })
            .find_map(|(_, conversation)| sent(conversation))
            .map(|sent_bytes| Quoted {
                flow: None,
                sent_bytes,
            })
    }

    /// The pod's role in a flow that is open.
    pub(super) fn role(&self, flow: &Flow) -> Option<Role> {
        self.open.get(flow).map(|conversation| conversation.role)
    }

    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        while let Some((flow, mut conversation)) = self.open.pop_due(now) {
            if conversation.decided {
                out.push(conversation.event(flow, UdpState::Closed, None));
                continue;
            }
            if self.too_early(&conversation, now) {
                self.keep(flow, conversation, now.after(LOOK_AGAIN), losses, out);
                continue;
            }
            conversation.decided = true;
            if !conversation.answered() {
                conversation.state = UdpState::Unanswered;
                out.push(conversation.event(flow, UdpState::Unanswered, None));
            }
            let deadline = self.due(&conversation);
            self.keep(flow, conversation, deadline, losses, out);
        }
    }

    /// Emits totals so far of flows that work.
    pub(super) fn end(&mut self, out: &mut Vec<Correlated>) {
        while let Some((flow, conversation)) = self.open.pop_oldest() {
            let answered = conversation.answered();
            // A failed flow was reported when it failed, and did not fail again.
            if conversation.state == UdpState::Open || answered {
                let state = match answered || conversation.decided {
                    true => UdpState::Open,
                    false => UdpState::Undecided,
                };
                out.push(conversation.event(flow, state, None));
            }
        }
    }

    fn reschedule(&mut self, flow: &Flow) {
        if let Some(deadline) = self
            .open
            .get(flow)
            .map(|conversation| self.due(conversation))
        {
            self.open.touch(flow, deadline);
        }
    }

    /// Where the kernel counts, only a recent enough sweep proves that nothing came back. Without one the
    /// verdict takes twice as long.
    fn too_early(&self, conversation: &Conversation, now: Timestamp) -> bool {
        let silent = conversation.started.after(self.timeout);
        conversation.meter.counted_by_kernel()
            && !conversation.answered()
            && self.swept < silent
            && now < silent.after(self.timeout)
    }

    /// When the passage of time alone changes the flow's state.
    fn due(&self, conversation: &Conversation) -> Timestamp {
        if conversation.decided {
            conversation.last.after(self.idle)
        } else {
            conversation.started.after(self.timeout)
        }
    }
}

#[cfg(test)]
mod tests;
