//! Paths of the findings in the store: what the agents of both nodes saw of the latest attempt.
//!
//! Owns when which finding is asked about. A finding waits until both agents can have reported the attempt, and is
//! asked about once a minute at most while it has new failures. Few questions run at a time, one at most to an agent,
//! and the pods take turns ([`Queue`]), so that one with many findings delays no other's. What is not asked in time
//! has an older path or none; nothing rests on it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tonic::Status;

use super::agents::Agents;
use super::findings::store::Kept;
use super::findings::{Findings, now_us};
use crate::stream::event::{from_wire, timestamp, unix_clock, unix_ns};
use crate::stream::filter;
use crate::stream::paths::{AgentStatus, Asked, Gathered, Part, Request};
use crate::stream::proto;
use crate::stream::proto::observe_response::Message;
use tracer_core::model::path::Path;
use tracer_core::path::NodeName;

/// Between two questions about a finding.
const AGAIN_US: u64 = 60 * SECOND_US;
/// Questions at a time.
const MAX_RUNNING: usize = 4;
/// Between the starts of two questions.
const PACE: Duration = Duration::from_millis(100);
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often the queue is looked at while nothing happens.
const IDLE: Duration = Duration::from_secs(1);
/// Changes of the store that are read at a time.
const PAGE: usize = 1_000;
const SECOND_US: u64 = 1_000_000;

/// How questions about paths ended.
#[derive(Debug, Default)]
pub struct Counts {
    /// With a path whose halves are both known.
    pub whole: AtomicU64,
    /// With a path of which one half is unknown.
    pub half: AtomicU64,
    /// Without a path: the agents have no event of the attempt.
    pub none: AtomicU64,
    /// An agent did not answer.
    pub failed: AtomicU64,
}

/// Namespace and name of a pod.
type PodKey = (Arc<str>, Arc<str>);

/// A finding in the queue.
#[derive(Debug)]
struct Waiting {
    due_us: u64,
    nodes: Vec<NodeName>,
}

/// The findings to ask about, by pod and name. Bounded by the store: each is there once, and leaves with its finding.
#[derive(Debug, Default)]
struct Queue {
    pods: BTreeMap<PodKey, BTreeMap<Arc<str>, Waiting>>,
    /// The pod whose turn it was last.
    last: Option<PodKey>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn put(&mut self, pod: PodKey, name: Arc<str>, waiting: Waiting) {
        self.pods.entry(pod).or_default().insert(name, waiting);
    }

    fn remove(&mut self, pod: &PodKey, name: &str) -> Option<Waiting> {
        let findings = self.pods.get_mut(pod)?;
        let removed = findings.remove(name);
        if findings.is_empty() {
            self.pods.remove(pod);
        }
        removed
    }

    /// Takes the finding that has waited longest of the next pod, in turn, that has one which is due and whose agents
    /// are not busy.
    fn take(
        &mut self,
        now_us: u64,
        busy: &BTreeSet<NodeName>,
    ) -> Option<(PodKey, Arc<str>, Waiting)> {
        let after = match &self.last {
            Some(pod) => Bound::Excluded(pod.clone()),
            None => Bound::Unbounded,
        };
        let in_turn = self.pods.range((after, Bound::Unbounded));
        let (pod, name) = in_turn.chain(&self.pods).find_map(|(pod, findings)| {
            let ready = |waiting: &Waiting| {
                waiting.due_us <= now_us && !waiting.nodes.iter().any(|node| busy.contains(node))
            };
            let ready = findings.iter().filter(|(_, waiting)| ready(waiting));
            let (name, _) = ready.min_by_key(|(_, waiting)| waiting.due_us)?;
            Some((pod.clone(), Arc::clone(name)))
        })?;
        let waiting = self.remove(&pod, &name)?;
        self.last = Some(pod.clone());
        Some((pod, name, waiting))
    }

