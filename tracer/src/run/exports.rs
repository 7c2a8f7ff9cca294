//! What an agent exports beside its stream: metrics and health over HTTP, Events of the cluster; and what it holds back.
//!
//! Wires the sinks to the run. All of it lives on the runtime that serves clients: the task that owns the pipeline calls
//! [`Exporter`], which never waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::output::{Outlet, Output};
use super::settings::{self, Settings};
use crate::capture::live::{InterfaceStatus, KernelStats};
use crate::cluster::ClusterSource;
use crate::config::{ExportConfig, LiveSettings};
use crate::export::http::{self, Health};
use crate::export::kube_events::{self, KubeEvents};
use crate::export::metrics::{Build, IndexState, Metrics, SettingsState, State};
use tracer_core::blind_spots::BlindSpots;
use tracer_core::diagnose::DiagnosisSettings;
use tracer_core::identity::Index;
use tracer_core::model::event::Event;
use tracer_core::model::flow::Direction;
use tracer_core::model::loss::Losses;
use tracer_core::model::time::Timestamp;
use tracer_core::view::privacy::{Key, Privacy};
use tracer_core::view::{Next, WallClock};

/// At the end what is on its way to the API server has so long.
pub(super) const LAST_EVENTS: Duration = Duration::from_secs(2);

/// The sinks of one agent.
pub(super) struct Exports {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    kube_events: Option<KubeEvents>,
    worker: Option<JoinHandle<()>>,
    blind_spots: Arc<Mutex<BlindSpots>>,
    privacy: Arc<Mutex<Privacy>>,
    /// Where settings come from files.
    settings: Option<Settings>,
    /// Other rules, when a file says so.
    rules: watch::Receiver<DiagnosisSettings>,
    /// Names come from a cluster, so it is not ready before they are there.
    wants_index: bool,
    was_synced: bool,
}

/// How names stand.
pub(super) struct IndexReport<'a> {
    /// In words.
    pub state: &'a str,
    /// Everything is there and kept up to date.
    pub fresh: bool,
    /// When it was last known to be right.
    pub as_of: Option<jiff::Timestamp>,
}

