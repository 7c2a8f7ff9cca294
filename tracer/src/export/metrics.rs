//! Counts of events as metrics, for Prometheus and whatever else reads OpenMetrics text.
//!
//! Owns the names, types and labels of all metrics (docs/metrics.md lists them, and a test compares) and what an event
//! counts as. Never reads a clock and never waits: [`Metrics::observe`] is called by the task that owns the pipeline,
//! [`Metrics::encode`] by the HTTP server. What no event tells (losses, interfaces, the index) the agent hands over as a
//! [`State`]. Labels are bounded: all are words of this program but namespaces and pods, and [`names`] bounds these.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

mod echo;
mod labels;
mod names;
mod process;
mod state;
#[cfg(test)]
mod tests;

use self::echo::EchoRuns;
use self::labels::{Table, Who};
pub use self::names::{IDLE, MAX_NAMESPACES, MAX_PODS, OTHER};
use self::names::{Names, Verdict};
use self::process::Process;
use self::state::Shared;
pub use self::state::{IndexState, SettingsState, State};
use tracer_core::model::connection::{TcpState, UdpState};
use tracer_core::model::dns::{RecordType, type_mnemonic};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::exchange::Exchange;
use tracer_core::model::finding::Finding;
use tracer_core::model::flow::Role;
use tracer_core::model::lookup::Lookup;
use tracer_core::view::words;

/// The media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Types of query that have a series of their own. All others are [`OTHER`]: a pod can ask for 65,536 types.
const QTYPES: [RecordType; 12] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::ANY,
    RecordType::CNAME,
    RecordType::HTTPS,
    RecordType::MX,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::SVCB,
    RecordType::TXT,
];
/// So many findings are told apart. One that comes again after it was pushed out counts as a new one.
const FINDINGS: usize = 16_384;

/// 0.5 ms to 10 s: a name server of the cluster answers in less than one, a retry comes after 5 s.
fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

/// Queries of one lookup: 2 without a search path (A and AAAA), 8 with Kubernetes' and a name that is nowhere.
fn queries() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 24.0, 32.0])
}

type Count<const N: usize> = Table<N, Counter>;

