//! The pod behind each interface over time, as its network namespace shows; or the node itself.
//!
//! Knows a pod only by the UID in its cgroup path.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::model::flow::Ifindex;
use crate::model::time::Timestamp;

/// Interfaces known at once; the kubelet's default is 110 pods on a node.
const MAX_INTERFACES: usize = 16_384;
/// Pods remembered for one interface; if it changes hands more often within the retention time, the oldest
/// are evicted.
const MAX_SPANS: usize = 8;

/// What is known about an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind<'a> {
    /// It was never reported: the input is a capture file, or its first packet arrived before the report.
    Unreported,
    /// It is traced, but no pod process has been found for it so far.
    NoPod {
        /// When tracing began.
        since: Timestamp,
    },
    /// The pod with this UID.
    Pod {
        /// Its UID.
        uid: &'a Arc<str>,
        /// When the interface became the pod's.
        since: Timestamp,
    },
    /// The node's own sockets.
    Node,
}

/// What a report says about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    /// No pod process has been found so far.
    Unknown,
    /// The pod with this UID.
    Pod(Arc<str>),
    /// The node's own sockets.
    Node,
}

impl Occupant {
    fn uid(&self) -> Option<&Arc<str>> {
        match self {
            Occupant::Pod(uid) => Some(uid),
            Occupant::Unknown | Occupant::Node => None,
        }
    }
}

/// The interfaces of this node.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    spans: HashMap<Ifindex, Vec<Span>, RandomState>,
    /// The interfaces of each pod: several if it is attached to several networks.
    by_uid: HashMap<Arc<str>, Vec<Ifindex>, RandomState>,
    /// Interfaces with an ended span, by the time of its end.
    past: VecDeque<(Timestamp, Ifindex)>,
    /// The first event of each interface that was never reported.
    unreported: HashMap<Ifindex, Timestamp, RandomState>,
}

#[derive(Debug)]
struct Span {
    from: Timestamp,
    until: Option<Timestamp>,
    occupant: Occupant,
}

impl Interfaces {
    /// Whether no interface was ever reported: then none will be.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The time of the first event of an interface that was not reported yet. `None` if no interface is ever
    /// reported, as in a capture file, or if there are too many to remember.
    pub fn first_event(&mut self, now: Timestamp, ifindex: Ifindex) -> Option<Timestamp> {
        if self.is_empty() {
            return None;
        }
        let room = self.unreported.len() < MAX_INTERFACES;
        match self.unreported.entry(ifindex) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(new) if room => Some(*new.insert(now)),
            Entry::Vacant(_) => None,
        }
    }

    /// No event of this interface follows.
    pub fn forget_events(&mut self, ifindex: Ifindex) {
        self.unreported.remove(&ifindex);
    }

    /// The interface is traced, and this is behind it. Returns how many entries were evicted.
    pub fn report(&mut self, at: Timestamp, ifindex: Ifindex, occupant: Occupant) -> u64 {
        if !self.spans.contains_key(&ifindex) && self.spans.len() >= MAX_INTERFACES {
            return 1;
        }
        self.unreported.remove(&ifindex);
        let spans = self.spans.entry(ifindex).or_default();
        match spans.last_mut().filter(|last| last.until.is_none()) {
            Some(last) if last.occupant == occupant => return 0,
            // The UID arrived after the interface and applies to the whole span.
            Some(last) if last.occupant == Occupant::Unknown => {
                last.occupant = occupant.clone();
            }
            Some(last) => {
                last.until = Some(at);
                self.past.push_back((at, ifindex));
                spans.push(Span {
                    from: at,
                    until: None,
                    occupant: occupant.clone(),
                });
            }
            None => spans.push(Span {
                from: at,
                until: None,
                occupant: occupant.clone(),
            }),
        }
        let evicted = spans.len().saturating_sub(MAX_SPANS);
        let over: Vec<Span> = spans.drain(..evicted).collect();
        self.unlink(ifindex, over);
        if let Occupant::Pod(uid) = occupant {
            let interfaces = self.by_uid.entry(uid).or_default();
            if !interfaces.contains(&ifindex) {
                interfaces.push(ifindex);
            }
        }
        evicted as u64
    }

    /// The interface was removed.
    pub fn remove(&mut self, at: Timestamp, ifindex: Ifindex) {
        let last = self
            .spans
            .get_mut(&ifindex)
            .and_then(|spans| spans.last_mut());
        if let Some(last) = last.filter(|last| last.until.is_none()) {
            last.until = Some(at);
            self.past.push_back((at, ifindex));
        }
    }

    /// The pod behind this interface at this time.
    pub fn behind(&self, ifindex: Ifindex, at: Timestamp) -> Behind<'_> {
        let Some(spans) = self.spans.get(&ifindex) else {
            return Behind::Unreported;
        };
        // Packets from before the first span belong to it: an interface is attached before it is reported.
        let span = spans
            .iter()
            .rev()
            .find(|span| span.from <= at)
            .or(spans.first());
        let Some(Span { occupant, from, .. }) = span else {
            return Behind::Unreported;
        };
        match occupant {
            Occupant::Pod(uid) => Behind::Pod { uid, since: *from },
            Occupant::Unknown => Behind::NoPod { since: *from },
            Occupant::Node => Behind::Node,
        }
    }

    /// Whether the node's own sockets are behind an interface at this time.
    pub fn any_of_node(&self, at: Timestamp) -> bool {
        let mut spans = self.spans.values().flatten();
        spans.any(|span| {
            span.occupant == Occupant::Node && span.until.is_none_or(|until| at < until)
        })
    }

    /// The interfaces of this pod at this time.
    pub fn of_pod(&self, uid: &str, at: Timestamp) -> impl Iterator<Item = Ifindex> {
        let interfaces = self.by_uid.get(uid).into_iter().flatten().copied();
        interfaces.filter(move |ifindex| {
            let mut spans = self.spans.get(ifindex).into_iter().flatten();
            spans.any(|span| {
                span.occupant.uid().is_some_and(|known| **known == *uid)
                    && span.until.is_none_or(|until| at < until)
            })
        })
    }

    /// Forgets spans that ended before `before`, and the oldest beyond `limit`. Returns how many were evicted
    /// by the limit.
    pub fn forget(&mut self, before: Timestamp, limit: usize) -> u64 {
        let mut evicted = 0;
        while let Some((ended, ifindex)) = self.past.front().copied() {
            if ended >= before {
                if self.past.len() <= limit {
                    break;
                }
                evicted += 1;
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
        evicted
    }

    /// Removes the links to the pods of these spans, which were taken from the interface, unless another span
    /// of it has the same pod.
    fn unlink(&mut self, ifindex: Ifindex, over: Vec<Span>) {
        let left = self.spans.get(&ifindex).map_or(&[][..], Vec::as_slice);
        for uid in over.iter().filter_map(|span| span.occupant.uid()) {
            if left.iter().any(|span| span.occupant.uid() == Some(uid)) {
                continue;
            }
            if let Some(interfaces) = self.by_uid.get_mut(uid) {
                interfaces.retain(|known| *known != ifindex);
                if interfaces.is_empty() {
                    self.by_uid.remove(uid);
                }
            }
        }
        if left.is_empty() {
            self.spans.remove(&ifindex);
        }
    }
}
