//! `tracernodes`: the status of each agent. Agents are asked at most once in [`FRESH`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::events::{self, Events, Source, Term};
use super::form::Form;
use super::kinds::{self, GROUP_VERSION};
use super::render::{ListHead, Rendered, Renderer, age, rfc3339};
use super::request::Asked;
use super::selector::Selector;
use super::status::Failure;
use super::streams::Sources;
use super::version::Versions;
use crate::relay::findings::now_us;
use crate::stream::proto::node_status::Answer;
use crate::stream::proto::{NodeStatus, NodeStatuses, StatusResponse};

/// How long answers are used again.
const FRESH: Duration = Duration::from_secs(2);
/// How long an agent may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Agents that are asked at the same time.
const MAX_ASKED: usize = 64;
/// How often a watch looks for changes.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// The answers of all agents, for a short time.
#[derive(Debug, Default)]
pub struct Nodes {
    answers: Mutex<Option<(Instant, u64, Arc<NodeStatuses>)>>,
}

impl Nodes {
    /// The status of each node that has an agent or a pod, and the version of that state.
    pub async fn statuses(&self, sources: &Sources) -> (u64, Arc<NodeStatuses>) {
        // Requests that come meanwhile wait for the same answers.
        let mut answers = self.answers.lock().await;
        if let Some((since, version, known)) = &*answers
            && since.elapsed() < FRESH
        {
            return (*version, Arc::clone(known));
        }
        let version = now_us();
        let fresh = Arc::new(ask(sources).await);
        *answers = Some((Instant::now(), version, Arc::clone(&fresh)));
        (version, fresh)
    }
}

async fn ask(sources: &Sources) -> NodeStatuses {
    let connected = sources.agents.nodes();
    let mut nodes: BTreeMap<Arc<str>, Answer> = sources
        .pods
        .all_nodes()
        .into_iter()
        .map(|node| {
            let failure = "no agent of this node is connected to this relay";
            (node, Answer::Failure(failure.to_owned()))
        })
        .collect();
    let asked = futures::stream::iter(connected).map(|node| async move {
        let status = tokio::time::timeout(ANSWER_WITHIN, sources.agents.status(&node));
        let answer = match status.await {
            Ok(Ok(status)) => Answer::Status(status),
            Ok(Err(status)) => Answer::Failure(status.message().to_owned()),
            Err(_) => Answer::Failure(format!(
                "the agent did not answer within {} s",
                ANSWER_WITHIN.as_secs()
            )),
        };
        (node, answer)
    });
    let answers: Vec<(Arc<str>, Answer)> = asked.buffer_unordered(MAX_ASKED).collect().await;
    nodes.extend(answers);
    NodeStatuses {
        nodes: nodes
            .into_iter()
            .map(|(node, answer)| NodeStatus {
                node: node.to_string(),
                answer: Some(answer),
            })
            .collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn field(name: &str) -> Option<&'static str> {
    (name == "metadata.name").then_some("metadata.name")
}

fn selector(asked: &Asked) -> Result<Selector, Failure> {
    if asked.query.get("labelSelector").is_some() {
        return Err(Failure::bad_request(
            "labelSelector: tracernodes have no labels",
        ));
    }
    match (&asked.objects.name, asked.query.get("fieldSelector")) {
        (Some(name), None) => Selector::fields(Some(&format!("metadata.name={name}")), field),
        (_, text) => Selector::fields(text, field),
    }
}

fn fits(selector: &Selector, node: &NodeStatus) -> bool {
    selector.matches(|field| (field == "metadata.name").then_some(node.node.as_str()))
}

/// Answers a list.
pub async fn list(
    nodes: &Nodes,
    sources: &Sources,
    versions: Versions,
    asked: &Asked,
) -> Result<Body, Failure> {
    let selector = selector(asked)?;
    let (version, statuses) = nodes.statuses(sources).await;
    let fitting = statuses.nodes.iter().filter(|node| fits(&selector, node));
    if asked.form == Form::Native {
        let message = NodeStatuses {
            nodes: fitting.cloned().collect(),
            version: statuses.version.clone(),
        };
        return Ok(prost::Message::encode_to_vec(&message).into());
    }
    let version = versions.text(version);
    let items: Vec<Rendered> = fitting.map(|node| render(node, &version)).collect();
    let head = ListHead {
        version: version.clone(),
        ..ListHead::default()
    };
    Ok(renderer(asked).list(&head, items.into_iter()))
}

/// Answers a get.
pub async fn get(
    nodes: &Nodes,
    sources: &Sources,
    versions: Versions,
    asked: &Asked,
) -> Result<Value, Failure> {
    let name = asked.objects.name.as_deref().unwrap_or_default();
    let (version, statuses) = nodes.statuses(sources).await;
    let found = statuses.nodes.iter().find(|node| node.node == name);
    let node = found.ok_or_else(|| Failure::no_object(&kinds::NODES, name))?;
    let rendered = render(node, &versions.text(version));
    Ok(renderer(asked).object(rendered, true))
}

fn renderer(asked: &Asked) -> Renderer {
    Renderer {
        kind: &kinds::NODES,
        form: match asked.form {
            Form::Native => Form::Objects,
            form => form,
        },
    }
}

/// The state of an agent in a word.
fn state(node: &NodeStatus) -> &'static str {
    match &node.answer {
        Some(Answer::Status(_)) => "tracing",
        Some(Answer::Failure(_)) | None => "not connected",
    }
}

