//! Which requests the API server gets: one Event per finding, updated at most once a minute, within rate
//! limits.
//!
//! Pure: the time is an argument. Bounded: of the pod that has most, the least recently reported finding is
//! forgotten, and gets a new Event when it returns. kube's own `Recorder` aggregates by reason and object: two names that one pod
//! cannot resolve would become one Event with the text of the first name. Hence this ledger.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as KubeEvent, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use lru::LruCache;
use serde_json::json;

use super::Occurrence;
use super::note;

/// The reporting controller: "From" in kubectl's output.
pub(super) const CONTROLLER: &str = "tracer-agent";
/// Findings and pods to remember.
const MAX_KNOWN: usize = 4_096;
/// Minimum time between two updates of an Event.
pub(super) const UPDATE_EVERY: Duration = Duration::from_secs(60);
/// New Events of one pod: a burst, then one per interval. In a pod with more causes than this, one of the
/// first is the cause that matters.
pub(super) const POD_BURST: u32 = 10;
const POD_EVERY: Duration = Duration::from_secs(60);
/// Requests of this node: a burst, then one per second. A cluster of 1,000 failing nodes then costs the API
/// server at most 1,000 requests per second, which is what the kubelets' own heartbeats and Events can cost.
pub(super) const NODE_BURST: u32 = 50;
const NODE_EVERY: Duration = Duration::from_secs(1);
/// This part of the node's burst is reserved for pods with few requests: a burst, then one per interval. So
/// updates of pods in trouble delay no first Event of another.
const RESERVED: u32 = NODE_BURST / 2;
const FEW_BURST: u32 = 3;
const FEW_EVERY: Duration = Duration::from_secs(60);
/// An Event's name is a DNS subdomain of at most 253 characters; the suffix is a dot and 16 digits.
const MAX_POD_PART: usize = 236;

/// A request to the API server.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Create(Box<KubeEvent>),
    Update {
        name: String,
        patch: serde_json::Value,
    },
}

/// What to do with a finding.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    Send(Request),
    /// There is nothing new to report, or it is too early.
    Skip,
    /// A rate limit applies.
    Limited,
}

/// The latest Event of a finding.
#[derive(Debug)]
struct Known {
    name: String,
    /// Occurrences that earlier Events reported.
    before: u64,
    /// Occurrences reported so far, including those.
    reported: u64,
    reported_at: Instant,
    /// The finding was resolved: its next occurrence gets a new Event.
    closed: bool,
}

/// A finding: contains the UID, as a new pod with the same name has findings of its own.
type Key = (Arc<str>, String);

/// The requests of a pod.
#[derive(Debug)]
struct Pod {
    /// New Events.
    new: Bucket,
    /// Requests that may use the reserved part.
    few: Bucket,
}

#[derive(Debug)]
pub(super) struct Ledger {
    instance: Arc<str>,
    known: LruCache<Key, Known>,
    pods: LruCache<Arc<str>, Pod>,
    node: Bucket,
    forgotten: u64,
}

impl Ledger {
    pub fn new(instance: &str) -> Ledger {
        let known = NonZeroUsize::new(MAX_KNOWN).unwrap_or(NonZeroUsize::MIN);
        Ledger {
            instance: instance.chars().take(128).collect::<String>().into(),
            // Makes room itself.
            known: LruCache::unbounded(),
            pods: LruCache::new(known),
            node: Bucket::new(NODE_BURST, NODE_EVERY),
            forgotten: 0,
        }
    }

