//! The agents of a cluster: running pods with the agents' label.
//!
//! Owns the requests to the API server. Agents start, end and are replaced; [`Cluster::follow`] reports it.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::sync::mpsc;
use tracer_core::model::error_chain::error_chain;

use super::{ClientError, Options};
use crate::cluster::kubeconfig::{self, explain};

/// The labels of an agent's pod.
pub const LABEL: &str = "app.kubernetes.io/name=tracer,app.kubernetes.io/component=agent";
/// The namespace in deploy/. It is searched where the user cannot list pods in all namespaces.
const USUAL_NAMESPACE: &str = "tracer";
/// The container's name in deploy/.
const CONTAINER: &str = "agent";
/// The kubelet sets this variable in every container.
const POD_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";
/// How long the API server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The node it runs on.
    pub node: String,
    /// The agent's container.
    pub container: String,
}

/// An agent started or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentChange {
    /// This agent runs.
    Started(AgentPod),
    /// The agent in the pod with this UID has ended.
    Ended(String),
}

/// The cluster, and where in it to search for agents.
#[derive(Clone)]
pub struct Cluster {
    /// The client for the API server.
    pub client: kube::Client,
    pods: Api<Pod>,
    scope: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cluster")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Finds the cluster as kubectl does, else the one that this process runs in.
    pub async fn find(options: &Options) -> Result<Cluster, ClientError> {
        let config = config(options)
            .await
            .map_err(|reason| ClientError::NoCluster { reason })?;
        let client = kube::Client::try_from(config).map_err(|error| ClientError::NoCluster {
            reason: explain(&error),
        })?;
        Ok(match &options.namespace {
            Some(namespace) => Cluster {
                pods: Api::namespaced(client.clone(), namespace),
                scope: format!("in namespace {namespace}"),
                client,
            },
            None => Cluster {
                pods: Api::all(client.clone()),
                scope: "in any namespace".to_owned(),
                client,
            },
        })
    }

    /// Where agents are searched, as in "no agent runs ...".
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The agents that run now, and sentences about those that do not. If the user cannot list pods in all
    /// namespaces, the agents in the usual one.
    pub async fn list(&mut self) -> Result<(Vec<AgentPod>, Vec<String>), ClientError> {
        let parameters = ListParams::default().labels(LABEL);
        let listed = tokio::time::timeout(ANSWER_WITHIN, self.pods.list(&parameters)).await;
        let reason = match listed {
            Ok(Ok(pods)) => return Ok(sort(pods.items)),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 && self.is_everywhere() => {
                self.pods = Api::namespaced(self.client.clone(), USUAL_NAMESPACE);
                self.scope = format!("in namespace {USUAL_NAMESPACE}");
                match tokio::time::timeout(ANSWER_WITHIN, self.pods.list(&parameters)).await {
                    Ok(Ok(pods)) => return Ok(sort(pods.items)),
                    Ok(Err(error)) => format!(
                        "{}; if the agents are in another namespace, use --agent-namespace",
                        explain(&error)
                    ),
                    Err(_) => no_answer(),
                }
            }
            Ok(Err(error)) => explain(&error),
            Err(_) => no_answer(),
        };
        Err(ClientError::List {
            scope: self.scope.clone(),
            reason,
        })
    }

    fn is_everywhere(&self) -> bool {
        self.scope == "in any namespace"
    }