fn lost(status: &StatusResponse) -> u64 {
    status
        .lost
        .iter()
        .fold(0, |sum, lost| sum.saturating_add(lost.count))
}

fn started(status: &StatusResponse) -> Option<jiff::Timestamp> {
    let node = status.node.as_ref()?;
    jiff::Timestamp::from_nanosecond(i128::from(node.started_unix_ns)).ok()
}

/// The object of an agent, and its row.
fn render(node: &NodeStatus, version: &str) -> Rendered {
    let state = state(node);
    let mut object = json!({
        "kind": kinds::NODES.kind,
        "apiVersion": GROUP_VERSION,
        "metadata": {
            "name": node.node,
            "uid": node.node,
            "resourceVersion": version,
            "creationTimestamp": null,
        },
        "status": {"state": state},
    });
    let mut cells: Vec<Value> = vec![node.node.as_str().into(), state.into()];
    match &node.answer {
        Some(Answer::Status(status)) => {
            let info = status.node.clone().unwrap_or_default();
            let started = started(status);
            object["metadata"]["creationTimestamp"] = started.map(rfc3339).into();
            let fields = json!({
                "state": state,
                "version": info.version,
                "commit": status.commit,
                "kernel": status.kernel,
                "started": started.map(rfc3339),
                "pods": status.interfaces.len(),
                "packets": status.packets,
                "records": status.records,
                "events": status.events,
                "lost": status.lost.iter().map(|lost| json!({
                    "reason": lost.reason, "count": lost.count,
                })).collect::<Vec<_>>(),
                "blindSpots": status.blind_spots,
                "clients": status.clients,
                "index": status.index.as_ref().map(|index| json!({
                    "state": index.state, "synced": index.synced,
                    "pods": index.pods, "services": index.services,
                })),
                "history": status.history.as_ref().map(|history| json!({
                    "events": history.events, "bytes": history.bytes,
                    "maxBytes": history.max_bytes, "dropped": history.dropped,
                })),
            });
            object["status"] = fields;
            let now = jiff::Timestamp::now();
            cells.extend([
                info.version.into(),
                status.interfaces.len().into(),
                lost(status).into(),
                started.map(|since| age(since, now)).into(),
                status.kernel.as_str().into(),
                status
                    .blind_spots
                    .first()
                    .cloned()
                    .unwrap_or_default()
                    .into(),
            ]);
        }
        Some(Answer::Failure(why)) => {
            object["status"]["message"] = why.as_str().into();
            cells.extend([
                Value::from("-"),
                Value::Null,
                Value::Null,
                Value::from("-"),
                Value::from("-"),
                why.as_str().into(),
            ]);
        }
        None => cells.extend(std::iter::repeat_n(Value::Null, 6)),
    }
    Rendered { object, cells }
}

