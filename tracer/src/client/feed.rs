//! All agents as one stream of news.
//!
//! Owns who is asked, what is said about each of them, and when the histories are over. Events come in the order in which
//! they were told, as far as [`merge`](super::merge) allows. An agent that cannot be reached is told once for each time it
//! goes, and once when it is back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;

use super::cluster::{AgentPod, Change, Cluster};
use super::merge::{Merge, Next, SourceId};
use super::skew;
use super::source::{Place, Said, Source};
use super::target::Target;
use super::{ClientError, Options};
use crate::stream::event::{from_wire, loss_from_wire, timestamp, unix_ns};
use crate::stream::{filter, proto};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::loss::{Loss, Stage};
use tracer_core::view::filter::FilterConfig;

/// What the streams said and nobody has looked at yet.
const QUEUE: usize = 1024;
/// Agents that came or went.
const CHANGES: usize = 64;

/// What is asked of every agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// Which events.
    pub filter: FilterConfig,
    /// Go on with what happens from now on.
    pub follow: bool,
    /// Begin with what the agents hold of the past.
    pub history: bool,
    /// Only what began then or later.
    pub since: Option<jiff::Timestamp>,
    /// Of the past only so many events of each agent.
    pub last: Option<usize>,
}

/// Something to show.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// An event of this node; its clock is [`unix_clock`](crate::stream::event::unix_clock).
    Event(Arc<str>, Box<Event>),
    /// Something that a person should know.
    Notice(String),
    /// Something that is missing from what is shown.
    Warning(String),
    /// The histories are over; what comes now has just happened.
    HistoryEnded,
}

/// How it went with one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSummary {
    /// Its node; the way to it where it was never reached.
    pub name: String,
    /// It was reached at some time.
    pub reached: bool,
    /// Events it told.
    pub events: u64,
    /// How often the connection was lost, or could not be made.
    pub failures: u64,
    /// Why, the last time.
    pub why: Option<String>,
}

struct Agent {
    target: Target,
    node: Option<Arc<str>>,
    version: Option<String>,
    instance: Option<String>,
    /// Its first attempt has succeeded or failed.
    settled: bool,
    /// Everything that it holds of the past has come, or will not come.
    past: bool,
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
    _room: Option<OwnedSemaphorePermit>,
}

/// The streams of all agents.
pub struct Feed {
    options: Arc<Options>,
    question: Question,
    agents: BTreeMap<SourceId, Agent>,
    next_id: SourceId,
    says: mpsc::Sender<(SourceId, Said)>,
    said: mpsc::Receiver<(SourceId, Said)>,
    merge: Merge<Waiting>,
    news: VecDeque<News>,
    history_ended: bool,
    /// Of a cluster.
    changes: Option<mpsc::Receiver<Change>>,
    client: Option<kube::Client>,
    scope: Option<String>,
    /// By the pod's UID.
    places: HashMap<String, Place>,
    pods: HashMap<String, SourceId>,
    /// Nodes of agents that were not asked for.
    not_asked: Vec<String>,
}