    /// Sends agents that start and end, until the receiver is dropped.
    pub async fn follow(self, sender: mpsc::Sender<AgentChange>) {
        let config = watcher::Config::default().labels(LABEL);
        let mut changes = std::pin::pin!(watcher(self.pods, config).default_backoff());
        let mut running: HashSet<String> = HashSet::new();
        let mut listed: HashSet<String> = HashSet::new();
        while let Some(change) = changes.next().await {
            let mut found = Vec::new();
            match change {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(pod)) => {
                    listed.insert(pod.uid().unwrap_or_default());
                    found.extend(seen(&pod, &mut running));
                }
                Ok(watcher::Event::InitDone) => {
                    let gone: Vec<String> = running.difference(&listed).cloned().collect();
                    for uid in gone {
                        running.remove(&uid);
                        found.push(AgentChange::Ended(uid));
                    }
                }
                Ok(watcher::Event::Apply(pod)) => found.extend(seen(&pod, &mut running)),
                Ok(watcher::Event::Delete(pod)) => {
                    let uid = pod.uid().unwrap_or_default();
                    if running.remove(&uid) {
                        found.push(AgentChange::Ended(uid));
                    }
                }
                // The watcher retries by itself, with growing waits.
                Err(error) => {
                    tracing::warn!("cannot watch the agents' pods: {}", error_chain(&error));
                }
            }
            for change in found {
                if sender.send(change).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn no_answer() -> String {
    format!("no answer within {} s", ANSWER_WITHIN.as_secs())
}

fn seen(pod: &Pod, running: &mut HashSet<String>) -> Option<AgentChange> {
    let uid = pod.uid().unwrap_or_default();
    match agent(pod) {
        Ok(agent) => running.insert(uid).then_some(AgentChange::Started(agent)),
        Err(_) => running.remove(&uid).then_some(AgentChange::Ended(uid)),
    }
}

fn sort(pods: Vec<Pod>) -> (Vec<AgentPod>, Vec<String>) {
    let mut agents = Vec::new();
    let mut others = Vec::new();
    for pod in &pods {
        match agent(pod) {
            Ok(agent) => agents.push(agent),
            Err(why) => others.push(format!(
                "agent pod {}/{} {why}: its node is not traced",
                pod.namespace().unwrap_or_default(),
                pod.name_any()
            )),
        }
    }
    agents.sort_by(|one, other| (&one.node, &one.name).cmp(&(&other.node, &other.name)));
    (agents, others)
}

/// The agent in a pod, or why it does not run.
fn agent(pod: &Pod) -> Result<AgentPod, String> {
    let spec = pod.spec.as_ref();
    let node = spec
        .and_then(|spec| spec.node_name.clone())
        .ok_or("is not scheduled")?;
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(format!("on {node} is terminating"));
    }
    let containers = spec.map_or(&[][..], |spec| spec.containers.as_slice());
    let container = containers
        .iter()
        .find(|container| container.name == CONTAINER)
        .or(containers.first())
        .map(|container| container.name.clone())
        .ok_or("has no container")?;
    let status = pod.status.as_ref();
    let state = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|all| all.iter().find(|status| status.name == container))
        .and_then(|status| status.state.as_ref());
    match state {
        Some(state) if state.running.is_some() => Ok(AgentPod {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            node,
            container,
        }),
        _ => {
            let waiting = state
                .and_then(|state| state.waiting.as_ref())
                .and_then(|waiting| waiting.reason.clone());
            let why = waiting
                .or_else(|| status.and_then(|status| status.phase.clone()))
                .unwrap_or_else(|| "unknown".to_owned());
            Err(format!("on {node} is not running ({why})"))
        }
    }
}

async fn config(options: &Options) -> Result<kube::Config, String> {
    let (file, context) = (options.kubeconfig.as_deref(), options.context.as_deref());
    let problem = match kubeconfig::config(file, context).await {
        Ok(config) => return Ok(config),
        Err(problem) => problem,
    };
    // Outside a pod, leave out the error that this is not a pod.
    if file.is_some() || context.is_some() || std::env::var_os(POD_VARIABLE).is_none() {
        return Err(error_chain(&problem));
    }
    kube::Config::incluster()
        .map_err(|error| format!("{}; {}", error_chain(&problem), error_chain(&error)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, state: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "tracer", "name": format!("agent-{uid}"), "uid": uid},
            "spec": {"nodeName": format!("node-{uid}"), "containers": [{"name": "side"}, {"name": "agent"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "agent", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state}
            ]},
        }))
        .expect("a pod")
    }

    #[test]
    fn running_agents_are_listed_and_the_others_explained() {
        let (agents, others) = sort(vec![
            pod("b", json!({"running": {}})),
            pod("a", json!({"running": {}})),
            pod("c", json!({"waiting": {"reason": "ImagePullBackOff"}})),
        ]);
        let nodes: Vec<_> = agents.iter().map(|agent| agent.node.as_str()).collect();
        assert_eq!(nodes, ["node-a", "node-b"]);
        assert_eq!(agents[0].container, "agent");
        assert_eq!(others.len(), 1);
        assert!(
            others[0].contains("node-c") && others[0].contains("ImagePullBackOff"),
            "{others:?}"
        );
    }

    #[test]
    fn an_agent_is_reported_once_when_it_starts_and_once_when_it_ends() {
        let mut running = HashSet::new();
        let runs = pod("a", json!({"running": {}}));
        assert!(matches!(
            seen(&runs, &mut running),
            Some(AgentChange::Started(agent)) if agent.uid == "a"
        ));
        assert_eq!(seen(&runs, &mut running), None);
        let crashed = pod("a", json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        assert_eq!(
            seen(&crashed, &mut running),
            Some(AgentChange::Ended("a".to_owned()))
        );
        assert_eq!(seen(&crashed, &mut running), None);
        assert!(matches!(
            seen(&runs, &mut running),
            Some(AgentChange::Started(_))
        ));
    }
}
