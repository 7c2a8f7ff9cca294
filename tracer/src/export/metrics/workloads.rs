//! Lookups, connections and findings by workload: what a team looks for, and what outlives its pods.
//!
//! The labels are those of kubernetes-mixin (`namespace`, `workload`, `workload_type`), so that series join
//! with others of the same workload. The pods of a namespace that have no controller share a series of type
//! `pod`: metrics name pods only with `--metrics-pod-label`.

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{Forget as _, SeriesOwner, Table};
use super::owners::{Admission, Namespaced, OTHER, Shares};
use super::{inc, seconds};
use tracer_core::model::connection::TcpState;
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::exchange::Outcome;
use tracer_core::model::finding::Finding;
use tracer_core::model::identity::PodIdentity;
use tracer_core::model::printable::replaced;
use tracer_core::view::words;

/// Workloads that have series: more than a node's pods usually belong to.
pub(super) const MAX_WORKLOADS: usize = 200;

/// A workload with series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Workload {
    namespace: Arc<str>,
    name: Arc<str>,
    /// The kind in lower case.
    kind: Arc<str>,
}

impl SeriesOwner for Workload {
    fn labels(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        vec![
            ("namespace", replaced(&self.namespace)),
            ("workload", replaced(&self.name)),
            ("workload_type", replaced(&self.kind)),
        ]
    }
}

impl Namespaced for Workload {
    fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }
}

impl Workload {
    fn of(pod: &PodIdentity) -> Workload {
        let (name, kind) = match &pod.workload {
            Some(workload) => (
                Arc::clone(&workload.name),
                workload.kind.to_ascii_lowercase().into(),
            ),
            None => (Arc::default(), "pod".into()),
        };
        Workload {
            namespace: Arc::clone(&pod.namespace),
            name,
            kind,
        }
    }

    fn other() -> Workload {
        Workload {
            namespace: OTHER.into(),
            name: OTHER.into(),
            kind: OTHER.into(),
        }
    }
}

/// The metrics of all workloads.
#[derive(Debug)]
pub(super) struct Workloads {
    lookups: Table<1, Counter, Workload>,
    lookup_duration: Table<0, Histogram, Workload>,
    tcp: Table<2, Counter, Workload>,
    occurrences: Table<2, Counter, Workload>,
    admitted: Mutex<Shares<Workload>>,
}

impl Workloads {
    pub fn register(registry: &mut Registry) -> Workloads {
        let workloads = Workloads {
            lookups: Table::new(Counter::default),
            lookup_duration: Table::new(seconds),
            tcp: Table::new(Counter::default),
            occurrences: Table::new(Counter::default),
            admitted: Mutex::new(Shares::new(MAX_WORKLOADS)),
        };
        registry.register(
            "workload_lookups",
            "Resolver calls of a workload's pods, by outcome",
            workloads.lookups.clone(),
        );
        registry.register_with_unit(
            "workload_lookup_duration",
            "Time from the first query of a resolver call to its last answer, or until the resolver gave up",
            Unit::Seconds,
            workloads.lookup_duration.clone(),
        );
        registry.register(
            "workload_tcp_connections",
            "TCP connection attempts of a workload's pods, by outcome",
            workloads.tcp.clone(),
        );
        registry.register(
            "workload_finding_occurrences",
            "Failures covered by the findings about a workload's pods",
            workloads.occurrences.clone(),
        );
        workloads
    }

    /// Counts a lookup or a connection of a known pod; ignores all other events.
    pub fn observe(&self, event: &Event, ends: &Ends) {
        let Ok(pod) = &ends.pod.identity else { return };
        match &event.body {
            Body::Lookup(lookup) => {
                let workload = self.admit(event, pod);
                let outcome = match event.incomplete {
                    true => Outcome::Undecided,
                    false => lookup.outcome,
                };
                let outcome = ("outcome", outcome.as_str());
                self.lookups.with([outcome], &workload, inc);
                if !event.incomplete {
                    let duration = lookup.duration.as_secs_f64();
                    let observe = |histogram: &Histogram| histogram.observe(duration);
                    self.lookup_duration.with([], &workload, observe);
                }
            }
            Body::Tcp(connection) if !event.incomplete => {
                if let TcpState::Established | TcpState::Refused(_) | TcpState::Timeout =
                    connection.state
                {
                    let workload = self.admit(event, pod);
                    let outcome = ("outcome", words::tcp_state(connection.state));
                    let direction = ("direction", words::direction(ends.role));
                    self.tcp.with([outcome, direction], &workload, inc);
                }
            }
            _ => {}
        }
    }

    /// Counts a finding's new failures.
    pub fn finding(&self, event: &Event, ends: &Ends, finding: &Finding, new: u64) {
        let Ok(pod) = &ends.pod.identity else { return };
        let workload = self.admit(event, pod);
        let words = [
            ("rule", finding.rule),
            ("severity", words::severity(finding.severity)),
        ];
        self.occurrences.with(words, &workload, |total| {
            total.inc_by(new);
        });
    }

    /// The pod's workload, or the one that all workloads without series share.
    fn admit(&self, event: &Event, pod: &PodIdentity) -> Workload {
        let workload = Workload::of(pod);
        match self.admitted.lock().admit(event.time, &workload) {
            Admission::Shared => Workload::other(),
            Admission::Own { evicted } => {
                if let Some(gone) = evicted {
                    self.forget(&gone);
                }
                workload
            }
        }
    }

    fn forget(&self, gone: &Workload) {
        let is_gone = |workload: &Workload| workload == gone;
        self.lookups.forget(&is_gone);
        self.lookup_duration.forget(&is_gone);
        self.tcp.forget(&is_gone);
        self.occurrences.forget(&is_gone);
    }
}