impl Feed {
    /// Finds the agents and begins to ask them; within a tokio runtime.
    pub async fn start(options: Options, question: Question) -> Result<Feed, ClientError> {
        let (says, said) = mpsc::channel(QUEUE);
        let mut feed = Feed {
            question,
            agents: BTreeMap::new(),
            next_id: 0,
            says,
            said,
            merge: Merge::default(),
            news: VecDeque::new(),
            history_ended: false,
            changes: None,
            client: None,
            scope: None,
            places: HashMap::new(),
            pods: HashMap::new(),
            not_asked: Vec::new(),
            options: Arc::new(options),
        };
        if feed.options.servers.is_empty() {
            feed.find().await?;
        } else {
            for target in feed.options.servers.clone() {
                feed.ask(target, Place::default());
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
            self.not_asked = others.into_iter().map(|agent| agent.node).collect();
            return Err(self.no_such_node());
        }
        self.news.extend(notices.into_iter().map(News::Warning));
        self.client = Some(cluster.client.clone());
        self.scope = Some(cluster.scope().to_owned());
        for agent in agents {
            self.ask_pod(agent);
        }
        if self.question.follow {
            let (told, changes) = mpsc::channel(CHANGES);
            tokio::spawn(cluster.follow(told));
            self.changes = Some(changes);
        }
        Ok(())
    }

    fn no_such_node(&self) -> ClientError {
        let asked: Vec<_> = self.options.nodes.iter().map(ToString::to_string).collect();
        ClientError::NoSuchNode {
            asked: asked.join(", "),
            there: self.not_asked.join(", "),
        }
    }

    fn ask_pod(&mut self, pod: AgentPod) {
        let (Some(client), false) = (self.client.clone(), self.pods.contains_key(&pod.uid)) else {
            return;
        };
        let uid = pod.uid.clone();
        // An agent that was not there at the beginning has told nothing of what it holds.
        let came_later = proto::Position::default();
        let place = self.places.entry(uid.clone()).or_insert_with(|| {
            let place = self.history_ended.then_some(came_later);
            Arc::new(std::sync::Mutex::new(place))
        });
        let place = Arc::clone(place);
        let id = self.ask(Target::Pod { client, pod }, place);
        self.pods.insert(uid, id);
    }

    fn ask(&mut self, target: Target, place: Place) -> SourceId {
        let id = self.next_id;
        self.next_id += 1;
        let question = &self.question;
        let source = Source {
            id,
            target: target.clone(),
            options: Arc::clone(&self.options),
            request: proto::ObserveRequest {
                filter: Some(filter::to_wire(&question.filter)),
                follow: question.follow,
                history: question.history,
                since_unix_ns: question.since.map(unix_ns),
                last: question
                    .last
                    .map(|last| u32::try_from(last).unwrap_or(u32::MAX)),
                after: None,
                client_version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            place,
            says: self.says.clone(),
        };
        let task = tokio::spawn(source.run()).abort_handle();
        // The others wait a moment for what it will say.
        self.merge.open(id, Instant::now());
        self.agents.insert(
            id,
            Agent {
                target,
                node: None,
                version: None,
                instance: None,
                settled: false,
                past: false,
                connected: false,
                ended: false,
                summary: AgentSummary::default(),
                warnings: Vec::new(),
                task,
            },
        );
        id
    }

    /// What comes next; `None` once all agents have told all they were asked for.
    pub async fn next(&mut self) -> Result<Option<News>, ClientError> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Ok(Some(news));
            }
            let over = self.agents.values().all(|agent| agent.ended) && self.changes.is_none();
            let settled = self.agents.values().all(|agent| agent.past);
            if settled && !self.history_ended {
                self.first_impressions()?;
                // All there is of the past is here: none of it has to wait for anything.
                while let Some(waiting) = self.merge.drain() {
                    self.news
                        .push_back(News::Event(waiting.node, waiting.event));
                }
                self.news.push_back(News::HistoryEnded);
                self.history_ended = true;
                continue;
            }
            let wake = match self.merge.next(Instant::now()) {
                Next::Ready(waiting) => {
                    return Ok(Some(News::Event(waiting.node, waiting.event)));
                }
                Next::Empty if over => return Ok(None),
                Next::Empty => None,
                Next::Wait(until) => Some(until),
            };
            tokio::select! {
                Some((id, said)) = self.said.recv() => self.hear(id, said),
                change = next_change(&mut self.changes) => match change {
                    Some(change) => self.change(change),
                    None => self.changes = None,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Once every agent was reached or not: whether there is anybody, and what all of them say about the filter.
    fn first_impressions(&mut self) -> Result<(), ClientError> {
        let reached: Vec<&Agent> = self
            .agents
            .values()
            .filter(|agent| agent.node.is_some())
            .collect();
        if reached.is_empty() {
            let failed = self.agents.values().filter(|agent| agent.settled);
            let why: Vec<String> = failed
                .filter_map(|agent| {
                    Some(format!("{}: {}", agent.name(), agent.summary.why.as_ref()?))
                })
                .collect();
            return Err(if why.is_empty() && !self.not_asked.is_empty() {
                self.no_such_node()
            } else {
                ClientError::NoneReached { why }
            });
        }
        // What only some of them do not know is somewhere else.
        let (first, others) = match reached.split_first() {
            Some(split) => split,
            None => return Ok(()),
        };
        let common = first
            .warnings
            .iter()
            .filter(|warning| others.iter().all(|agent| agent.warnings.contains(*warning)));
        let notices: Vec<News> = common.cloned().map(News::Warning).collect();
        self.news.extend(notices);
        Ok(())
    }

    fn hear(&mut self, id: SourceId, said: Said) {
        let now = Instant::now();
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        match said {
            Said::Node(info, clock_off_ns) => {
                // Anew, where the connection had been lost.
                self.merge.open(id, now);
                Feed::met(agent, info, clock_off_ns, &mut self.news);
            }
            Said::Event(told, room) => {
                let Some(node) = &agent.node else { return };
                let event = told
                    .event
                    .ok_or(())
                    .and_then(|event| from_wire(event).map_err(|_| ()));
                match event {
                    Ok(event) => {
                        agent.summary.events += 1;
                        let waiting = Waiting {
                            node: Arc::clone(node),
                            event: Box::new(event),
                            _room: Some(room),
                        };
                        self.merge.put(id, told.told_unix_ns, waiting, now);
                    }
                    Err(()) => {
                        let loss = Loss {
                            stage: Stage::Stream,
                            reason: "events of another version of the agent that this one cannot read",
                            count: 1,
                        };
                        self.news
                            .push_back(News::Event(Arc::clone(node), lost_event(loss)));
                    }
                }
            }
            Said::Lost(lost) => {
                if let (Ok(loss), Some(node)) = (loss_from_wire(&lost), agent.node.clone()) {
                    self.news.push_back(News::Event(node, lost_event(loss)));
                }
            }
            Said::Mark(mark) => {
                agent.past |= mark.history_ended;
                self.merge
                    .reached(id, mark.reached_unix_ns, agent.past, now);
            }
            Said::Failed(why, again) => {
                self.merge.close(id);
                agent.settled = true;
                agent.past = true;
                agent.summary.failures += 1;
                if agent.connected || agent.summary.failures == 1 {
                    let then = if again { "; trying again" } else { "" };
                    self.news
                        .push_back(News::Warning(format!("{}: {why}{then}", agent.name())));
                }
                agent.summary.why = Some(why);
                agent.connected = false;
                agent.ended |= !again;
            }
            Said::NotAsked(node) => {
                self.merge.close(id);
                agent.ended = true;
                agent.past = true;
                self.not_asked.push(node);
            }
            Said::Over => {
                self.merge.close(id);
                agent.ended = true;
                agent.past = true;
            }
        }
    }

    /// It is connected to that agent.
    fn met(agent: &mut Agent, info: proto::NodeInfo, clock_off_ns: i64, news: &mut VecDeque<News>) {
        let node = info.node.as_str();
        if agent.instance.is_some() || agent.summary.failures > 0 {
            let how = match &agent.instance {
                Some(instance) if *instance != info.instance => {
                    "reached again; the agent was restarted, and what happened while it did not run was not seen"
                }
                Some(_) => "reached again; nothing was missed",
                None => "reached",
            };
            news.push_back(News::Notice(format!("{node}: {how}")));
        }
        let other_version = skew::version_sentence(&info.version)
            .filter(|_| agent.version.as_ref() != Some(&info.version));
        let other_clock = skew::clock_sentence(clock_off_ns).filter(|_| agent.node.is_none());
        for sentence in other_version.into_iter().chain(other_clock) {
            news.push_back(News::Notice(format!("{node}: {sentence}")));
        }
        agent.summary.name = info.node.clone();
        agent.node = Some(info.node.into());
        agent.version = Some(info.version);
        agent.instance = Some(info.instance);
        agent.warnings = info.filter_warnings;
        agent.settled = true;
        agent.connected = true;
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Runs(pod) => {
                if !self.options.picks(&pod.node) || self.pods.contains_key(&pod.uid) {
                    return;
                }
                let notice = format!("{}: an agent started there", pod.node);
                self.news.push_back(News::Notice(notice));
                self.ask_pod(pod);
            }
            Change::Gone(uid) => {
                let Some(id) = self.pods.remove(&uid) else {
                    return;
                };
                self.merge.close(id);
                if let Some(agent) = self.agents.get_mut(&id) {
                    agent.task.abort();
                    agent.ended = true;
                    agent.past = true;
                    self.news.push_back(News::Warning(format!(
                        "{}: its agent does not run any more; nothing is seen there until another one starts",
                        agent.name()
                    )));
                }
            }
        }
    }

    /// Events that came too late for their place in the order.
    pub fn out_of_order(&self) -> u64 {
        self.merge.out_of_order()
    }

    /// How it went with each agent, by name.
    pub fn agents(&self) -> Vec<AgentSummary> {
        let mut all: Vec<AgentSummary> = self
            .agents
            .values()
            .filter(|agent| agent.node.is_some() || agent.summary.why.is_some())
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

fn lost_event(loss: Loss) -> Box<Event> {
    Box::new(Event {
        time: timestamp(unix_ns(jiff::Timestamp::now())),
        ends: None,
        body: Body::Lost(loss),
    })
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// The next change; without a cluster that is followed there never is one.
async fn next_change(changes: &mut Option<mpsc::Receiver<Change>>) -> Option<Change> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}
