//! The findings of the whole cluster.
//!
//! Owns a bounded [`store`] of the latest state of each finding, so that a list of findings asks no agent.
//! One task per connected agent fills it ([`Findings::follow`]). An agent's findings stay when it leaves,
//! until they are too old: a node that is down is when they are needed. Findings about pods that are
//! elsewhere by the [`Pods`] index are refused and counted: an agent speaks only for its node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

mod feed;
pub mod names;
pub mod store;

use self::store::{AskedPath, Change, Expired, Kept, Page, Put, Report, Store};
use super::agents::Agents;
use super::paths;
use super::pods::{Placement, Pods};
use tracer_core::model::path::Path;
use tracer_core::model::time::Timestamp;

/// Default size of the store: about 20,000 findings.
pub const DEFAULT_BYTES: usize = 64 << 20;

/// What happened to findings that are not in the store.
#[derive(Debug, Default)]
pub struct Counts {
    /// About a pod of another node than the agent's.
    pub elsewhere: AtomicU64,
    /// About a pod whose name the agent does not know.
    pub nameless: AtomicU64,
    /// Of another version of the agent, not understood here.
    pub unreadable: AtomicU64,
    /// Events that agents report as lost before they reached the relay.
    pub lost: AtomicU64,
}

/// The store, shared.
#[derive(Debug)]
pub struct Findings {
    store: Mutex<Store>,
    /// The version of the latest change.
    changes: watch::Sender<u64>,
    /// What was refused or lost.
    pub counts: Counts,
    /// Questions about paths.
    pub paths: paths::Counts,
}

impl Findings {
    /// An empty store of at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Findings {
        Findings {
            store: Mutex::new(Store::new(max_bytes, now_us())),
            changes: watch::Sender::new(0),
            counts: Counts::default(),
            paths: paths::Counts::default(),
        }
    }

    /// Follows the findings of all agents, until the future is dropped.
    pub async fn follow(self: Arc<Self>, agents: Arc<Agents>, pods: Arc<Pods>) {
        feed::follow(self, agents, pods).await;
    }

    /// Adds what an agent reports, unless it is not its to report.
    pub fn report(&self, pods: &Pods, report: Report) {
        let placement = pods.placement(&report.namespace, &report.pod, &report.uid, &report.node);
        if placement == Placement::Elsewhere {
            self.counts.elsewhere.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(
                node = &*report.node,
                namespace = &*report.namespace,
                pod = &*report.pod,
                "refused a finding about a pod of another node"
            );
            return;
        }
        let mut store = self.store.lock();
        if store.put(report, now_us()) != Put::Unchanged {
            self.changes.send_replace(store.latest());
        }
    }

    /// Adds the answer about the path of a finding.
    pub fn set_path(&self, namespace: &str, name: &str, last: Timestamp, path: Option<Path>) {
        let asked = AskedPath {
            last,
            answered_us: now_us(),
        };
        let mut store = self.store.lock();
        if store.set_path(namespace, name, asked, path) {
            self.changes.send_replace(store.latest());
        }
    }

    /// Drops what is too old.
    pub fn expire(&self) {
        let mut store = self.store.lock();
        if store.expire(now_us()) {
            self.changes.send_replace(store.latest());
        }
    }

    /// Changes with every change of the store.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// One finding.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Kept>> {
        self.store.lock().get(namespace, name)
    }

    /// Findings in the order of their names; see [`Store::page`].
    pub fn page(
        &self,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
        fits: impl Fn(&Kept) -> bool,
    ) -> Page {
        let mut store = self.store.lock();
        store.page(namespace, after, limit, fits, now_us())
    }

    /// The version from which a watch starts that resumes at `version`; see [`Store::resume`].
    ///
    /// # Errors
    /// [`Expired`] if the version is older than the window.
    pub fn resume(&self, version: u64, own: bool) -> Result<u64, Expired> {
        self.store.lock().resume(version, own, now_us())
    }

    /// The changes after a version; see [`Store::changes`].
    ///
    /// # Errors
    /// [`Expired`] if the version is older than the window.
    pub fn changed_after(&self, version: u64, limit: usize) -> Result<Vec<Change>, Expired> {
        self.store.lock().changes(version, limit)
    }

    /// The version of the current state.
    pub fn version(&self) -> u64 {
        self.store.lock().version(now_us())
    }

    /// Findings in the store, their bytes, and how many were dropped to make room.
    pub fn size(&self) -> (usize, usize, u64) {
        let store = self.store.lock();
        (store.len(), store.bytes(), store.dropped())
    }
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0)
}
