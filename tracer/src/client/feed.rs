//! All agents as one stream of updates.
//!
//! Owns which agents are asked, the notes and warnings about each of them, and when the histories are
//! complete. Events are in the order in which agents emitted them, as far as [`merge`](super::merge) allows.
//! The loss of a connection is reported once, and so is its return.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;

use super::agent_stream::{AgentStream, SharedPosition, StreamMessage};
use super::cluster::{Cluster, Refusal, Resource};
use super::merge::{Merge, Release, StreamId};
use super::relay_stream::{RelayMessage, RelayStream};
use super::skew;
use super::target::Target;
use super::{ClientError, Options};
use crate::stream::event::{from_wire, loss_from_wire, timestamp, unix_ns};
use crate::stream::{filter, proto};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::loss::{Loss, Stage};
use tracer_core::model::time::Timestamp;
use tracer_core::view::filter::{EventType, FilterConfig};

/// Capacity of the queue of messages from all streams.
const QUEUE: usize = 1024;

/// Identifies a relay's stream.
pub(super) type RelayId = usize;

/// What the tasks of the streams send.
#[derive(Debug)]
pub(super) enum FeedMessage {
    /// From an agent's own stream.
    Agent(StreamId, StreamMessage),
    /// From the agent of this node, through a relay.
    Node(RelayId, String, StreamMessage),
    /// About a relay's stream.
    Relay(RelayId, RelayMessage),
}

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
    /// The node's name, or the agent's address if it was never reached.
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
    /// Where it is reached.
    place: String,
    /// Its cluster, if several are asked.
    cluster: Option<String>,
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
    /// It was the relay's stream that broke, which has been reported.
    with_relay: bool,
}

impl Agent {
    fn new(place: String) -> Agent {
        Agent {
            place,
            cluster: None,
            node: None,
            version: None,
            instance: None,
            settled: false,
            history_done: false,
            connected: false,
            ended: false,
            summary: AgentSummary::default(),
            warnings: Vec::new(),
            with_relay: false,
        }
    }

    fn name(&self) -> String {
        match &self.node {
            Some(node) => node.to_string(),
            None => self.place.clone(),
        }
    }
}

/// The stream of a cluster's relays.
struct Relay {
    /// As in "the relay: no answer".
    name: String,
    /// The context that names its cluster.
    context: Option<String>,
    resource: Resource,
    /// By node.
    agents: HashMap<String, StreamId>,
    connected: bool,
    interrupted: bool,
    history_done: bool,
    ended: bool,
    refusal: Option<Refusal>,
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
    relays: Vec<Relay>,
    tasks: Vec<AbortHandle>,
    sender: mpsc::Sender<FeedMessage>,
    messages: mpsc::Receiver<FeedMessage>,
    merge: Merge<Waiting>,
    updates: VecDeque<Update>,
    history_ended: bool,
    /// Nodes that have an agent but were not asked for.
    other_nodes: Vec<String>,
}

impl Feed {
    /// Starts a stream from each agent, or from the relays of the cluster. Needs a tokio runtime.
    pub async fn start(options: Options, query: Query) -> Result<Feed, ClientError> {
        let (sender, messages) = mpsc::channel(QUEUE);
        let mut feed = Feed {
            query,
            agents: BTreeMap::new(),
            next_id: 0,
            relays: Vec::new(),
            tasks: Vec::new(),
            sender,
            messages,
            merge: Merge::default(),
            updates: VecDeque::new(),
            history_ended: false,
            other_nodes: Vec::new(),
            options: Arc::new(options),
        };
        if feed.options.servers.is_empty() {
            feed.open_relays().await?;
        } else {
            for target in feed.options.servers.clone() {
                feed.open(&target);
            }
        }
        Ok(feed)
    }

    /// One stream for each cluster and namespace: a user may be allowed to see some namespaces only.
    async fn open_relays(&mut self) -> Result<(), ClientError> {
        for cluster in Cluster::find_all(&self.options).await? {
            let mut namespaces: Vec<Option<String>> = Vec::new();
            let asked = &self.query.filter.namespaces;
            if asked.iter().all(|namespace| !namespace.is_wild()) {
                namespaces.extend(asked.iter().map(|namespace| Some(namespace.to_string())));
            }
            if namespaces.is_empty() {
                namespaces.push(None);
            }
            for namespace in namespaces {
                self.open_relay(cluster.clone(), namespace);
            }
        }
        Ok(())
    }

