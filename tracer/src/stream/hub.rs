//! Between the pipeline and the clients: the history, how far it reaches, and what `status` says.
//!
//! The pipeline puts events in and never waits: nobody holds the history's lock longer than it takes to copy a page of
//! references. Clients wait for [`Progress`] and read at their own pace.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};

use super::history::{Entry, History, Page};
use super::proto;
use tracer_core::model::event::Event;
use tracer_core::view::WallClock;
use tracer_core::view::filter::Filter;

/// Without events, clients are told the time so often.
const MARK_EVERY: Duration = Duration::from_millis(100);
/// Questions on their way to the one who knows who is who.
const QUESTIONS: usize = 16;

/// How far the history reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of the next event.
    pub next: u64,
    /// All events that are told before that time are in the history.
    pub reached_unix_ns: i64,
    /// More will come.
    pub open: bool,
}

/// What is odd about a filter? Answered by the one who owns the pipeline.
#[derive(Debug)]
pub struct Question {
    /// The filter.
    pub filter: Filter,
    /// Takes the answer.
    pub answer: oneshot::Sender<Vec<String>>,
}

/// Who this agent is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node's name.
    pub node: Arc<str>,
    /// New with every start.
    pub instance: String,
    /// When it started, nanoseconds since 1970.
    pub started_unix_ns: i64,
}

/// Where events go in and clients read.
pub struct Hub {
    identity: Identity,
    history: Mutex<History>,
    progress: watch::Sender<Progress>,
    status: Mutex<proto::StatusResponse>,
    questions: mpsc::Sender<Question>,
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
    /// With nothing told yet. Questions of clients come out of the receiver.
    pub fn new(identity: Identity, history_bytes: usize) -> (Arc<Hub>, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let hub = Hub {
            progress: watch::Sender::new(Progress {
                next: 0,
                reached_unix_ns: identity.started_unix_ns,
                open: true,
            }),
            identity,
            history: Mutex::new(History::new(history_bytes)),
            status: Mutex::default(),
            questions,
        };
        (Arc::new(hub), asked)
    }

    /// Takes in an event that was told at that time. Clients see it with the next [`Hub::reached`].
    pub fn put(&self, told_unix_ns: i64, event: &Event, clock: &dyn WallClock) {
        let event = super::event::to_wire(event, clock).encode_to_vec().into();
        let mut history = self.lock();
        // What the node's clock does must not change the order; a reader relies on it.
        let told_unix_ns = told_unix_ns.max(self.progress.borrow().reached_unix_ns);
        history.push(Entry {
            told_unix_ns,
            event,
        });
    }

    /// Everything that is told before that time has been put in.
    pub fn reached(&self, at_unix_ns: i64) {
        let next = self.lock().next();
        self.progress.send_if_modified(|progress| {
            let later = at_unix_ns.saturating_sub(progress.reached_unix_ns);
            let news = progress.next != next || later >= MARK_EVERY.as_nanos() as i64;
            if news {
                progress.next = next;
                progress.reached_unix_ns = progress.reached_unix_ns.max(at_unix_ns);
            }
            news
        });
    }

    /// There will be no more events: streams end once they have sent what there is.
    pub fn close(&self) {
        let next = self.lock().next();
        self.progress.send_modify(|progress| {
            progress.next = next;
            progress.open = false;
        });
    }

    /// Replaces what `status` says; the service adds the history, the clients and the time.
    pub fn publish(&self, status: proto::StatusResponse) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    pub(super) fn status(&self) -> proto::StatusResponse {
        let mut status = self
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let history = self.lock();
        status.history = Some(proto::History {
            events: history.len() as u64,
            bytes: history.bytes() as u64,
            max_bytes: history.max_bytes() as u64,
            oldest_unix_ns: history.oldest_unix_ns(),
            dropped: history.dropped(),
        });
        status
    }

    /// Who this agent is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn page(&self, from: u64, most: usize) -> Page {
        self.lock().page(from, most)
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Sentences about what is odd about a filter; none where nobody answers.
    pub(super) async fn ask(&self, filter: Filter) -> Vec<String> {
        let (answer, answered) = oneshot::channel();
        let question = Question { filter, answer };
        if self.questions.send(question).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
