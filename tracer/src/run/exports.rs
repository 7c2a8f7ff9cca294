//! What an agent exports beside its stream: metrics and health over HTTP, Events of the cluster; and what it holds back.
//!
//! Wires the sinks to the run. All of it lives on the runtime that serves clients: the task that owns the pipeline calls
//! [`Exporter`], which never waits. The configuration file is reread here when it changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::blind_spots::BlindSpots;
use super::output::{Outlet, Output};
use crate::capture::{InterfaceStatus, KernelStats};
use crate::cluster::file_watch::FileWatch;
use crate::cluster::reload::POLL_EVERY;
use crate::cluster::watch::ClusterSource;
use crate::config::{ExportConfig, LiveSettings, Reload};
use crate::identity::Index;
use crate::model::event::Event;
use crate::model::flow::Way;
use crate::model::loss::Losses;
use crate::model::time::Timestamp;
use crate::sinks::http::{self, Health};
use crate::sinks::kube_events::{self, KubeEvents};
use crate::sinks::metrics::{Build, IndexState, Metrics, State};
use crate::sinks::privacy::{Key, Privacy};
use crate::sinks::{Next, WallClock};

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
        let exports = Exports {
            metrics: Arc::clone(&metrics),
            health,
            kube_events,
            worker,
            blind_spots: Arc::default(),
            privacy: Arc::new(Mutex::new(Privacy::new(live.privacy, Key::random()))),
            wants_index: cluster.is_some(),
            was_synced: false,
        };
        if let Some(reload) = reload {
            let privacy = Arc::clone(&exports.privacy);
            serving.spawn(follow(reload, move |live: LiveSettings| {
                lock(&privacy).set(live.privacy);
                metrics.label_pods(live.metrics_pod_label);
            }));
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
        one_way: &[(&str, Way)],
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

/// Rereads the configuration whenever its file changes, for as long as the runtime lives. A file with a mistake changes
/// nothing; what cannot change while the agent runs is told.
async fn follow(reload: Reload, apply: impl Fn(LiveSettings)) {
    let Reload { path, read } = reload;
    let mut watch = FileWatch::new(&path);
    let mut ticks = tokio::time::interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A ConfigMap is small and on this machine: reading it holds nobody up.
        if !watch.changed() {
            continue;
        }
        let path = path.display();
        match read() {
            Ok(reread) => {
                apply(reread.live);
                if reread.restart.is_empty() {
                    tracing::info!("{path} was read again");
                } else {
                    tracing::warn!(
                        "{path} was read again; a restart is needed for {}",
                        reread.restart.join(", ")
                    );
                }
            }
            Err(why) => tracing::warn!("the configuration stays as it was: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use super::*;
    use crate::config::Reread;
    use crate::sinks::privacy::PrivacySettings;

    #[tokio::test]
    async fn a_changed_file_is_applied_and_a_bad_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        fs::write(&path, "a").expect("written");
        let replace = |text: &str| {
            let new = directory.path().join("new");
            fs::write(&new, text).expect("written");
            fs::rename(&new, &path).expect("renamed");
        };
        let source = path.clone();
        let reload = Reload {
            path: path.clone(),
            read: Box::new(move || {
                let text = fs::read_to_string(&source).map_err(|error| error.to_string())?;
                let pods = match text.as_str() {
                    "pods" => true,
                    "none" => false,
                    _ => return Err("no such option".to_owned()),
                };
                Ok(Reread {
                    live: LiveSettings {
                        privacy: PrivacySettings::default(),
                        metrics_pod_label: pods,
                    },
                    restart: vec!["history".to_owned()],
                })
            }),
        };
        let (applied, told) = mpsc::channel();
        let task = tokio::spawn(follow(reload, move |live| {
            let _ = applied.send(live.metrics_pod_label);
        }));
        let next = async || {
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                match told.try_recv() {
                    Ok(pods) => return pods,
                    Err(_) if Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    Err(_) => panic!("nothing was applied in a minute"),
                }
            }
        };
        // Until the file's first state was taken down no change can be noticed.
        tokio::task::yield_now().await;
        replace("pods");
        assert!(next().await);
        replace("mistake");
        replace("none");
        assert!(!next().await);
        task.abort();
    }
}