/// What a watch compares: not the counters, which change all the time.
fn summary(node: &NodeStatus) -> String {
    match &node.answer {
        Some(Answer::Status(status)) => format!(
            "{} {:?} {} {:?}",
            state(node),
            status
                .node
                .as_ref()
                .map(|node| (&node.version, &node.instance)),
            status.interfaces.len(),
            status.blind_spots,
        ),
        Some(Answer::Failure(why)) => why.clone(),
        None => String::new(),
    }
}

/// Answers a watch: looks for changes every few seconds.
pub fn watch(
    nodes: Arc<Nodes>,
    sources: Sources,
    versions: Versions,
    asked: &Asked,
    term: Term,
) -> Result<Body, Failure> {
    let watch = Watch {
        nodes,
        sources,
        versions,
        selector: selector(asked)?,
        known: BTreeMap::new(),
        next: Instant::now(),
    };
    Ok(events::body(watch, renderer(asked), term))
}

struct Watch {
    nodes: Arc<Nodes>,
    sources: Sources,
    versions: Versions,
    selector: Selector,
    /// What was sent: a summary, and the status.
    known: BTreeMap<String, (String, NodeStatus)>,
    next: Instant,
}

impl Source for Watch {
    async fn more(&mut self, events: &mut Events) -> bool {
        tokio::time::sleep_until(self.next).await;
        let (version, statuses) = self.nodes.statuses(&self.sources).await;
        self.next = Instant::now() + WATCH_EVERY;
        let version = self.versions.text(version);
        let mut before = std::mem::take(&mut self.known);
        for node in &statuses.nodes {
            if !fits(&self.selector, node) {
                continue;
            }
            let summary = summary(node);
            let change = match before.remove(&node.node) {
                None => Some("ADDED"),
                Some((known, _)) => (known != summary).then_some("MODIFIED"),
            };
            if let Some(change) = change {
                events.push(change, render(node, &version));
            }
            self.known
                .insert(node.node.clone(), (summary, node.clone()));
        }
        for (_, node) in before.into_values() {
            events.push("DELETED", render(&node, &version));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::proto::{Lost, NodeInfo};

    fn node(change: impl FnOnce(&mut StatusResponse)) -> NodeStatus {
        let mut status = StatusResponse {
            node: Some(NodeInfo {
                node: "a".to_owned(),
                version: "1.2.3".to_owned(),
                instance: "1".to_owned(),
                started_unix_ns: 1_800_000_000_000_000_000,
                ..NodeInfo::default()
            }),
            kernel: "6.1".to_owned(),
            ..StatusResponse::default()
        };
        change(&mut status);
        NodeStatus {
            node: "a".to_owned(),
            answer: Some(Answer::Status(status)),
        }
    }

    #[test]
    fn a_watch_reports_states_and_not_counters() {
        let before = summary(&node(|_| {}));
        let counted = node(|status| {
            status.packets = 5;
            status.lost.push(Lost {
                count: 7,
                ..Lost::default()
            });
        });
        assert_eq!(summary(&counted), before);
        let blind = node(|status| status.blind_spots.push("no probes".to_owned()));
        assert_ne!(summary(&blind), before);
        let restarted = node(|status| {
            if let Some(info) = &mut status.node {
                info.instance = "2".to_owned();
            }
        });
        assert_ne!(summary(&restarted), before);
    }

    #[test]
    fn every_row_has_the_columns_of_its_kind() {
        let away = NodeStatus {
            node: "b".to_owned(),
            answer: Some(Answer::Failure("no agent".to_owned())),
        };
        let blind = node(|status| status.blind_spots.push("no probes".to_owned()));
        for (node, state) in [
            (node(|_| {}), "tracing"),
            (blind, "tracing"),
            (away, "not connected"),
        ] {
            let rendered = render(&node, "1");
            assert_eq!(rendered.cells.len(), kinds::NODES.columns.len(), "{state}");
            assert_eq!(rendered.cells[1], state);
            assert_eq!(rendered.object["status"]["state"], state);
        }
    }
}
