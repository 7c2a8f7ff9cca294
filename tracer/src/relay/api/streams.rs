//! Streams of events from several agents to one client.
//!
//! Only agents that can have such events are asked. Every event is checked before it leaves: its own pod must
//! be in the namespace of the request, and on the node of the agent. The queue is bounded in bytes. A client
//! that asks for the past and ends is waited for; one that follows and does not read loses events, which are
//! counted and reported to it: the streams of one agent share a connection, and must not wait for the slowest
//! of their clients.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::Stream;
use prost::Message as _;
use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tonic::Status;
use tracer_core::model::glob::Glob;
use tracer_core::model::loss::{Loss, Stage};
use tracer_core::view::filter::FilterConfig;

use crate::export::metrics::RelayMetrics;
use crate::relay::agents::Agents;
use crate::relay::pods::{Placement, Pods};
use crate::stream::event::loss_to_wire;
use crate::stream::proto::observe_response::Message;
use crate::stream::proto::pod_end::Identity;
use crate::stream::proto::relayed_response::Message as Relayed;
use crate::stream::proto::{self, ObserveResponse, RelayedResponse};

/// Bytes of messages that wait for one client.
const QUEUE_BYTES: u32 = 1 << 20;
/// Bytes that a message costs beside its content.
const OVERHEAD_BYTES: usize = 128;
/// Agents that are asked at the same time, if the answers end.
const MAX_ASKED: usize = 64;
/// How long an agent may take to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long an agent may pause in its history, or without a mark.
const SILENCE: Duration = Duration::from_secs(60);
/// How long an event of the history waits for a slow client, if it follows.
const HISTORY_WAIT: Duration = Duration::from_secs(10);
/// How long a new event does.
const EVENT_WAIT: Duration = Duration::from_millis(500);
/// How long a message that must not be lost does.
const CONTROL_WAIT: Duration = Duration::from_secs(30);
/// Between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Milliseconds between marks, unless the client wants others.
const MARK_INTERVAL_MS: u32 = 1000;

const NOT_READ: &str = "events that this client did not read in time";

/// What a client wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The resource that was asked for.
    pub resource: &'static str,
    /// The request to each agent.
    pub request: proto::ObserveRequest,
    /// Its filter, to choose the agents.
    pub filter: FilterConfig,
    /// The namespace whose pods' events may leave; `None` for all.
    pub namespace: Option<String>,
    /// Nodes; all if empty.
    pub nodes: Vec<Glob>,
    /// Where the streams of nodes continue that the client had from another replica.
    pub after: HashMap<Arc<str>, proto::Position>,
}

/// A message that waits for the client, and its part of the queue.
type Queued = (RelayedResponse, OwnedSemaphorePermit);

/// Where messages come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The connected agents.
    pub agents: Arc<Agents>,
    /// Where pods are.
    pub pods: Arc<Pods>,
    /// Where sent and lost events are counted.
    pub metrics: Arc<RelayMetrics>,
}

/// The messages of all agents. The streams end when this is dropped.
pub fn relay(sources: Sources, mut wanted: Wanted) -> impl Stream<Item = RelayedResponse> + Send {
    if wanted.request.mark_interval_ms == 0 {
        wanted.request.mark_interval_ms = MARK_INTERVAL_MS;
    }
    if let Some(namespace) = &wanted.namespace {
        let filter = wanted.request.filter.get_or_insert_default();
        filter.namespaces = vec![namespace.clone()];
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let queue = Queue {
        sender,
        room: Arc::new(Semaphore::new(QUEUE_BYTES as usize)),
    };
    let coordinator = Coordinator {
        sources,
        wanted: Arc::new(wanted),
        queue,
        asking: Arc::new(Semaphore::new(MAX_ASKED)),
        histories: Histories::default(),
    };
    // Aborted with the stream.
    let mut tasks = JoinSet::new();
    tasks.spawn(coordinator.run());
    futures::stream::unfold((receiver, tasks), |(mut receiver, tasks)| async {
        let (message, _room): Queued = receiver.recv().await?;
        Some((message, (receiver, tasks)))
    })
}

/// The queue to the client.
#[derive(Clone, Debug)]
struct Queue {
    /// Bounded by `room`.
    sender: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
}

/// The histories that have not ended, of the agents that were connected at the start. A message reports
/// when all have ended: the client cannot know which agents there are.
#[derive(Clone, Debug, Default)]
struct Histories(Arc<AtomicUsize>);

impl Histories {
    async fn expect(&self, agents: usize, queue: &Queue) {
        self.0.store(agents, Ordering::Relaxed);
        if agents == 0 {
            Histories::report(queue).await;
        }
    }

    async fn ended(&self, queue: &Queue) {
        // Agents that come later find zero.
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if before == Ok(1) {
            Histories::report(queue).await;
        }
    }

    async fn report(queue: &Queue) {
        let message = RelayedResponse {
            node: String::new(),
            message: Some(Relayed::Ended(true)),
        };
        // A client that does not read has lost more than this.
        let _ = queue.send(message, CONTROL_WAIT).await;
    }
}

/// Why a message is not in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rejected {
    /// The client does not read.
    Full,
    /// The client is gone.
    Gone,
}

