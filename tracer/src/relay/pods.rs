//! Which node each pod of the cluster is on.
//!
//! Owns an index of pods by namespace and name, fed by a watch of all pods of which it keeps four words each.
//! A request about some pods asks only the nodes that have them, or had them until recently, and a finding is
//! accepted only from the node of its pod. Nothing else of a pod is kept: agents know the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use tracer_core::view::filter::{FilterConfig, PodPattern};

mod follow;

/// A deleted pod still counts for this long: agents keep its events about as long.
const KEPT_DELETED: Duration = Duration::from_secs(3600);
/// Deleted pods in the index; the oldest make room.
const MAX_DELETED: usize = 20_000;

/// A pod on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
    /// Its node.
    pub node: Arc<str>,
}

/// Whether an agent may report about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The pod is, or was, on that node.
    Here,
    /// The pod, or one of its name, is on another node.
    Elsewhere,
    /// The index has no pod of that name or UID.
    Unknown,
}

/// The index. Shared; a task of its own fills it ([`Pods::watch`]).
#[derive(Debug)]
pub struct Pods {
    index: Mutex<Index>,
    changes: watch::Sender<u64>,
}

impl Default for Pods {
    fn default() -> Pods {
        Pods {
            index: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Pods {
    /// Changes whenever a pod came to a node.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether all pods have been listed.
    pub fn is_synced(&self) -> bool {
        self.index.lock().synced
    }

    /// Whether the agent of `node` may report about a pod.
    pub fn placement(&self, namespace: &str, name: &str, uid: &str, node: &str) -> Placement {
        self.index.lock().placement(namespace, name, uid, node)
    }

    /// The nodes whose agents can have events about such pods as their own; `None` if any can.
    pub fn nodes(&self, filter: &FilterConfig) -> Option<BTreeSet<Arc<str>>> {
        self.index.lock().nodes(filter)
    }

    /// The nodes that have pods.
    pub fn all_nodes(&self) -> BTreeSet<Arc<str>> {
        self.index.lock().nodes.keys().cloned().collect()
    }

    /// Replaces the pods by those of a list.
    pub fn replace(&self, pods: Vec<PlacedPod>, now: Instant) {
        self.index.lock().replace(pods, now);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Adds a pod, or does nothing if it is known.
    pub fn put(&self, pod: PlacedPod) {
        if self.index.lock().put(pod) {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Marks a pod as deleted.
    pub fn delete(&self, namespace: &str, name: &str, uid: &str, now: Instant) {
        self.index.lock().delete(namespace, name, uid, now);
    }
}

#[derive(Clone, Debug)]
struct Placed {
    uid: Arc<str>,
    node: Arc<str>,
}

/// The pods of a namespace.
type ByName = BTreeMap<Arc<str>, Placed>;

#[derive(Debug, Default)]
struct Index {
    /// Pods that exist, by namespace and name. Two levels, so that a look-up, of which there is one per event
    /// and client, allocates nothing.
    living: BTreeMap<Arc<str>, ByName>,
    /// Pods that were deleted, by UID.
    deleted: HashMap<Arc<str>, PlacedPod>,
    by_age: VecDeque<(Instant, Arc<str>)>,
    /// How many living pods each node has.
    nodes: BTreeMap<Arc<str>, usize>,
    synced: bool,
}

impl Index {
    fn replace(&mut self, pods: Vec<PlacedPod>, now: Instant) {
        let mut before = std::mem::take(&mut self.living);
        self.nodes.clear();
        for pod in pods {
            if let Some(known) = before.get_mut(&pod.namespace)
                && known
                    .get(&pod.name)
                    .is_some_and(|known| known.uid == pod.uid)
            {
                known.remove(&pod.name);
            }
            self.put(pod);
        }
        for (namespace, gone) in before {
            for (name, gone) in gone {
                self.bury(Arc::clone(&namespace), name, gone, now);
            }
        }
        self.synced = true;
    }

    /// Returns whether anything changed.
    fn put(&mut self, pod: PlacedPod) -> bool {
        let node = self.intern_node(pod.node);
        let placed = Placed {
            uid: pod.uid,
            node: Arc::clone(&node),
        };
        let namespace = self.living.entry(pod.namespace).or_default();
        match namespace.insert(pod.name, placed) {
            Some(before) if before.node == node => return false,
            Some(before) => self.leave(&before.node),
            None => {}
        }
        *self.nodes.entry(node).or_default() += 1;
        true
    }

    /// One text for each node: there are a hundred pods on it.
    fn intern_node(&self, node: Arc<str>) -> Arc<str> {
        let known = self.nodes.get_key_value(&node);
        known.map_or(node, |(known, _)| Arc::clone(known))
    }

    fn leave(&mut self, node: &Arc<str>) {
        if let Some(count) = self.nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(node);
            }
        }
    }

    fn delete(&mut self, namespace: &str, name: &str, uid: &str, now: Instant) {
        let Some(pods) = self.living.get_mut(namespace) else {
            return;
        };
        // A pod of the same name may have replaced it already.
        if pods.get(name).is_none_or(|placed| *placed.uid != *uid) {
            return;
        }
        let removed = pods.remove(name);
        if pods.is_empty() {
            self.living.remove(namespace);
        }
        if let Some(gone) = removed {
            self.leave(&gone.node);
            self.bury(namespace.into(), name.into(), gone, now);
        }
    }

    fn bury(&mut self, namespace: Arc<str>, name: Arc<str>, gone: Placed, now: Instant) {
        self.by_age.push_back((now, Arc::clone(&gone.uid)));
        self.deleted.insert(
            Arc::clone(&gone.uid),
            PlacedPod {
                namespace,
                name,
                uid: gone.uid,
                node: gone.node,
            },
        );
        while let Some((since, uid)) = self.by_age.front() {
            if now.duration_since(*since) < KEPT_DELETED && self.by_age.len() <= MAX_DELETED {
                break;
            }
            self.deleted.remove(uid);
            self.by_age.pop_front();
        }
    }

    fn placement(&self, namespace: &str, name: &str, uid: &str, node: &str) -> Placement {
        let living = self.living.get(namespace).and_then(|pods| pods.get(name));
        let on = |found: &str| match found == node {
            true => Placement::Here,
            false => Placement::Elsewhere,
        };
        match living {
            Some(placed) if *placed.uid == *uid => return on(&placed.node),
            living => {
                if let Some(gone) = self.deleted.get(uid) {
                    let same = *gone.namespace == *namespace && *gone.name == *name;
                    return if same {
                        on(&gone.node)
                    } else {
                        Placement::Elsewhere
                    };
                }
                // A UID that no watch has reported: newer than the index, or long gone. Only the node that
                // has a pod of this name may know.
                if let Some(placed) = living {
                    return on(&placed.node);
                }
            }
        }
        Placement::Unknown
    }

    fn nodes(&self, filter: &FilterConfig) -> Option<BTreeSet<Arc<str>>> {
        if !self.synced || (filter.namespaces.is_empty() && filter.pods.is_empty()) {
            return None;
        }
        let by_address = |pattern: &PodPattern| matches!(pattern, PodPattern::Address(_));
        // A Service of the namespace can be the peer of any pod, but of events about the namespace's own pods
        // none is elsewhere.
        if filter.pods.iter().any(by_address) && filter.namespaces.is_empty() {
            return None;
        }
        let fits = |namespace: &str, name: &str| {
            (filter.namespaces.is_empty()
                || filter.namespaces.iter().any(|glob| glob.matches(namespace)))
                && (filter.pods.is_empty()
                    || filter.pods.iter().any(|pattern| match pattern {
                        PodPattern::Named(object) => object.names(namespace, name),
                        PodPattern::Address(_) => true,
                    }))
        };
        let mut nodes = BTreeSet::new();
        let namespaces: Vec<(&Arc<str>, &ByName)> = match filter.namespaces.as_slice() {
            // What most requests name.
            [one] if !one.is_wild() => {
                let name = one.as_str().to_ascii_lowercase();
                self.living
                    .get_key_value(name.as_str())
                    .into_iter()
                    .collect()
            }
            _ => self.living.iter().collect(),
        };
        for (namespace, pods) in namespaces {
            for (name, placed) in pods {
                if !nodes.contains(&placed.node) && fits(namespace, name) {
                    nodes.insert(Arc::clone(&placed.node));
                }
            }
        }
        for gone in self.deleted.values() {
            if fits(&gone.namespace, &gone.name) {
                nodes.insert(Arc::clone(&gone.node));
            }
        }
        Some(nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, name: &str, uid: &str, node: &str) -> PlacedPod {
        PlacedPod {
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
            node: node.into(),
        }
    }

    fn index() -> Pods {
        let pods = Pods::default();
        pods.replace(
            vec![
                pod("shop", "web-0", "1", "a"),
                pod("shop", "web-1", "2", "b"),
                pod("shops", "web-0", "3", "c"),
                pod("bank", "vault", "4", "d"),
            ],
            Instant::now(),
        );
        pods
    }

    fn filter(namespaces: &[&str], pods: &[&str]) -> FilterConfig {
        FilterConfig {
            namespaces: namespaces
                .iter()
                .map(|glob| glob.parse().expect("a pattern"))
                .collect(),
            pods: pods
                .iter()
                .map(|pod| pod.parse().expect("a pattern"))
                .collect(),
            ..FilterConfig::default()
        }
    }

    fn nodes(pods: &Pods, namespaces: &[&str], names: &[&str]) -> String {
        match pods.nodes(&filter(namespaces, names)) {
            None => "any".to_owned(),
            Some(nodes) => nodes.iter().map(|node| &**node).collect(),
        }
    }

    #[test]
    fn only_the_nodes_that_have_such_pods_are_asked() {
        let pods = index();
        for (namespaces, names, expected) in [
            (&["shop"][..], &[][..], "ab"),
            (&["shop*"], &[], "abc"),
            (&["shop"], &["web-1"], "b"),
            (&[], &["web-0"], "ac"),
            (&[], &["shop/web-0"], "a"),
            (&[], &[], "any"),
            (&[], &["10.1.2.3"], "any"),
            (&["shop"], &["10.1.2.3"], "ab"),
            (&["none"], &[], ""),
        ] {
            assert_eq!(
                nodes(&pods, namespaces, names),
                expected,
                "{namespaces:?} {names:?}"
            );
        }
    }

    #[test]
    fn before_the_first_list_any_node_can_have_them() {
        assert_eq!(nodes(&Pods::default(), &["shop"], &[]), "any");
    }

    #[test]
    fn a_deleted_pod_counts_for_an_hour() {
        let pods = index();
        let now = Instant::now();
        pods.delete("shop", "web-1", "2", now);
        assert_eq!(nodes(&pods, &["shop"], &[]), "ab");
        assert_eq!(pods.placement("shop", "web-1", "2", "b"), Placement::Here);
        let later = now + KEPT_DELETED + Duration::from_secs(1);
        pods.delete("bank", "vault", "4", later);
        assert_eq!(nodes(&pods, &["shop"], &[]), "a");
        assert_eq!(
            pods.placement("shop", "web-1", "2", "b"),
            Placement::Unknown
        );
    }

    #[test]
    fn a_list_buries_what_it_lacks() {
        let pods = index();
        pods.replace(vec![pod("shop", "web-0", "9", "b")], Instant::now());
        assert_eq!(pods.all_nodes().len(), 1);
        assert_eq!(pods.placement("shop", "web-0", "1", "a"), Placement::Here);
        assert_eq!(pods.placement("shop", "web-0", "9", "b"), Placement::Here);
        assert_eq!(pods.placement("bank", "vault", "4", "d"), Placement::Here);
    }

    #[test]
    fn an_agent_may_not_report_about_pods_of_other_nodes() {
        let pods = index();
        for (namespace, name, uid, node, expected) in [
            ("shop", "web-0", "1", "a", Placement::Here),
            ("shop", "web-0", "1", "b", Placement::Elsewhere),
            // An unknown UID under the name of a pod elsewhere.
            ("shop", "web-0", "77", "b", Placement::Elsewhere),
            ("shop", "web-0", "77", "a", Placement::Here),
            ("shop", "new", "88", "a", Placement::Unknown),
        ] {
            let placement = pods.placement(namespace, name, uid, node);
            assert_eq!(placement, expected, "{namespace}/{name} {uid} on {node}");
        }
    }

    #[test]
    fn a_pod_that_is_replaced_elsewhere_leaves_its_node() {
        let pods = index();
        pods.put(pod("bank", "vault", "5", "a"));
        assert!(!pods.all_nodes().contains("d"));
        // The deletion of the first one comes late.
        pods.delete("bank", "vault", "4", Instant::now());
        assert_eq!(pods.placement("bank", "vault", "5", "a"), Placement::Here);
    }
}
