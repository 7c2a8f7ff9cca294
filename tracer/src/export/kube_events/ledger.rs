//! Which requests the API server gets: one Event per finding, counted up at most once a minute, and no more than so many.
//!
//! Pure: the time is an argument. Bounded: of the findings that it knows the one told least lately makes room, and has a
//! new Event when it comes again. kube's own `Recorder` aggregates by reason and object, which would show two names that one
//! pod asks for in vain as one Event with the first name's words; hence this.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as KubeEvent, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use lru::LruCache;
use serde_json::json;

use super::Report;
use super::note;

/// Who reports: the Event's "From" in kubectl's output.
pub(super) const CONTROLLER: &str = "tracer-agent";
/// So many findings are known at a time.
const KNOWN: usize = 4_096;
/// An Event is counted up at most so often.
pub(super) const UPDATE_EVERY: Duration = Duration::from_secs(60);
/// Events of one pod: so many at once, then one in so long. A pod with more causes than this has one that matters among
/// those told.
pub(super) const POD_BURST: u32 = 10;
const POD_EVERY: Duration = Duration::from_secs(60);
/// Requests of this node: so many at once, then one a second. A cluster of 1,000 nodes that all fail then costs the API
/// server 1,000 requests a second at worst, as much as the kubelets' own heartbeats and Events may.
pub(super) const NODE_BURST: u32 = 50;
const NODE_EVERY: Duration = Duration::from_secs(1);
/// Names are DNS subdomains of 253 characters; the suffix is a dot and 16 digits.
const MAX_POD_PART: usize = 236;

/// A request to the API server.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    Create(Box<KubeEvent>),
    Update {
        name: String,
        patch: serde_json::Value,
    },
}

/// What a finding leads to.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Act(Act),
    Nothing,
    Limited,
}

/// What the API server knows of a finding.
#[derive(Debug)]
struct Known {
    name: String,
    /// Occurrences that earlier Events told of.
    before: u64,
    /// Occurrences that it was told of, those included.
    told: u64,
    told_at: Instant,
    /// It was resolved: what comes now is another Event.
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Ledger {
    instance: Arc<str>,
    known: LruCache<String, Known>,
    pods: LruCache<Arc<str>, Bucket>,
    node: Bucket,
}

impl Ledger {
    pub fn new(instance: &str) -> Ledger {
        let known = NonZeroUsize::new(KNOWN).unwrap_or(NonZeroUsize::MIN);
        Ledger {
            instance: instance.chars().take(128).collect::<String>().into(),
            known: LruCache::new(known),
            pods: LruCache::new(known),
            node: Bucket::new(NODE_BURST, NODE_EVERY),
        }
    }

    /// Takes a finding in.
    pub fn take(&mut self, now: Instant, report: &Report) -> Verdict {
        let before = match self.known.get_mut(&key(report)) {
            Some(known) if !known.closed => {
                let new = report.count > known.told;
                let due = report.resolved || now.duration_since(known.told_at) >= UPDATE_EVERY;
                known.closed = report.resolved;
                if !new || !due {
                    return Verdict::Nothing;
                }
                if !self.node.take(now) {
                    return Verdict::Limited;
                }
                (known.told, known.told_at) = (report.count, now);
                return Verdict::Act(Act::Update {
                    name: known.name.clone(),
                    patch: json!({ "series": series(report, known.before) }),
                });
            }
            Some(known) => known.told,
            None => 0,
        };
        // Counting began anew where the finding had been forgotten meanwhile.
        let before = if before < report.count { before } else { 0 };
        // What was over before an Event told of it needs none.
        if report.resolved {
            return Verdict::Nothing;
        }
        let pod = self
            .pods
            .get_or_insert_mut(Arc::clone(&report.pod.uid), || {
                Bucket::new(POD_BURST, POD_EVERY)
            });
        if !pod.has(now) || !self.node.take(now) {
            return Verdict::Limited;
        }
        pod.take(now);
        let name = event_name(&report.pod.name);
        let event = event(report, &name, before, &self.instance);
        self.known.put(
            key(report),
            Known {
                name,
                before,
                told: report.count,
                told_at: now,
                closed: false,
            },
        );
        Verdict::Act(Act::Create(Box::new(event)))
    }

    /// The Event of a finding is not there, or not any more.
    pub fn gone(&mut self, report: &Report) {
        self.known.pop(&key(report));
    }
}

/// Of a pod that was made anew under the same name it is another finding.
fn key(report: &Report) -> String {
    format!("{} {}", report.pod.uid, report.id)
}

fn event_name(pod: &str) -> String {
    let pod: String = pod.chars().take(MAX_POD_PART).collect();
    let pod = pod.trim_end_matches(['.', '-']);
    format!("{pod}.{:016x}", rand::random::<u64>())
}

fn series(report: &Report, before: u64) -> EventSeries {
    EventSeries {
        count: i32::try_from(report.count - before).unwrap_or(i32::MAX),
        last_observed_time: MicroTime(report.last),
    }
}

fn event(report: &Report, name: &str, before: u64, instance: &str) -> KubeEvent {
    KubeEvent {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(report.pod.namespace.to_string()),
            ..ObjectMeta::default()
        },
        // After one that was resolved: since it came again.
        event_time: Some(MicroTime(if before == 0 {
            report.first
        } else {
            report.last
        })),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(report.pod.namespace.to_string()),
            name: Some(report.pod.name.to_string()),
            uid: Some(report.pod.uid.to_string()),
            ..ObjectReference::default()
        }),
        reason: Some(note::reason(report.rule)),
        note: Some(report.note.clone()),
        type_: Some("Warning".to_owned()),
        action: Some("Diagnose".to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        // One occurrence is no series.
        series: (report.count - before > 1).then(|| series(report, before)),
        ..KubeEvent::default()
    }
}

/// Tokens that come back with time.
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
