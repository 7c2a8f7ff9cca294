//! What to ask the agents of both nodes about a finding, and the path that their answers show.
//!
//! Owns how much is asked: the events of the client's pod on both nodes, and those of the server's pod near the
//! attempt, which show who else reached it, under a translated address too. Who asks, `tracer diagnose` or a relay,
//! gives the answers to [`Gathered`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::event::timestamp;
use super::proto;
use tracer_core::diagnose::can_be_followed;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::Finding;
use tracer_core::model::identity::PodIdentity;
use tracer_core::model::loss::Stage;
use tracer_core::model::path::Path;
use tracer_core::model::time::Timestamp;
use tracer_core::path::{Clock, Join, NodeFacts, NodeName, Question, Watch};
use tracer_core::view::filter::{EventType, FilterConfig, PodPattern};

/// Attempts of this time before the last failure are considered.
const LATEST: Duration = Duration::from_secs(60);
/// Events of the server's pod from this time before the attempt to this time after it: an agent reports losses within
/// ten seconds.
const AROUND: Duration = Duration::from_secs(12);
/// An event of this time before the attempt shows that the server's agent knew the pod.
const BEFORE: Duration = Duration::from_secs(120);
/// Events of the client's pod: the latest. An answer of this many can lack older ones.
const MAX_OF_CLIENT: usize = 1_000;
/// Events of the server's pod that are read.
const MAX_OF_SERVER: usize = 5_000;
/// The error of a clock that no status shows.
const UNKNOWN_CLOCK: Duration = Duration::from_secs(2);

/// A finding to ask about.
#[derive(Clone, Debug)]
pub struct Asked {
    question: Question,
    /// The endpoint, if it is known.
    server: Option<IpAddr>,
    server_pod: Option<Arc<PodIdentity>>,
    server_node: Option<NodeName>,
    /// `context/` in front of the names of nodes, where several clusters are asked.
    cluster: String,
}

/// A part of what is asked, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Events with the client's address.
    Client,
    /// Events with the server's address near the attempt.
    Server,
    /// An earlier event of the server's pod.
    Earlier,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 3] = [Part::Client, Part::Server, Part::Earlier];
}

/// A question to agents.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// To the agents of these nodes.
    pub nodes: Vec<NodeName>,
    /// For these events.
    pub filter: FilterConfig,
    /// That began at this time or later, by the clock of the client's node.
    pub since: Timestamp,
    /// At most so many of each node, the latest ones.
    pub last: Option<usize>,
}

impl Asked {
    /// About a finding of a node; `None` if its rule or its other end has no path.
    pub fn about(node: &str, event: &Event, finding: &Finding) -> Option<Asked> {
        if !can_be_followed(finding.rule) {
            return None;
        }
        let mut asked = Asked::about_attempt(node, event)?;
        let from = &mut asked.question.from;
        *from = (*from).max(earlier(finding.last, LATEST));
        Some(asked)
    }

    /// About the attempt of an event, or of a finding; `None` if its other end has no path.
    pub fn about_attempt(node: &str, event: &Event) -> Option<Asked> {
        let (cluster, name) = match node.rfind('/') {
            Some(slash) => node.split_at(slash + 1),
            None => ("", node),
        };
        let question = Question::about(&name.into(), event)?;
        let peer = &event.ends.as_ref()?.peer;
        let (server, server_pod, server_node) = match (&peer.backend, &peer.pod) {
            (Some(backend), _) => (Some(backend.ip), backend.pod.clone(), backend.node.clone()),
            (None, Some(pod)) => (Some(peer.ip), Some(Arc::clone(pod)), peer.node.clone()),
            // The client's node may have dropped the request.
            (None, None) if peer.service.is_some() => (None, None, None),
            (None, None) => return None,
        };
        let of_pod = server_pod.as_ref().and_then(|pod| pod.node.clone());
        Some(Asked {
            question,
            server,
            server_node: of_pod.or(server_node),
            server_pod,
            cluster: cluster.to_owned(),
        })
    }

    /// The nodes of both ends, as they are named by the source of the finding.
    pub fn nodes(&self) -> Vec<NodeName> {
        let mut nodes = vec![self.shown(&self.question.node)];
        nodes.extend(self.server_node.as_ref().map(|node| self.shown(node)));
        nodes.dedup();
        nodes
    }

    fn shown(&self, node: &str) -> NodeName {
        format!("{}{node}", self.cluster).into()
    }

    fn request(&self, part: Part) -> Option<Request> {
        let server = || self.server_node.iter().map(|node| self.shown(node));
        let client = self.question.client;
        let (nodes, address, before, last) = match part {
            Part::Client => (self.nodes(), client, AROUND, Some(MAX_OF_CLIENT)),
            Part::Server => (server().collect(), self.server?, AROUND, None),
            Part::Earlier => (server().collect(), self.server?, BEFORE, None),
        };
        Some(Request {
            nodes,
            filter: FilterConfig {
                types: vec![
                    EventType::Tcp,
                    EventType::Udp,
                    EventType::Dns,
                    EventType::Icmp,
                    EventType::Drop,
                ],
                pods: vec![PodPattern::Address(address)],
                both_sides: true,
                ..FilterConfig::default()
            },
            since: earlier(self.question.from, before),
            last,
        })
    }
}

/// What an agent says about itself.
#[derive(Clone, Debug)]
pub struct AgentStatus {
    /// Its status.
    pub status: proto::StatusResponse,
    /// Its clock, by that of who asks.
    pub clock: Clock,
}

