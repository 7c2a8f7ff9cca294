//! Findings as Kubernetes Events, so that `kubectl describe pod` shows them.
//!
//! Owns which findings become an Event (severity warning or error, with a known pod), the Event's text
//! ([`note`]), the rate of requests ([`ledger`]) and the requests. The pipeline task calls [`KubeEvents::offer`], which never waits; a finding without room in the queue is counted. An Event's
//! count grows with its finding, and a resolved finding closes it. Needs the verbs create and patch on events
//! of events.k8s.io.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event as KubeEvent;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::mpsc;

mod ledger;
mod note;
#[cfg(test)]
mod tests;

use self::ledger::{Decision, Ledger, Request};
use super::fair_queue::FairQueue;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::Severity;
use tracer_core::model::identity::PodIdentity;
use tracer_core::view::WallClock;

/// Findings on their way to the API server.
const QUEUE: usize = 256;
/// Time limit of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The parts of a finding that an Event needs.
#[derive(Clone, Debug)]
struct Occurrence {
    pod: Arc<PodIdentity>,
    id: String,
    rule: &'static str,
    resolved: bool,
    count: u64,
    first: jiff::Timestamp,
    last: jiff::Timestamp,
    note: String,
}

/// Findings and requests by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KubeEventTotals {
    /// Created Events.
    pub created: u64,
    /// Updates of an Event's count.
    pub updated: u64,
    /// Failed requests.
    pub failed: u64,
    /// Findings that the rate limit suppressed.
    pub limited: u64,
    /// Findings dropped because the queue was full.
    pub dropped: u64,
    /// Findings whose Event was forgotten to make room for others: they get a new one.
    pub forgotten: u64,
}

#[derive(Debug, Default)]
struct Counters {
    created: AtomicU64,
    updated: AtomicU64,
    failed: AtomicU64,
    limited: AtomicU64,
    dropped: AtomicU64,
    forgotten: AtomicU64,
}

/// The queue of findings.
#[derive(Clone, Debug)]
pub struct KubeEvents {
    queue: Arc<Mutex<FairQueue<Occurrence>>>,
    /// Wakes the worker. It ends when no sender is left.
    wake: mpsc::Sender<()>,
    counters: Arc<Counters>,
}

/// Sends the requests.
#[derive(Debug)]
pub struct Worker {
    queue: Arc<Mutex<FairQueue<Occurrence>>>,
    woken: mpsc::Receiver<()>,
    counters: Arc<Counters>,
    ledger: Ledger,
}

/// A queue and its worker. `instance` is the Events' reporting instance: the node.
pub fn new(instance: &str) -> (KubeEvents, Worker) {
    let (wake, woken) = mpsc::channel(1);
    let queue = Arc::new(Mutex::new(FairQueue::new(QUEUE)));
    let counters = Arc::<Counters>::default();
    let events = KubeEvents {
        queue: Arc::clone(&queue),
        wake,
        counters: Arc::clone(&counters),
    };
    let worker = Worker {
        queue,
        woken,
        counters,
        ledger: Ledger::new(instance),
    };
    (events, worker)
}

impl KubeEvents {
    /// Queues a finding that becomes a Kubernetes Event; ignores all other events.
    pub fn offer(&self, event: &Event, clock: &dyn WallClock) {
        let (Body::Finding(finding), Some(ends)) = (&event.body, &event.ends) else {
            return;
        };
        let (true, Ok(pod)) = (finding.severity >= Severity::Warning, &ends.pod.identity) else {
            return;
        };
        // Nothing is left to try once the cause is gone.
        let remedies: &[_] = match finding.is_resolved() {
            true => &[],
            false => &finding.remedies,
        };
        let occurrence = Occurrence {
            pod: Arc::clone(pod),
            id: finding.id.clone(),
            rule: finding.rule,
            resolved: finding.is_resolved(),
            count: finding.count,
            first: clock.wall(finding.first),
            last: clock.wall(finding.last),
            note: note::note(&finding.headline, remedies),
        };
        let dropped = self.queue.lock().push(&pod.uid, occurrence);
        self.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        // A worker that is not awake yet finds all of the queue.
        let _ = self.wake.try_send(());
    }

    /// Totals so far.
    pub fn totals(&self) -> KubeEventTotals {
        let Counters {
            created,
            updated,
            failed,
            limited,
            dropped,
            forgotten,
        } = &*self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        KubeEventTotals {
            created: read(created),
            updated: read(updated),
            failed: read(failed),
            limited: read(limited),
            dropped: read(dropped),
            forgotten: read(forgotten),
        }
    }
}

