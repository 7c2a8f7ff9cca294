//! The watch of all pods.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::Deserialize;

use super::{PlacedPod, Pods};

/// Pods per page of the list.
const PAGE_SIZE: u32 = 200;
/// A watch is renewed after this many seconds. A connection that died silently is noticed a little later.
const WATCH_SECONDS: u32 = 120;

/// The parts of a pod that are read. The rest is skipped while the answer is parsed.
#[derive(Clone, Debug, Deserialize)]
struct Pod {
    #[serde(deserialize_with = "identity")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

fn identity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Identity {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
    }
    let identity = Identity::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: identity.name,
        namespace: identity.namespace,
        uid: identity.uid,
        resource_version: identity.resource_version,
        ..ObjectMeta::default()
    })
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = <core::Pod as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        core::Pod::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        core::Pod::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        core::Pod::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        core::Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// One text for each namespace and node: thousands of pods share them.
#[derive(Debug, Default)]
struct Words(HashMap<String, Arc<str>>);

/// Different words that are kept; then all are forgotten, which costs only memory for repeated ones.
const MAX_WORDS: usize = 20_000;

impl Words {
    fn get(&mut self, word: String) -> Arc<str> {
        if let Some(known) = self.0.get(&word) {
            return Arc::clone(known);
        }
        if self.0.len() >= MAX_WORDS {
            self.0.clear();
        }
        let shared: Arc<str> = word.as_str().into();
        self.0.insert(word, Arc::clone(&shared));
        shared
    }

    /// `None` for a pod that has no node yet.
    fn placed(&mut self, pod: Pod) -> Option<PlacedPod> {
        let node = pod.spec.node_name.filter(|node| !node.is_empty())?;
        Some(PlacedPod {
            namespace: self.get(pod.metadata.namespace?),
            name: pod.metadata.name?.into(),
            uid: pod.metadata.uid?.into(),
            node: self.get(node),
        })
    }
}

impl Pods {
    /// Keeps the index up to date, until the future is dropped. A failure is logged and tried again.
    pub async fn watch(&self, client: Client) {
        let config = watcher::Config::default()
            .page_size(PAGE_SIZE)
            .timeout(WATCH_SECONDS);
        let mut events = watcher(Api::<Pod>::all(client), config)
            .default_backoff()
            .boxed();
        let mut words = Words::default();
        let mut list = Vec::new();
        let mut failing = false;
        while let Some(event) = events.next().await {
            let failed = event.is_err();
            match event {
                Ok(Event::Init) => list = Vec::new(),
                Ok(Event::InitApply(pod)) => list.extend(words.placed(pod)),
                Ok(Event::InitDone) => {
                    let pods = std::mem::take(&mut list);
                    tracing::info!(pods = pods.len(), "listed the pods");
                    self.replace(pods, Instant::now());
                }
                Ok(Event::Apply(pod)) => {
                    if let Some(pod) = words.placed(pod) {
                        self.put(pod);
                    }
                }
                Ok(Event::Delete(pod)) => {
                    if let Some(pod) = words.placed(pod) {
                        self.delete(&pod.namespace, &pod.name, &pod.uid, Instant::now());
                    }
                }
                Err(error) if !failing => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        error,
                        "cannot watch pods: the relay needs list and watch on pods; trying again"
                    );
                }
                Err(error) => tracing::debug!(%error, "cannot watch pods"),
            }
            failing = failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_placed_once_it_has_a_node() {
        let mut words = Words::default();
        let whole = include_str!("../../cluster/watch/testdata/pod.json");
        let placed = words.placed(serde_json::from_str(whole).expect("a pod"));
        let expected: serde_json::Value = serde_json::from_str(whole).expect("JSON");
        let placed = placed.expect("a node");
        assert_eq!(
            (
                &*placed.namespace,
                &*placed.name,
                &*placed.uid,
                &*placed.node
            ),
            (
                expected["metadata"]["namespace"].as_str().expect("a text"),
                expected["metadata"]["name"].as_str().expect("a text"),
                expected["metadata"]["uid"].as_str().expect("a text"),
                expected["spec"]["nodeName"].as_str().expect("a text"),
            )
        );
        let pending = r#"{"metadata": {"namespace": "x", "name": "a", "uid": "1"}, "spec": {}}"#;
        let pending = serde_json::from_str(pending).expect("a pod");
        assert_eq!(words.placed(pending), None);
    }
}
