//! All agents as one stream of updates.
//!
//! Owns which agents are asked, the notes and warnings about each of them, and when the histories are
//! complete. Events are in the order in which agents emitted them, as far as [`merge`](super::merge) allows.
//! The loss of a connection is reported once, and so is its return.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;

use super::agent_stream::{AgentStream, SharedPosition, StreamMessage};
use super::cluster::{AgentChange, AgentPod, Cluster};
use super::merge::{Merge, Release, StreamId};
use super::skew;
use super::target::Target;
use super::{ClientError, Options};
use crate::stream::event::{from_wire, loss_from_wire, timestamp, unix_ns};
use crate::stream::{filter, proto};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::loss::{Loss, Stage};
use tracer_core::model::time::Timestamp;
use tracer_core::view::filter::FilterConfig;

/// Capacity of the queue of messages from all streams.
const QUEUE: usize = 1024;
/// Capacity of the queue of agents that started or ended.
const CHANGES: usize = 64;

/// What to ask every agent for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// The events to send.
    pub filter: FilterConfig,
    /// Continue with new events.
    pub follow: bool,
    /// Start with the events in the agents' histories.
    pub history: bool,
    /// Only events that began at this time or later.
    pub since: Option<jiff::Timestamp>,
    /// At most this many events of each agent's history, the latest ones.
    pub last: Option<usize>,
}

/// Something to show.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// An event on this node, and when it was decided; its clock is
    /// [`unix_clock`](crate::stream::event::unix_clock).
    Event(Arc<str>, Box<Event>, Timestamp),
    /// Information about an agent.
    Note(String),
    /// A reason why events are missing.
    Warning(String),
    /// A name in the filter matches no object that any agent knows.
    Unmatched(String),
    /// The histories are complete; what follows has just happened.
    HistoryEnded,
}

/// One agent's part of the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSummary {
    /// The node's name, or the agent's target if it was never reached.
    pub name: String,
    /// The agent was reached at least once.
    pub reached: bool,
    /// The number of events it sent.
    pub events: u64,
    /// How many times the connection was lost or could not be made.
    pub failures: u64,
    /// The reason of the last failure.
    pub failure: Option<String>,
}

struct Agent {
    target: Target,
    node: Option<Arc<str>>,
    version: Option<String>,
    instance: Option<String>,
    /// The first attempt to connect has succeeded or failed.
    settled: bool,
    /// Its history has arrived, or will not arrive.
    history_done: bool,
    connected: bool,
    ended: bool,
    summary: AgentSummary,
    warnings: Vec<String>,
    task: AbortHandle,
}

impl Agent {
    fn name(&self) -> String {
        match &self.node {
            Some(node) => node.to_string(),
            None => match self.target.node() {
                Some(node) => format!("{node} ({})", self.target),
                None => self.target.to_string(),
            },
        }
    }
}

struct Waiting {
    node: Arc<str>,
    event: Box<Event>,
    decided: Timestamp,
    _room: Option<OwnedSemaphorePermit>,
}

impl Waiting {
    fn update(self) -> Update {
        Update::Event(self.node, self.event, self.decided)
    }
}

/// The streams of all agents.
pub struct Feed {
    options: Arc<Options>,
    query: Query,
    agents: BTreeMap<StreamId, Agent>,
    next_id: StreamId,
    sender: mpsc::Sender<(StreamId, StreamMessage)>,
    messages: mpsc::Receiver<(StreamId, StreamMessage)>,
    merge: Merge<Waiting>,
    updates: VecDeque<Update>,
    history_ended: bool,
    /// Agents that start and end, where the feed follows a cluster.
    changes: Option<mpsc::Receiver<AgentChange>>,
    client: Option<kube::Client>,
    scope: Option<String>,
    /// Positions in the streams, by pod UID.
    positions: HashMap<String, SharedPosition>,
    /// Streams, by pod UID.
    pods: HashMap<String, StreamId>,
    /// Nodes that have an agent but were not asked for.
    other_nodes: Vec<String>,
}

