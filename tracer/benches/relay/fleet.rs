//! Agents without probes, and the events that they emit.
//!
//! A namespace has its pods on ten nodes, as a team's Deployments do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tracer::stream::event::{unix_clock, unix_ns};
use tracer::stream::hub::{AgentIdentity, Hub};
use tracer::stream::relays::{Relays, RelaysConfig};
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::identity::PodIdentity;
use tracer_core::model::time::Timestamp;
use tracer_core::view::gallery;

use super::api::ApiServer;

/// Pods of each node.
const PODS: usize = 4;
/// Findings of each node.
const FINDINGS: usize = 4;
/// Between two rounds of events.
const ROUND: Duration = Duration::from_millis(20);

struct Node {
    name: String,
    hub: Arc<Hub>,
    pods: Vec<Arc<PodIdentity>>,
}

pub struct Fleet {
    nodes: Vec<Node>,
    relays: Mutex<Vec<Relays>>,
    dns: Event,
    finding: Event,
    emitted: AtomicU64,
}

impl Fleet {
    /// Nodes, and pods in as many namespaces as there are watchers.
    pub fn new(nodes: usize, namespaces: usize) -> Fleet {
        let find = |fits: fn(&Body) -> bool| {
            let mut all = gallery::all().into_iter().map(|(_, event)| event);
            all.find(|event| fits(&event.body) && event.ends.is_some())
                .expect("the gallery has one")
        };
        let node = |number: usize| {
            let name = format!("node-{number}");
            let identity = AgentIdentity {
                node: name.as_str().into(),
                instance: format!("{number:032x}"),
                started_unix_ns: unix_ns(jiff::Timestamp::now()),
            };
            let (hub, _) = Hub::new(identity, 4 << 20);
            let pod = |pod: usize| {
                Arc::new(PodIdentity {
                    namespace: format!("team-{}", (number / 10) % namespaces).into(),
                    name: format!("pod-{number}-{pod}").into(),
                    uid: format!("uid-{number}-{pod}").into(),
                    workload: None,
                    node: Some(name.as_str().into()),
                })
            };
            Node {
                pods: (0..PODS).map(pod).collect(),
                name,
                hub,
            }
        };
        Fleet {
            nodes: (0..nodes).map(node).collect(),
            relays: Mutex::default(),
            dns: find(|body| matches!(body, Body::Dns(..))),
            finding: find(|body| matches!(body, Body::Finding(_))),
            emitted: AtomicU64::new(0),
        }
    }

    /// All pods, as the API server lists them.
    pub fn pods(&self) -> Value {
        let pods = self.nodes.iter().flat_map(|node| {
            node.pods.iter().map(|pod| {
                json!({"metadata": {"name": &*pod.name, "namespace": &*pod.namespace, "uid": &*pod.uid,
                    "resourceVersion": "1"}, "spec": {"nodeName": node.name}})
            })
        });
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
            "items": pods.collect::<Vec<_>>()})
    }

    pub fn findings(&self) -> usize {
        self.nodes.len() * FINDINGS
    }

    pub fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    /// Every agent connects to the relay. It has some findings from before.
    pub async fn connect(&self, api: &ApiServer, relay: SocketAddr) {
        for node in &self.nodes {
            for number in 0..FINDINGS {
                let Some(pod) = node.pods.get(number % PODS) else {
                    continue;
                };
                let mut event = of(&self.finding, pod);
                if let Body::Finding(finding) = &mut event.body {
                    finding.id = format!("{}-{number}", node.name);
                }
                put(&node.hub, event);
            }
            let token = api.directory().join(&node.name);
            std::fs::write(&token, &node.name).expect("written");
            let config = RelaysConfig {
                service: "tracer-relay".to_owned(),
                namespace: Some("tracer".to_owned()),
                token,
            };
            let relays = Relays::start(config, api.source(), Arc::clone(&node.hub));
            relays.connect_to(BTreeSet::from([relay]));
            self.relays.lock().push(relays);
        }
    }

    /// Emits so many events a second, in turn on all nodes.
    pub fn emit(self: Arc<Self>, per_second: usize) -> JoinHandle<()> {
        let each_round = (per_second as f64 * ROUND.as_secs_f64()) as usize;
        tokio::spawn(async move {
            let mut rounds = tokio::time::interval(ROUND);
            let mut next = 0;
            loop {
                rounds.tick().await;
                for _ in 0..each_round {
                    let Some(node) = self.nodes.get(next % self.nodes.len()) else {
                        return;
                    };
                    let Some(pod) = node.pods.get((next / self.nodes.len()) % PODS) else {
                        return;
                    };
                    put(&node.hub, of(&self.dns, pod));
                    next += 1;
                }
                self.emitted.fetch_add(each_round as u64, Ordering::Relaxed);
                for node in &self.nodes {
                    node.hub.reached(unix_ns(jiff::Timestamp::now()));
                }
            }
        })
    }
}

fn put(hub: &Hub, event: Event) {
    hub.put(unix_ns(jiff::Timestamp::now()), &event, &unix_clock);
}

/// The event, now and of this pod.
fn of(event: &Event, pod: &Arc<PodIdentity>) -> Event {
    let mut event = event.clone();
    let now = u64::try_from(unix_ns(jiff::Timestamp::now())).expect("after 1970");
    event.time = Timestamp(now);
    if let Some(ends) = &event.ends {
        let mut ends = Ends::clone(ends);
        ends.pod.identity = Ok(Arc::clone(pod));
        event.ends = Some(ends);
    }
    event
}
