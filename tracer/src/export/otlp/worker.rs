//! The tasks that send: batches of log records as they come, all metrics from time to time.
//!
//! A batch whose request fails for a while is sent again, with growing pauses; the queue fills meanwhile. One
//! that the collector refuses, or that failed too often, is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::collector::{Collector, is_temporary};
use super::failure_log::FailureLog;
use super::metrics::{Period, convert};
use super::{Counters, Origin, nanoseconds, resource, scope};
use crate::export::metrics::Metrics;
use crate::export::waiting::Waiting;

/// Records in a batch.
const BATCH: usize = 512;
/// Bytes in a batch, about: a collector accepts messages of 4 MiB by default.
const BATCH_BYTES: usize = 1 << 20;
/// How long the first record of a batch waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// The pause after a failure doubles up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Requests with the same batch: about ten minutes. A batch that no collector takes must not block the others.
const ATTEMPTS: u32 = 24;

/// Sends log records.
#[derive(Debug)]
pub struct LogWorker {
    collector: Collector,
    resource: Resource,
    waiting: Arc<Mutex<Waiting<LogRecord>>>,
    woken: mpsc::Receiver<()>,
    /// No more records can come.
    closed: bool,
    counters: Arc<Counters>,
    log: FailureLog,
}

impl LogWorker {
    pub(super) fn new(
        collector: Collector,
        origin: &Origin,
        url: &str,
        (waiting, woken): (Arc<Mutex<Waiting<LogRecord>>>, mpsc::Receiver<()>),
        counters: Arc<Counters>,
    ) -> LogWorker {
        LogWorker {
            collector,
            resource: resource(origin),
            waiting,
            woken,
            closed: false,
            counters,
            log: FailureLog::new(url, "logs"),
        }
    }

    /// Sends records until the queue is closed and empty, or closed and the collector fails.
    pub async fn run(mut self) {
        while self.has_records().await {
            if self.waiting.lock().len() < BATCH {
                self.pause(LINGER).await;
            }
            let batch = self.batch();
            let delivered = self.deliver(batch).await;
            let left = self.waiting.lock().len();
            if !delivered && self.closed {
                tracing::warn!("{left} more log records were not delivered before the agent ended");
                return;
            }
        }
    }

    /// Waits for a record. Returns false once there is none and no more can come.
    async fn has_records(&mut self) -> bool {
        while self.waiting.lock().len() == 0 {
            if self.closed {
                return false;
            }
            self.closed = self.woken.recv().await.is_none();
        }
        true
    }

    /// Waits, unless the queue is closed.
    async fn pause(&mut self, duration: Duration) {
        let deadline = tokio::time::Instant::now() + duration;
        while !self.closed {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                woken = self.woken.recv() => self.closed = woken.is_none(),
            }
        }
    }

    fn batch(&self) -> Vec<LogRecord> {
        let mut waiting = self.waiting.lock();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(record) = waiting.pop() else { break };
            bytes += record.encoded_len();
            batch.push(record);
        }
        batch
    }

    /// Sends a batch, and again after a failure that may pass. Returns whether the collector took it.
    async fn deliver(&mut self, batch: Vec<LogRecord>) -> bool {
        let count = batch.len() as u64;
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records: batch,
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        let mut pause = FIRST_PAUSE;
        for _ in 0..ATTEMPTS {
            let status = match self.collector.send_logs(request.clone()).await {
                Ok(answer) => {
                    let rejected = answer.rejected.min(count);
                    self.counters
                        .sent
                        .fetch_add(count - rejected, Ordering::Relaxed);
                    self.counters
                        .rejected
                        .fetch_add(rejected, Ordering::Relaxed);
                    if let Some(text) = self.log.succeeded() {
                        tracing::info!("{text}");
                    }
                    if rejected > 0 {
                        tracing::warn!(
                            "the collector refused {rejected} log records: {}",
                            answer.message
                        );
                    }
                    return true;
                }
                Err(status) => status,
            };
            if let Some(text) = self.log.failed(&status, Instant::now()) {
                tracing::warn!("{text}");
            }
            if self.closed || !is_temporary(&status) {
                break;
            }
            // Jitter, so that the agents of a cluster do not come at once when the collector is back.
            let jitter = 0.5 + rand::random::<f64>() / 2.0;
            self.pause(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.counters.failed.fetch_add(count, Ordering::Relaxed);
        false
    }
}

/// Sends all metrics.
#[derive(Debug)]
pub struct MetricWorker {
    collector: Collector,
    resource: Resource,
    every: Duration,
    counters: Arc<Counters>,
    log: FailureLog,
    started: u64,
}

impl MetricWorker {
    pub(super) fn new(
        collector: Collector,
        origin: &Origin,
        url: &str,
        every: Duration,
        counters: Arc<Counters>,
    ) -> MetricWorker {
        MetricWorker {
            collector,
            resource: resource(origin),
            every,
            counters,
            log: FailureLog::new(url, "metrics"),
            started: nanoseconds(jiff::Timestamp::now()),
        }
    }

    /// Sends the metrics at every interval, forever. What one request could not deliver is in the next one.
    pub async fn run(mut self, metrics: Arc<Metrics>) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let Ok(families) = metrics.families() else {
                continue;
            };
            let period = Period {
                start: self.started,
                end: nanoseconds(jiff::Timestamp::now()),
            };
            let request = ExportMetricsServiceRequest {
                resource_metrics: vec![ResourceMetrics {
                    resource: Some(self.resource.clone()),
                    scope_metrics: vec![ScopeMetrics {
                        scope: Some(scope()),
                        metrics: convert(families, period),
                        ..ScopeMetrics::default()
                    }],
                    ..ResourceMetrics::default()
                }],
            };
            match self.collector.send_metrics(request).await {
                Ok(answer) => {
                    self.counters.metrics_sent.fetch_add(1, Ordering::Relaxed);
                    if let Some(text) = self.log.succeeded() {
                        tracing::info!("{text}");
                    }
                    if answer.rejected > 0 {
                        tracing::warn!(
                            "the collector refused {} data points: {}",
                            answer.rejected,
                            answer.message
                        );
                    }
                }
                Err(status) => {
                    self.counters.metrics_failed.fetch_add(1, Ordering::Relaxed);
                    if let Some(text) = self.log.failed(&status, Instant::now()) {
                        tracing::warn!("{text}");
                    }
                }
            }
        }
    }
}
