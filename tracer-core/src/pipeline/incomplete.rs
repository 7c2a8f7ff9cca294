//! What may still be claimed about an exchange, connection, flow or echo run of which records may have been
//! lost: what was seen, and nothing that rests on silence or on the order of packets. The same holds where the
//! kernel could not count a flow, whose packets have no records.
//!
//! Such an event is shown, counted, and marked ([`Event::incomplete`](crate::model::event::Event)); it feeds no
//! rule. [`Doubt`] knows what was lost, this module which losses concern an event.

use std::sync::Arc;
use std::time::Duration;

use super::doubt::{Doubt, Sockets};
use crate::lookup::Decided;
use crate::model::connection::{TcpConnection, TcpState, UdpFlow, UdpState};
use crate::model::correlated::{Correlated, CorrelatedEvent};
use crate::model::echo::{Echo, EchoState};
use crate::model::evidence::TcpEvidence;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::flow::Ifindex;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// Records of several CPUs overtake each other by less than this.
const REORDERING: Duration = Duration::from_secs(1);
/// What is lost this long before the first packet that was seen may be the beginning: resolvers ask the next
/// server or for the next name within five seconds, and UDP flows are answered sooner.
const BEGINNING: Duration = Duration::from_secs(10);

/// A correlated event with what is known of its losses.
#[derive(Clone, Debug)]
pub struct Item {
    /// The event, without what it cannot know.
    pub event: Correlated,
    /// Records of it may have been lost.
    pub incomplete: bool,
}

impl Item {
    /// Weakens the event if records of it may have been lost, or its packets had neither records nor counters.
    /// `None` if nothing is left of it.
    pub fn new(mut event: Correlated, doubt: &Doubt, losses: &mut Losses) -> Option<Item> {
        let lost = concerns(doubt, &event);
        let uncounted = !lost && is_uncounted(doubt, &event);
        let left = match (lost, uncounted) {
            (true, _) => weaken(&mut event.event, losses),
            (false, true) => weaken_uncounted(&mut event.event, losses),
            (false, false) => true,
        };
        left.then_some(Item {
            event,
            incomplete: lost || uncounted,
        })
    }

    /// The interface it was seen on.
    pub fn ifindex(&self) -> Ifindex {
        self.event.flow.ifindex
    }
}

/// Whether a record that would have changed this event may have been lost.
fn concerns(doubt: &Doubt, item: &Correlated) -> bool {
    let Correlated {
        time, flow, event, ..
    } = item;
    let one = Sockets::One(flow);
    let (from, sockets) = match event {
        // Forwarding loops are seen by a server's own questions, on sockets of their own.
        CorrelatedEvent::Asked(_) | CorrelatedEvent::IcmpError(_) | CorrelatedEvent::MadeRoom => {
            (before(*time, BEGINNING), Sockets::Any)
        }
        // The question may have been to another server from the same port.
        CorrelatedEvent::Exchange(exchange) if exchange.asked_peer.is_some() => {
            (before(*time, BEGINNING), Sockets::Any)
        }
        CorrelatedEvent::Exchange(exchange) => {
            let one_socket = exchange.attempts == 1 && exchange.steps.is_empty();
            let sockets = if one_socket { one } else { Sockets::Any };
            (before(*time, REORDERING), sockets)
        }
        CorrelatedEvent::Tcp(connection) | CorrelatedEvent::TcpProgress(connection) => {
            let evidence = &connection.evidence;
            let from = match evidence.picked_up {
                // Its beginning may be among everything that was ever lost.
                true => Timestamp(0),
                false => before(*time, REORDERING),
            };
            let answered_by_another = evidence.reply_from.is_some();
            (
                from,
                if answered_by_another {
                    Sockets::Any
                } else {
                    one
                },
            )
        }
        CorrelatedEvent::Udp(udp) | CorrelatedEvent::UdpProgress(udp) => {
            let answered_by_another = udp.reply_from.is_some();
            let sockets = if answered_by_another {
                Sockets::Any
            } else {
                one
            };
            (before(*time, BEGINNING), sockets)
        }
        CorrelatedEvent::Echo(_) => (before(*time, REORDERING), one),
    };
    doubt.since(from, flow.ifindex, sockets)
}

/// Whether the event rests on packets that have no record of their own, and that a full flow table kept from
/// being counted. SYN, FIN and RST, DNS and ICMP have a record each.
fn is_uncounted(doubt: &Doubt, item: &Correlated) -> bool {
    let rests_on_counters = match &item.event {
        CorrelatedEvent::TcpProgress(_) | CorrelatedEvent::UdpProgress(_) => true,
        CorrelatedEvent::Tcp(connection) => matches!(
            connection.state,
            TcpState::Closed | TcpState::Reset | TcpState::Idle
        ),
        CorrelatedEvent::Udp(flow) => flow.state != UdpState::IcmpError,
        CorrelatedEvent::Asked(_)
        | CorrelatedEvent::Exchange(_)
        | CorrelatedEvent::Echo(_)
        | CorrelatedEvent::IcmpError(_)
        | CorrelatedEvent::MadeRoom => false,
    };
    rests_on_counters && doubt.uncounted_since(item.time, item.flow.ifindex)
}