impl AgentStatus {
    /// A status that was asked for and came at these times, nanoseconds since 1970 by the clock of who asked.
    pub fn answered(status: proto::StatusResponse, asked_ns: i64, answered_ns: i64) -> AgentStatus {
        let took = answered_ns.saturating_sub(asked_ns).max(0);
        let between = asked_ns.saturating_add(took / 2);
        let now = status
            .node
            .as_ref()
            .map_or(between, |node| node.now_unix_ns);
        AgentStatus {
            clock: Clock {
                ahead_ns: now.saturating_sub(between),
                error: Duration::from_nanos(took.unsigned_abs()),
            },
            status,
        }
    }
}

/// The answers about a finding so far.
pub struct Gathered<'a> {
    asked: &'a Asked,
    statuses: &'a BTreeMap<NodeName, AgentStatus>,
    join: Join,
    /// When the server's node reported its first event: its interface was watched from then on.
    first: Option<Timestamp>,
    /// How many events a node sent of the client, and the time of the oldest.
    of_client: BTreeMap<NodeName, (usize, Timestamp)>,
    of_server: usize,
}

impl<'a> Gathered<'a> {
    /// Nothing yet.
    pub fn new(asked: &'a Asked, statuses: &'a BTreeMap<NodeName, AgentStatus>) -> Gathered<'a> {
        Gathered {
            asked,
            statuses,
            join: Join::default(),
            first: None,
            of_client: BTreeMap::new(),
            of_server: 0,
        }
    }

    /// What to ask for this part; `None` if nothing.
    pub fn request(&self, part: Part) -> Option<Request> {
        let known = self
            .first
            .is_some_and(|first| first < self.asked.question.from);
        let needed = part != Part::Earlier || !known;
        let request = self.asked.request(part).filter(|_| needed)?;
        (!request.nodes.is_empty()).then_some(request)
    }

    /// When a request starts on a node, by that node's clock.
    pub fn since(&self, request: &Request, node: &str) -> Timestamp {
        Timestamp((request.since.0).saturating_add_signed(self.ahead_of_client(node)))
    }

    /// Takes an event and the time at which the agent decided it. Breaks if no more of this part is needed.
    pub fn take(
        &mut self,
        part: Part,
        node: &str,
        event: &Event,
        decided: Timestamp,
    ) -> ControlFlow<()> {
        let clock = self.clock(node);
        let reported = decided;
        let decided = Timestamp((decided.0).saturating_add_signed(-self.ahead_of_client(node)));
        let node: NodeName = node
            .strip_prefix(&*self.asked.cluster)
            .unwrap_or(node)
            .into();
        self.join.feed(&node, event, clock);
        if let Body::Lost(loss) = &event.body {
            if loss.stage == Stage::Stream {
                self.lost(&node);
            }
            return ControlFlow::Continue(());
        }
        let at_server =
            (event.ends.as_ref()).is_some_and(|ends| Some(ends.pod.ip) == self.asked.server);
        if at_server && !matches!(event.body, Body::Drop(_)) {
            // Not when it began: of that time the agent may have no event any more.
            self.first = Some(self.first.map_or(reported, |known| known.min(reported)));
        }
        match part {
            Part::Client => {
                let known = self.of_client.entry(node).or_insert((0, event.time));
                *known = (known.0 + 1, known.1.min(event.time));
                ControlFlow::Continue(())
            }
            Part::Server => {
                self.of_server += 1;
                if decided > self.asked.question.until.after(AROUND + UNKNOWN_CLOCK) {
                    return ControlFlow::Break(());
                }
                if self.of_server < MAX_OF_SERVER {
                    return ControlFlow::Continue(());
                }
                self.lost(&node);
                ControlFlow::Break(())
            }
            Part::Earlier => match self.first {
                Some(first) if first < self.asked.question.from => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            },
        }
    }

    /// Events of this node were not read: what they were, and when, is not known.
    pub fn lost(&mut self, node: &str) {
        let node = node.strip_prefix(&*self.asked.cluster).unwrap_or(node);
        self.join.lost(&node.into(), Timestamp(u64::MAX));
    }

    /// The path.
    pub fn path(mut self) -> Option<Path> {
        for (node, (count, oldest)) in std::mem::take(&mut self.of_client) {
            if count >= MAX_OF_CLIENT {
                self.join.lost(&node, oldest);
            }
        }
        for shown in self.asked.nodes() {
            let node: NodeName = shown[self.asked.cluster.len()..].into();
            if let Some(facts) = self.facts(&shown, &node) {
                self.join.know(&node, facts, self.clock(&shown));
            }
        }
        self.join.path(&self.asked.question)
    }

    fn clock(&self, node: &str) -> Clock {
        self.statuses.get(node).map_or(
            Clock {
                ahead_ns: 0,
                error: UNKNOWN_CLOCK,
            },
            |agent| agent.clock,
        )
    }

    /// How far a node's clock is ahead of that of the client's node.
    fn ahead_of_client(&self, node: &str) -> i64 {
        let client = self.clock(&self.asked.shown(&self.asked.question.node));
        (self.clock(node).ahead_ns).saturating_sub(client.ahead_ns)
    }

    /// What a node's agent watched: the server's interface since its first event.
    fn facts(&self, shown: &str, node: &str) -> Option<NodeFacts> {
        let status = &self.statuses.get(shown)?.status;
        let info = status.node.as_ref()?;
        let uid = self.asked.server_pod.as_ref().map(|pod| &*pod.uid);
        let watched = status.interfaces.iter().any(|interface| {
            let own = (interface.pod.as_ref()).is_some_and(|pod| Some(pod.uid.as_str()) == uid);
            own && !interface.to_pod_unseen && !interface.from_pod_unseen
        });
        let first = self.first.filter(|_| {
            watched && (self.asked.server_node.as_ref()).is_some_and(|server| **server == *node)
        });
        let watch = first.zip(self.asked.server).map(|(from, pod)| Watch {
            pod,
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

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