/// What is counted of events.
#[derive(Clone, Debug)]
struct Counts {
    exchanges: Count<2>,
    late: Count<0>,
    retries: Count<0>,
    latency: Table<0, Histogram>,
    lookups: Count<1>,
    lookup_queries: Table<0, Histogram>,
    lookup_duration: Table<0, Histogram>,
    tcp: Count<2>,
    tcp_ends: Count<2>,
    handshake: Table<0, Histogram>,
    udp: Count<2>,
    echo_runs: Count<1>,
    echo_requests: Count<1>,
    echo_replies: Count<1>,
    icmp_errors: Count<0>,
    findings: Count<2>,
    occurrences: Count<2>,
    events: Family<[(&'static str, &'static str); 1], Counter>,
    overflow: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Counts {
    fn register(registry: &mut Registry) -> Counts {
        let counts = Counts {
            exchanges: Table::new(Counter::default),
            late: Table::new(Counter::default),
            retries: Table::new(Counter::default),
            latency: Table::new(seconds),
            lookups: Table::new(Counter::default),
            lookup_queries: Table::new(queries),
            lookup_duration: Table::new(seconds),
            tcp: Table::new(Counter::default),
            tcp_ends: Table::new(Counter::default),
            handshake: Table::new(seconds),
            udp: Table::new(Counter::default),
            echo_runs: Table::new(Counter::default),
            echo_requests: Table::new(Counter::default),
            echo_replies: Table::new(Counter::default),
            icmp_errors: Table::new(Counter::default),
            findings: Table::new(Counter::default),
            occurrences: Table::new(Counter::default),
            events: Family::default(),
            overflow: Family::default(),
        };
        registry.register(
            "dns_exchanges",
            "DNS queries of pods that were answered or given up, by how they ended",
            counts.exchanges.clone(),
        );
        registry.register(
            "dns_late_answers",
            "DNS answers that came after their query had been counted as a timeout",
            counts.late.clone(),
        );
        registry.register(
            "dns_retries",
            "DNS queries that were sent again because no answer came",
            counts.retries.clone(),
        );
        registry.register_with_unit(
            "dns_latency",
            "From a DNS query, the first attempt, to its answer",
            Unit::Seconds,
            counts.latency.clone(),
        );
        registry.register(
            "lookups",
            "Resolver calls of pods, search path and record types taken together, by how they ended",
            counts.lookups.clone(),
        );
        registry.register(
            "lookup_queries",
            "DNS queries that one resolver call took: the amplification by search path and retries",
            counts.lookup_queries.clone(),
        );
        registry.register_with_unit(
            "lookup_duration",
            "From the first query of a resolver call to its last answer",
            Unit::Seconds,
            counts.lookup_duration.clone(),
        );
        registry.register(
            "tcp_connections",
            "TCP connections by how opening them ended",
            counts.tcp.clone(),
        );
        registry.register(
            "tcp_connection_ends",
            "TCP connections that were established and ended",
            counts.tcp_ends.clone(),
        );
        registry.register_with_unit(
            "tcp_handshake",
            "From the first SYN of a pod to the SYN-ACK",
            Unit::Seconds,
            counts.handshake.clone(),
        );
        registry.register(
            "udp_flows",
            "UDP flows other than DNS: opened, and of these those that got no answer or an ICMP error",
            counts.udp.clone(),
        );
        registry.register(
            "echo_runs",
            "Runs of ICMP echo requests (pings) that are over",
            counts.echo_runs.clone(),
        );
        registry.register(
            "echo_requests",
            "ICMP echo requests",
            counts.echo_requests.clone(),
        );
        registry.register(
            "echo_replies",
            "ICMP echo requests that were answered",
            counts.echo_replies.clone(),
        );
        registry.register(
            "icmp_errors",
            "ICMP errors that belong to no exchange, connection or ping that is known",
            counts.icmp_errors.clone(),
        );
        registry.register(
            "findings",
            "Conclusions about what fails, each cause and pod once",
            counts.findings.clone(),
        );
        registry.register(
            "finding_occurrences",
            "How often what findings tell of was seen",
            counts.occurrences.clone(),
        );
        registry.register("events", "Events by type", counts.events.clone());
        // An alert needs a zero to rise from.
        for label in ["namespace", "pod"] {
            drop(counts.overflow.get_or_create(&[("label", label)]));
        }
        registry.register(
            "metrics_label_overflow",
            "Events that were counted under \"other\" because there are more namespaces or pods than have series",
            counts.overflow.clone(),
        );
        counts
    }

    /// Drops the series of those who fit.
    fn forget(&self, fits: &dyn Fn(&Who) -> bool) {
        for table in [&self.late, &self.retries, &self.icmp_errors] {
            table.forget(fits);
        }
        for table in [
            &self.lookups,
            &self.echo_runs,
            &self.echo_requests,
            &self.echo_replies,
        ] {
            table.forget(fits);
        }
        for table in [
            &self.exchanges,
            &self.tcp,
            &self.tcp_ends,
            &self.udp,
            &self.findings,
            &self.occurrences,
        ] {
            table.forget(fits);
        }
        for table in [
            &self.latency,
            &self.lookup_queries,
            &self.lookup_duration,
            &self.handshake,
        ] {
            table.forget(fits);
        }
    }
}

/// What needs to be remembered to count an event once.
struct Memory {
    names: Names,
    runs: EchoRuns,
    /// How often each finding had occurred when it was told last, by a hash of its id.
    findings: LruCache<u64, u64>,
    hasher: RandomState,
}

/// All metrics of one agent.
pub struct Metrics {
    registry: Registry,
    counts: Counts,
    memory: Mutex<Memory>,
    state: Shared,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What the program is, for the `tracer_build` metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its version.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
}

impl Metrics {
    /// With nothing counted. `by_pod` gives each pod series of its own; `started` is when the process started.
    pub fn new(by_pod: bool, build: &Build, started: jiff::Timestamp) -> Metrics {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("tracer");
        let counts = Counts::register(own);
        own.register(
            "build",
            "What this program was built from",
            Info::new(vec![
                ("version", build.version.clone()),
                ("commit", build.commit.clone()),
            ]),
        );
        let state = Shared::default();
        own.register_collector(Box::new(state.clone()));
        // Without the prefix, as every client library names them.
        registry.register_collector(Box::new(Process::new(started)));
        Metrics {
            registry,
            counts,
            memory: Mutex::new(Memory {
                names: Names::new(by_pod),
                runs: EchoRuns::default(),
                findings: LruCache::new(NonZeroUsize::new(FINDINGS).unwrap_or(NonZeroUsize::MIN)),
                hasher: RandomState::new(),
            }),
            state,
        }
    }

    /// Gives each pod series of its own, or not. Series of the other kind are dropped.
    pub fn label_pods(&self, by_pod: bool) {
        let mut memory = self.memory();
        if memory.names.by_pod() != by_pod {
            memory.names = Names::new(by_pod);
            self.counts.forget(&|_| true);
        }
    }