    fn open_relay(&mut self, cluster: Cluster, namespace: Option<String>) {
        let id = self.relays.len();
        let resource = match *self.query.filter.types {
            [EventType::Finding] => Resource::Findings,
            _ => Resource::Traces,
        };
        self.relays.push(Relay {
            name: cluster.relay(),
            context: cluster.context.clone(),
            resource,
            agents: HashMap::new(),
            connected: false,
            interrupted: false,
            history_done: false,
            ended: false,
            refusal: None,
        });
        let nodes: Vec<String> = self.options.nodes.iter().map(ToString::to_string).collect();
        let stream = RelayStream {
            id,
            cluster,
            resource,
            namespace,
            nodes: nodes.join(","),
            request: self.request(),
            sender: self.sender.clone(),
        };
        self.tasks.push(tokio::spawn(stream.run()).abort_handle());
    }

    fn request(&self) -> proto::ObserveRequest {
        let query = &self.query;
        proto::ObserveRequest {
            filter: Some(filter::to_wire(&query.filter)),
            follow: query.follow,
            history: query.history,
            since_unix_ns: query.since.map(unix_ns),
            last: query
                .last
                .map(|last| u32::try_from(last).unwrap_or(u32::MAX)),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..proto::ObserveRequest::default()
        }
    }

    fn open(&mut self, target: &Target) {
        let id = self.add(Agent::new(target.to_string()));
        let stream = AgentStream {
            id,
            target: target.clone(),
            options: Arc::clone(&self.options),
            request: self.request(),
            position: SharedPosition::default(),
            sender: self.sender.clone(),
        };
        self.tasks.push(tokio::spawn(stream.run()).abort_handle());
    }

    fn add(&mut self, agent: Agent) -> StreamId {
        let id = self.next_id;
        self.next_id += 1;
        // The other streams wait a moment for its events.
        self.merge.open(id, Instant::now());
        self.agents.insert(id, agent);
        id
    }

