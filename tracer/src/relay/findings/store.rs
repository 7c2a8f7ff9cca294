//! The latest state of each finding, by version.
//!
//! Pure: time is an argument. A version is the time at which the relay received a change, in microseconds
//! since 1970, and strictly increasing: so versions of several replicas are comparable up to the difference
//! of their clocks and delays, for which [`Store::resume`] allows [`SLACK_US`] if the version is another
//! replica's. Only the latest state of a finding is kept, and each under its latest version; a watcher reads
//! the changes after a version at its own pace and may miss states in between, never the last one.
//!
//! Bounded in bytes. At the limit the pod that holds most, in the namespace that holds most, loses its resolved, then its
//! oldest finding ([`shares`]).
//! A deleted finding is kept for a while, so that watchers learn of it; a watch from before the oldest of
//! these is [`Expired`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

mod shares;
#[cfg(test)]
mod tests;

use self::shares::Shares;
use super::names::{ObjectName, object_name};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::{Finding, Severity, State};
use tracer_core::model::path::{Hop, Path};
use tracer_core::model::time::Timestamp;

/// Two replicas receive the same change within this time, the difference of their clocks included.
pub const SLACK_US: u64 = 10 * SECOND_US;
/// A resolved finding is kept for this long.
pub const KEPT_RESOLVED_US: u64 = 3600 * SECOND_US;
/// Another finding is kept for this long after its last report.
pub const KEPT_ACTIVE_US: u64 = 24 * 3600 * SECOND_US;
/// How long a deletion can be watched.
const KEPT_DELETED_US: u64 = 600 * SECOND_US;
/// Deletions that can be watched take at most this part of the limit.
const DELETED_SHARE: usize = 8;
const SECOND_US: u64 = 1_000_000;
/// Bytes that a finding costs beside its text.
const OVERHEAD_BYTES: usize = 1024;

/// What an agent reports.
#[derive(Clone, Debug)]
pub struct Report {
    /// The agent's node.
    pub node: Arc<str>,
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub pod: Arc<str>,
    /// The pod's UID.
    pub uid: Arc<str>,
    /// When the agent emitted it.
    pub emitted_unix_ns: i64,
    /// The event, which has a finding.
    pub event: Event,
    /// The size of the encoded event.
    pub encoded_bytes: usize,
}

/// A finding in the store.
#[derive(Debug)]
pub struct Kept {
    /// Its object's name and UID.
    pub object: ObjectName,
    /// The namespace of its pod.
    pub namespace: Arc<str>,
    /// Its pod.
    pub pod: Arc<str>,
    /// Its node.
    pub node: Arc<str>,
    /// The version at which it was first received.
    pub created: u64,
    /// The version of this state.
    pub version: u64,
    /// The last version at which severity or state were others, and these.
    pub before: Option<(u64, Severity, State)>,
    /// The event. Its finding has the latest path that was found.
    pub event: Event,
    /// What was asked about its path last.
    pub asked: Option<AskedPath>,
    emitted_unix_ns: i64,
    bytes: usize,
}

impl Kept {
    /// The finding of the event.
    pub fn finding(&self) -> Option<&Finding> {
        finding(&self.event)
    }

    fn is_resolved(&self) -> bool {
        self.finding().is_none_or(Finding::is_resolved)
    }
}

/// Agents report findings without paths.
fn keep_path(event: &mut Event, known: &Kept) {
    let path = known.finding().and_then(|finding| finding.path.clone());
    if let Body::Finding(finding) = &mut event.body
        && finding.path.is_none()
    {
        finding.path = path;
    }
}

/// The size of a finding's path.
fn bytes_of_path(event: &Event) -> usize {
    let path = finding(event).and_then(|finding| finding.path.as_deref());
    path.map_or(0, |path| {
        let hops = path.hops.iter();
        let hops = hops.map(|hop| size_of::<Hop>() + hop.name.len() + hop.what.len());
        size_of::<Path>() + path.line.len() + hops.sum::<usize>()
    })
}

fn finding(event: &Event) -> Option<&Finding> {
    match &event.body {
        Body::Finding(finding) => Some(finding),
        _ => None,
    }
}

/// A question about a finding's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedPath {
    /// The last failure that the finding had then.
    pub last: Timestamp,
    /// When the answer came, in microseconds since 1970.
    pub answered_us: u64,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// A new finding.
    Added,
    /// A new state of a known one.
    Changed,
    /// Nothing: it is known already.
    Unchanged,
}

/// A change of the store.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its version.
    pub version: u64,
    /// The finding; its last state if it is gone.
    pub kept: Arc<Kept>,
    /// It is no longer in the store.
    pub gone: bool,
}

/// A part of the findings.
#[derive(Clone, Debug)]
pub struct Page {
    /// The findings, by namespace and name.
    pub items: Vec<Arc<Kept>>,
    /// How many more match.
    pub remaining: usize,
    /// The version of this state: what a watch that follows resumes from.
    pub version: u64,
}

