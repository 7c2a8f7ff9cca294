//! Between the pipeline and the clients: the history, its progress, and the agent's status.
//!
//! The pipeline adds events and never waits: the history is locked only while a page of references is copied.
//! Clients wait for [`Progress`] and read at their own pace.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};

use super::history::{Entry, History, Page};
use super::proto;
use tracer_core::model::event::Event;
use tracer_core::view::WallClock;
use tracer_core::view::filter::Filter;

/// Interval at which clients get the time while there are no events.
const MARK_EVERY: Duration = Duration::from_millis(100);
/// Capacity of the queue of filter checks.
const CHECKS: usize = 16;

/// How far the history has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of the next event.
    pub next: u64,
    /// All events emitted before this time are in the history.
    pub reached_unix_ns: i64,
    /// More events follow.
    pub open: bool,
}

/// A request to check a filter against the names in the cluster. The task that owns the pipeline answers it.
#[derive(Debug)]
pub struct FilterCheck {
    /// The filter to check.
    pub filter: Filter,
    /// Where to send the warnings.
    pub answer: oneshot::Sender<Vec<String>>,
}

/// The identity of an agent.
#[derive(Clone, Debug)]
pub struct AgentIdentity {
    /// The node's name.
    pub node: Arc<str>,
    /// A random id, new with every start.
    pub instance: String,
    /// When it started, nanoseconds since 1970.
    pub started_unix_ns: i64,
}

/// Connects the pipeline, which adds events, with the clients that read them.
pub struct Hub {
    identity: AgentIdentity,
    history: Mutex<History>,
    progress: watch::Sender<Progress>,
    /// Becomes true with [`Hub::close`]. Apart from the progress, which wakes its receivers many times a second.
    closed: watch::Sender<bool>,
    status: Mutex<proto::StatusResponse>,
    checks: mpsc::Sender<FilterCheck>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hub")
            .field("identity", &self.identity)
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Creates a hub with an empty history, and the receiver of its clients' filter checks.
    pub fn new(
        identity: AgentIdentity,
        history_bytes: usize,
    ) -> (Arc<Hub>, mpsc::Receiver<FilterCheck>) {
        let (checks, receiver) = mpsc::channel(CHECKS);
        let hub = Hub {
            progress: watch::Sender::new(Progress {
                next: 0,
                reached_unix_ns: identity.started_unix_ns,
                open: true,
            }),
            closed: watch::Sender::new(false),
            identity,
            history: Mutex::new(History::new(history_bytes)),
            status: Mutex::default(),
            checks,
        };
        (Arc::new(hub), receiver)
    }

    /// Adds an event that was emitted at this time. Clients see it after the next [`Hub::reached`].
    pub fn put(&self, emitted_unix_ns: i64, event: &Event, clock: &dyn WallClock) {
        let event = super::event::to_wire(event, clock).encode_to_vec().into();
        let mut history = self.history.lock();
        // Readers rely on the order, even if the node's clock is set back.
        let emitted_unix_ns = emitted_unix_ns.max(self.progress.borrow().reached_unix_ns);
        history.push(Entry {
            emitted_unix_ns,
            event,
        });
    }

    /// All events emitted before this time have been added.
    pub fn reached(&self, at_unix_ns: i64) {
        let next = self.history.lock().next();
        self.progress.send_if_modified(|progress| {
            let later = at_unix_ns.saturating_sub(progress.reached_unix_ns);
            let changed = progress.next != next || later >= MARK_EVERY.as_nanos() as i64;
            if changed {
                progress.next = next;
                progress.reached_unix_ns = progress.reached_unix_ns.max(at_unix_ns);
            }
            changed
        });
    }

    /// Ends the history: streams end once they have sent its events.
    pub fn close(&self) {
        let next = self.history.lock().next();
        self.progress.send_modify(|progress| {
            progress.next = next;
            progress.open = false;
        });
        self.closed.send_replace(true);
    }

    /// Whether a client follows the events.
    pub fn is_followed(&self) -> bool {
        self.progress.receiver_count() > 0
    }

    /// Replaces the status. The service adds the history, the clients and the time.
    pub fn publish(&self, status: proto::StatusResponse) {
        *self.status.lock() = status;
    }

    pub(super) fn status(&self) -> proto::StatusResponse {
        let mut status = self.status.lock().clone();
        let history = self.history.lock();
        status.history = Some(proto::History {
            events: history.len() as u64,
            bytes: history.bytes() as u64,
            max_bytes: history.max_bytes() as u64,
            oldest_unix_ns: history.oldest_unix_ns(),
            dropped: history.dropped(),
        });
        status
    }

    /// The identity of this agent.
    pub fn identity(&self) -> &AgentIdentity {
        &self.identity
    }

    pub(super) fn page(&self, from: u64, limit: usize) -> Page {
        self.history.lock().page(from, limit)
    }

    pub(super) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Warnings about a filter. Empty if the pipeline has ended.
    pub(super) async fn check(&self, filter: Filter) -> Vec<String> {
        let (answer, answered) = oneshot::channel();
        let check = FilterCheck { filter, answer };
        if self.checks.send(check).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }
}