/// Why a request failed.
enum Failure {
    /// The Event exists already: an earlier request succeeded although it seemed to fail.
    Exists,
    /// The Event is gone: by default the API server deletes Events after an hour.
    Gone,
    /// The agent lacks the permission.
    Forbidden(String),
    Other(String),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) if status.code == 409 => Failure::Exists,
            kube::Error::Api(status) if status.code == 404 => Failure::Gone,
            // A namespace that is being deleted accepts no Events; that is not a configuration error.
            kube::Error::Api(status)
                if status.code == 403 && !status.message.contains("is being terminated") =>
            {
                Failure::Forbidden(status.message)
            }
            error => Failure::Other(error.to_string()),
        }
    }
}

impl Worker {
    /// Sends requests until the queue is closed.
    pub async fn run(mut self, client: Client) {
        let mut log = FailureLog::default();
        while let Some(occurrence) = self.next().await {
            self.handle(&client, &occurrence, &mut log).await;
            let forgotten = &self.counters.forgotten;
            forgotten.store(self.ledger.forgotten(), Ordering::Relaxed);
        }
    }

    /// The next finding; `None` once no more can come.
    async fn next(&mut self) -> Option<Occurrence> {
        loop {
            let next = self.queue.lock().pop();
            if next.is_some() {
                return next;
            }
            self.woken.recv().await?;
        }
    }

    async fn handle(&mut self, client: &Client, occurrence: &Occurrence, log: &mut FailureLog) {
        let mut decision = self.ledger.take(Instant::now(), occurrence);
        // A second round creates a new Event if the one to update is gone.
        for _ in 0..2 {
            let request = match decision {
                Decision::Send(request) => request,
                Decision::Skip => return,
                Decision::Limited => {
                    self.counters.limited.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            };
            let done = match tokio::time::timeout(TIMEOUT, send(client, occurrence, &request)).await
            {
                Ok(done) => done,
                Err(_) => Err(Failure::Other(format!(
                    "no answer within {} s",
                    TIMEOUT.as_secs()
                ))),
            };
            let counter = match request {
                Request::Create(_) => &self.counters.created,
                Request::Update { .. } => &self.counters.updated,
            };
            match done {
                Ok(()) | Err(Failure::Exists) => {
                    counter.fetch_add(1, Ordering::Relaxed);
                    log.succeeded();
                    return;
                }
                Err(Failure::Gone) if matches!(request, Request::Update { .. }) => {
                    self.ledger.forget(occurrence);
                    decision = self.ledger.take(Instant::now(), occurrence);
                }
                Err(failure) => {
                    self.counters.failed.fetch_add(1, Ordering::Relaxed);
                    if matches!(request, Request::Create(_)) {
                        self.ledger.forget(occurrence);
                    }
                    return log.failed(&failure);
                }
            }
        }
    }
}

async fn send(client: &Client, occurrence: &Occurrence, request: &Request) -> Result<(), Failure> {
    let events: Api<KubeEvent> = Api::namespaced(client.clone(), &occurrence.pod.namespace);
    match request {
        Request::Create(event) => events
            .create(&PostParams::default(), event)
            .await
            .map(|_| ())?,
        Request::Update { name, patch } => events
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(|_| ())?,
    }
    Ok(())
}

/// Logs each kind of failure once when it begins, and once when it ends.
#[derive(Debug, Default)]
struct FailureLog {
    forbidden: bool,
    failing: bool,
}

impl FailureLog {
    fn succeeded(&mut self) {
        if self.failing || self.forbidden {
            tracing::info!("findings are published as Kubernetes Events again");
        }
        *self = FailureLog::default();
    }

    fn failed(&mut self, failure: &Failure) {
        match failure {
            Failure::Forbidden(why) if !self.forbidden => {
                self.forbidden = true;
                tracing::warn!(
                    "cannot publish findings as Kubernetes Events: {why}. Allow create and patch on events of \
                     events.k8s.io, or turn this off with --no-kube-events"
                );
            }
            Failure::Other(why) if !self.failing => {
                self.failing = true;
                tracing::warn!("cannot publish a finding as a Kubernetes Event: {why}");
            }
            Failure::Gone if !self.failing => {
                self.failing = true;
                tracing::warn!(
                    "cannot publish a finding as a Kubernetes Event: the namespace or the API events.k8s.io does not exist"
                );
            }
            _ => {}
        }
    }
}
