//! Which agents a cluster has: running pods with the agents' label.
//!
//! Owns the question and how it is asked of the API server. Agents come, go and are replaced; [`follow`] tells of it.

use std::collections::HashSet;
use std::error::Error as _;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::sync::mpsc;

use super::{ClientError, Options, causes};

/// What an agent's pod is labelled with.
pub const LABEL: &str = "app.kubernetes.io/name=tracer,app.kubernetes.io/component=agent";
/// The namespace of deploy/: where those look who may not look everywhere.
const USUAL_NAMESPACE: &str = "tracer";
/// The container of deploy/.
const CONTAINER: &str = "agent";
/// kubelet sets it in every container.
const POD_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";
/// An API server that does not answer is told after so long.
const PATIENCE: Duration = Duration::from_secs(15);

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// The node it runs on.
    pub node: String,
    /// The container that the agent runs in.
    pub container: String,
}

/// An agent came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It runs.
    Runs(AgentPod),
    /// The pod of that UID does not run any more.
    Gone(String),
}

/// The cluster, and where in it agents are looked for.
#[derive(Clone)]
pub struct Cluster {
    /// The way to the API server.
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
    /// Finds the cluster as kubectl does, else the one that this runs in.
    pub async fn find(options: &Options) -> Result<Cluster, ClientError> {
        let config = config(options)
            .await
            .map_err(|why| ClientError::NoCluster { why })?;
        let client = kube::Client::try_from(config).map_err(|error| ClientError::NoCluster {
            why: causes(&error),
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

    /// Where agents are looked for.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The agents that run now, and sentences about those that do not. Who may not list pods in all namespaces gets those
    /// of the usual one.
    pub async fn list(&mut self) -> Result<(Vec<AgentPod>, Vec<String>), ClientError> {
        let parameters = ListParams::default().labels(LABEL);
        let listed = tokio::time::timeout(PATIENCE, self.pods.list(&parameters)).await;
        let why = match listed {
            Ok(Ok(pods)) => return Ok(sort(pods.items)),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 && self.is_everywhere() => {
                self.pods = Api::namespaced(self.client.clone(), USUAL_NAMESPACE);
                self.scope = format!("in namespace {USUAL_NAMESPACE}");
                match tokio::time::timeout(PATIENCE, self.pods.list(&parameters)).await {
                    Ok(Ok(pods)) => return Ok(sort(pods.items)),
                    Ok(Err(error)) => format!(
                        "{}; where the agents are in another namespace give --agent-namespace",
                        causes(&error)
                    ),
                    Err(_) => no_answer(),
                }
            }
            Ok(Err(error)) => causes(&error),
            Err(_) => no_answer(),
        };
        Err(ClientError::List {
            scope: self.scope.clone(),
            why,
        })
    }

    fn is_everywhere(&self) -> bool {
        self.scope == "in any namespace"
    }

    /// Tells of agents that come and go until nobody listens any more.
    pub async fn follow(self, told: mpsc::Sender<Change>) {
        let config = watcher::Config::default().labels(LABEL);
        let mut changes = std::pin::pin!(watcher(self.pods, config).default_backoff());
        let mut running: HashSet<String> = HashSet::new();
        let mut listed: HashSet<String> = HashSet::new();
        while let Some(change) = changes.next().await {
            let mut news = Vec::new();
            match change {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(pod)) => {
                    listed.insert(pod.uid().unwrap_or_default());
                    news.extend(seen(&pod, &mut running));
                }
                Ok(watcher::Event::InitDone) => {
                    let gone: Vec<String> = running.difference(&listed).cloned().collect();
                    for uid in gone {
                        running.remove(&uid);
                        news.push(Change::Gone(uid));
                    }
                }
                Ok(watcher::Event::Apply(pod)) => news.extend(seen(&pod, &mut running)),
                Ok(watcher::Event::Delete(pod)) => {
                    let uid = pod.uid().unwrap_or_default();
                    if running.remove(&uid) {
                        news.push(Change::Gone(uid));
                    }
                }
                // It tries again by itself, later and later.
                Err(error) => tracing::warn!("watching the agents' pods: {}", causes(&error)),
            }
            for change in news {
                if told.send(change).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn no_answer() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

fn seen(pod: &Pod, running: &mut HashSet<String>) -> Option<Change> {
    let uid = pod.uid().unwrap_or_default();
    match agent(pod) {
        Ok(agent) => running.insert(uid).then_some(Change::Runs(agent)),
        Err(_) => running.remove(&uid).then_some(Change::Gone(uid)),
    }
}

fn sort(pods: Vec<Pod>) -> (Vec<AgentPod>, Vec<String>) {
    let mut agents = Vec::new();
    let mut others = Vec::new();
    for pod in &pods {
        match agent(pod) {
            Ok(agent) => agents.push(agent),
            Err(why) => others.push(format!(
                "agent pod {}/{} {why}: nothing is seen of its node",
                pod.namespace().unwrap_or_default(),
                pod.name_any()
            )),
        }
    }
    agents.sort_by(|one, other| (&one.node, &one.name).cmp(&(&other.node, &other.name)));
    (agents, others)
}

/// The agent of a pod, or why it does not run.
fn agent(pod: &Pod) -> Result<AgentPod, String> {
    let spec = pod.spec.as_ref();
    let node = spec
        .and_then(|spec| spec.node_name.clone())
        .ok_or("is not scheduled")?;
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(format!("on {node} is ending"));
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
            let waits = state
                .and_then(|state| state.waiting.as_ref())
                .and_then(|waiting| waiting.reason.clone());
            let why = waits
                .or_else(|| status.and_then(|status| status.phase.clone()))
                .unwrap_or_else(|| "unknown".to_owned());
            Err(format!("on {node} does not run ({why})"))
        }
    }
}

async fn config(options: &Options) -> Result<kube::Config, String> {
    let choice = KubeConfigOptions {
        context: options.context.clone(),
        ..KubeConfigOptions::default()
    };
    match (&options.kubeconfig, &options.context) {
        (Some(path), _) => {
            let file = Kubeconfig::read_from(path)
                .map_err(|error| format!("{}: {}", path.display(), causes(&error)))?;
            kube::Config::from_custom_kubeconfig(file, &choice)
                .await
                .map_err(|error| format!("{}: {}", path.display(), causes(&error)))
        }
        (None, Some(_)) => kube::Config::from_kubeconfig(&choice)
            .await
            .map_err(|error| causes(&error)),
        (None, None) => kube::Config::infer()
            .await
            .map_err(|error| match error.source() {
                // That this is no pod either goes without saying where nothing says that it is one.
                Some(kubeconfig) if std::env::var_os(POD_VARIABLE).is_none() => causes(kubeconfig),
                _ => causes(&error),
            }),
    }
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
    fn only_agents_that_run_are_asked_and_of_the_others_it_is_said_why_not() {
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
    fn an_agent_comes_once_and_goes_once() {
        let mut running = HashSet::new();
        let runs = pod("a", json!({"running": {}}));
        assert!(matches!(
            seen(&runs, &mut running),
            Some(Change::Runs(agent)) if agent.uid == "a"
        ));
        assert_eq!(seen(&runs, &mut running), None);
        let crashed = pod("a", json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        assert_eq!(
            seen(&crashed, &mut running),
            Some(Change::Gone("a".to_owned()))
        );
        assert_eq!(seen(&crashed, &mut running), None);
        assert!(matches!(seen(&runs, &mut running), Some(Change::Runs(_))));
    }
}