impl Exports {
    /// Starts the servers on `serving`. Findings become Events where there is a cluster to tell.
    pub(super) fn start(
        config: ExportConfig,
        node: &str,
        cluster: Option<&ClusterSource>,
        serving: &Handle,
    ) -> Result<Exports> {
        let ExportConfig {
            http,
            kube_events,
            live,
            reload,
        } = config;
        let build = Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("TRACER_GIT_COMMIT")
                .unwrap_or_default()
                .to_owned(),
        };
        let metrics = Arc::new(Metrics::new(
            live.metrics_pod_label,
            &build,
            jiff::Timestamp::now(),
        ));
        let health = Arc::new(Health::new(Instant::now()));
        if let Some(address) = http {
            let listener = serving.block_on(http::listen(address))?;
            let router = http::router(Arc::clone(&health), Arc::clone(&metrics));
            serving.spawn(http::serve(listener, router));
            tracing::info!("health and metrics on http://{address}");
        }
        let (kube_events, worker) = match cluster.filter(|_| kube_events) {
            None => (None, None),
            Some(source) => {
                let (events, worker) = kube_events::new(node);
                let source = source.clone();
                let running = serving.spawn(async move {
                    match source.client().await {
                        Ok(client) => worker.run(client).await,
                        Err(error) => {
                            tracing::warn!("findings cannot become Events of the cluster: {error}");
                        }
                    }
                });
                (Some(events), Some(running))
            }
        };
        let (other_rules, rules) = watch::channel(live.diagnosis);
        let mut exports = Exports {
            metrics: Arc::clone(&metrics),
            health,
            kube_events,
            worker,
            blind_spots: Arc::default(),
            privacy: Arc::new(Mutex::new(Privacy::new(live.privacy, Key::random()))),
            settings: None,
            rules,
            wants_index: cluster.is_some(),
            was_synced: false,
        };
        if let Some(reload) = reload {
            let privacy = Arc::clone(&exports.privacy);
            let (settings, following) = settings::follow(reload, move |live: LiveSettings| {
                lock(&privacy).set(live.privacy);
                metrics.label_pods(live.metrics_pod_label);
                other_rules.send_if_modified(|rules| {
                    let other = *rules != live.diagnosis;
                    *rules = live.diagnosis;
                    other
                });
            });
            exports.settings = Some(settings);
            serving.spawn(following);
        }
        Ok(exports)
    }

    /// What every event has to pass before anybody is told of it.
    pub(super) fn privacy(&self) -> Arc<Mutex<Privacy>> {
        Arc::clone(&self.privacy)
    }

    /// Where events go.
    pub(super) fn outlet(&self, clock: Arc<dyn WallClock + Send + Sync>) -> Box<dyn Outlet> {
        Box::new(Exporter {
            metrics: Arc::clone(&self.metrics),
            health: Arc::clone(&self.health),
            kube_events: self.kube_events.clone(),
            blind_spots: Arc::clone(&self.blind_spots),
            clock,
        })
    }

    /// What the probes of the kubelet are answered from.
    pub(super) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// What ends once the last finding that was to be an Event reached the API server. All outlets have to be gone.
    pub(super) fn worker(&mut self) -> Option<JoinHandle<()>> {
        self.worker.take()
    }

    /// Other rules, once a file says so; without such files never.
    pub(super) async fn other_rules(&mut self) -> DiagnosisSettings {
        match self.rules.changed().await {
            Ok(()) => self.rules.borrow_and_update().clone(),
            Err(_) => std::future::pending().await,
        }
    }

    /// How files of settings stand, where there are any.
    pub(super) fn settings(&self) -> Option<settings::Report> {
        self.settings.as_ref().map(Settings::report)
    }

    /// Takes over how it stands.
    pub(super) fn publish(
        &mut self,
        interfaces: &[InterfaceStatus],
        stats: &KernelStats,
        losses: Losses,
        names: &IndexReport<'_>,
        output: &Output,
    ) {
        self.health.advanced(Instant::now());
        // Once it has known the cluster it goes on with what it knows: an API server that is away makes no agent unready.
        self.was_synced |= names.fresh;
        let missing = (self.wants_index && !self.was_synced).then(|| names.state.to_owned());
        self.health.wants("names", missing.into_iter().collect());
        let index = output.pipeline.index();
        let mut one_way: Vec<_> = output
            .pipeline
            .unseen()
            .map(|(ifindex, _)| ifindex)
            .collect();
        one_way.dedup();
        let age = names
            .as_of
            .filter(|_| !names.fresh)
            .map(|as_of| jiff::Timestamp::now().duration_since(as_of))
            .and_then(|age| Duration::try_from(age).ok());
        self.metrics.set_state(State {
            losses,
            packets: stats.seen,
            records: output.pipeline.records(),
            excluded: lock(&self.privacy).excluded(),
            attached: interfaces.len() as u64,
            one_way: one_way.len() as u64,
            kube_events: self.kube_events.as_ref().map(KubeEvents::totals),
            settings: self.settings().map(|report| SettingsState {
                holds: report.failure.is_none(),
                read: report.read,
            }),
            index: IndexState {
                objects: vec![
                    ("pods", index.pods().count() as u64),
                    ("services", index.services().count() as u64),
                ],
                synced: self.was_synced,
                stale: self.was_synced.then(|| age.unwrap_or_default()),
            },
        });
    }

    /// What this agent cannot see.
    pub(super) fn blind_spots(
        &self,
        index: &Index,
        node: &str,
        one_way: &[(&str, Direction)],
    ) -> Vec<String> {
        lock(&self.blind_spots).list(index, node, one_way)
    }
}

/// A panic elsewhere while it was locked leaves settings and counters, each of them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The outlet that feeds all sinks.
struct Exporter {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    kube_events: Option<KubeEvents>,
    blind_spots: Arc<Mutex<BlindSpots>>,
    clock: Arc<dyn WallClock + Send + Sync>,
}

impl Outlet for Exporter {
    fn take(&mut self, _told: Timestamp, event: &Event) -> Result<Next> {
        self.metrics.observe(event);
        lock(&self.blind_spots).observe(event);
        if let Some(kube_events) = &self.kube_events {
            kube_events.offer(event, self.clock.as_ref());
        }
        Ok(Next::Continue)
    }

    fn reached(&mut self, _at: Timestamp) {
        self.health.advanced(Instant::now());
    }
}