impl Queue {
    async fn send(&self, message: RelayedResponse, wait: Duration) -> Result<(), Rejected> {
        let bytes = message.encoded_len() + OVERHEAD_BYTES;
        let bytes = u32::try_from(bytes).unwrap_or(QUEUE_BYTES).min(QUEUE_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes);
        let room = tokio::time::timeout(wait, room).await;
        let room = room
            .map_err(|_| Rejected::Full)?
            .map_err(|_| Rejected::Gone)?;
        self.sender
            .send((message, room))
            .map_err(|_| Rejected::Gone)
    }
}

/// Starts the streams: at first to each agent that can have events, later to those that come.
struct Coordinator {
    sources: Sources,
    wanted: Arc<Wanted>,
    queue: Queue,
    asking: Arc<Semaphore>,
    histories: Histories,
}

impl Coordinator {
    async fn run(self) {
        let follow = self.wanted.request.follow;
        let mut agents = self.sources.agents.changes();
        let mut pods = self.sources.pods.changes();
        let mut running: HashSet<Arc<str>> = HashSet::new();
        let mut positions = self.wanted.after.clone();
        let mut streams: JoinSet<(Arc<str>, Option<proto::Position>)> = JoinSet::new();
        let mut start = true;
        loop {
            if start || follow {
                let nodes = self.nodes();
                if std::mem::take(&mut start) {
                    self.histories.expect(nodes.len(), &self.queue).await;
                }
                for node in nodes {
                    if running.insert(Arc::clone(&node)) {
                        let after = positions.remove(&node);
                        streams.spawn(self.stream(node, after).run());
                    }
                }
            }
            if !follow && streams.is_empty() {
                return;
            }
            tokio::select! {
                changed = agents.changed(), if follow => {
                    if changed.is_err() {
                        return;
                    }
                }
                changed = pods.changed(), if follow => {
                    if changed.is_err() {
                        return;
                    }
                    // Pods come in crowds.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Some(ended) = streams.join_next() => {
                    if let Ok((node, after)) = ended {
                        running.remove(&node);
                        if let Some(after) = after {
                            positions.insert(node, after);
                        }
                    }
                }
            }
        }
    }

    /// The connected agents that can have such events.
    fn nodes(&self) -> Vec<Arc<str>> {
        let places = self.sources.pods.nodes(&self.wanted.filter);
        let globs = &self.wanted.nodes;
        let mut nodes = self.sources.agents.nodes();
        nodes.retain(|node| {
            places.as_ref().is_none_or(|places| places.contains(node))
                && (globs.is_empty() || globs.iter().any(|glob| glob.matches(node)))
        });
        nodes
    }

    fn stream(&self, node: Arc<str>, after: Option<proto::Position>) -> AgentStream {
        AgentStream {
            node,
            after,
            sources: self.sources.clone(),
            wanted: Arc::clone(&self.wanted),
            queue: self.queue.clone(),
            asking: Arc::clone(&self.asking),
            in_history: true,
            histories: Some(self.histories.clone()),
            lost: 0,
        }
    }
}