/// Changes since the version have been forgotten, or are from before the store's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("version {version} is too old: changes are known since {oldest}")]
pub struct Expired {
    /// The version.
    pub version: u64,
    /// The first version that can be resumed from.
    pub oldest: u64,
}

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

/// The store.
#[derive(Debug)]
pub struct Store {
    max_bytes: usize,
    kept: BTreeMap<Key, Arc<Kept>>,
    /// Of each finding its latest change.
    by_version: BTreeMap<u64, Key>,
    deleted: BTreeMap<u64, Arc<Kept>>,
    shares: Shares,
    bytes: usize,
    deleted_bytes: usize,
    latest: u64,
    /// Changes after this version are known.
    oldest: u64,
    dropped: u64,
}

impl Store {
    /// An empty store of at most `max_bytes`, which knows of no change before now.
    pub fn new(max_bytes: usize, now_us: u64) -> Store {
        Store {
            max_bytes,
            kept: BTreeMap::new(),
            by_version: BTreeMap::new(),
            deleted: BTreeMap::new(),
            shares: Shares::default(),
            bytes: 0,
            deleted_bytes: 0,
            latest: now_us,
            oldest: now_us,
            dropped: 0,
        }
    }

    /// Adds a report.
    pub fn put(&mut self, mut report: Report, now_us: u64) -> Put {
        let Some(found) = finding(&report.event) else {
            return Put::Unchanged;
        };
        let object = object_name(found.rule, &report.uid, &found.id);
        let key: Key = (Arc::clone(&report.namespace), object.name.as_str().into());
        let known = self.kept.get(&key).cloned();
        let (severity, state) = (found.severity, found.state);
        if let Some(known) = &known {
            keep_path(&mut report.event, known);
            // An agent sends its history again to a relay that lost its place.
            if known.emitted_unix_ns >= report.emitted_unix_ns || known.event == report.event {
                return Put::Unchanged;
            }
        }
        let version = self.next(now_us);
        let before = known.as_ref().and_then(|known| {
            let was = known.finding()?;
            match (was.severity, was.state) == (severity, state) {
                true => known.before,
                false => Some((version, was.severity, was.state)),
            }
        });
        let bytes = OVERHEAD_BYTES + 2 * report.encoded_bytes + bytes_of_path(&report.event);
        let kept = Kept {
            object,
            pod: report.pod,
            node: report.node,
            created: known.as_ref().map_or(version, |known| known.created),
            version,
            before,
            event: report.event,
            asked: known.as_ref().and_then(|known| known.asked),
            emitted_unix_ns: report.emitted_unix_ns,
            bytes,
            namespace: report.namespace,
        };
        let put = match known {
            Some(_) => Put::Changed,
            None => Put::Added,
        };
        self.take(&key);
        self.insert(key, kept);
        self.make_room(now_us);
        put
    }

    fn make_room(&mut self, now_us: u64) {
        while self.bytes > self.max_bytes && self.kept.len() > 1 {
            if !self.drop_one(now_us) {
                break;
            }
        }
    }

    /// Adds the answer about the path of a finding. Returns whether the finding has changed.
    pub fn set_path(
        &mut self,
        namespace: &str,
        name: &str,
        asked: AskedPath,
        path: Option<Path>,
    ) -> bool {
        let key: Key = (namespace.into(), name.into());
        let Some(known) = self.kept.get(&key).cloned() else {
            return false;
        };
        let mut event = known.event.clone();
        if let (Some(path), Body::Finding(finding)) = (path, &mut event.body) {
            finding.path = Some(Box::new(path));
        }
        let changed = event != known.event;
        let version = match changed {
            true => self.next(asked.answered_us),
            false => known.version,
        };
        let kept = Kept {
            object: known.object.clone(),
            namespace: Arc::clone(&known.namespace),
            pod: Arc::clone(&known.pod),
            node: Arc::clone(&known.node),
            created: known.created,
            version,
            before: known.before,
            bytes: known.bytes + bytes_of_path(&event) - bytes_of_path(&known.event),
            event,
            asked: Some(asked),
            emitted_unix_ns: known.emitted_unix_ns,
        };
        self.take(&key);
        self.insert(key, kept);
        self.make_room(asked.answered_us);
        changed
    }

    /// Drops the findings that are too old, and forgets old deletions. Returns whether a finding was dropped.
    pub fn expire(&mut self, now_us: u64) -> bool {
        let before = |age: u64| now_us.saturating_sub(age);
        let old: Vec<Key> = self
            .by_version
            .range(..before(KEPT_RESOLVED_US))
            .filter(|(version, key)| {
                **version < before(KEPT_ACTIVE_US)
                    || self.kept.get(*key).is_some_and(|kept| kept.is_resolved())
            })
            .map(|(_, key)| key.clone())
            .collect();
        for key in &old {
            self.delete(key, now_us);
        }
        self.forget(before(KEPT_DELETED_US));
        !old.is_empty()
    }

