//! The tasks that fill the store: one stream of findings per connected agent.
//!
//! A stream continues where it was interrupted; an agent that was restarted sends its new history. Streams
//! start after a random wait, so that a relay that was restarted does not get every history in one moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prost::Message as _;
use rand::Rng as _;
use tokio::task::JoinSet;
use tonic::Status;

use super::Findings;
use super::store::Report;
use crate::relay::agents::Agents;
use crate::relay::pods::Pods;
use crate::stream::event::from_wire;
use crate::stream::proto;
use crate::stream::proto::observe_response::Message;
use tracer_core::model::event::Event;

/// How long an agent may take to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// An agent sends a mark every second; one that sends nothing for this long is asked again.
const SILENCE: Duration = Duration::from_secs(60);
/// Streams start within this time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How often findings that are too old are dropped.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// How long the position in the stream of an agent that left is kept.
const KEPT_POSITION: Duration = Duration::from_secs(24 * 3600);
/// Positions that are kept; more nodes than Kubernetes supports.
const MAX_POSITIONS: usize = 10_000;
/// Milliseconds between marks.
const MARK_INTERVAL_MS: u32 = 1000;

/// Follows all agents.
pub(super) async fn follow(findings: Arc<Findings>, agents: Arc<Agents>, pods: Arc<Pods>) {
    // Without the index no finding about a pod of another node could be refused.
    let mut placed = pods.changes();
    while !pods.is_synced() {
        if placed.changed().await.is_err() {
            return;
        }
    }
    let mut changes = agents.changes();
    let mut streams: JoinSet<(Arc<str>, Option<proto::Position>)> = JoinSet::new();
    // Where the next stream of a node starts; `None` while one runs.
    let mut positions: HashMap<Arc<str>, Option<(Instant, Option<proto::Position>)>> =
        HashMap::new();
    let mut expire = tokio::time::interval(EXPIRE_EVERY);
    loop {
        for node in agents.nodes() {
            let after = match positions.get_mut(&node) {
                Some(running @ Some(_)) => running.take().and_then(|(_, after)| after),
                Some(None) => continue,
                None => None,
            };
            positions.insert(Arc::clone(&node), None);
            let agent = Agent {
                node,
                after,
                findings: Arc::clone(&findings),
                agents: Arc::clone(&agents),
                pods: Arc::clone(&pods),
            };
            streams.spawn(agent.run());
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(ended) = streams.join_next() => {
                if let Ok((node, after)) = ended {
                    positions.insert(node, Some((Instant::now(), after)));
                }
            }
            _ = expire.tick() => {
                findings.expire();
                let full = positions.len() > MAX_POSITIONS;
                positions.retain(|_, position| match position {
                    Some((since, _)) => !full && since.elapsed() < KEPT_POSITION,
                    None => true,
                });
            }
        }
    }
}

/// The stream of one agent.
struct Agent {
    node: Arc<str>,
    after: Option<proto::Position>,
    findings: Arc<Findings>,
    agents: Arc<Agents>,
    pods: Arc<Pods>,
}

impl Agent {
    /// Reads while the agent is connected. Returns where to continue.
    async fn run(mut self) -> (Arc<str>, Option<proto::Position>) {
        let mut wait = FIRST_WAIT;
        while self.is_connected() {
            let pause = rand::rng().random_range(Duration::ZERO..wait);
            tokio::time::sleep(pause).await;
            match self.read().await {
                Ok(()) => wait = FIRST_WAIT,
                Err(status) => {
                    tracing::debug!(node = &*self.node, %status, "the stream of findings ended");
                    wait = (wait * 2).min(MAX_WAIT);
                }
            }
        }
        (self.node, self.after)
    }

    fn is_connected(&self) -> bool {
        self.agents.nodes().contains(&self.node)
    }

    async fn read(&mut self) -> Result<(), Status> {
        let request = proto::ObserveRequest {
            filter: Some(proto::Filter {
                types: vec!["finding".to_owned()],
                ..proto::Filter::default()
            }),
            follow: true,
            history: true,
            after: self.after.clone(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            mark_interval_ms: MARK_INTERVAL_MS,
            ..proto::ObserveRequest::default()
        };
        let late = |_| Status::deadline_exceeded("the agent does not answer");
        let opening = self.agents.observe(&self.node, request);
        let mut stream = tokio::time::timeout(ANSWER_WITHIN, opening)
            .await
            .map_err(late)??;
        while let Some(response) = tokio::time::timeout(SILENCE, stream.message())
            .await
            .map_err(late)??
        {
            match response.message {
                Some(Message::Event(emitted)) => self.take(emitted),
                Some(Message::Mark(mark)) => self.after = mark.position,
                Some(Message::Lost(lost)) => {
                    let counts = &self.findings.counts;
                    counts.lost.fetch_add(lost.count, Ordering::Relaxed);
                }
                Some(Message::Node(_)) | None => {}
            }
        }
        Ok(())
    }

    fn take(&self, emitted: proto::EmittedEvent) {
        let counts = &self.findings.counts;
        let Some(wire) = emitted.event else { return };
        // Losses pass every filter.
        if !matches!(wire.body, Some(proto::event::Body::Finding(_))) {
            return;
        }
        let encoded_bytes = wire.encoded_len();
        let Ok(event) = from_wire(wire) else {
            counts.unreadable.fetch_add(1, Ordering::Relaxed);
            return;
        };
        match self.to_report(event, emitted.emitted_unix_ns, encoded_bytes) {
            Some(report) => self.findings.report(&self.pods, report),
            None => {
                counts.nameless.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn to_report(
        &self,
        event: Event,
        emitted_unix_ns: i64,
        encoded_bytes: usize,
    ) -> Option<Report> {
        let pod = event.ends.as_ref()?.pod.identity.as_ref().ok()?;
        Some(Report {
            node: Arc::clone(&self.node),
            namespace: Arc::clone(&pod.namespace),
            pod: Arc::clone(&pod.name),
            uid: Arc::clone(&pod.uid),
            emitted_unix_ns,
            encoded_bytes,
            event,
        })
    }
}