impl Feed {
    /// Finds the agents and starts a stream from each. Needs a tokio runtime.
    pub async fn start(options: Options, query: Query) -> Result<Feed, ClientError> {
        let (sender, messages) = mpsc::channel(QUEUE);
        let mut feed = Feed {
            query,
            agents: BTreeMap::new(),
            next_id: 0,
            sender,
            messages,
            merge: Merge::default(),
            updates: VecDeque::new(),
            history_ended: false,
            changes: None,
            client: None,
            scope: None,
            positions: HashMap::new(),
            pods: HashMap::new(),
            other_nodes: Vec::new(),
            options: Arc::new(options),
        };
        if feed.options.servers.is_empty() {
            feed.find().await?;
        } else {
            for target in feed.options.servers.clone() {
                feed.open(target, SharedPosition::default());
            }
        }
        Ok(feed)
    }

    async fn find(&mut self) -> Result<(), ClientError> {
        let mut cluster = Cluster::find(&self.options).await?;
        let (agents, notices) = cluster.list().await?;
        let (agents, others): (Vec<_>, Vec<_>) = agents
            .into_iter()
            .partition(|agent| self.options.picks(&agent.node));
        if agents.is_empty() {
            if others.is_empty() {
                return Err(ClientError::NoAgents {
                    scope: cluster.scope().to_owned(),
                });
            }
            self.other_nodes = others.into_iter().map(|agent| agent.node).collect();
            return Err(self.no_such_node());
        }
        self.updates
            .extend(notices.into_iter().map(Update::Warning));
        self.client = Some(cluster.client.clone());
        self.scope = Some(cluster.scope().to_owned());
        for agent in agents {
            self.open_pod(agent);
        }
        if self.query.follow {
            let (sender, changes) = mpsc::channel(CHANGES);
            tokio::spawn(cluster.follow(sender));
            self.changes = Some(changes);
        }
        Ok(())
    }

    fn no_such_node(&self) -> ClientError {
        let asked: Vec<_> = self.options.nodes.iter().map(ToString::to_string).collect();
        ClientError::NoSuchNode {
            asked: asked.join(", "),
            available: self.other_nodes.join(", "),
        }
    }

    fn open_pod(&mut self, pod: AgentPod) {
        let (Some(client), false) = (self.client.clone(), self.pods.contains_key(&pod.uid)) else {
            return;
        };
        let uid = pod.uid.clone();
        // An agent that starts later has sent nothing yet: ask for everything it has.
        let start = proto::Position::default();
        let position = self.positions.entry(uid.clone()).or_insert_with(|| {
            let position = self.history_ended.then_some(start);
            Arc::new(Mutex::new(position))
        });
        let position = Arc::clone(position);
        let id = self.open(Target::Pod { client, pod }, position);
        self.pods.insert(uid, id);
    }

    fn open(&mut self, target: Target, position: SharedPosition) -> StreamId {
        let id = self.next_id;
        self.next_id += 1;
        let query = &self.query;
        let stream = AgentStream {
            id,
            target: target.clone(),
            options: Arc::clone(&self.options),
            request: proto::ObserveRequest {
                filter: Some(filter::to_wire(&query.filter)),
                follow: query.follow,
                history: query.history,
                since_unix_ns: query.since.map(unix_ns),
                last: query
                    .last
                    .map(|last| u32::try_from(last).unwrap_or(u32::MAX)),
                after: None,
                client_version: env!("CARGO_PKG_VERSION").to_owned(),
                mark_interval_ms: 0,
            },
            position,
            sender: self.sender.clone(),
        };
        let task = tokio::spawn(stream.run()).abort_handle();
        // The other streams wait a moment for its events.
        self.merge.open(id, Instant::now());
        self.agents.insert(
            id,
            Agent {
                target,
                node: None,
                version: None,
                instance: None,
                settled: false,
                history_done: false,
                connected: false,
                ended: false,
                summary: AgentSummary::default(),
                warnings: Vec::new(),
                task,
            },
        );
        id
    }