/// The stream of one agent.
struct AgentStream {
    node: Arc<str>,
    after: Option<proto::Position>,
    sources: Sources,
    wanted: Arc<Wanted>,
    queue: Queue,
    asking: Arc<Semaphore>,
    in_history: bool,
    /// To report the end of the history, or that there will be none; once.
    histories: Option<Histories>,
    /// Events that were not sent since the last report.
    lost: u64,
}

/// Why an agent's stream ended.
enum End {
    Failed(Status),
    Client,
}

impl From<Rejected> for End {
    fn from(_: Rejected) -> End {
        End::Client
    }
}

impl AgentStream {
    /// Returns where a later stream of this node continues.
    async fn run(mut self) -> (Arc<str>, Option<proto::Position>) {
        let follow = self.wanted.request.follow;
        let asking = Arc::clone(&self.asking);
        let _place = match follow {
            true => None,
            false => asking.acquire_owned().await.ok(),
        };
        let mut wait = Duration::from_millis(250);
        loop {
            let outcome = self.once().await;
            let message = match outcome {
                Ok(()) if follow => Relayed::Interrupted("the agent ended the stream".to_owned()),
                Ok(()) => Relayed::Ended(true),
                Err(End::Client) => break,
                Err(End::Failed(status)) => Relayed::Interrupted(self.reason(&status)),
            };
            let failed = matches!(message, Relayed::Interrupted(_));
            self.history_ended().await;
            if self.send(message, CONTROL_WAIT).await.is_err() || !follow || !failed {
                break;
            }
            let pause = rand::rng().random_range(wait / 2..wait);
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(MAX_WAIT);
            // It starts again when the agent is back.
            if !self.sources.agents.nodes().contains(&self.node) {
                break;
            }
        }
        (self.node, self.after)
    }

    async fn once(&mut self) -> Result<(), End> {
        let late = |_| {
            End::Failed(Status::deadline_exceeded(
                "the agent does not answer in time",
            ))
        };
        let request = proto::ObserveRequest {
            after: self.after.clone(),
            ..self.wanted.request.clone()
        };
        let opening = self.sources.agents.observe(&self.node, request);
        let mut stream = tokio::time::timeout(ANSWER_WITHIN, opening)
            .await
            .map_err(late)?
            .map_err(End::Failed)?;
        self.in_history = true;
        loop {
            let message = tokio::time::timeout(SILENCE, stream.message())
                .await
                .map_err(late)?
                .map_err(End::Failed)?;
            match message.and_then(|response| response.message) {
                Some(message) => self.take(message).await?,
                None => return Ok(()),
            }
        }
    }

    async fn take(&mut self, mut message: Message) -> Result<(), End> {
        match &mut message {
            Message::Node(info) => {
                // Who it is, the connection says. The warnings can name objects of other namespaces.
                info.node = self.node.to_string();
                if self.wanted.namespace.is_some() {
                    info.filter_warnings.clear();
                }
                Ok(self.respond(message, CONTROL_WAIT).await?)
            }
            Message::Mark(mark) => {
                self.after = mark.position.clone();
                if mark.history_ended {
                    self.in_history = false;
                    self.respond(message, CONTROL_WAIT).await?;
                    self.history_ended().await;
                    return Ok(());
                }
                // The next one says more.
                match self.respond(message, Duration::ZERO).await {
                    Err(Rejected::Gone) => Err(End::Client),
                    Ok(()) | Err(Rejected::Full) => Ok(()),
                }
            }
            Message::Event(emitted) => {
                let may_leave = emitted
                    .event
                    .as_ref()
                    .is_some_and(|event| self.may_leave(event));
                match may_leave {
                    true => self.event(message).await,
                    false => Ok(()),
                }
            }
            Message::Lost(_) => self.event(message).await,
        }
    }

    /// Whether the client may see an event: it is the agent's to report, and about a pod of the namespace.
    fn may_leave(&self, event: &proto::Event) -> bool {
        if matches!(event.body, Some(proto::event::Body::Lost(_))) {
            return true;
        }
        let pod = event.ends.as_ref().and_then(|ends| ends.pod.as_ref());
        match pod.and_then(|pod| pod.identity.as_ref()) {
            Some(Identity::Pod(pod)) => {
                self.wanted
                    .namespace
                    .as_deref()
                    .is_none_or(|namespace| namespace == pod.namespace)
                    && self
                        .sources
                        .pods
                        .placement(&pod.namespace, &pod.name, &pod.uid, &self.node)
                        != Placement::Elsewhere
            }
            _ => self.wanted.namespace.is_none(),
        }
    }