    /// The next update; `None` once all agents have sent everything they were asked for. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Update>, ClientError> {
        loop {
            if let Some(update) = self.updates.pop_front() {
                return Ok(Some(update));
            }
            let over = self.agents.values().all(|agent| agent.ended)
                && self.relays.iter().all(|relay| relay.ended);
            let complete = self.agents.values().all(|agent| agent.history_done)
                && self.relays.iter().all(|relay| relay.history_done);
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
                Some(message) = self.messages.recv() => self.take(message),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn take(&mut self, message: FeedMessage) {
        match message {
            FeedMessage::Agent(id, message) => self.receive(id, message),
            FeedMessage::Node(relay, node, message) => {
                let known = self
                    .relays
                    .get(relay)
                    .and_then(|relay| relay.agents.get(&node));
                let id = match known {
                    Some(id) => *id,
                    None => {
                        let mut agent = Agent::new(node.clone());
                        agent.cluster = self.cluster(relay);
                        let id = self.add(agent);
                        if let Some(relay) = self.relays.get_mut(relay) {
                            relay.agents.insert(node, id);
                        }
                        id
                    }
                };
                self.receive(id, message);
            }
            FeedMessage::Relay(id, message) => self.receive_relay(id, message),
        }
    }

    /// The cluster of a relay, if several are asked.
    fn cluster(&self, relay: RelayId) -> Option<String> {
        let several = self.options.contexts.len() > 1;
        let relay = self.relays.get(relay).filter(|_| several)?;
        relay.context.clone()
    }

    /// Something about a relay's stream.
    fn receive_relay(&mut self, id: RelayId, message: RelayMessage) {
        let Some(relay) = self.relays.get_mut(id) else {
            return;
        };
        let name = &relay.name;
        match message {
            RelayMessage::Connected => {
                if relay.interrupted {
                    self.updates
                        .push_back(Update::Note(format!("{name}: connected again")));
                }
                relay.connected = true;
                relay.interrupted = false;
            }
            RelayMessage::HistoryEnded => relay.history_done = true,
            RelayMessage::Interrupted(reason) => {
                if relay.connected || !relay.interrupted {
                    let warning = format!("{name}: {reason}; trying again");
                    self.updates.push_back(Update::Warning(warning));
                }
                relay.connected = false;
                relay.interrupted = true;
                for id in relay.agents.values() {
                    self.merge.close(*id);
                    if let Some(agent) = self.agents.get_mut(id) {
                        agent.with_relay = true;
                        agent.history_done = true;
                    }
                }
            }
            RelayMessage::Refused(_) | RelayMessage::Over => {
                relay.history_done = true;
                relay.ended = true;
                for id in relay.agents.values() {
                    self.merge.close(*id);
                    if let Some(agent) = self.agents.get_mut(id) {
                        agent.history_done = true;
                        agent.ended = true;
                    }
                }
                if let RelayMessage::Refused(refusal) = message {
                    if self.history_ended {
                        let warning = format!("{name}: {}", refusal.reason());
                        self.updates.push_back(Update::Warning(warning));
                    }
                    relay.refusal = Some(refusal);
                }
            }
        }
    }

    /// Fails if no relay answers, and passes on why some do not.
    fn check_relays(&mut self) -> Result<(), ClientError> {
        let refused = |relay: &Relay| Some((relay.refusal.clone()?, relay.resource));
        if let Some((refusal, resource)) = self.relays.first().and_then(refused)
            && self.relays.iter().all(|relay| relay.refusal.is_some())
        {
            return Err(refusal.into_error(resource.name()));
        }
        for relay in &self.relays {
            if let Some(refusal) = &relay.refusal {
                let warning = format!("{}: {}", relay.name, refusal.reason());
                self.updates.push_back(Update::Warning(warning));
            }
        }
        Ok(())
    }

    /// Once every agent was reached or has failed: fails if none was reached, and passes on the warnings
    /// about the filter that all of them give.
    fn check_agents(&mut self) -> Result<(), ClientError> {
        self.check_relays()?;
        let reached: Vec<&Agent> = self
            .agents
            .values()
            .filter(|agent| agent.node.is_some())
            .collect();
        if reached.is_empty() && self.relays.iter().any(|relay| relay.refusal.is_none()) {
            let unasked = "no traced node has a pod that matches the filter, or no agent is connected to the relays: see \
                          `tracer status`";
            self.updates
                .push_back(Update::Unmatched(unasked.to_owned()));
            return Ok(());
        }
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
        let same = agent.instance.as_ref() == Some(&info.instance);
        let with_relay = std::mem::take(&mut agent.with_relay);
        if (agent.instance.is_some() || agent.summary.failures > 0) && !(with_relay && same) {
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
        let name = match &agent.cluster {
            Some(cluster) => format!("{cluster}/{}", info.node),
            None => info.node,
        };
        agent.summary.name.clone_from(&name);
        agent.node = Some(name.into());
        agent.version = Some(info.version);
        agent.instance = Some(info.instance);
        agent.warnings = info.filter_warnings;
        agent.settled = true;
        agent.connected = true;
    }

    fn no_such_node(&self) -> ClientError {
        let asked: Vec<_> = self.options.nodes.iter().map(ToString::to_string).collect();
        ClientError::NoSuchNode {
            asked: asked.join(", "),
            available: self.other_nodes.join(", "),
        }
    }

    /// The number of events that arrived too late to be shown in order.
    pub fn out_of_order(&self) -> u64 {
        self.merge.out_of_order()
    }

    /// The agents that were reached or failed, by name.
    pub fn agents(&self) -> Vec<AgentSummary> {
        let mut by_name: BTreeMap<String, AgentSummary> = BTreeMap::new();
        let each = self
            .agents
            .values()
            .filter(|agent| agent.node.is_some() || agent.summary.failure.is_some())
            .map(|agent| AgentSummary {
                name: agent.name(),
                reached: agent.node.is_some(),
                ..agent.summary.clone()
            });
        // A node's agent can have a stream for each namespace.
        for agent in each {
            match by_name.entry(agent.name.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(agent);
                }
                Entry::Occupied(mut entry) => {
                    let known = entry.get_mut();
                    known.reached |= agent.reached;
                    known.events += agent.events;
                    known.failures += agent.failures;
                    known.failure = known.failure.take().or(agent.failure);
                }
            }
        }
        by_name.into_values().collect()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
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
