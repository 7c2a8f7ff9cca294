//! What an agent exports beside its stream: metrics and health over HTTP, Kubernetes Events, OTLP, and
//! events as lines.
//!
//! Connects the exporters to the run. All of them live on the runtime that serves clients; the task that owns
//! the pipeline calls [`ExportTap`], which never waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::join_all;
use futures::{FutureExt as _, Stream};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::WatchStream;

use super::local::LocalReport;
use super::output::Tap;
use super::settings::{self, Settings, SettingsReport};
use crate::cluster::ClusterSource;
use crate::config::{ExportConfig, LiveSettings};
use crate::export::event_log::{self, EventLog, EventLogCounts};
use crate::export::http::{self, Health};
use crate::export::kube_events::{self, KubeEvents};
use crate::export::metrics::{Build, ConntrackState, IndexState, Metrics, SettingsState, State};
use crate::export::otlp::{self, Origin, Otlp};
use tracer_core::blind_spots::BlindSpots;
use tracer_core::diagnose::DiagnosisSettings;
use tracer_core::identity::Index;
use tracer_core::model::event::Event;
use tracer_core::model::flow::Direction;
use tracer_core::model::loss::Losses;
use tracer_core::model::time::Timestamp;
use tracer_core::view::WallClock;
use tracer_core::view::privacy::{Key, Privacy};

/// How long the API server and the collector may take to accept the last events when the agent ends.
pub(super) const LAST_EVENTS: Duration = Duration::from_secs(2);

/// The exporters of one agent.
pub(super) struct Exports {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    kube_events: Option<KubeEvents>,
    otlp: Option<Otlp>,
    /// Until the tap takes it.
    event_log: Option<EventLog>,
    event_log_counts: Option<EventLogCounts>,
    workers: Vec<JoinHandle<()>>,
    blind_spots: Arc<Mutex<BlindSpots>>,
    privacy: Arc<Mutex<Privacy>>,
    /// Where settings come from files.
    settings: Option<Settings>,
    rules: watch::Receiver<DiagnosisSettings>,
    /// Names come from a cluster, so the agent is not ready until they have been listed.
    wants_index: bool,
    was_synced: bool,
    objects: Objects,
}

impl Exports {
    /// Starts the servers on `serving`. Findings become Kubernetes Events where there is a cluster.
    pub(super) fn start(
        config: ExportConfig,
        origin: &Origin,
        cluster: Option<&ClusterSource>,
        serving: &Handle,
    ) -> Result<Exports> {
        let ExportConfig {
            http,
            probes,
            kube_events,
            otlp,
            events,
            live,
            reload,
        } = config;
        let build = Build::of_this_program();
        let metrics = Arc::new(Metrics::new(
            live.metrics_pod_label,
            &build,
            jiff::Timestamp::now(),
        ));
        let health = Arc::new(Health::new(Instant::now()));
        if let Some(address) = http {
            let listener = serving.block_on(http::listen("--http", address))?;
            let router = http::router(Arc::clone(&health), Arc::clone(&metrics));
            serving.spawn(http::serve(listener, router));
            tracing::info!("metrics and health on http://{address}");
        }
        if let Some(address) = probes {
            let listener = serving.block_on(http::listen("--health", address))?;
            serving.spawn(http::serve(
                listener,
                http::probe_router(Arc::clone(&health)),
            ));
            tracing::info!("health on http://{address}");
        }
        let mut workers = Vec::new();
        let kube_events = match cluster.filter(|_| kube_events) {
            None => None,
            Some(source) => {
                let (events, worker) = kube_events::new(&origin.node);
                let source = source.clone();
                workers.push(serving.spawn(async move {
                    match source.client().await {
                        Ok(client) => worker.run(client).await,
                        Err(error) => {
                            tracing::warn!("cannot export findings as Kubernetes Events: {error}");
                        }
                    }
                }));
                Some(events)
            }
        };
        let otlp = match otlp {
            None => None,
            Some(config) => {
                let _within = serving.enter();
                let (otlp, logs, periodic) = otlp::new(&config, origin)?;
                workers.push(serving.spawn(logs.run()));
                if let Some(periodic) = periodic {
                    serving.spawn(periodic.run(Arc::clone(&metrics)));
                }
                tracing::info!("exporting to {}", config.target.url);
                Some(otlp)
            }
        };
        let (event_log, event_log_counts) = match events {
            None => (None, None),
            Some(config) => {
                let started = event_log::start(&config, &origin.node)?;
                workers.push(serving.spawn_blocking(|| {
                    // The thread ends with its input. Had it panicked, its message is in the log.
                    let _ = started.thread.join();
                }));
                (Some(started.log), Some(started.counts))
            }
        };
        let (new_rules, rules) = watch::channel(live.diagnosis);
        let mut exports = Exports {
            metrics: Arc::clone(&metrics),
            health,
            kube_events,
            otlp,
            event_log,
            event_log_counts,
            workers,
            blind_spots: Arc::default(),
            privacy: Arc::new(Mutex::new(Privacy::new(live.privacy, Key::random()))),
            settings: None,
            rules,
            wants_index: cluster.is_some(),
            was_synced: false,
            objects: Objects::default(),
        };
        if let Some(reload) = reload {
            let privacy = Arc::clone(&exports.privacy);
            let (settings, following) = settings::follow(reload, move |live: LiveSettings| {
                privacy.lock().set(live.privacy);
                metrics.label_pods(live.metrics_pod_label);
                new_rules.send_if_modified(|rules| {
                    let changed = *rules != live.diagnosis;
                    *rules = live.diagnosis;
                    changed
                });
            });
            exports.settings = Some(settings);
            serving.spawn(following);
        }
        Ok(exports)
    }

