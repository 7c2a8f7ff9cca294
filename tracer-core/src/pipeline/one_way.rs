//! Interfaces of which one direction is not visible: finds out which, and says what then rests on nothing.
//!
//! Evidence are connections that went on after an answer that was not seen ([`HalfSeen`]). Once a direction is known to
//! be invisible, no silence in it means anything: what would tell of one is held back and counted. What was told before
//! that was known stays told. Owns the knowledge per interface; bounded by the number of interfaces.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::correlate::HalfSeen;
use crate::model::connection::{TcpState, UdpState};
use crate::model::event::{Body, Ends};
use crate::model::exchange::Outcome;
use crate::model::flow::{Direction, Ifindex, Role};
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// The probes trace no more interfaces than this.
const MAX_INTERFACES: usize = 4_096;
/// Evidence that another cause could explain counts only when it comes again after so long: while an interface is being
/// attached one direction is seen some tens of milliseconds before the other, and a burst can cost records.
const APART: Duration = Duration::from_secs(1);

/// What is known of one direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sight {
    /// Nothing speaks against it.
    #[default]
    Seen,
    /// Connections speak against it: the first, and the latest that the kernel counted, by when they began.
    Doubted(Timestamp, Option<Timestamp>),
    /// It is not.
    Unseen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interface {
    /// Both of its probes are in place from here on.
    attached: Option<Timestamp>,
    to_pod: Sight,
    from_pod: Sight,
}

/// What is known of all interfaces.
#[derive(Debug, Default)]
pub struct OneWay {
    interfaces: BTreeMap<Ifindex, Interface>,
    losses: Losses,
}

impl OneWay {
    /// The interface is traced: both directions of whatever begins from then on should be seen.
    pub fn attached(&mut self, since: Timestamp, ifindex: Ifindex) {
        let Some(interface) = self.interface(ifindex) else {
            return;
        };
        interface.attached = Some(since);
        // Records can come before it is told that their interface is traced.
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

    /// Takes evidence in.
    pub fn learn(&mut self, evidence: &HalfSeen) {
        let Some(interface) = self.interface(evidence.flow.ifindex) else {
            return;
        };
        // The kernel counted it from its SYN on, on an interface whose probes were both in place.
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

    /// The interface is gone; its index may come back as another one.
    pub fn forget(&mut self, ifindex: Ifindex) {
        self.interfaces.remove(&ifindex);
    }

    /// Whether packets of this direction are known to be invisible.
    pub fn is_unseen(&self, ifindex: Ifindex, direction: Direction) -> bool {
        self.interfaces.get(&ifindex).is_some_and(|interface| {
            let sight = match direction {
                Direction::ToPod => interface.to_pod,
                Direction::FromPod => interface.from_pod,
            };
            sight == Sight::Unseen
        })
    }

    /// Every direction that is known to be invisible.
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

    /// Whether an event may be told. One that rests on a silence that nobody could have heard broken is counted instead.
    pub fn may_tell(&mut self, ends: Option<&Ends>, body: &Body) -> bool {
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
            "silence in a direction that is not visible: not told",
            1,
        );
        false
    }

    /// What was held back.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }
}

/// Whether it says that something did not come.
fn rests_on_silence(body: &Body) -> bool {
    match body {
        Body::Dns(exchange, _) => exchange.outcome == Outcome::Timeout,
        Body::Lookup(lookup) => lookup.outcome == Outcome::Timeout,
        Body::Tcp(connection) => {
            matches!(connection.state, TcpState::Opening | TcpState::Timeout)
        }
        Body::Udp(flow) => flow.state == UdpState::Unanswered,
        // An error instead of a reply is no silence.
        Body::Echo(echo) => echo.received.saturating_add(echo.errors) < echo.sent,
        Body::IcmpError(_) | Body::Finding(_) | Body::Lost(_) => false,
    }
}
