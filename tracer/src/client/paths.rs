//! Paths of findings, from the agents of both nodes.
//!
//! Owns which agents are asked for what, and how much: only the nodes of both ends, for the events of the two pods at
//! the time of the attempt, one finding after the other, within a fixed time. What an agent does not send, or a user
//! may not see, leaves its half of a path unknown.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::feed::{Feed, Query, Update};
use super::{Options, status};
use crate::stream::event::{timestamp, unix_clock};
use crate::stream::proto;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::Finding;
use tracer_core::model::identity::PodIdentity;
use tracer_core::model::loss::Stage;
use tracer_core::model::path::Path;
use tracer_core::model::time::Timestamp;
use tracer_core::path::{self, Clock, Join, NodeFacts, Question, Watch};
use tracer_core::view::filter::{EventType, FilterConfig, PodPattern};

/// Findings that are asked about.
const MAX_QUESTIONS: usize = 16;
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long all of them may take.
const ALL_WITHIN: Duration = Duration::from_secs(20);
/// Events of each agent. An answer of this many can lack older ones.
const MAX_EVENTS: usize = 1_000;
/// Events of this time before the attempt show whether the server's agent knew the pod.
const BEFORE: Duration = Duration::from_secs(120);
/// The error of a clock that no status shows.
const UNKNOWN_CLOCK: Duration = Duration::from_secs(2);

/// A finding to ask about.
pub struct Asked {
    /// The finding's id.
    pub id: String,
    question: Question,
    server: IpAddr,
    pod: Option<Arc<PodIdentity>>,
    node: Option<Arc<str>>,
}

impl Asked {
    /// About a finding of a node; `None` if its rule or its other end has no path.
    pub fn about(node: &Arc<str>, event: &Event, finding: &Finding) -> Option<Asked> {
        if !path::concerns(finding.rule) {
            return None;
        }
        let question = Question::about(node, event)?;
        let peer = &event.ends.as_ref()?.peer;
        let (server, pod, node) = match (&peer.backend, &peer.pod) {
            (Some(backend), _) => (backend.ip, backend.pod.clone(), backend.node.clone()),
            (None, Some(pod)) => (peer.ip, Some(Arc::clone(pod)), peer.node.clone()),
            (None, None) => return None,
        };
        let node = pod.as_ref().and_then(|pod| pod.node.clone()).or(node);
        Some(Asked {
            id: finding.id.clone(),
            question,
            server,
            pod,
            node,
        })
    }

