//! Finds interfaces where packets to the pod are invisible, and suppresses the verdicts that would rest on silence
//! there.
//!
//! The evidence is connections that the pod continued after an unseen answer ([`HalfSeen`]). Packets from the
//! pod are taken for visible: that they are not, only others could show, and they can lie. Once packets to the
//! pod are known to be invisible, their absence proves nothing: events that rest on it are suppressed and counted.
//! Events emitted earlier stay. Owns what is known per interface; bounded by the number of interfaces.
//!
//! A node with several uplinks may get an answer by another than its question left by, where no flow is known: there
//! silence proves nothing from the start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::correlate::HalfSeen;
use crate::model::connection::{TcpState, UdpState};
use crate::model::event::{Body, Ends};
use crate::model::exchange::Outcome;
use crate::model::flow::{Direction, Ifindex, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// More than the probes can trace at once: a recording can have interfaces that came and went.
const MAX_INTERFACES: usize = 4_096;
/// Evidence with another possible cause counts only if it recurs after this time: while the probes attach,
/// one direction is visible some tens of milliseconds before the other, and a burst can cost records.
const APART: Duration = Duration::from_secs(1);

/// Visibility of packets to an interface's pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sight {
    /// No evidence against it.
    #[default]
    Seen,
    /// Start times of connections that suggest it is invisible: the first one, and the latest that the kernel
    /// counted.
    Doubted(Timestamp, Option<Timestamp>),
    /// It is invisible.
    Unseen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interface {
    /// Both probes are in place from this time on.
    attached: Option<Timestamp>,
    to_pod: Sight,
}

/// Visibility of all interfaces.
#[derive(Debug, Default)]
pub struct OneWay {
    interfaces: BTreeMap<Ifindex, Interface>,
    /// Those of the node.
    uplinks: BTreeSet<Ifindex>,
    losses: Losses,
}

impl OneWay {
    /// The interface is traced: both directions of every later connection should be visible.
    pub fn attached(&mut self, since: Timestamp, ifindex: Ifindex) {
        let Some(interface) = self.interface(ifindex) else {
            return;
        };
        interface.attached = Some(since);
        // Records can precede the notice that their interface is traced.
        if let Sight::Doubted(_, Some(counted)) = interface.to_pod
            && counted >= since
        {
            interface.to_pod = Sight::Unseen;
        }
    }

    fn interface(&mut self, ifindex: Ifindex) -> Option<&mut Interface> {
        if !self.interfaces.contains_key(&ifindex) && self.interfaces.len() >= MAX_INTERFACES {
            self.losses
                .add(Stage::Table, "table of one-way interfaces full", 1);
            return None;
        }
        Some(self.interfaces.entry(ifindex).or_default())
    }

    /// Takes evidence.
    pub fn learn(&mut self, evidence: &HalfSeen) {
        let Some(interface) = self.interface(evidence.flow.ifindex) else {
            return;
        };
        // The kernel counted the connection from its SYN on, with both probes in place.
        let sure = evidence.counted
            && interface
                .attached
                .is_some_and(|attached| evidence.started >= attached);
        let counted = evidence.counted.then_some(evidence.started);
        interface.to_pod = match interface.to_pod {
            Sight::Unseen => Sight::Unseen,
            _ if sure => Sight::Unseen,
            Sight::Doubted(first, _) if evidence.started.since(first) >= APART => Sight::Unseen,
            Sight::Doubted(first, known) => Sight::Doubted(first, known.max(counted)),
            Sight::Seen => Sight::Doubted(evidence.started, counted),
        };
    }

    /// The interface is gone; its index may be reused.
    pub fn forget(&mut self, ifindex: Ifindex) {
        self.interfaces.remove(&ifindex);
        self.uplinks.remove(&ifindex);
    }

    /// The interface is an uplink of the node.
    pub fn is_uplink(&mut self, ifindex: Ifindex) {
        self.uplinks.insert(ifindex);
    }

    /// Whether packets to the pod are known to be invisible.
    fn is_unseen(&self, ifindex: Ifindex) -> bool {
        (self.interfaces.get(&ifindex)).is_some_and(|interface| interface.to_pod == Sight::Unseen)
    }

    /// Whether answers may come by another uplink.
    fn may_come_elsewhere(&self, ifindex: Ifindex) -> bool {
        self.uplinks.len() > 1 && self.uplinks.contains(&ifindex)
    }

    /// Whether an answer to the pod may come unseen, so that silence shows nothing.
    pub fn may_miss_answers(&self, ifindex: Ifindex) -> bool {
        self.is_unseen(ifindex) || self.may_come_elsewhere(ifindex)
    }

    /// Every invisible direction.
    pub fn unseen(&self) -> impl Iterator<Item = (Ifindex, Direction)> {
        self.interfaces
            .iter()
            .filter(|(_, interface)| interface.to_pod == Sight::Unseen)
            .map(|(ifindex, _)| (*ifindex, Direction::ToPod))
    }

    /// Whether an event may be emitted. One that rests on silence in an invisible direction is counted
    /// instead.
    pub fn may_emit(&mut self, ends: Option<&Ends>, body: &Body) -> bool {
        let Some(ends) = ends else { return true };
        let unseen = self.may_miss_answers(ends.ifindex);
        if ends.role == Role::Server || !unseen || !rests_on_silence(body) {
            return true;
        }
        self.losses.add(
            Stage::Kernel,
            "silence in an invisible direction, suppressed",
            1,
        );
        false
    }

    /// Suppressed events.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}

/// Whether the event states that something did not arrive.
fn rests_on_silence(body: &Body) -> bool {
    match body {
        Body::Dns(exchange, _) => exchange.outcome == Outcome::Timeout,
        Body::Lookup(lookup) => lookup.outcome == Outcome::Timeout,
        Body::Tcp(connection) => {
            matches!(
                connection.state,
                TcpState::Opening | TcpState::Timeout | TcpState::Undecided
            ) || connection.state == TcpState::Established
                && connection.evidence.unanswered.is_some()
        }
        Body::Udp(flow) => {
            matches!(flow.state, UdpState::Unanswered | UdpState::Undecided)
                || flow.state == UdpState::Open && flow.unanswered.is_some()
        }
        // An ICMP error instead of a reply is not silence.
        Body::Echo(echo) => echo.received.saturating_add(echo.errors) < echo.sent,
        Body::IcmpError(_) | Body::Drop(_) | Body::Finding(_) | Body::Lost(_) => false,
    }
}
