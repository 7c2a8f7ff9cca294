//! The traced interfaces as the capture's owner sees them: a table to query, and an event for each change.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::debug;

use super::attach::Hook;
use super::clock;
use super::interfaces::{LinkOf, TracedLink};
use tracer_core::model::flow::{FlowTotals, Ifindex};
use tracer_core::model::loss::Thinning;
use tracer_core::model::time::Timestamp;

/// A change of a traced interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceEvent {
    /// The interface is traced from now on; or it was already, and its name or its peer's namespace id
    /// changed.
    Attached {
        /// The interface with its current name.
        link: TracedLink,
        /// The probes see both directions from this time on, by the probes' clock.
        since: Timestamp,
    },
    /// The interface has gone, or is neither a pod's nor an uplink any more.
    Gone {
        /// Its index.
        ifindex: Ifindex,
        /// Its last name.
        name: String,
        /// Whose traffic was traced there.
        of: LinkOf,
        /// Its final totals.
        totals: FlowTotals,
    },
    /// The interface cannot be traced.
    Failed {
        /// The interface.
        link: TracedLink,
        /// The reason, for people.
        why: String,
    },
}

impl InterfaceEvent {
    /// The interface's name.
    pub fn name(&self) -> &str {
        match self {
            InterfaceEvent::Attached { link, .. } | InterfaceEvent::Failed { link, .. } => {
                &link.name
            }
            InterfaceEvent::Gone { name, .. } => name,
        }
    }
}

/// A traced interface and its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceStatus {
    /// The interface.
    pub link: TracedLink,
    /// The kind of hook the probes are attached to.
    pub hook: Hook,
    /// All its packets, exact: those of its flows plus `outside`.
    pub totals: FlowTotals,
    /// Packets that no flow counts: neither IPv4 nor IPv6, malformed, or without an entry in the flow table.
    pub outside: FlowTotals,
    /// Records lost for any reason.
    pub lost: u64,
    /// Those of them that were thinned.
    pub suppressed: u64,
    /// The current thinning: one socket in 2^this keeps its records.
    pub thinning: Thinning,
}

/// A traced interface without its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Traced {
    pub link: TracedLink,
    pub hook: Hook,
    /// Both probes are attached since this time.
    pub since: Timestamp,
}

/// The traced interfaces. The capture's owner and the attaching thread share it.
pub(super) type SharedTraced = Arc<Mutex<BTreeMap<Ifindex, Traced>>>;

/// Keeps the table up to date and sends the events.
///
/// Events are rare and small and must not wait, so the queue is unbounded; the number of interfaces bounds
/// it.
#[derive(Debug)]
pub(super) struct TracedInterfaces {
    table: SharedTraced,
    events: mpsc::UnboundedSender<InterfaceEvent>,
}

impl TracedInterfaces {
    pub fn new(
        table: SharedTraced,
        events: mpsc::UnboundedSender<InterfaceEvent>,
    ) -> TracedInterfaces {
        TracedInterfaces { table, events }
    }

    /// Both probes are attached to the interface.
    pub fn attached(&self, link: TracedLink, hook: Hook) {
        let since = clock::now();
        debug!(
            interface = link.name,
            ifindex = link.ifindex.0,
            hook = hook.as_str(),
            "attached"
        );
        let traced = Traced {
            link: link.clone(),
            hook,
            since,
        };
        self.table.lock().insert(link.ifindex, traced);
        self.send(InterfaceEvent::Attached { link, since });
    }

    /// The interface may have another name or another peer namespace id than before.
    pub fn renamed(&self, link: TracedLink) {
        let changed = match self.table.lock().get_mut(&link.ifindex) {
            Some(traced) if traced.link != link => {
                traced.link = link.clone();
                Some(traced.since)
            }
            _ => None,
        };
        if let Some(since) = changed {
            self.send(InterfaceEvent::Attached { link, since });
        }
    }

    /// The probes are detached from the interface.
    pub fn gone(&self, ifindex: Ifindex, totals: FlowTotals) {
        let Some(Traced { link, .. }) = self.table.lock().remove(&ifindex) else {
            return;
        };
        debug!(interface = link.name, ifindex = ifindex.0, "detached");
        self.send(InterfaceEvent::Gone {
            ifindex,
            name: link.name,
            of: link.of,
            totals,
        });
    }

    /// The probes cannot be attached to the interface.
    pub fn failed(&self, link: TracedLink, why: String) {
        self.send(InterfaceEvent::Failed { link, why });
    }

    fn send(&self, event: InterfaceEvent) {
        // The receiver is gone only when the capture ends.
        let _ = self.events.send(event);
    }
}