    fn query(&self) -> Query {
        let pods = [self.question.client, self.server];
        let before = Timestamp(self.question.from.0.saturating_sub(nanoseconds(BEFORE)));
        Query {
            filter: FilterConfig {
                types: vec![
                    EventType::Tcp,
                    EventType::Udp,
                    EventType::Dns,
                    EventType::Icmp,
                    EventType::Drop,
                ],
                pods: pods.map(PodPattern::Address).to_vec(),
                ..FilterConfig::default()
            },
            follow: false,
            history: true,
            since: Some(unix_clock(before)),
            last: Some(MAX_EVENTS),
        }
    }
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Answers {
    /// Paths, by the id of their finding.
    pub paths: Vec<(String, Path)>,
    /// Findings that were not asked about, the time or their number being used up.
    pub unasked: usize,
    /// Why agents could not be asked.
    pub failure: Option<String>,
}

/// Asks the agents about these findings.
pub async fn ask(options: &Options, asked: Vec<Asked>) -> Answers {
    let mut answers = Answers::default();
    if asked.is_empty() {
        return answers;
    }
    let until = Instant::now() + ALL_WITHIN;
    let statuses = Statuses::ask(options).await;
    for (number, one) in asked.iter().enumerate() {
        if number >= MAX_QUESTIONS || Instant::now() >= until {
            answers.unasked = asked.len() - number;
            break;
        }
        match tokio::time::timeout(ANSWER_WITHIN, events(options, one, &statuses)).await {
            Ok(Ok(join)) => {
                let path = join.path(&one.question);
                answers
                    .paths
                    .extend(path.map(|path| (one.id.clone(), path)));
            }
            Ok(Err(reason)) => {
                // The same would happen with the others.
                answers.failure = Some(reason);
                answers.unasked = asked.len() - number;
                break;
            }
            Err(_) => answers.unasked += 1,
        }
    }
    answers
}

/// The events of both nodes.
async fn events(options: &Options, asked: &Asked, statuses: &Statuses) -> Result<Join, String> {
    let mut nodes = vec![Arc::clone(&asked.question.node)];
    nodes.extend(asked.node.clone());
    nodes.dedup();
    let globs = nodes.iter().map(|node| node.parse());
    let options = Options {
        nodes: globs
            .collect::<Result<_, _>>()
            .map_err(|_| "a node's name is no name".to_owned())?,
        ..options.clone()
    };
    let failed = |error: super::ClientError| error.to_string();
    let mut feed = Feed::start(options, asked.query()).await.map_err(failed)?;
    let mut join = Join::default();
    // The server's first event shows that its interface was watched from then on.
    let mut first: BTreeMap<Arc<str>, Timestamp> = BTreeMap::new();
    let mut counts: BTreeMap<Arc<str>, (usize, Timestamp)> = BTreeMap::new();
    while let Some(update) = feed.next().await.map_err(failed)? {
        let Update::Event(node, event, _) = update else {
            continue;
        };
        join.feed(&node, &event, statuses.clock(&node));
        match &event.body {
            // It is not said when these happened.
            Body::Lost(loss) if loss.stage == Stage::Stream => join.lost(&node, event.time),
            Body::Lost(_) => {}
            body => {
                let of_server =
                    (event.ends.as_ref()).is_some_and(|ends| ends.pod.ip == asked.server);
                if of_server && !matches!(body, Body::Drop(_)) {
                    let known = first.entry(Arc::clone(&node)).or_insert(event.time);
                    *known = (*known).min(event.time);
                }
                let known = counts.entry(node).or_insert((0, event.time));
                *known = (known.0 + 1, known.1.min(event.time));
            }
        }
    }
    for (node, (count, oldest)) in counts {
        if count >= MAX_EVENTS {
            join.lost(&node, oldest);
        }
    }
    for node in &nodes {
        if let Some(facts) = statuses.facts(node, asked, first.get(node).copied()) {
            join.know(node, facts, statuses.clock(node));
        }
    }
    Ok(join)
}

/// What the agents say about themselves.
struct Statuses {
    agents: BTreeMap<String, (proto::StatusResponse, i64)>,
    /// How long they took: the error of their clocks.
    took: Duration,
}

impl Statuses {
    async fn ask(options: &Options) -> Statuses {
        let asked = Instant::now();
        let answered = tokio::time::timeout(ANSWER_WITHIN, status::ask(options)).await;
        let agents = match answered {
            Ok(Ok(statuses)) => statuses.agents,
            _ => Vec::new(),
        };
        let known = agents.into_iter().filter_map(|answer| {
            Some((answer.node?, (answer.status.ok()?, answer.clock_offset_ns)))
        });
        Statuses {
            agents: known.collect(),
            took: asked.elapsed(),
        }
    }

    fn clock(&self, node: &str) -> Clock {
        match self.agents.get(node) {
            Some((_, ahead_ns)) => Clock {
                ahead_ns: *ahead_ns,
                error: self.took,
            },
            None => Clock {
                ahead_ns: 0,
                error: UNKNOWN_CLOCK,
            },
        }
    }

    /// What a node's agent watched: the server's interface since this event of it.
    fn facts(&self, node: &str, asked: &Asked, first: Option<Timestamp>) -> Option<NodeFacts> {
        let (status, _) = self.agents.get(node)?;
        let info = status.node.as_ref()?;
        let uid = asked.pod.as_ref().map(|pod| &*pod.uid);
        let watched = status.interfaces.iter().any(|interface| {
            let own = (interface.pod.as_ref()).is_some_and(|pod| Some(pod.uid.as_str()) == uid);
            own && !interface.to_pod_unseen && !interface.from_pod_unseen
        });
        let watch = first.filter(|_| watched).map(|from| Watch {
            pod: asked.server,
            only: None,
            from,
            until: timestamp(info.now_unix_ns),
        });
        Some(NodeFacts {
            watched: watch.into_iter().collect(),
            sees_drops: status.drops_seen,
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