    /// Takes over what has changed in the store.
    fn consider(&mut self, kept: &Kept, gone: bool, settled_us: u64) {
        let pod = (Arc::clone(&kept.namespace), Arc::clone(&kept.pod));
        let name: Arc<str> = kept.object.name.as_str().into();
        match due_us(kept, settled_us).filter(|_| !gone).zip(asked(kept)) {
            Some((due_us, asked)) => {
                let nodes = asked.nodes();
                self.put(pod, name, Waiting { due_us, nodes });
            }
            None => {
                self.remove(&pod, &name);
            }
        }
    }
}

/// When to ask about a finding; `None` if it has no failure that was not asked about.
fn due_us(kept: &Kept, settled_us: u64) -> Option<u64> {
    let finding = kept.finding().filter(|finding| !finding.is_resolved())?;
    let settled = kept.version.saturating_add(settled_us);
    match kept.asked {
        Some(asked) if asked.last >= finding.last => None,
        Some(asked) => Some(settled.max(asked.answered_us.saturating_add(AGAIN_US))),
        None => Some(settled),
    }
}

fn asked(kept: &Kept) -> Option<Asked> {
    Asked::about(&kept.node, &kept.event, kept.finding()?)
}

/// Asks about the findings of the store, each so long after its report, until the future is dropped.
pub async fn follow(findings: Arc<Findings>, agents: Arc<Agents>, settled: Duration) {
    let settled_us = u64::try_from(settled.as_micros()).unwrap_or(u64::MAX);
    let mut changes = findings.changes();
    let mut seen = findings.version();
    let mut queue = Queue::default();
    let mut busy = BTreeSet::new();
    let mut running: JoinSet<Vec<NodeName>> = JoinSet::new();
    loop {
        seen = read(&findings, seen, &mut queue, settled_us);
        let mut started = false;
        if running.len() < MAX_RUNNING
            && let Some(((namespace, _), name, waiting)) = queue.take(now_us(), &busy)
        {
            busy.extend(waiting.nodes.iter().cloned());
            let question = Question {
                namespace,
                name,
                findings: Arc::clone(&findings),
                agents: Arc::clone(&agents),
            };
            running.spawn(async move {
                question.run().await;
                waiting.nodes
            });
            started = true;
        }
        let pause = if started { PACE } else { IDLE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = changes.changed(), if queue.is_empty() && running.is_empty() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        while let Some(ended) = running.try_join_next() {
            match ended {
                Ok(nodes) => busy.retain(|node| !nodes.contains(node)),
                // Whose it was is not known.
                Err(_) => busy.clear(),
            }
        }
    }
}

/// Reads the changes after a version. Returns the version of the last one.
fn read(findings: &Findings, mut seen: u64, queue: &mut Queue, settled_us: u64) -> u64 {
    loop {
        let Ok(changes) = findings.changed_after(seen, PAGE) else {
            // A finding that is still active is reported again.
            return findings.version();
        };
        for change in &changes {
            seen = change.version;
            queue.consider(&change.kept, change.gone, settled_us);
        }
        if changes.len() < PAGE {
            return seen;
        }
    }
}

/// A question about one finding.
struct Question {
    namespace: Arc<str>,
    name: Arc<str>,
    findings: Arc<Findings>,
    agents: Arc<Agents>,
}

impl Question {
    async fn run(self) {
        let Some(kept) = self.findings.get(&self.namespace, &self.name) else {
            return;
        };
        let Some((asked, last)) = asked(&kept).zip(kept.finding().map(|finding| finding.last))
        else {
            return;
        };
        let answer = tokio::time::timeout(ANSWER_WITHIN, path(&self.agents, &asked)).await;
        let counts = &self.findings.paths;
        let (counter, path) = match answer {
            Ok(Ok(Some(path))) if path.verdict.is_partial() => (&counts.half, Some(path)),
            Ok(Ok(Some(path))) => (&counts.whole, Some(path)),
            Ok(Ok(None)) => (&counts.none, None),
            Ok(Err(_)) | Err(_) => (&counts.failed, None),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.findings
            .set_path(&self.namespace, &self.name, last, path);
    }
}

/// The path of a finding. An agent that is not connected leaves its half unknown.
async fn path(agents: &Agents, asked: &Asked) -> Result<Option<Path>, Status> {
    let mut statuses = BTreeMap::new();
    for node in asked.nodes() {
        let began = unix_ns(jiff::Timestamp::now());
        if let Ok(status) = agents.status(&node).await {
            let ended = unix_ns(jiff::Timestamp::now());
            statuses.insert(node, AgentStatus::answered(status, began, ended));
        }
    }
    let mut gathered = Gathered::new(asked, &statuses);
    for part in Part::ALL {
        let Some(request) = gathered.request(part) else {
            continue;
        };
        for node in &request.nodes {
            if statuses.contains_key(node) {
                gather(agents, node, part, &request, &mut gathered).await?;
            }
        }
    }
    Ok(gathered.path())
}

async fn gather(
    agents: &Agents,
    node: &str,
    part: Part,
    request: &Request,
    gathered: &mut Gathered<'_>,
) -> Result<(), Status> {
    let since = gathered.since(request, node);
    let request = proto::ObserveRequest {
        filter: Some(filter::to_wire(&request.filter)),
        history: true,
        since_unix_ns: Some(unix_ns(unix_clock(since))),
        last: request.last.and_then(|last| u32::try_from(last).ok()),
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..proto::ObserveRequest::default()
    };
    let mut stream = agents.observe(node, request).await?;
    while let Some(response) = stream.message().await? {
        match response.message {
            Some(Message::Event(emitted)) => {
                let event = emitted.event.and_then(|event| from_wire(event).ok());
                let Some(event) = event else {
                    gathered.lost(node);
                    continue;
                };
                let decided = timestamp(emitted.emitted_unix_ns);
                if gathered.take(part, node, &event, decided).is_break() {
                    break;
                }
            }
            Some(Message::Lost(_)) => gathered.lost(node),
            Some(Message::Node(_) | Message::Mark(_)) | None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(queue: &mut Queue, pod: &str, name: &str, due_us: u64, node: &str) {
        let pod = ("shop".into(), pod.into());
        let nodes = vec![node.into()];
        queue.put(pod, name.into(), Waiting { due_us, nodes });
    }

    fn taken(queue: &mut Queue, now_us: u64, busy: &BTreeSet<NodeName>) -> Option<String> {
        let ((_, pod), name, _) = queue.take(now_us, busy)?;
        Some(format!("{pod}/{name}"))
    }

    #[test]
    fn a_pod_with_many_findings_delays_no_other() {
        let mut queue = Queue::default();
        let free = BTreeSet::new();
        for number in 0..100 {
            put(
                &mut queue,
                "loud",
                &format!("x-{number:02}"),
                100 - number,
                "a",
            );
        }
        put(&mut queue, "calm", "y", 200, "b");
        put(&mut queue, "quiet", "z", 200, "b");
        let first: Vec<String> = (0..4)
            .filter_map(|_| taken(&mut queue, 300, &free))
            .collect();
        // Of one pod the one that has waited longest.
        assert_eq!(first, ["calm/y", "loud/x-99", "quiet/z", "loud/x-98"]);
    }

    #[test]
    fn nothing_is_taken_before_it_is_due_or_while_its_agent_answers_another() {
        let mut queue = Queue::default();
        put(&mut queue, "web", "x", 200, "a");
        let busy: BTreeSet<NodeName> = [NodeName::from("a")].into();
        assert_eq!(taken(&mut queue, 199, &BTreeSet::new()), None);
        assert_eq!(taken(&mut queue, 200, &busy), None);
        assert_eq!(
            taken(&mut queue, 200, &BTreeSet::new()).as_deref(),
            Some("web/x")
        );
        assert!(queue.is_empty());
    }
}
