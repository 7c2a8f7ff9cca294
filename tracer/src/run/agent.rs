//! `tracer agent`: the probes of this machine, their events held for a while, and clients that read them.
//!
//! Two runtimes: the pipeline has one thread, the clients another one, and between them stands the hub, where nobody waits
//! for anybody. What else an agent exports to is in [`Exports`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::exports::{Exports, IndexReport, LAST_EVENTS};
use super::local::{Names, Run};
use super::notice;
use super::output::{Outlet, Output};
use super::settings;
use crate::capture::live::{InterfaceStatus, KernelStats};
use crate::config::{AgentConfig, ExportConfig};
use crate::stream::event::{loss_to_wire, pod_to_wire, totals_to_wire, unix_ns};
use crate::stream::hub::{Hub, Identity, Question};
use crate::stream::listen::Listeners;
use crate::stream::proto;
use tracer_core::model::event::Event;
use tracer_core::model::flow::Direction;
use tracer_core::model::loss::Losses;
use tracer_core::model::time::Timestamp;
use tracer_core::view::summary::Summary;
use tracer_core::view::{Next, WallClock};

/// At the end clients have so long to take what is left.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// Traces this machine, serves what it sees and exports it until SIGINT or SIGTERM.
pub fn agent(config: &AgentConfig, exports: ExportConfig) -> Result<Summary> {
    notice::log();
    let clients = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("tracer-serve")
        .enable_all()
        .build()
        .context("cannot start the threads that serve clients")?;
    // Before everything that needs to be undone.
    let listeners = {
        let _within = clients.enter();
        Listeners::bind(&config.socket, config.listen.as_ref())?
    };
    let identity = Identity {
        node: Arc::clone(&config.trace.node),
        instance: format!("{:032x}", rand::random::<u128>()),
        started_unix_ns: unix_ns(jiff::Timestamp::now()),
    };
    let (hub, questions) = Hub::new(identity, config.history_bytes);
    let cluster = config.trace.cluster.as_ref();
    let mut exports = Exports::start(
        exports,
        &config.trace.node,
        cluster.map(|cluster| &cluster.source),
        clients.handle(),
    )?;
    let health = exports.health();
    let last_events = exports.worker();
    let serving = Serving {
        hub: Arc::clone(&hub),
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        questions,
        exports,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let max_clients = config.max_clients;
    let summary = runtime.block_on(async {
        let run = Run::start(&config.trace, None, Some(serving))?;
        health.started();
        let mut where_to = format!("serving on unix:{}", config.socket.display());
        if let Some(listen) = &config.listen {
            where_to.push_str(&format!(" and https://{}", listen.address));
        }
        let served = clients.spawn(listeners.serve(Arc::clone(&hub), max_clients));
        notice::say(&where_to);
        let summary = run.until_stopped(None).await;
        // Also where it ended by an error.
        hub.close();
        // It ends by itself before that.
        let _ = tokio::time::timeout(LAST_WORDS, served).await;
        if let Some(last_events) = last_events {
            // What the API server has not taken by then is not worth waiting for.
            let _ = tokio::time::timeout(LAST_EVENTS, last_events).await;
        }
        summary
    });
    clients.shutdown_timeout(Duration::from_millis(100));
    summary
}

/// What an agent adds to a local run.
pub(super) struct Serving {
    hub: Arc<Hub>,
    kernel: String,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) exports: Exports,
}

impl Serving {
    /// Where events go.
    pub(super) fn outlets(&self, clock: Arc<dyn WallClock + Send + Sync>) -> Vec<Box<dyn Outlet>> {
        let hub = Arc::clone(&self.hub);
        let held = Held {
            hub,
            clock: Arc::clone(&clock),
        };
        vec![Box::new(held), self.exports.outlet(clock)]
    }

    /// Says how it stands.
    pub(super) fn publish(
        &mut self,
        now: Timestamp,
        interfaces: &[InterfaceStatus],
        stats: &KernelStats,
        lost: &Losses,
        names: &Names,
        output: &mut Output,
    ) {
        let losses = output.losses(lost);
        let lost = losses.iter().map(loss_to_wire).collect();
        let report = IndexReport {
            state: &names.source,
            fresh: names.known,
            as_of: names.as_of,
        };
        self.exports
            .publish(interfaces, stats, losses, &report, output);
        let index = output.pipeline.index();
        let unseen: Vec<_> = output.pipeline.unseen().collect();
        let one_way: Vec<(&str, Direction)> = unseen
            .iter()
            .filter_map(|(ifindex, direction)| {
                let of = |status: &&InterfaceStatus| status.link.ifindex == *ifindex;
                let status = interfaces.iter().find(of)?;
                Some((status.link.name.as_str(), *direction))
            })
            .collect();
        let node = &self.hub.identity().node;
        let interface = |status: &InterfaceStatus| {
            let ifindex = status.link.ifindex;
            proto::Interface {
                name: status.link.name.clone(),
                ifindex: ifindex.0,
                hook: status.hook.as_str().to_owned(),
                pod: index.pod_behind(now, ifindex).map(|pod| pod_to_wire(pod)),
                totals: Some(totals_to_wire(status.totals)),
                suppressed: status.suppressed,
                to_pod_unseen: unseen.contains(&(ifindex, Direction::ToPod)),
                from_pod_unseen: unseen.contains(&(ifindex, Direction::FromPod)),
            }
        };
        self.hub.publish(proto::StatusResponse {
            commit: option_env!("TRACER_GIT_COMMIT")
                .unwrap_or_default()
                .to_owned(),
            kernel: self.kernel.clone(),
            interfaces: interfaces.iter().map(interface).collect(),
            index: Some(proto::Index {
                state: names.source.clone(),
                synced: names.known,
                as_of_unix_ns: names.as_of.map(unix_ns),
                pods: index.pods().count() as u64,
                services: index.services().count() as u64,
            }),
            blind_spots: self.exports.blind_spots(index, node, &one_way),
            packets: stats.seen,
            records: output.pipeline.records(),
            events: output.events(),
            lost,
            settings: self.exports.settings().map(settings_to_wire),
            ..proto::StatusResponse::default()
        });
    }
}

fn settings_to_wire(report: settings::Report) -> proto::Settings {
    proto::Settings {
        files: report
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
        read_unix_ns: unix_ns(report.read),
        failure: report.failure.unwrap_or_default(),
        restart: report.restart,
    }
}

/// The agent's own outlet: the history that clients read.
struct Held {
    hub: Arc<Hub>,
    clock: Arc<dyn WallClock + Send + Sync>,
}

impl Outlet for Held {
    fn take(&mut self, told: Timestamp, event: &Event) -> Result<Next> {
        let told = unix_ns(self.clock.wall(told));
        self.hub.put(told, event, self.clock.as_ref());
        Ok(Next::Continue)
    }

    fn reached(&mut self, at: Timestamp) {
        self.hub.reached(unix_ns(self.clock.wall(at)));
    }

    fn end(&mut self) -> Result<()> {
        self.hub.close();
        Ok(())
    }
}