    /// Decides what to do with a finding, and records that it is done.
    pub fn take(&mut self, now: Instant, occurrence: &Occurrence) -> Decision {
        let pod = self
            .pods
            .get_or_insert_mut(Arc::clone(&occurrence.pod.uid), || Pod {
                new: Bucket::new(POD_BURST, POD_EVERY),
                few: Bucket::new(FEW_BURST, FEW_EVERY),
            });
        let before = match self.known.get_mut(&key(occurrence)) {
            Some(known) if !known.closed => {
                let new = occurrence.count > known.reported;
                let due =
                    occurrence.resolved || now.duration_since(known.reported_at) >= UPDATE_EVERY;
                known.closed = occurrence.resolved;
                if !new || !due {
                    return Decision::Skip;
                }
                if !admit(now, &mut self.node, pod) {
                    return Decision::Limited;
                }
                (known.reported, known.reported_at) = (occurrence.count, now);
                return Decision::Send(Request::Update {
                    name: known.name.clone(),
                    patch: json!({ "series": series(occurrence, known.before) }),
                });
            }
            Some(known) => known.reported,
            None => 0,
        };
        // A smaller count means that the pipeline had forgotten the finding and counts from one again.
        let before = if before < occurrence.count { before } else { 0 };
        // A finding that was resolved before its first Event needs none.
        if occurrence.resolved {
            return Decision::Skip;
        }
        if !pod.new.has(now) || !admit(now, &mut self.node, pod) {
            return Decision::Limited;
        }
        pod.new.take(now);
        let name = event_name(&occurrence.pod.name);
        let event = event(occurrence, &name, before, &self.instance);
        self.known.put(
            key(occurrence),
            Known {
                name,
                before,
                reported: occurrence.count,
                reported_at: now,
                closed: false,
            },
        );
        self.make_room();
        Decision::Send(Request::Create(Box::new(event)))
    }

    /// Findings forgotten to make room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets findings of the pods that have most.
    fn make_room(&mut self) {
        while self.known.len() > MAX_KNOWN {
            let mut held: HashMap<&str, usize> = HashMap::new();
            for ((uid, _), _) in &self.known {
                *held.entry(uid).or_default() += 1;
            }
            let most = held.values().copied().max();
            // From the least recently reported one on.
            let mut oldest_first = self.known.iter().rev().map(|(key, _)| key);
            let least = oldest_first.find(|(uid, _)| held.get(&**uid).copied() == most);
            let Some(least) = least.cloned() else { return };
            self.known.pop(&least);
            self.forgotten += 1;
        }
    }

    /// Forgets a finding whose Event does not exist.
    pub fn forget(&mut self, occurrence: &Occurrence) {
        self.known.pop(&key(occurrence));
    }
}

fn key(occurrence: &Occurrence) -> Key {
    (Arc::clone(&occurrence.pod.uid), occurrence.id.clone())
}

/// Takes one request of a pod from the node's, if there is one for it.
fn admit(now: Instant, node: &mut Bucket, pod: &mut Pod) -> bool {
    let few = pod.few.has(now);
    let free = node.has(now) && (few || node.tokens >= f64::from(RESERVED) + 1.0);
    if free {
        node.take(now);
        pod.few.take(now);
    }
    free
}

fn event_name(pod: &str) -> String {
    let pod: String = pod.chars().take(MAX_POD_PART).collect();
    let pod = pod.trim_end_matches(['.', '-']);
    format!("{pod}.{:016x}", rand::random::<u64>())
}

fn series(occurrence: &Occurrence, before: u64) -> EventSeries {
    EventSeries {
        count: i32::try_from(occurrence.count - before).unwrap_or(i32::MAX),
        last_observed_time: MicroTime(occurrence.last),
    }
}

fn event(occurrence: &Occurrence, name: &str, before: u64, instance: &str) -> KubeEvent {
    KubeEvent {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(occurrence.pod.namespace.to_string()),
            ..ObjectMeta::default()
        },
        // After a resolved Event the finding began again at its latest occurrence.
        event_time: Some(MicroTime(if before == 0 {
            occurrence.first
        } else {
            occurrence.last
        })),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(occurrence.pod.namespace.to_string()),
            name: Some(occurrence.pod.name.to_string()),
            uid: Some(occurrence.pod.uid.to_string()),
            ..ObjectReference::default()
        }),
        reason: Some(note::reason(occurrence.rule)),
        note: Some(occurrence.note.clone()),
        type_: Some("Warning".to_owned()),
        action: Some("Diagnose".to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        // A single occurrence is not a series.
        series: (occurrence.count - before > 1).then(|| series(occurrence, before)),
        ..KubeEvent::default()
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    burst: f64,
    every: Duration,
    tokens: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn new(burst: u32, every: Duration) -> Bucket {
        let burst = f64::from(burst);
        Bucket {
            burst,
            every,
            tokens: burst,
            at: None,
        }
    }

    fn has(&mut self, now: Instant) -> bool {
        if let Some(at) = self.at {
            let new = now.saturating_duration_since(at).as_secs_f64() / self.every.as_secs_f64();
            self.tokens = (self.tokens + new).min(self.burst);
        }
        self.at = Some(now);
        self.tokens >= 1.0
    }

    fn take(&mut self, now: Instant) -> bool {
        let has = self.has(now);
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}
