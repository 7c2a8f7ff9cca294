//! Which pod was behind an interface when, as its network namespace told.
//!
//! Knows pods by the UID that their cgroup bears and nothing else of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::flow::Ifindex;
use crate::model::time::Timestamp;

/// So many interfaces are known at once; the kubelet allows a few hundred pods to a node.
const MAX_INTERFACES: usize = 16_384;
/// An interface that changes its pod more often than this within the time that is remembered loses the oldest.
const MAX_SPANS: usize = 8;

/// How an interface is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind<'a> {
    /// Never told of it: a capture file, or its first packet came before the news.
    Untold,
    /// It is traced, but no pod process was found for it (yet).
    Nobody {
        /// Since when it is traced.
        since: Timestamp,
    },
    /// The pod with this UID.
    Pod {
        /// Its UID.
        uid: &'a Arc<str>,
        /// Since when that is known.
        since: Timestamp,
    },
}

/// The interfaces of this node.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    spans: HashMap<Ifindex, Vec<Span>>,
    /// A pod's interfaces: more than one where it is attached to several networks.
    by_uid: HashMap<Arc<str>, Vec<Ifindex>>,
    /// Interfaces with an ended span, by the time it ended.
    past: VecDeque<(Timestamp, Ifindex)>,
}

#[derive(Debug)]
struct Span {
    from: Timestamp,
    until: Option<Timestamp>,
    uid: Option<Arc<str>>,
    /// When `uid` became known.
    known: Timestamp,
}

impl Interfaces {
    /// Whether nothing was ever told: then nothing will be.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The interface is traced, and this pod is behind it. Says what the limits cost.
    pub fn tell(&mut self, at: Timestamp, ifindex: Ifindex, uid: Option<Arc<str>>) -> u64 {
        if !self.spans.contains_key(&ifindex) && self.spans.len() >= MAX_INTERFACES {
            return 1;
        }
        let spans = self.spans.entry(ifindex).or_default();
        match spans.last_mut().filter(|last| last.until.is_none()) {
            Some(last) if last.uid == uid => return 0,
            // The name came later than the interface, and holds for all of it.
            Some(last) if last.uid.is_none() => {
                last.uid.clone_from(&uid);
                last.known = at;
            }
            Some(last) => {
                last.until = Some(at);
                self.past.push_back((at, ifindex));
                spans.push(Span {
                    from: at,
                    until: None,
                    uid: uid.clone(),
                    known: at,
                });
            }
            None => spans.push(Span {
                from: at,
                until: None,
                uid: uid.clone(),
                known: at,
            }),
        }
        let cost = spans.len().saturating_sub(MAX_SPANS);
        let over: Vec<Span> = spans.drain(..cost).collect();
        self.unlink(ifindex, over);
        if let Some(uid) = uid {
            let interfaces = self.by_uid.entry(uid).or_default();
            if !interfaces.contains(&ifindex) {
                interfaces.push(ifindex);
            }
        }
        cost as u64
    }

    /// The interface is gone.
    pub fn gone(&mut self, at: Timestamp, ifindex: Ifindex) {
        let last = self
            .spans
            .get_mut(&ifindex)
            .and_then(|spans| spans.last_mut());
        if let Some(last) = last.filter(|last| last.until.is_none()) {
            last.until = Some(at);
            self.past.push_back((at, ifindex));
        }
    }

    /// Who was behind this interface at this time.
    pub fn behind(&self, ifindex: Ifindex, at: Timestamp) -> Behind<'_> {
        let Some(spans) = self.spans.get(&ifindex) else {
            return Behind::Untold;
        };
        // What was before the first news belongs to it: an interface is attached before it is told of.
        let span = spans
            .iter()
            .rev()
            .find(|span| span.from <= at)
            .or(spans.first());
        match span {
            None => Behind::Untold,
            Some(Span {
                uid: Some(uid),
                known,
                ..
            }) => Behind::Pod { uid, since: *known },
            Some(span) => Behind::Nobody { since: span.from },
        }
    }

    /// The interfaces that this pod is known to have had at this time.
    pub fn of(&self, uid: &str, at: Timestamp) -> impl Iterator<Item = Ifindex> {
        let interfaces = self.by_uid.get(uid).into_iter().flatten().copied();
        interfaces.filter(move |ifindex| {
            let mut spans = self.spans.get(ifindex).into_iter().flatten();
            spans.any(|span| {
                span.uid.as_deref() == Some(uid) && span.until.is_none_or(|until| at < until)
            })
        })
    }

    /// Forgets what ended before `before`, and the oldest of more than `limit`; says how many the limit cost.
    pub fn forget(&mut self, before: Timestamp, limit: usize) -> u64 {
        let mut cost = 0;
        while let Some((ended, ifindex)) = self.past.front().copied() {
            if ended >= before {
                if self.past.len() <= limit {
                    break;
                }
                cost += 1;
            }
            self.past.pop_front();
            let Some(spans) = self.spans.get_mut(&ifindex) else {
                continue;
            };
            let over = spans
                .extract_if(.., |span| span.until.is_some_and(|until| until <= ended))
                .collect();
            self.unlink(ifindex, over);
        }
        cost
    }

    /// What only these spans, taken from the interface, told.
    fn unlink(&mut self, ifindex: Ifindex, over: Vec<Span>) {
        let left = self.spans.get(&ifindex).map_or(&[][..], Vec::as_slice);
        for uid in over.into_iter().filter_map(|span| span.uid) {
            if left.iter().any(|span| span.uid.as_ref() == Some(&uid)) {
                continue;
            }
            if let Some(interfaces) = self.by_uid.get_mut(&uid) {
                interfaces.retain(|known| *known != ifindex);
                if interfaces.is_empty() {
                    self.by_uid.remove(&uid);
                }
            }
        }
        if left.is_empty() {
            self.spans.remove(&ifindex);
        }
    }
}
