//! `tracer agent`: the probes of this machine, a history of their events, and clients that read it.
//!
//! Two runtimes: one thread for the pipeline, another one for clients. The hub is between them, and neither
//! side waits for the other. [`Exports`] has everything else that an agent exports to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::exports::{Exports, LAST_EVENTS};
use super::local::{ConntrackStatus, LocalReport, LocalSource, Request};
use super::notice::Notices;
use super::output::{Output, Tap};
use super::session::{self, Session};
use super::settings::SettingsReport;
use crate::capture::live::InterfaceStatus;
use crate::config::{AgentConfig, ExportConfig};
use crate::export::otlp::Origin;
use crate::stream::event::{loss_to_wire, pod_to_wire, totals_to_wire, unix_ns};
use crate::stream::hub::{AgentIdentity, Hub};
use crate::stream::listen::Listeners;
use crate::stream::proto;
use crate::stream::relays::Relays;
use tracer_core::identity::Index;
use tracer_core::model::event::Event;
use tracer_core::model::flow::{Direction, Ifindex};
use tracer_core::model::time::Timestamp;
use tracer_core::view::WallClock;
use tracer_core::view::summary::Summary;

/// How long clients may take to read what is left when the agent ends.
const LAST_READ: Duration = Duration::from_secs(4);

/// Traces this machine, serves its events and exports them until SIGINT or SIGTERM.
pub fn agent(config: &AgentConfig, exports: ExportConfig) -> Result<Summary> {
    let notices = Notices::Log;
    let clients = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("tracer-serve")
        .enable_all()
        .build()
        .context("cannot start the threads that serve clients")?;
    // Before everything that would have to be undone if the socket cannot be had.
    let listeners = {
        let _within = clients.enter();
        Listeners::bind(&config.socket, config.listen.as_ref())?
    };
    let identity = AgentIdentity {
        node: Arc::clone(&config.trace.node),
        instance: format!("{:032x}", rand::random::<u128>()),
        started_unix_ns: unix_ns(jiff::Timestamp::now()),
    };
    let origin = Origin {
        node: config.trace.node.to_string(),
        instance: identity.instance.clone(),
    };
    let (hub, checks) = Hub::new(identity, config.history_bytes);
    let cluster = config.trace.cluster.as_ref();
    let mut exports = Exports::start(
        exports,
        &origin,
        cluster.map(|cluster| &cluster.source),
        clients.handle(),
    )?;
    let health = exports.health();
    let last_events = exports.last_events();
    let requests = futures::stream::select(
        ReceiverStream::new(checks).map(Request::CheckFilter),
        exports.new_rules().map(Request::SetRules),
    );
    let summary = session::block_on(async {
        let session = Session::new(None)?;
        let (local, pipeline) = LocalSource::start(&config.trace, None, notices)?;
        let clock: Arc<dyn WallClock + Send + Sync> = Arc::new(local.wall_clock());
        let history = HistoryTap {
            hub: Arc::clone(&hub),
            clock: Arc::clone(&clock),
        };
        let output = Output::new(pipeline, notices)
            .with_taps(vec![Box::new(history), exports.tap(clock)])
            .with_privacy(exports.privacy());
        let relays = config.relays.clone().zip(cluster).map(|(relays, cluster)| {
            let _within = clients.enter();
            Relays::start(relays, cluster.source.clone(), Arc::clone(&hub))
        });
        let mut publisher = StatusPublisher::new(Arc::clone(&hub), exports, relays);
        let local = local
            .serving(requests.boxed())
            .publishing(move |report| publisher.publish(report));
        health.started();
        let served = clients.spawn(listeners.serve(Arc::clone(&hub), config.max_clients));
        let mut addresses = format!("serving on unix:{}", config.socket.display());
        if let Some(listen) = &config.listen {
            addresses.push_str(&format!(" and https://{}", listen.address));
        }
        notices.progress(&addresses);
        let summary = session.run(local, output).await;
        // Also after an error.
        hub.close();
        // The server ends by itself before that.
        let _ = tokio::time::timeout(LAST_READ, served).await;
        // What the API server and the collector have not accepted by then is dropped.
        let _ = tokio::time::timeout(LAST_EVENTS, last_events).await;
        summary
    });
    clients.shutdown_timeout(Duration::from_millis(100));
    summary
}

/// Publishes the agent's status to clients and metrics.
struct StatusPublisher {
    hub: Arc<Hub>,
    kernel: String,
    exports: Exports,
    relays: Option<Relays>,
}

impl StatusPublisher {
    fn new(hub: Arc<Hub>, exports: Exports, relays: Option<Relays>) -> StatusPublisher {
        StatusPublisher {
            hub,
            relays,
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            exports,
        }
    }

