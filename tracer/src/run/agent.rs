//! `tracer agent`: the probes of this machine, their events held for a while, and clients that read them.
//!
//! Two runtimes: the pipeline has one thread, the clients another one, and between them stands the hub, where nobody waits
//! for anybody. What else an agent exports to is one more [`Outlet`] in [`Serving::outlets`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::local::{Names, Run};
use super::output::{Outlet, Output};
use crate::capture::{InterfaceStatus, KernelStats};
use crate::config::AgentConfig;
use crate::identity::Index;
use crate::model::cluster::Pod;
use crate::model::event::Event;
use crate::model::flow::Way;
use crate::model::loss::Losses;
use crate::model::time::Timestamp;
use crate::model::units;
use crate::sinks::summary::Summary;
use crate::sinks::{Next, WallClock};
use crate::stream::event::{loss_to_wire, pod_to_wire, totals_to_wire, unix_ns};
use crate::stream::hub::{Hub, Identity, Question};
use crate::stream::listen::Listeners;
use crate::stream::proto;

/// At the end clients have so long to take what is left.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// Traces this machine and serves what it sees until SIGINT or SIGTERM.
pub fn agent(config: &AgentConfig) -> Result<Summary> {
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
    let serving = Serving {
        hub: Arc::clone(&hub),
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        questions,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let max_clients = config.max_clients;
    let summary = runtime.block_on(async {
        let run = Run::start(&config.trace, None, Some(serving))?;
        let mut where_to = format!("serving on unix:{}", config.socket.display());
        if let Some(listen) = &config.listen {
            where_to.push_str(&format!(" and https://{}", listen.address));
        }
        let served = clients.spawn(listeners.serve(Arc::clone(&hub), max_clients));
        eprintln!("{where_to}");
        let summary = run.until_stopped(None).await;
        // Also where it ended by an error.
        hub.close();
        // It ends by itself before that.
        let _ = tokio::time::timeout(LAST_WORDS, served).await;
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
}

impl Serving {
    /// Where events go.
    pub(super) fn outlets(&self, clock: Box<dyn WallClock + Send>) -> Vec<Box<dyn Outlet>> {
        let hub = Arc::clone(&self.hub);
        vec![Box::new(Held { hub, clock })]
    }

    /// Says how it stands.
    pub(super) fn publish(
        &self,
        now: Timestamp,
        interfaces: &[InterfaceStatus],
        stats: &KernelStats,
        lost: &Losses,
        names: &Names,
        output: &mut Output,
    ) {
        let lost = output.losses(lost).iter().map(loss_to_wire).collect();
        let index = output.pipeline.index();
        let unseen: Vec<_> = output.pipeline.unseen().collect();
        let interface = |status: &InterfaceStatus| {
            let ifindex = status.link.ifindex;
            proto::Interface {
                name: status.link.name.clone(),
                ifindex: ifindex.0,
                hook: status.hook.as_str().to_owned(),
                pod: index.pod_behind(now, ifindex).map(|pod| pod_to_wire(pod)),
                totals: Some(totals_to_wire(status.totals)),
                suppressed: status.suppressed,
                to_pod_unseen: unseen.contains(&(ifindex, Way::ToPod)),
                from_pod_unseen: unseen.contains(&(ifindex, Way::FromPod)),
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
            blind_spots: blind_spots(index, &self.hub.identity().node),
            packets: stats.seen,
            records: output.pipeline.records(),
            events: output.events(),
            lost,
            ..proto::StatusResponse::default()
        });
    }
}

/// What happens on this node and does not cross a pod's interface, as far as objects tell.
fn blind_spots(index: &Index, node: &str) -> Vec<String> {
    let here = |pod: &&Pod| pod.node.as_deref() == Some(node) && !pod.terminated;
    let on_host = index.pods().filter(here).filter(|pod| pod.host_network);
    let mut sentences = Vec::new();
    match on_host.count() as u64 {
        0 => {}
        pods => sentences.push(format!(
            "what {} of this node with hostNetwork do: they share the node's interfaces, which are not traced",
            units::count(pods, "pod")
        )),
    }
    let caches = |pod: &Pod| {
        pod.namespace.as_ref() == "kube-system" && pod.name.starts_with("node-local-dns")
    };
    if index.pods().filter(here).any(caches) {
        sentences.push(
            "queries from this node's DNS cache (NodeLocal DNSCache) to the cluster's DNS server: pods' own queries to the \
             cache are seen"
                .to_owned(),
        );
    }
    sentences.push(
        "names inside of TLS (DNS over TLS or HTTPS): only the connections are seen".to_owned(),
    );
    sentences
}

/// The agent's own outlet: the history that clients read.
struct Held {
    hub: Arc<Hub>,
    clock: Box<dyn WallClock + Send>,
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