    /// The privacy settings, which every event has to pass before it leaves the pipeline's task.
    pub(super) fn privacy(&self) -> Arc<Mutex<Privacy>> {
        Arc::clone(&self.privacy)
    }

    /// Takes events for all exporters. Called once.
    pub(super) fn tap(&mut self, clock: Arc<dyn WallClock + Send + Sync>) -> Box<dyn Tap> {
        Box::new(ExportTap {
            metrics: Arc::clone(&self.metrics),
            health: Arc::clone(&self.health),
            kube_events: self.kube_events.clone(),
            otlp: self.otlp.clone(),
            event_log: self.event_log.take(),
            blind_spots: Arc::clone(&self.blind_spots),
            clock,
        })
    }

    /// The state behind the kubelet's probes.
    pub(super) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Ends once the API server and the collector have accepted the last events. All taps and these exports must
    /// be dropped first.
    pub(super) fn last_events(&mut self) -> impl Future<Output = ()> + use<> {
        join_all(std::mem::take(&mut self.workers)).map(drop)
    }

    /// Adds events that an exporter lost.
    pub(super) fn add_losses(&self, losses: &mut Losses) {
        if let Some(otlp) = &self.otlp {
            otlp.totals().add_losses(losses);
        }
        if let Some(counts) = &self.event_log_counts {
            counts.totals().add_losses(losses);
        }
    }

    /// Rules that a changed file sets. Empty without such files.
    pub(super) fn new_rules(&self) -> impl Stream<Item = DiagnosisSettings> + Send + use<> {
        WatchStream::from_changes(self.rules.clone())
    }

    /// The state of the files of settings, where there are any.
    pub(super) fn settings(&self) -> Option<SettingsReport> {
        self.settings.as_ref().map(Settings::report)
    }

    /// Updates metrics and health. `relays` are those that the agent is connected to, where it should be.
    pub(super) fn publish(&mut self, report: &LocalReport<'_>, relays: Option<u64>) {
        let LocalReport {
            interfaces,
            stats,
            losses,
            identity,
            conntrack,
            pipeline,
            ..
        } = report;
        self.health.advanced(Instant::now());
        // Once synced, the agent continues with what it knows: it stays ready while the API server is away.
        self.was_synced |= identity.fresh;
        let missing = (self.wants_index && !self.was_synced).then(|| identity.source.clone());
        self.health
            .set_missing("names", missing.into_iter().collect());
        let index = pipeline.index();
        let objects = self.objects(index);
        let mut one_way: Vec<_> = pipeline.unseen().map(|(ifindex, _)| ifindex).collect();
        one_way.dedup();
        let age = identity
            .as_of
            .filter(|_| !identity.fresh)
            .map(|as_of| jiff::Timestamp::now().duration_since(as_of))
            .and_then(|age| Duration::try_from(age).ok());
        self.metrics.set_state(State {
            losses: losses.clone(),
            packets: stats.seen,
            records: pipeline.records(),
            excluded: self.privacy.lock().excluded(),
            attached: interfaces.len() as u64,
            one_way: one_way.len() as u64,
            kube_events: self.kube_events.as_ref().map(KubeEvents::totals),
            otlp: self.otlp.as_ref().map(Otlp::totals),
            settings: self.settings().map(|report| SettingsState {
                applied: report.failure.is_none(),
                read: report.read,
            }),
            relays,
            conntrack: ConntrackState {
                following: conntrack.enabled.then_some(conntrack.following),
                translations: conntrack.totals.translations,
                counters: conntrack.counters,
            },
            index: IndexState {
                objects: vec![("pods", objects.pods), ("services", objects.services)],
                synced: self.was_synced,
                stale: self.was_synced.then(|| age.unwrap_or_default()),
            },
        });
    }

    /// The number of objects in the index.
    pub(super) fn objects(&mut self, index: &Index) -> Objects {
        let (version, _) = index.version();
        if self.objects.version != version {
            self.objects = Objects {
                version,
                pods: index.pods().count() as u64,
                services: index.services().count() as u64,
            };
        }
        self.objects
    }

    /// What this agent cannot see.
    pub(super) fn blind_spots(
        &self,
        index: &Index,
        node: &str,
        one_way: &[(&str, Direction)],
    ) -> Vec<String> {
        self.blind_spots.lock().list(index, node, one_way)
    }
}

/// The number of objects in the index, counted again only when it has changed: there can be tens of thousands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Objects {
    version: u64,
    pub(super) pods: u64,
    pub(super) services: u64,
}

/// Feeds events to all exporters.
struct ExportTap {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    kube_events: Option<KubeEvents>,
    otlp: Option<Otlp>,
    event_log: Option<EventLog>,
    blind_spots: Arc<Mutex<BlindSpots>>,
    clock: Arc<dyn WallClock + Send + Sync>,
}

impl Tap for ExportTap {
    fn take(&mut self, emitted: Timestamp, event: &Event) {
        self.metrics.observe(event);
        self.blind_spots.lock().observe(event);
        if let Some(kube_events) = &self.kube_events {
            kube_events.offer(event, self.clock.as_ref());
        }
        if let Some(otlp) = &self.otlp {
            otlp.offer(event, emitted, self.clock.as_ref());
        }
        if let Some(event_log) = &mut self.event_log {
            event_log.offer(event, self.clock.as_ref());
        }
    }

    fn reached(&mut self, _at: Timestamp) {
        self.health.advanced(Instant::now());
    }

    fn end(&mut self) {}
}
