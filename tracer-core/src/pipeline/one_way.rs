//! Finds interfaces with an invisible direction, and suppresses the verdicts that would rest on silence
//! there.
//!
//! The evidence is connections that continued after an unseen answer ([`HalfSeen`]). Once a direction is
//! known to be invisible, silence in it proves nothing: events that rest on it are suppressed and counted.
//! Events emitted earlier stay. Owns what is known per interface; bounded by the number of interfaces.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::correlate::HalfSeen;
use crate::model::connection::{TcpState, UdpState};
use crate::model::event::{Body, Ends};
use crate::model::exchange::Outcome;
use crate::model::flow::{Direction, Ifindex, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// Matches the number of interfaces that the probes can trace.
const MAX_INTERFACES: usize = 4_096;
/// Evidence with another possible cause counts only if it recurs after this time: while the probes attach,
/// one direction is visible some tens of milliseconds before the other, and a burst can cost records.
const APART: Duration = Duration::from_secs(1);

/// Visibility of one direction of an interface.
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
    from_pod: Sight,
}

/// Visibility of all interfaces.
#[derive(Debug, Default)]
pub struct OneWay {
    interfaces: BTreeMap<Ifindex, Interface>,
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
        for sight in [&mut interface.to_pod, &mut interface.from_pod] {
            if let Sight::Doubted(_, Some(counted)) = *sight
                && counted >= since
            {
                *sight = Sight::Unseen;
            }
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
        let sight = match evidence.unseen {
            Direction::ToPod => &mut interface.to_pod,
            Direction::FromPod => &mut interface.from_pod,
        };
        *sight = match *sight {
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
    }

    /// Whether this direction is known to be invisible.
    pub fn is_unseen(&self, ifindex: Ifindex, direction: Direction) -> bool {
        self.interfaces.get(&ifindex).is_some_and(|interface| {
            let sight = match direction {
                Direction::ToPod => interface.to_pod,
                Direction::FromPod => interface.from_pod,
            };
            sight == Sight::Unseen
        })
    }

    /// Every invisible direction.
    pub fn unseen(&self) -> impl Iterator<Item = (Ifindex, Direction)> {
        self.interfaces.iter().flat_map(|(ifindex, interface)| {
            [
                (interface.to_pod, Direction::ToPod),
                (interface.from_pod, Direction::FromPod),
            ]
            .into_iter()
            .filter(|(sight, _)| *sight == Sight::Unseen)
            .map(|(_, direction)| (*ifindex, direction))
        })
    }

    /// Whether an event may be emitted. One that rests on silence in an invisible direction is counted
    /// instead.
    pub fn may_emit(&mut self, ends: Option<&Ends>, body: &Body) -> bool {
        let Some(ends) = ends else { return true };
        let answers = match ends.role {
            Role::Client => Direction::ToPod,
            Role::Server => Direction::FromPod,
        };
        if !self.is_unseen(ends.ifindex, answers) || !rests_on_silence(body) {
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
        Body::IcmpError(_) | Body::Finding(_) | Body::Lost(_) => false,
    }
}
