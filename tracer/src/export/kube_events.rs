//! Findings as Events of the cluster, so that `kubectl describe pod` tells the reason.
//!
//! Owns what becomes an Event (findings of severity warning and error about a pod that is known), how it is worded
//! ([`note`]), how often the API server is asked ([`ledger`]) and the asking. [`KubeEvents::offer`] is called by the task
//! that owns the pipeline: it never waits; what the queue has no room for is counted. An Event counts up while its finding
//! comes again, and a resolved finding closes it. Needs the verbs create and patch on events of events.k8s.io.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event as KubeEvent;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;

mod ledger;
mod note;
#[cfg(test)]
mod tests;

use self::ledger::{Act, Ledger, Verdict};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::Severity;
use tracer_core::model::identity::PodIdentity;
use tracer_core::view::WallClock;

/// Findings on their way to the API server.
const QUEUE: usize = 256;
/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A finding, as far as an Event needs it.
#[derive(Clone, Debug)]
struct Report {
    pod: Arc<PodIdentity>,
    id: String,
    rule: &'static str,
    resolved: bool,
    count: u64,
    first: jiff::Timestamp,
    last: jiff::Timestamp,
    note: String,
}

/// What became of the findings that were to be Events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KubeEventTotals {
    /// Events that were created.
    pub created: u64,
    /// Times that an Event was counted up.
    pub updated: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Findings that the rate limit left out.
    pub limited: u64,
    /// Findings that the queue had no room for.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counters {
    created: AtomicU64,
    updated: AtomicU64,
    failed: AtomicU64,
    limited: AtomicU64,
    dropped: AtomicU64,
}

/// Takes findings in.
#[derive(Clone, Debug)]
pub struct KubeEvents {
    queue: mpsc::Sender<Report>,
    counters: Arc<Counters>,
}

/// Turns them into requests.
#[derive(Debug)]
pub struct Worker {
    queue: mpsc::Receiver<Report>,
    counters: Arc<Counters>,
    ledger: Ledger,
}

/// A sink and the worker behind it; `instance` is who reports: the node.
pub fn new(instance: &str) -> (KubeEvents, Worker) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let counters = Arc::<Counters>::default();
    let events = KubeEvents {
        queue: sender,
        counters: Arc::clone(&counters),
    };
    let worker = Worker {
        queue,
        counters,
        ledger: Ledger::new(instance),
    };
    (events, worker)
}

impl KubeEvents {
    /// Takes an event in, if it is to be an Event of the cluster.
    pub fn offer(&self, event: &Event, clock: &dyn WallClock) {
        let (Body::Finding(finding), Some(ends)) = (&event.body, &event.ends) else {
            return;
        };
        let (true, Ok(pod)) = (finding.severity >= Severity::Warning, &ends.pod.identity) else {
            return;
        };
        let report = Report {
            pod: Arc::clone(pod),
            id: finding.id.clone(),
            rule: finding.rule,
            resolved: finding.resolved,
            count: finding.count,
            first: clock.wall(finding.first),
            last: clock.wall(finding.last),
            note: note::note(&finding.summary, &finding.remedies),
        };
        if self.queue.try_send(report).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of them so far.
    pub fn totals(&self) -> KubeEventTotals {
        let Counters {
            created,
            updated,
            failed,
            limited,
            dropped,
        } = &*self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        KubeEventTotals {
            created: read(created),
            updated: read(updated),
            failed: read(failed),
            limited: read(limited),
            dropped: read(dropped),
        }
    }
}

/// Why a request failed, as far as it makes a difference.
enum Failure {
    /// The Event is there already: a request that seemed to fail had not.
    Exists,
    /// The Event is gone: the API server keeps them for an hour unless told otherwise.
    Gone,
    /// Not allowed.
    Forbidden(String),
    Other(String),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) if status.code == 409 => Failure::Exists,
            kube::Error::Api(status) if status.code == 404 => Failure::Gone,
            // A namespace that goes takes nothing more, and that is nobody's mistake.
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
    /// Asks the API server until there are no more findings to come.
    pub async fn run(mut self, client: Client) {
        let mut told = Told::default();
        while let Some(report) = self.queue.recv().await {
            self.handle(&client, &report, &mut told).await;
        }
    }

    async fn handle(&mut self, client: &Client, report: &Report, told: &mut Told) {
        let mut verdict = self.ledger.take(Instant::now(), report);
        // Once more where the Event to count up is gone: then a new one is made.
        for _ in 0..2 {
            let act = match verdict {
                Verdict::Act(act) => act,
                Verdict::Nothing => return,
                Verdict::Limited => {
                    self.counters.limited.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            };
            let done = match tokio::time::timeout(TIMEOUT, ask(client, report, &act)).await {
                Ok(done) => done,
                Err(_) => Err(Failure::Other(format!(
                    "no answer within {} s",
                    TIMEOUT.as_secs()
                ))),
            };
            let counter = match act {
                Act::Create(_) => &self.counters.created,
                Act::Update { .. } => &self.counters.updated,
            };
            match done {
                Ok(()) | Err(Failure::Exists) => {
                    counter.fetch_add(1, Ordering::Relaxed);
                    told.works();
                    return;
                }
                Err(Failure::Gone) if matches!(act, Act::Update { .. }) => {
                    self.ledger.gone(report);
                    verdict = self.ledger.take(Instant::now(), report);
                }
                Err(failure) => {
                    self.counters.failed.fetch_add(1, Ordering::Relaxed);
                    if matches!(act, Act::Create(_)) {
                        self.ledger.gone(report);
                    }
                    return told.fails(&failure);
                }
            }
        }
    }
}

async fn ask(client: &Client, report: &Report, act: &Act) -> Result<(), Failure> {
    let events: Api<KubeEvent> = Api::namespaced(client.clone(), &report.pod.namespace);
    match act {
        Act::Create(event) => events
            .create(&PostParams::default(), event)
            .await
            .map(|_| ())?,
        Act::Update { name, patch } => events
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(|_| ())?,
    }
    Ok(())
}

/// What the log knows of failures: each sort is told when it begins, and that it is over.
#[derive(Debug, Default)]
struct Told {
    forbidden: bool,
    failing: bool,
}

impl Told {
    fn works(&mut self) {
        if self.failing || self.forbidden {
            tracing::info!("findings become Events of the cluster again");
        }
        *self = Told::default();
    }

    fn fails(&mut self, failure: &Failure) {
        match failure {
            Failure::Forbidden(why) if !self.forbidden => {
                self.forbidden = true;
                tracing::warn!(
                    "findings cannot become Events of the cluster: {why}. Allow create and patch on events of \
                     events.k8s.io, or do without by --no-kube-events"
                );
            }
            Failure::Other(why) if !self.failing => {
                self.failing = true;
                tracing::warn!("a finding could not become an Event of the cluster: {why}");
            }
            Failure::Gone if !self.failing => {
                self.failing = true;
                tracing::warn!(
                    "a finding could not become an Event of the cluster: there is no such namespace, or no events.k8s.io"
                );
            }
            _ => {}
        }
    }
}