    fn next(&mut self, now_us: u64) -> u64 {
        self.latest = now_us.max(self.latest + 1);
        self.latest
    }

    fn insert(&mut self, key: Key, kept: Kept) {
        self.shares.add(&kept);
        self.bytes += kept.bytes;
        self.by_version.insert(kept.version, key.clone());
        self.kept.insert(key, Arc::new(kept));
    }

    fn take(&mut self, key: &Key) -> Option<Arc<Kept>> {
        let kept = self.kept.remove(key)?;
        self.by_version.remove(&kept.version);
        self.bytes -= kept.bytes;
        self.shares.remove(&kept);
        Some(kept)
    }

    fn delete(&mut self, key: &Key, now_us: u64) {
        if let Some(kept) = self.take(key) {
            let version = self.next(now_us);
            self.deleted_bytes += kept.bytes;
            self.deleted.insert(version, kept);
            self.forget(0);
        }
    }

    /// Forgets the deletions before a version, and as many more as take too much room.
    fn forget(&mut self, before: u64) {
        while let Some(first) = self.deleted.first_entry() {
            let version = *first.key();
            if version >= before && self.deleted_bytes <= self.max_bytes / DELETED_SHARE {
                break;
            }
            self.deleted_bytes -= first.remove().bytes;
            self.oldest = version;
        }
    }

    /// Drops the first that has to go. Returns whether there was one.
    fn drop_one(&mut self, now_us: u64) -> bool {
        let first = self.shares.first_to_go();
        let key = first.and_then(|version| self.by_version.get(&version).cloned());
        let Some(key) = key else { return false };
        self.delete(&key, now_us);
        self.dropped += 1;
        true
    }

    /// One finding.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Kept>> {
        let key: Key = (namespace.into(), name.into());
        self.kept.get(&key).cloned()
    }

    /// Findings of a namespace, or of all, that fit: at most `limit`, after this namespace and name.
    pub fn page(
        &mut self,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
        fits: impl Fn(&Kept) -> bool,
        now_us: u64,
    ) -> Page {
        let start: Bound<Key> = match (after, namespace) {
            (Some((namespace, name)), _) => Bound::Excluded((namespace.into(), name.into())),
            (None, Some(namespace)) => Bound::Included((namespace.into(), "".into())),
            (None, None) => Bound::Unbounded,
        };
        let mut page = Page {
            items: Vec::new(),
            remaining: 0,
            version: self.version(now_us),
        };
        for ((of, _), kept) in self.kept.range((start, Bound::Unbounded)) {
            match namespace {
                Some(namespace) if **of != *namespace => break,
                _ if !fits(kept) => {}
                _ if page.items.len() < limit => page.items.push(Arc::clone(kept)),
                _ => page.remaining += 1,
            }
        }
        page
    }

    /// From where to send changes to a watcher that knows the state of `version`, which may be another
    /// replica's. Such a watcher gets some changes twice, so that it misses none.
    ///
    /// # Errors
    /// [`Expired`] if the version is from before the window.
    pub fn resume(&mut self, version: u64, own: bool, now_us: u64) -> Result<u64, Expired> {
        if version < self.oldest {
            return Err(Expired {
                version,
                oldest: self.oldest,
            });
        }
        if own {
            return Ok(version);
        }
        // The other replica's clock can be ahead.
        let known = version.min(self.version(now_us));
        Ok(known.saturating_sub(SLACK_US).max(self.oldest))
    }

    /// The changes after a version, at most `limit`, in their order.
    ///
    /// # Errors
    /// [`Expired`] if changes after the version have been forgotten.
    pub fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>, Expired> {
        if after < self.oldest {
            return Err(Expired {
                version: after,
                oldest: self.oldest,
            });
        }
        let range = (Bound::Excluded(after), Bound::Unbounded);
        let mut changes: Vec<Change> = Vec::new();
        for (version, key) in self.by_version.range(range).take(limit) {
            if let Some(kept) = self.kept.get(key) {
                changes.push(Change {
                    version: *version,
                    kept: Arc::clone(kept),
                    gone: false,
                });
            }
        }
        for (version, kept) in self.deleted.range(range).take(limit) {
            changes.push(Change {
                version: *version,
                kept: Arc::clone(kept),
                gone: true,
            });
        }
        changes.sort_by_key(|change| change.version);
        changes.truncate(limit);
        Ok(changes)
    }

    /// The version of the latest change.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// The version of the current state: all changes up to it are in the store.
    pub fn version(&mut self, now_us: u64) -> u64 {
        // Later changes get later versions, even within this microsecond.
        self.latest = self.latest.max(now_us);
        self.latest
    }

    /// How many findings there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The size of the findings.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Findings that were dropped to make room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