    /// Takes over what no event tells.
    pub fn set_state(&self, state: State) {
        self.state.set(state);
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts one event.
    pub fn observe(&self, event: &Event) {
        self.counts
            .events
            .get_or_create(&[("type", words::kind(&event.body))])
            .inc();
        let Some(ends) = &event.ends else { return };
        let direction = ("direction", words::direction(ends.role));
        let client = ends.role == Role::Client;
        let mut memory = self.memory();
        let pod = ends.pod.identity.as_ref().ok();
        let verdict = memory.names.who(event.time, pod.map(|pod| &**pod));
        let who = self.make_room(verdict);
        let counts = &self.counts;
        match &event.body {
            // Each exchange counts once in a cluster: on its client's side.
            Body::Dns(exchange, _) if client => counts.exchange(exchange, &who),
            Body::Lookup(lookup) => counts.lookup(lookup, &who),
            Body::Tcp(connection) => {
                let outcome = ("outcome", words::tcp_state(connection.state));
                match connection.state {
                    TcpState::Established | TcpState::Refused(_) | TcpState::Timeout => {
                        counts.tcp.with([outcome, direction], &who, inc);
                        if let (TcpState::Established, true, Some(handshake)) =
                            (connection.state, client, connection.handshake)
                        {
                            let seconds = handshake.as_secs_f64();
                            counts.handshake.with([], &who, |h| h.observe(seconds));
                        }
                    }
                    TcpState::Reset | TcpState::Closed => {
                        counts.tcp_ends.with([outcome, direction], &who, inc);
                    }
                    // It comes to one of the others.
                    TcpState::Opening => {}
                }
            }
            Body::Udp(flow) if flow.state != UdpState::Closed => {
                let outcome = ("outcome", words::udp_state(flow.state));
                counts.udp.with([outcome, direction], &who, inc);
            }
            Body::Echo(echo) => {
                let new = memory.runs.told(echo);
                counts.echo_requests.with([direction], &who, |total| {
                    total.inc_by(new.sent);
                });
                counts.echo_replies.with([direction], &who, |total| {
                    total.inc_by(new.received);
                });
                if new.over {
                    counts.echo_runs.with([direction], &who, inc);
                }
            }
            Body::IcmpError(_) => counts.icmp_errors.with([], &who, inc),
            Body::Finding(finding) => {
                let id = memory.hasher.hash_one(&finding.id);
                let before = memory.findings.put(id, finding.count);
                counts.finding(finding, before, &who);
            }
            Body::Dns(..) | Body::Udp(_) | Body::Lost(_) => {}
        }
    }

    /// Whose series it is, after those who made room for it are forgotten.
    fn make_room(&self, verdict: Verdict) -> Who {
        if let Some(gone) = verdict.gone_namespace {
            self.counts.forget(&|who| who.namespace == gone);
        }
        if let Some(gone) = verdict.gone_pod {
            self.counts.forget(&|who| *who == gone);
        }
        for (overflow, label) in [
            (verdict.namespace_overflow, "namespace"),
            (verdict.pod_overflow, "pod"),
        ] {
            if overflow {
                self.counts
                    .overflow
                    .get_or_create(&[("label", label)])
                    .inc();
            }
        }
        verdict.who
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic elsewhere while it was locked left counts that are off by one event at most.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn exchange(&self, exchange: &Exchange, who: &Who) {
        if exchange.late {
            // It was counted as a timeout.
            return self.late.with([], who, inc);
        }
        let outcome = ("outcome", exchange.outcome.as_str());
        let asked = exchange.question.as_ref().map(|question| question.qtype);
        self.exchanges
            .with([outcome, ("qtype", qtype(asked))], who, inc);
        let again = u64::from(exchange.attempts.saturating_sub(1));
        if again > 0 {
            self.retries.with([], who, |total| {
                total.inc_by(again);
            });
        }
        if let Some(latency) = exchange.latency {
            self.latency
                .with([], who, |h| h.observe(latency.as_secs_f64()));
        }
    }

    fn lookup(&self, lookup: &Lookup, who: &Who) {
        let outcome = ("outcome", lookup.outcome.as_str());
        self.lookups.with([outcome], who, inc);
        self.lookup_queries
            .with([], who, |h| h.observe(f64::from(lookup.queries)));
        self.lookup_duration
            .with([], who, |h| h.observe(lookup.duration.as_secs_f64()));
    }

    /// `before` is how often it had occurred when it was told last.
    fn finding(&self, finding: &Finding, before: Option<u64>, who: &Who) {
        let words = [
            ("rule", finding.rule),
            ("severity", words::severity(finding.severity)),
        ];
        // Counting began anew where the finding had been forgotten meanwhile.
        let before = before.filter(|before| *before <= finding.count);
        if before.is_none() {
            self.findings.with(words, who, inc);
        }
        let new = finding.count - before.unwrap_or(0);
        self.occurrences.with(words, who, |total| {
            total.inc_by(new);
        });
    }
}

fn inc(counter: &Counter) {
    counter.inc();
}

/// The word of a type; of one that is rare, or could not be read, [`OTHER`].
fn qtype(asked: Option<RecordType>) -> &'static str {
    asked
        .and_then(|asked| QTYPES.into_iter().find(|known| *known == asked))
        .map_or(OTHER, |known| match type_mnemonic(known) {
            std::borrow::Cow::Borrowed(word) => word,
            // Every type of the list has a word.
            std::borrow::Cow::Owned(_) => OTHER,
        })
}
