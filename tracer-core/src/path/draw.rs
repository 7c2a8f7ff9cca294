//! Hops and their line: `deb-ubuntu ─✓─ k8s-worker03 ─✓ 10.1.79.66─ ✗ k8s-worker01 (dropped: …) ┄ web-0`.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::model::path::{Hop, Path, Place, Verdict};
use crate::model::time::Timestamp;

/// A path that grows.
pub(super) struct Drawing {
    /// When the attempt began.
    started: Timestamp,
    hops: Vec<Hop>,
    line: String,
    /// The mark and the label of the way to the next hop.
    way: Option<(Option<bool>, String)>,
    stopped: bool,
    /// A match on it is probable only.
    probable: bool,
}

impl Drawing {
    pub(super) fn of_attempt(started: Timestamp) -> Drawing {
        Drawing {
            started,
            hops: Vec::new(),
            line: String::new(),
            way: None,
            stopped: false,
            probable: false,
        }
    }

    /// A place that passes the packet on, or where that is unknown. The label belongs to the way behind it.
    pub(super) fn hop(
        &mut self,
        place: Place,
        name: &Arc<str>,
        node: Option<&Arc<str>>,
        seen: Option<bool>,
        what: &str,
        label: &str,
    ) {
        self.join(seen == Some(false));
        self.line.push_str(name);
        let shown = match seen {
            Some(true) => "",
            Some(false) | None => what,
        };
        if !shown.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(self.line, " ({shown})");
        }
        self.way = Some((seen, label.to_owned()));
        self.hops.push(Hop {
            place,
            name: Arc::clone(name),
            node: node.cloned(),
            seen,
            what: what.to_owned(),
        });
    }

    /// A place that the packet did not come to, behind one where it was stopped.
    pub(super) fn beyond(&mut self, place: Place, name: &Arc<str>, node: Option<&Arc<str>>) {
        self.join(false);
        self.line.push_str(name);
        self.hops.push(Hop {
            place,
            name: Arc::clone(name),
            node: node.cloned(),
            seen: Some(false),
            what: "not reached".to_owned(),
        });
    }

    fn join(&mut self, stops: bool) {
        let Some((passed, label)) = self.way.take() else {
            if !self.hops.is_empty() {
                self.line.push_str(" ┄ ");
            }
            return;
        };
        if self.stopped {
            self.line.push_str(" ┄ ");
            return;
        }
        let mark = match passed {
            Some(_) => "✓",
            None => "?",
        };
        let way = match label.is_empty() {
            true => format!(" ─{mark}─ "),
            false => format!(" ─{mark} {label}─ "),
        };
        self.line.push_str(&way);
        if stops {
            self.line.push_str("✗ ");
            self.stopped = true;
        }
    }

    /// Marks it as resting on a match that is probable, or not.
    pub(super) fn rests_on(&mut self, probable: bool) {
        self.probable |= probable;
    }

    pub(super) fn finish(self, verdict: Verdict) -> Path {
        Path {
            time: self.started,
            verdict,
            line: self.line,
            hops: self.hops,
            probable: self.probable,
        }
    }
}