    /// Returns whether a client follows the events.
    fn publish(&mut self, mut report: LocalReport<'_>) -> bool {
        self.exports.add_losses(&mut report.losses);
        let connected = self.relays.as_ref().map(|relays| relays.count().1 as u64);
        self.exports.publish(&report, connected);
        let LocalReport {
            now,
            interfaces,
            stats,
            losses,
            identity,
            conntrack,
            pipeline,
            events,
            drops_unseen,
            retransmits_uncounted,
            processes_unnamed,
            datagrams_unnamed,
        } = report;
        let index = pipeline.index();
        if let Some(relays) = &self.relays {
            relays.set(index);
        }
        let objects = self.exports.objects(index);
        let unseen: Vec<_> = pipeline.unseen().collect();
        let one_way = unseen.iter().filter_map(|(ifindex, direction)| {
            let is_it = |status: &&InterfaceStatus| status.link.ifindex == *ifindex;
            let status = interfaces.iter().find(is_it)?;
            Some((&status.link, *direction))
        });
        let (uplinks, one_way): (Vec<_>, Vec<_>) = one_way.partition(|(link, _)| link.of.is_node());
        let one_way: Vec<(&str, Direction)> = one_way
            .into_iter()
            .map(|(link, direction)| (link.name.as_str(), direction))
            .collect();
        let node = &self.hub.identity().node;
        let mut blind_spots = self.exports.blind_spots(index, node, &one_way);
        let drops_seen = drops_unseen.is_none();
        let drops =
            drops_unseen.map(|why| format!("Packets that the kernel drops are not seen: {why}."));
        blind_spots.extend(drops);
        blind_spots.extend(
            retransmits_uncounted
                .map(|why| format!("Retransmissions of pods are not counted: {why}.")),
        );
        blind_spots.extend(
            processes_unnamed.map(|why| format!("Sockets do not show their processes: {why}.")),
        );
        blind_spots.extend(
            datagrams_unnamed
                .map(|why| format!("UDP and ICMP sockets do not show their processes: {why}.")),
        );
        blind_spots.extend(uplinks.into_iter().map(|(link, _)| {
            format!(
                "answers to the node's own sockets at {}: possibly they come by another interface, so silence there \
                 proves nothing",
                link.name
            )
        }));
        self.hub.publish(proto::StatusResponse {
            commit: option_env!("TRACER_GIT_COMMIT")
                .unwrap_or_default()
                .to_owned(),
            kernel: self.kernel.clone(),
            interfaces: interfaces
                .iter()
                .map(|status| interface_to_wire(status, index, now, &unseen))
                .collect(),
            index: Some(proto::Index {
                state: identity.source,
                synced: identity.fresh,
                as_of_unix_ns: identity.as_of.map(unix_ns),
                pods: objects.pods,
                services: objects.services,
            }),
            blind_spots,
            drops_seen,
            packets: stats.seen,
            records: pipeline.records(),
            events,
            lost: losses.iter().map(loss_to_wire).collect(),
            settings: self.exports.settings().map(settings_to_wire),
            conntrack: Some(conntrack_to_wire(conntrack)),
            ..proto::StatusResponse::default()
        });
        self.hub.is_followed()
    }
}

fn interface_to_wire(
    status: &InterfaceStatus,
    index: &Index,
    now: Timestamp,
    unseen: &[(Ifindex, Direction)],
) -> proto::Interface {
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
        of_node: status.link.of.is_node(),
    }
}

fn conntrack_to_wire(status: ConntrackStatus) -> proto::Conntrack {
    proto::Conntrack {
        state: status.state,
        following: status.following,
        translations: status.totals.translations,
        overflows: status.totals.overflows,
        pauses: status.totals.pauses,
        counters: status.counters.map(|counters| proto::ConntrackCounters {
            entries: counters.entries,
            max: counters.max,
            insert_failed: counters.insert_failed,
            drop: counters.drop,
            early_drop: counters.early_drop,
        }),
    }
}

fn settings_to_wire(report: SettingsReport) -> proto::Settings {
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

/// Puts events into the history that clients read.
struct HistoryTap {
    hub: Arc<Hub>,
    clock: Arc<dyn WallClock + Send + Sync>,
}

impl Tap for HistoryTap {
    fn take(&mut self, emitted: Timestamp, event: &Event) {
        let emitted = unix_ns(self.clock.wall(emitted));
        self.hub.put(emitted, event, self.clock.as_ref());
    }

    fn reached(&mut self, at: Timestamp) {
        self.hub.reached(unix_ns(self.clock.wall(at)));
    }

    fn end(&mut self) {
        self.hub.close();
    }
}
