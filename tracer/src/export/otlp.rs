//! Findings, failed events and metrics for an OpenTelemetry collector, by OTLP over gRPC.
//!
//! Owns which events become log records ([`selection`](super::selection) and the sample of successes), their
//! queue, their batches ([`worker`]) and the periodic metrics. [`record`] owns what a record holds, [`metrics`]
//! how metrics are converted, [`collector`] the connection. The pipeline task calls [`Otlp::offer`], which
//! never waits: a record without room in the queue is counted. A collector that does not answer costs no more
//! than the queue. Input: events that privacy settings have passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::attribute as semconv;
use parking_lot::Mutex;
use tokio::sync::mpsc;

mod attributes;
mod collector;
mod failure_log;
mod metrics;
mod record;
#[cfg(test)]
mod tests;
mod worker;

use self::attributes::Attributes;
use self::collector::Collector;
pub use self::collector::{Target, TargetError};
pub use self::worker::{LogWorker, MetricWorker};
use super::selection::{Choice, EventClass, Selection};
use super::waiting::Waiting;
use tracer_core::model::event::Event;
use tracer_core::model::loss::{Losses, Stage};
use tracer_core::model::time::Timestamp;
use tracer_core::view::WallClock;

/// What to export, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// The collector.
    pub target: Target,
    /// The events that become log records.
    pub events: Vec<EventClass>,
    /// The share of the successes that become log records, from 0 to 1.
    pub sample: f64,
    /// How often metrics are sent; `None` for never.
    pub metrics_every: Option<Duration>,
}

/// The process that exports.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The node's name.
    pub node: String,
    /// A random id of this process.
    pub instance: String,
}

/// Log records and metric exports by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtlpTotals {
    /// Records that the collector accepted.
    pub sent: u64,
    /// Records that the collector refused.
    pub rejected: u64,
    /// Records of requests that failed for good.
    pub failed: u64,
    /// Records dropped because the queue was full.
    pub dropped: u64,
    /// Successful exports of all metrics.
    pub metrics_sent: u64,
    /// Failed exports of metrics. The next one has the same totals, so nothing is lost.
    pub metrics_failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    metrics_sent: AtomicU64,
    metrics_failed: AtomicU64,
}

/// The queue of log records.
#[derive(Clone, Debug)]
pub struct Otlp {
    selection: Selection,
    sample: f64,
    waiting: Arc<Mutex<Waiting<LogRecord>>>,
    /// Wakes the worker. It ends when no sender is left.
    wake: mpsc::Sender<()>,
    counters: Arc<Counters>,
}

/// A queue and its workers. Needs a tokio runtime.
pub fn new(
    config: &OtlpConfig,
    origin: &Origin,
) -> Result<(Otlp, LogWorker, Option<MetricWorker>), TargetError> {
    let collector = Collector::new(&config.target)?;
    let (wake, woken) = mpsc::channel(1);
    let waiting = Arc::new(Mutex::new(Waiting::new()));
    let counters = Arc::<Counters>::default();
    let url = &config.target.url;
    let logs = LogWorker::new(
        collector.clone(),
        origin,
        url,
        (Arc::clone(&waiting), woken),
        Arc::clone(&counters),
    );
    let metrics = config
        .metrics_every
        .map(|every| MetricWorker::new(collector, origin, url, every, Arc::clone(&counters)));
    let otlp = Otlp {
        selection: Selection::new(&config.events),
        sample: config.sample,
        waiting,
        wake,
        counters,
    };
    Ok((otlp, logs, metrics))
}

impl Otlp {
    /// Queues an event that becomes a log record; ignores all others.
    pub fn offer(&self, event: &Event, emitted: Timestamp, clock: &dyn WallClock) {
        let sample = match self.selection.choose(event) {
            Choice::Take => None,
            Choice::Sample if self.sample > 0.0 && rand::random::<f64>() < self.sample => {
                Some(self.sample)
            }
            Choice::Sample | Choice::Leave => return,
        };
        let record = record::record(event, emitted, clock, sample);
        let dropped = self.waiting.lock().push(event, record);
        self.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        // A worker that is not awake yet finds all of the queue.
        let _ = self.wake.try_send(());
    }

    /// Totals so far.
    pub fn totals(&self) -> OtlpTotals {
        self.counters.totals()
    }
}

impl Counters {
    fn totals(&self) -> OtlpTotals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OtlpTotals {
            sent: read(&self.sent),
            rejected: read(&self.rejected),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
            metrics_sent: read(&self.metrics_sent),
            metrics_failed: read(&self.metrics_failed),
        }
    }
}

impl OtlpTotals {
    /// Adds the records that never reached the collector.
    pub fn add_losses(&self, losses: &mut Losses) {
        losses.add(Stage::Queue, "OTLP queue full", self.dropped);
        losses.add(Stage::Queue, "OTLP export failed", self.failed);
        losses.add(Stage::Queue, "OTLP collector refused", self.rejected);
    }
}

/// This process as a resource: what all records and metrics of an agent have in common.
fn resource(origin: &Origin) -> Resource {
    let mut attributes = Attributes::default();
    attributes.text(semconv::SERVICE_NAME, "tracer");
    attributes.text(semconv::SERVICE_VERSION, env!("CARGO_PKG_VERSION"));
    attributes.text(semconv::SERVICE_INSTANCE_ID, origin.instance.as_str());
    attributes.text(semconv::K8S_NODE_NAME, origin.node.as_str());
    Resource {
        attributes: attributes.into_list(),
        ..Resource::default()
    }
}

/// The part of the program that made the records and metrics.
fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "tracer".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// A time as OTLP has it: nanoseconds since 1970.
fn nanoseconds(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or_default()
}
