//! The watch of findings: reads the store at the pace of its client.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{Selection, render, renderer};
use crate::relay::api::events::{self, Events, Source, Term};
use crate::relay::api::request::Asked;
use crate::relay::api::status::Failure;
use crate::relay::api::version::Versions;
use crate::relay::findings::Findings;
use crate::relay::findings::store::{Change, Expired, Kept};

/// Changes read from the store at a time.
const PAGE: usize = 256;
/// Between the bookmarks of a quiet watch.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);

/// Answers a watch.
pub fn watch(
    findings: &Arc<Findings>,
    versions: Versions,
    asked: &Asked,
    term: Term,
) -> Result<Body, Failure> {
    let renderer = renderer(asked)?;
    let selection = Selection::parse(asked)?;
    let changes = findings.changes();
    let (cursor, initial) = match versions.parse(asked.query.get("resourceVersion"))? {
        Some(version) => {
            let from = findings
                .resume(version.at_us, version.own)
                .map_err(|expired| Failure::expired(expired.to_string()))?;
            (from, None)
        }
        // The current state first.
        None => (findings.version(), Some(None)),
    };
    let bookmarks = asked.query.flag("allowWatchBookmarks")?.then(|| {
        let mut bookmarks =
            tokio::time::interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        bookmarks
    });
    let watch = Watch {
        findings: Arc::clone(findings),
        versions,
        selection,
        changes,
        cursor,
        initial,
        bookmarks,
        bookmark_due: false,
    };
    Ok(events::body(watch, renderer, term))
}

struct Watch {
    findings: Arc<Findings>,
    versions: Versions,
    selection: Selection,
    changes: tokio::sync::watch::Receiver<u64>,
    /// Changes up to this version have been sent.
    cursor: u64,
    /// The current state has been sent up to this namespace and name.
    initial: Option<Option<(String, String)>>,
    bookmarks: Option<Interval>,
    /// A bookmark follows the changes.
    bookmark_due: bool,
}

impl Source for Watch {
    async fn more(&mut self, events: &mut Events) -> bool {
        if self.initial.is_some() {
            self.read_initial(events);
            return true;
        }
        self.changes.borrow_and_update();
        // Later changes have later versions.
        let reached = self.findings.version();
        match self.read_changes(events) {
            Ok(false) => {}
            Ok(true) => return true,
            Err(expired) => {
                events.fail(&Failure::expired(expired.to_string()));
                return false;
            }
        }
        if std::mem::take(&mut self.bookmark_due) {
            events.bookmark(&self.versions.text(reached));
            return true;
        }
        let bookmark = async {
            match &mut self.bookmarks {
                Some(bookmarks) => bookmarks.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.changes.changed() => changed.is_ok(),
            _ = bookmark => {
                self.bookmark_due = true;
                true
            }
        }
    }
}

impl Watch {
    /// Reads a part of the current state.
    fn read_initial(&mut self, events: &mut Events) {
        let after = self.initial.take().flatten();
        let start = after
            .as_ref()
            .map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let namespace = self.selection.namespace.as_deref();
        let selection = &self.selection;
        let page = self
            .findings
            .page(namespace, start, PAGE, |kept| selection.fits(kept));
        for kept in &page.items {
            self.push("ADDED", kept, events);
        }
        if let Some(last) = page.items.last().filter(|_| page.remaining > 0) {
            let place = (last.namespace.to_string(), last.object.name.clone());
            self.initial = Some(Some(place));
        }
    }

    /// Reads changes. Returns whether there were any.
    fn read_changes(&mut self, events: &mut Events) -> Result<bool, Expired> {
        let changes = self.findings.changed_after(self.cursor, PAGE)?;
        for change in &changes {
            if let Some(event) = self.event(change) {
                self.push(event, &change.kept, events);
            }
        }
        if let Some(last) = changes.last() {
            self.cursor = last.version;
        }
        Ok(!changes.is_empty())
    }

    /// What a change is for this watcher.
    fn event(&self, change: &Change) -> Option<&'static str> {
        let kept = &change.kept;
        let known = kept.created <= self.cursor;
        let fitted = || known && self.selection.fitted(kept, self.cursor);
        match (change.gone, self.selection.fits(kept)) {
            // One that came and went in between never was, for this watcher.
            (true, true) if known => Some("DELETED"),
            (true, _) => None,
            (false, true) if fitted() => Some("MODIFIED"),
            (false, true) => Some("ADDED"),
            (false, false) if fitted() => Some("DELETED"),
            (false, false) => None,
        }
    }

    fn push(&self, event: &str, kept: &Kept, events: &mut Events) {
        if let Some(rendered) = render(kept, self.versions, jiff::Timestamp::now()) {
            events.push(event, rendered);
        }
    }
}
