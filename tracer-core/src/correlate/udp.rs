//! UDP flows other than DNS: first packet, silence, ICMP error, end.
//!
//! Live, only the first packet of a flow arrives here; sweeps of the kernel's flow counters show whether it
//! was answered. A capture file supplies every packet.

use std::time::Duration;

use super::meter::Meter;
use crate::model::connection::{UdpFlow, UdpState};
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::flow::{Direction, Flow, FlowSnapshot, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::observation::{IcmpError, Observation};
use crate::model::settings::{Limits, Thresholds};
use crate::model::time::Timestamp;
use crate::table::Table;

/// Interval at which a flow that waits for a sweep is checked again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
struct Conversation {
    role: Role,
    started: Timestamp,
    last: Timestamp,
    /// Enough time has passed to decide whether an answer came.
    decided: bool,
    state: UdpState,
    meter: Meter,
}

impl Conversation {
    fn event(&self, flow: Flow, state: UdpState, icmp: Option<IcmpError>) -> Correlated {
        let udp = UdpFlow {
            flow,
            role: self.role,
            state,
            totals: self.meter.totals(),
            icmp,
            last: self.last,
            unanswered: None,
        };
        Correlated {
            time: self.started,
            flow,
            role: self.role,
            event: CorrelatedEvent::Udp(Box::new(udp)),
        }
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
    open: Table<Flow, Conversation>,
    /// The latest sweep of the kernel's counters.
    swept: Timestamp,
    timeout: Duration,
    idle: Duration,
}

impl UdpFlows {
    pub(super) fn new(thresholds: &Thresholds, limits: &Limits) -> UdpFlows {
        UdpFlows {
            open: Table::new(limits.udp_flows),
            swept: Timestamp(0),
            timeout: thresholds.udp_timeout,
            idle: thresholds.flow_idle,
        }
    }

    /// Takes a packet.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        losses: &mut Losses,
        out: &mut Vec<Correlated>,
    ) {
        let flow = observation.flow;
        if let Some(conversation) = self.open.get_mut(&flow) {
            conversation.meter.observe(observation);
            conversation.last = conversation.last.max(observation.time);
            self.reschedule(&flow);
            return;
        }
        let conversation = Conversation {
            role: match observation.direction {
                Direction::FromPod => Role::Client,
                Direction::ToPod => Role::Server,
            },
            started: observation.time,
            last: observation.time,
            decided: false,
            state: UdpState::Open,
            meter: Meter::starting(observation),
        };
        out.push(conversation.event(flow, UdpState::Open, None));
        let deadline = self.due(&conversation);
        if self.open.insert(flow, conversation, deadline).is_some() {
            losses.add(Stage::Table, "udp flow table full", 1);
        }
    }

    /// Takes a flow's counters.
    pub(super) fn count(&mut self, snapshot: &FlowSnapshot) {
        let Some(conversation) = self.open.get_mut(&snapshot.flow) else {
            return;
        };
        conversation.meter.count(snapshot.last, snapshot.totals);
        conversation.last = conversation.last.max(snapshot.last);
        self.reschedule(&snapshot.flow);
    }

    /// A sweep covered every counter that had changed by `now`: a flow it did not list had no packet.
    pub(super) fn swept(&mut self, now: Timestamp) {
        self.swept = self.swept.max(now);
    }

    /// Takes an ICMP error that arrived at `at` and quotes a packet of `flow`. Returns whether the flow is
    /// known; only the first error emits an event.
    pub(super) fn icmp(
        &mut self,
        flow: &Flow,
        error: &IcmpError,
        at: Timestamp,
        out: &mut Vec<Correlated>,
    ) -> bool {
        let Some(conversation) = self.open.get_mut(flow) else {
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

    /// The pod's role in a flow that is open.
    pub(super) fn role(&self, flow: &Flow) -> Option<Role> {
        self.open.get(flow).map(|conversation| conversation.role)
    }

    pub(super) fn advance(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        while let Some((flow, mut conversation)) = self.open.pop_due(now) {
            if conversation.decided {
                out.push(conversation.event(flow, UdpState::Closed, None));
                continue;
            }
            if self.too_early(&conversation, now) {
                self.open.insert(flow, conversation, now.after(LOOK_AGAIN));
                continue;
            }
            conversation.decided = true;
            if !conversation.answered() {
                conversation.state = UdpState::Unanswered;
                out.push(conversation.event(flow, UdpState::Unanswered, None));
            }
            let deadline = self.due(&conversation);
            self.open.insert(flow, conversation, deadline);
        }
    }

    /// Emits totals so far of flows that work.
    pub(super) fn end(&mut self, out: &mut Vec<Correlated>) {
        while let Some((flow, conversation)) = self.open.pop_oldest() {
            // A failed flow was reported when it failed, and did not fail again.
            if conversation.state == UdpState::Open || conversation.answered() {
                out.push(conversation.event(flow, UdpState::Open, None));
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