    async fn event(&mut self, message: Message) -> Result<(), End> {
        let counts = !matches!(message, Message::Lost(_));
        let lost = self.lost;
        let sent = self.send_event(message).await;
        let resource = self.wanted.resource;
        if self.lost > lost {
            self.sources.metrics.lost(resource).inc();
        } else if sent.is_ok() && counts {
            self.sources.metrics.sent(resource).inc();
        }
        sent
    }

    async fn send_event(&mut self, message: Message) -> Result<(), End> {
        let wait = match (self.wanted.request.follow, self.in_history, self.lost > 0) {
            (false, ..) => CONTROL_WAIT,
            // It has stopped reading: no event waits for it any more.
            (true, _, true) => Duration::ZERO,
            (true, true, false) => HISTORY_WAIT,
            (true, false, false) => EVENT_WAIT,
        };
        if self.lost > 0 {
            let loss = Loss {
                stage: Stage::Stream,
                reason: NOT_READ,
                count: self.lost,
            };
            match self.respond(Message::Lost(loss_to_wire(&loss)), wait).await {
                Ok(()) => self.lost = 0,
                Err(Rejected::Gone) => return Err(End::Client),
                Err(Rejected::Full) => {
                    self.lost += 1;
                    return Ok(());
                }
            }
        }
        match self.respond(message, wait).await {
            Ok(()) => Ok(()),
            Err(Rejected::Full) if self.wanted.request.follow => {
                self.lost += 1;
                Ok(())
            }
            Err(_) => Err(End::Client),
        }
    }

    /// Why the stream ended; the transport's words say little where the agent is gone.
    fn reason(&self, status: &Status) -> String {
        if self.sources.agents.nodes().contains(&self.node) {
            status.message().to_owned()
        } else {
            "the agent has left the relay".to_owned()
        }
    }

    async fn history_ended(&mut self) {
        if let Some(histories) = self.histories.take() {
            histories.ended(&self.queue).await;
        }
    }

    async fn respond(&self, message: Message, wait: Duration) -> Result<(), Rejected> {
        let response = ObserveResponse {
            message: Some(message),
        };
        self.send(Relayed::Response(response), wait).await
    }

    async fn send(&self, message: Relayed, wait: Duration) -> Result<(), Rejected> {
        let message = RelayedResponse {
            node: self.node.to_string(),
            message: Some(message),
        };
        self.queue.send(message, wait).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> RelayedResponse {
        RelayedResponse {
            node: "a".to_owned(),
            message: Some(Relayed::Interrupted("x".repeat(bytes))),
        }
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_bytes_and_free_again_when_it_is_read() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let queue = Queue {
            sender,
            room: Arc::new(Semaphore::new(QUEUE_BYTES as usize)),
        };
        let send = async |bytes| queue.send(message(bytes), Duration::from_millis(20)).await;
        let mut sent = 0;
        while send(10_000).await == Ok(()) {
            sent += 1;
        }
        let bytes = message(10_000).encoded_len() + OVERHEAD_BYTES;
        assert_eq!(sent, QUEUE_BYTES as usize / bytes);
        assert_eq!(send(10_000).await, Err(Rejected::Full));
        // Small ones cost their overhead, too.
        let mut small = 0;
        while send(0).await == Ok(()) {
            small += 1;
        }
        assert!(small <= bytes / OVERHEAD_BYTES);
        drop(receiver.recv().await);
        assert_eq!(send(10_000).await, Ok(()));
        // One that is larger than the queue waits until it is empty.
        while receiver.try_recv().is_ok() {}
        assert_eq!(send(2 * QUEUE_BYTES as usize).await, Ok(()));
        assert_eq!(send(0).await, Err(Rejected::Full));
        drop(receiver);
        assert_eq!(send(0).await, Err(Rejected::Gone));
    }
}