/// Whether records of a lookup may have been lost. Its queries use several sockets.
pub fn concerns_lookup(doubt: &Doubt, decided: &Decided) -> bool {
    doubt.since(
        before(decided.time, BEGINNING),
        decided.ends.ifindex,
        Sockets::Any,
    )
}

/// Removes from an event what a lost record could contradict. `false` if that is all of it.
fn weaken(event: &mut CorrelatedEvent, losses: &mut Losses) -> bool {
    match event {
        CorrelatedEvent::Asked(_) | CorrelatedEvent::IcmpError(_) | CorrelatedEvent::MadeRoom => {
            true
        }
        // Evidence for the rules alone.
        CorrelatedEvent::TcpProgress(_) | CorrelatedEvent::UdpProgress(_) => false,
        CorrelatedEvent::Exchange(exchange) => {
            weaken_exchange(Arc::make_mut(exchange), losses);
            true
        }
        CorrelatedEvent::Tcp(connection) => weaken_connection(connection, losses),
        CorrelatedEvent::Udp(flow) => {
            let reason = "udp undecided: records were lost";
            weaken_udp(flow, Stage::Ring, reason, losses);
            true
        }
        CorrelatedEvent::Echo(echo) => {
            weaken_echo(echo, losses);
            true
        }
    }
}

/// Removes from an event what the kernel's counters could contradict. `false` if that is all of it.
fn weaken_uncounted(event: &mut CorrelatedEvent, losses: &mut Losses) -> bool {
    match event {
        CorrelatedEvent::TcpProgress(_) | CorrelatedEvent::UdpProgress(_) => return false,
        // Its packets show its state.
        CorrelatedEvent::Tcp(connection) => weaken_evidence(connection),
        CorrelatedEvent::Udp(flow) => {
            let reason = "udp undecided: flow table full";
            weaken_udp(flow, Stage::Kernel, reason, losses);
        }
        _ => {}
    }
    true
}

fn undecided(losses: &mut Losses, ifindex: Ifindex, what: &'static str) {
    losses.add_on(ifindex, Stage::Ring, what, 1);
}

fn weaken_exchange(exchange: &mut Exchange, losses: &mut Losses) {
    let answered = exchange.rcode.is_some() || exchange.icmp.is_some();
    if exchange.asked_peer.take().is_some() || !answered {
        exchange.outcome = Outcome::Undecided;
        undecided(
            losses,
            exchange.flow.ifindex,
            "dns undecided: records were lost",
        );
    }
    if exchange.icmp.is_none() {
        exchange.connection = None;
        for step in &mut exchange.steps {
            if step.outcome == Outcome::Timeout || step.outcome == Outcome::Other {
                step.outcome = Outcome::Undecided;
            }
        }
    }
    exchange.fragments_lost = 0;
    // What was undecided was reported as that.
    exchange.late = false;
}

fn weaken_evidence(connection: &mut TcpConnection) {
    let TcpEvidence {
        picked_up,
        last_syn,
        payload,
        ..
    } = connection.evidence;
    connection.evidence = TcpEvidence {
        picked_up,
        last_syn,
        payload,
        ..TcpEvidence::default()
    };
}

fn weaken_connection(connection: &mut TcpConnection, losses: &mut Losses) -> bool {
    weaken_evidence(connection);
    match connection.state {
        TcpState::Established | TcpState::Closed | TcpState::Idle => true,
        // Its verdict follows.
        TcpState::Opening => false,
        TcpState::Refused(_) | TcpState::Timeout | TcpState::Reset | TcpState::Undecided => {
            connection.state = TcpState::Undecided;
            connection.icmp = None;
            undecided(
                losses,
                connection.flow.ifindex,
                "tcp undecided: records were lost",
            );
            true
        }
    }
}

fn weaken_udp(flow: &mut UdpFlow, stage: Stage, reason: &'static str, losses: &mut Losses) {
    flow.unanswered = None;
    flow.reply_from = None;
    if matches!(flow.state, UdpState::Unanswered | UdpState::Undecided) {
        flow.state = UdpState::Undecided;
        losses.add_on(flow.flow.ifindex, stage, reason, 1);
    }
}

fn weaken_echo(echo: &mut Echo, losses: &mut Losses) {
    echo.state = EchoState::Undecided;
    undecided(
        losses,
        echo.flow.ifindex,
        "ping undecided: records were lost",
    );
}

/// Removes from a lookup what a lost record could contradict. What found an answer was answered.
pub fn weaken_lookup(decided: &mut Decided, losses: &mut Losses) {
    let Decided { ends, lookup, .. } = decided;
    for step in &mut lookup.steps {
        if step.outcome == Some(Outcome::Timeout) {
            step.outcome = Some(Outcome::Undecided);
        }
    }
    lookup.waited = Duration::ZERO;
    if lookup.outcome != Outcome::Answered {
        lookup.outcome = Outcome::Undecided;
        undecided(losses, ends.ifindex, "lookup undecided: records were lost");
    }
}

fn before(at: Timestamp, margin: Duration) -> Timestamp {
    let margin = u64::try_from(margin.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(at.0.saturating_sub(margin))
}