    /// The next update; `None` once all agents have sent everything they were asked for. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Update>, ClientError> {
        loop {
            if let Some(update) = self.updates.pop_front() {
                return Ok(Some(update));
            }
            let over = self.agents.values().all(|agent| agent.ended) && self.changes.is_none();
            let complete = self.agents.values().all(|agent| agent.history_done);
            if complete && !self.history_ended {
                self.check_agents()?;
                // All histories are here, so no event has to wait for an earlier one.
                while let Some(waiting) = self.merge.drain() {
                    self.updates.push_back(waiting.update());
                }
                self.updates.push_back(Update::HistoryEnded);
                self.history_ended = true;
                continue;
            }
            let wake = match self.merge.next(Instant::now()) {
                Release::Ready(waiting) => {
                    return Ok(Some(waiting.update()));
                }
                Release::Empty if over => return Ok(None),
                Release::Empty => None,
                Release::Wait(until) => Some(until),
            };
            tokio::select! {
                Some((id, message)) = self.messages.recv() => self.receive(id, message),
                change = next_change(&mut self.changes) => match change {
                    Some(change) => self.change(change),
                    None => self.changes = None,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Once every agent was reached or has failed: fails if none was reached, and passes on the warnings
    /// about the filter that all of them give.
    fn check_agents(&mut self) -> Result<(), ClientError> {
        let reached: Vec<&Agent> = self
            .agents
            .values()
            .filter(|agent| agent.node.is_some())
            .collect();
        if reached.is_empty() {
            let failed = self.agents.values().filter(|agent| agent.settled);
            let reasons: Vec<String> = failed
                .filter_map(|agent| {
                    let reason = agent.summary.failure.as_ref()?;
                    Some(format!("{}: {reason}", agent.name()))
                })
                .collect();
            return Err(if reasons.is_empty() && !self.other_nodes.is_empty() {
                self.no_such_node()
            } else {
                ClientError::NoneReached { reasons }
            });
        }
        // A name that only some agents do not know exists elsewhere.
        let (first, others) = match reached.split_first() {
            Some(split) => split,
            None => return Ok(()),
        };
        let common = first
            .warnings
            .iter()
            .filter(|warning| others.iter().all(|agent| agent.warnings.contains(*warning)));
        let warnings: Vec<Update> = common.cloned().map(Update::Unmatched).collect();
        self.updates.extend(warnings);
        Ok(())
    }

    fn receive(&mut self, id: StreamId, message: StreamMessage) {
        let now = Instant::now();
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        match message {
            StreamMessage::Connected(info, clock_offset_ns) => {
                // Reopens the stream after a lost connection.
                self.merge.open(id, now);
                Feed::connected(agent, info, clock_offset_ns, &mut self.updates);
            }
            StreamMessage::Event(emitted, room) => {
                let Some(node) = &agent.node else { return };
                let event = emitted
                    .event
                    .ok_or(())
                    .and_then(|event| from_wire(event).map_err(|_| ()));
                match event {
                    Ok(event) => {
                        agent.summary.events += 1;
                        let waiting = Waiting {
                            node: Arc::clone(node),
                            event: Box::new(event),
                            decided: timestamp(emitted.emitted_unix_ns),
                            _room: Some(room),
                        };
                        self.merge.put(id, emitted.emitted_unix_ns, waiting, now);
                    }
                    Err(()) => {
                        let loss = Loss {
                            stage: Stage::Stream,
                            reason: "events of another version of the agent that this client cannot read",
                            count: 1,
                        };
                        self.updates.push_back(lost_update(Arc::clone(node), loss));
                    }
                }
            }
            StreamMessage::Lost(lost) => {
                if let (Ok(loss), Some(node)) = (loss_from_wire(&lost), agent.node.clone()) {
                    self.updates.push_back(lost_update(node, loss));
                }
            }
            StreamMessage::Mark(mark) => {
                agent.history_done |= mark.history_ended;
                self.merge
                    .reached(id, mark.reached_unix_ns, agent.history_done, now);
            }
            StreamMessage::Failed { reason, retry } => {
                self.merge.close(id);
                agent.settled = true;
                agent.history_done = true;
                agent.summary.failures += 1;
                if agent.connected || agent.summary.failures == 1 {
                    let then = if retry { "; trying again" } else { "" };
                    self.updates
                        .push_back(Update::Warning(format!("{}: {reason}{then}", agent.name())));
                }
                agent.summary.failure = Some(reason);
                agent.connected = false;
                agent.ended |= !retry;
            }
            StreamMessage::OtherNode(node) => {
                self.merge.close(id);
                agent.ended = true;
                agent.history_done = true;
                self.other_nodes.push(node);
            }
            StreamMessage::Over => {
                self.merge.close(id);
                agent.ended = true;
                agent.history_done = true;
            }
        }
    }

    /// Notes that an agent is connected, and what is unusual about it.
    fn connected(
        agent: &mut Agent,
        info: proto::NodeInfo,
        clock_offset_ns: i64,
        updates: &mut VecDeque<Update>,
    ) {
        let node = info.node.as_str();
        if agent.instance.is_some() || agent.summary.failures > 0 {
            let state = match &agent.instance {
                Some(instance) if *instance != info.instance => {
                    "reconnected; the agent was restarted, and events while it was down are missing"
                }
                Some(_) => "reconnected; no events were missed",
                None => "connected",
            };
            updates.push_back(Update::Note(format!("{node}: {state}")));
        }
        let other_version = skew::version_sentence(&info.version)
            .filter(|_| agent.version.as_ref() != Some(&info.version));
        let other_clock = skew::clock_sentence(clock_offset_ns).filter(|_| agent.node.is_none());
        for sentence in other_version.into_iter().chain(other_clock) {
            updates.push_back(Update::Note(format!("{node}: {sentence}")));
        }
        agent.summary.name = info.node.clone();
        agent.node = Some(info.node.into());
        agent.version = Some(info.version);
        agent.instance = Some(info.instance);
        agent.warnings = info.filter_warnings;
        agent.settled = true;
        agent.connected = true;
    }

    fn change(&mut self, change: AgentChange) {
        match change {
            AgentChange::Started(pod) => {
                if !self.options.picks(&pod.node) || self.pods.contains_key(&pod.uid) {
                    return;
                }
                let note = format!("{}: an agent started", pod.node);
                self.updates.push_back(Update::Note(note));
                self.open_pod(pod);
            }
            AgentChange::Ended(uid) => {
                let Some(id) = self.pods.remove(&uid) else {
                    return;
                };
                self.merge.close(id);
                if let Some(agent) = self.agents.get_mut(&id) {
                    agent.task.abort();
                    agent.ended = true;
                    agent.history_done = true;
                    self.updates.push_back(Update::Warning(format!(
                        "{}: its agent ended; nothing is traced there until another one starts",
                        agent.name()
                    )));
                }
            }
        }
    }

    /// The number of events that arrived too late to be shown in order.
    pub fn out_of_order(&self) -> u64 {
        self.merge.out_of_order()
    }

    /// The agents that were reached or failed, by name.
    pub fn agents(&self) -> Vec<AgentSummary> {
        let mut all: Vec<AgentSummary> = self
            .agents
            .values()
            .filter(|agent| agent.node.is_some() || agent.summary.failure.is_some())
            .map(|agent| AgentSummary {
                name: agent.name(),
                reached: agent.node.is_some(),
                ..agent.summary.clone()
            })
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        for agent in self.agents.values() {
            agent.task.abort();
        }
    }
}

fn lost_update(node: Arc<str>, loss: Loss) -> Update {
    let now = timestamp(unix_ns(jiff::Timestamp::now()));
    let event = Event {
        time: now,
        ends: None,
        incomplete: false,
        body: Body::Lost(loss),
    };
    Update::Event(node, Box::new(event), now)
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// The next change; waits forever where no cluster is followed.
async fn next_change(changes: &mut Option<mpsc::Receiver<AgentChange>>) -> Option<AgentChange> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}
