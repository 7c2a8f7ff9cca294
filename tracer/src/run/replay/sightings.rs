//! What the captures of several nodes show of both ends of a connection.
//!
//! Owns which events paths rest on, bounded, and what a capture can be said to have watched.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Span;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::flow::{Protocol, Role};
use tracer_core::model::time::Timestamp;
use tracer_core::path::{self, Clock, Join, NodeFacts, Watch};

/// Events that are kept for the paths.
pub(super) const MAX_KEPT: usize = 200_000;
/// The clocks of two nodes without a connection that shows their difference are taken to agree within this time.
const UNKNOWN_CLOCK: Duration = Duration::from_secs(1);

/// What a capture can be said to show of its node.
pub(super) struct Watched<'a> {
    pub(super) node: &'a Arc<str>,
    pub(super) span: Span,
    /// Its recording says that dropped packets are in it.
    pub(super) sees_drops: bool,
}

/// Events of captures, each with its node.
#[derive(Default)]
pub(super) struct Sightings {
    kept: Vec<(Arc<str>, Event)>,
    /// There were more of them.
    more: bool,
}

impl Sightings {
    /// Keeps an event of a node, if paths rest on such events.
    pub(super) fn keep(&mut self, node: &Arc<str>, event: &Event) {
        if !rests(event) {
            return;
        }
        match self.kept.len() < MAX_KEPT {
            true => self.kept.push((Arc::clone(node), event.clone())),
            false => self.more = true,
        }
    }

    /// Whether some were not kept.
    pub(super) fn has_more(&self) -> bool {
        self.more
    }

    /// Joins the events of these captures.
    pub(super) fn join<'a>(&self, captures: impl Iterator<Item = Watched<'a>>) -> Join {
        let clocks = path::clocks(self.kept.iter().map(|(node, event)| (node, event)));
        let clock_of = |node: &Arc<str>| {
            clocks.get(node).copied().unwrap_or(Clock {
                ahead_ns: 0,
                error: UNKNOWN_CLOCK,
            })
        };
        let mut join = Join::default();
        for Watched {
            node,
            span,
            sees_drops,
        } in captures
        {
            // With an unknown clock, or without all events, nothing is claimed from absence.
            let watched = match (clocks.contains_key(node), span.first, self.more) {
                (true, Some(first), false) => self.watched(node, first, span.latest),
                _ => Vec::new(),
            };
            let facts = NodeFacts {
                watched,
                sees_drops,
            };
            join.know(node, facts, clock_of(node));
        }
        for (node, event) in &self.kept {
            join.feed(node, event, clock_of(node));
        }
        join
    }

    /// A pod's port counts as watched while the capture lasts if another connection to it shows both directions.
    fn watched(&self, node: &Arc<str>, from: Timestamp, until: Timestamp) -> Vec<Watch> {
        let own = self.kept.iter().filter(|(of, _)| of == node);
        let seen: BTreeMap<(IpAddr, u16), Protocol> =
            own.filter_map(|(_, event)| served(event)).collect();
        seen.into_iter()
            .map(|((pod, port), protocol)| Watch {
                pod,
                only: Some((protocol, port)),
                from,
                until,
            })
            .collect()
    }
}

/// Whether paths rest on events of this kind.
fn rests(event: &Event) -> bool {
    !matches!(
        event.body,
        Body::Lookup(_) | Body::IcmpError(_) | Body::Finding(_)
    )
}

/// The pod's port that this event shows in both directions.
fn served(event: &Event) -> Option<((IpAddr, u16), Protocol)> {
    let (flow, role, both) = match &event.body {
        Body::Tcp(tcp) => (tcp.flow, tcp.role, tcp.handshake.is_some()),
        Body::Udp(udp) => {
            let totals = udp.totals;
            let both = totals.tx.packets > 0 && totals.rx.packets > 0;
            (udp.flow, udp.role, both)
        }
        Body::Dns(exchange, _) => (exchange.flow, exchange.role, exchange.rcode.is_some()),
        _ => return None,
    };
    (role == Role::Server && both).then(|| ((flow.pod.ip(), flow.pod.port()), flow.protocol))
}
