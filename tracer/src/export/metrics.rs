//! Metrics for Prometheus and other readers of OpenMetrics text.
//!
//! Owns the names, types and labels of all metrics (a test compares them with docs/metrics.md) and how each
//! event is counted. Never reads a clock and never waits: the pipeline task calls [`Metrics::observe`], the
//! HTTP server [`Metrics::encode`]. The agent passes in what is not in any event (losses, interfaces, the
//! index) as a [`State`]. Labels are bounded: all values are words of this program, except namespaces and
//! pods, which [`owners`] bounds, and those of [`servers`] and [`workloads`], which bound their own.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;
use prometheus_client::encoding::{prometheus_protobuf, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

mod echo;
mod labels;
mod owners;
mod process;
mod relay;
mod servers;
mod state;
#[cfg(test)]
mod tests;
mod workloads;

use self::echo::EchoRuns;
use self::labels::{Forget, Owner, Table};
use self::owners::{Assignment, Owners};
pub use self::owners::{IDLE, MAX_NAMESPACES, MAX_PODS, OTHER};
use self::process::Process;
pub use self::relay::{OpenWatch, RelayMetrics, RelayState};
use self::servers::DnsServers;
use self::state::Shared;
pub use self::state::{ConntrackState, IndexState, SettingsState, State};
use self::workloads::Workloads;
use tracer_core::model::connection::{TcpState, UdpState};
use tracer_core::model::dns::{RecordType, type_mnemonic};
use tracer_core::model::echo::EchoState;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::exchange::{Exchange, Outcome};
use tracer_core::model::finding::Finding;
use tracer_core::model::flow::Role;
use tracer_core::model::lookup::Lookup;
use tracer_core::view::words;

/// The media type of the text from [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Query types with a series of their own. All others share [`OTHER`]: a pod can query 65,536 types.
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
/// Findings to remember. A finding that returns after its eviction counts as a new one.
const MAX_FINDINGS: usize = 16_384;

/// 0.5 ms to 10 s: the cluster's DNS server answers within 1 ms, a resolver retries after 5 s.
fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

/// Queries of one lookup: 2 without a search path (A and AAAA), 8 for a name that no search domain of
/// Kubernetes has.
fn queries() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 24.0, 32.0])
}

type Count<const N: usize> = Table<N, Counter>;
type Words = Family<[(&'static str, &'static str); 1], Counter>;

/// The metrics that events feed.
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
    retransmits: Count<0>,
    handshake: Table<0, Histogram>,
    udp: Count<2>,
    echo_runs: Count<1>,
    echo_requests: Count<1>,
    echo_replies: Count<1>,
    icmp_errors: Count<0>,
    drops: Count<1>,
    findings: Count<2>,
    occurrences: Count<2>,
    events: Words,
    overflow: Words,
    /// Every table above, to drop the series of a namespace or pod.
    tables: Vec<Box<dyn Forget<Owner>>>,
}

impl Counts {
    #[rustfmt::skip]
    fn register(registry: &mut Registry) -> Counts {
        let mut new = Registration { registry, tables: Vec::new() };
        let counts = Counts {
            exchanges: new.counter("dns_exchanges", "DNS exchanges of client pods, by outcome and query type"),
            late: new.counter("dns_late_answers", "DNS answers that arrived after their query was counted as a timeout"),
            retries: new.counter("dns_retries", "DNS queries repeated because no answer arrived"),
            latency: new.seconds("dns_latency", "Time from the first attempt of a DNS query to its answer"),
            lookups: new.counter("lookups", "Resolver calls of pods, search path and record types combined, by outcome"),
            lookup_queries: new.queries("lookup_queries", "DNS queries per resolver call: the amplification by search path and retries"),
            lookup_duration: new.seconds("lookup_duration", "Time from the first query of a resolver call to its last answer, or until the resolver gave up"),
            tcp: new.counter("tcp_connections", "TCP connection attempts by outcome"),
            tcp_ends: new.counter("tcp_connection_ends", "Established TCP connections that were closed or reset"),
            retransmits: new.counter("tcp_retransmits", "TCP segments that pods sent again, of established connections, counted at their end"),
            handshake: new.seconds("tcp_handshake", "Time from a pod's first SYN to the SYN-ACK"),
            udp: new.counter("udp_flows", "UDP flows other than DNS: open counts all, unanswered and icmp-error those that failed"),
            echo_runs: new.counter("echo_runs", "Finished runs of ICMP echo requests (pings)"),
            echo_requests: new.counter("echo_requests", "ICMP echo requests"),
            echo_replies: new.counter("echo_replies", "ICMP echo requests that were answered"),
            icmp_errors: new.counter("icmp_errors", "ICMP errors that belong to no known exchange, connection, flow or ping"),
            drops: new.counter("packet_drops", "Packets of pods that the kernel of the node dropped, by its reason; unreported: those beyond the limit of an address"),
            findings: new.counter("findings", "Findings, each cause and pod counted once"),
            occurrences: new.counter("finding_occurrences", "Failures covered by the findings"),
            events: new.words("events", "Events by type"),
            overflow: new.words("metrics_label_overflow", "Events counted under \"other\" because the limit of namespaces or pods with series was reached"),
            tables: new.tables,
        };
        // An alert needs a zero to rise from.
        for label in ["namespace", "pod"] {
            drop(counts.overflow.get_or_create(&[("label", label)]));
        }
        counts
    }

    /// Drops the series of these owners.
    fn forget(&self, gone: &dyn Fn(&Owner) -> bool) {
        for table in &self.tables {
            table.forget(gone);
        }
    }
}

/// Registers metrics; each method is a kind of metric.
struct Registration<'a> {
    registry: &'a mut Registry,
    tables: Vec<Box<dyn Forget<Owner>>>,
}

impl Registration<'_> {
    fn counter<const N: usize>(&mut self, name: &str, help: &str) -> Count<N> {
        let table = self.table(Counter::default);
        self.registry.register(name, help, table.clone());
        table
    }

    fn seconds(&mut self, name: &str, help: &str) -> Table<0, Histogram> {
        let table = self.table(seconds);
        self.registry
            .register_with_unit(name, help, Unit::Seconds, table.clone());
        table
    }

    fn queries(&mut self, name: &str, help: &str) -> Table<0, Histogram> {
        let table = self.table(queries);
        self.registry.register(name, help, table.clone());
        table
    }

    fn words(&mut self, name: &str, help: &str) -> Words {
        let family = Words::default();
        self.registry.register(name, help, family.clone());
        family
    }

    fn table<const N: usize, M: Send + 'static>(&mut self, new: fn() -> M) -> Table<N, M> {
        let table = Table::new(new);
        self.tables.push(Box::new(table.clone()));
        table
    }
}

/// The memory that lets each occurrence count once.
struct Memory {
    owners: Owners,
    runs: EchoRuns,
    /// The count in each finding's latest event, by a hash of its id.
    findings: LruCache<u64, u64>,
    hasher: RandomState,
}

/// All metrics of one agent.
pub struct Metrics {
    registry: Registry,
    counts: Counts,
    servers: DnsServers,
    workloads: Workloads,
    memory: Mutex<Memory>,
    state: Shared,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The content of the `tracer_build` metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The program's version.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
}

impl Build {
    /// That of this program.
    pub fn of_this_program() -> Build {
        let commit = option_env!("TRACER_GIT_COMMIT");
        Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit.unwrap_or_default().to_owned(),
        }
    }
}

impl Metrics {
    /// Metrics with nothing counted. `by_pod` gives each pod its own series; `started` is the start of the
    /// process.
    pub fn new(by_pod: bool, build: &Build, started: jiff::Timestamp) -> Metrics {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("tracer");
        let counts = Counts::register(own);
        let servers = DnsServers::register(own);
        let workloads = Workloads::register(own);
        own.register(
            "build",
            "Version and commit of this program",
            Info::new(vec![
                ("version", build.version.clone()),
                ("commit", build.commit.clone()),
            ]),
        );
        let state = Shared::default();
        own.register_collector(Box::new(state.clone()));
        // Without the prefix: every Prometheus client library uses these names.
        registry.register_collector(Box::new(Process::new(started)));
        Metrics {
            registry,
            counts,
            servers,
            workloads,
            memory: Mutex::new(Memory {
                owners: Owners::new(by_pod),
                runs: EchoRuns::default(),
                findings: LruCache::new(
                    NonZeroUsize::new(MAX_FINDINGS).unwrap_or(NonZeroUsize::MIN),
                ),
                hasher: RandomState::new(),
            }),
            state,
        }
    }

    /// Switches between series per pod and series per namespace. Drops all series of the other kind.
    pub fn label_pods(&self, by_pod: bool) {
        let mut memory = self.memory.lock();
        if memory.owners.by_pod() != by_pod {
            memory.owners = Owners::new(by_pod);
            self.counts.forget(&|_| true);
        }
    }

    /// Sets the values that come from no event.
    pub fn set_state(&self, state: State) {
        self.state.set(state);
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// All metrics as Prometheus' data model has them.
    pub fn families(&self) -> Result<Vec<MetricFamily>, fmt::Error> {
        prometheus_protobuf::encode(&self.registry)
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
        let mut memory = self.memory.lock();
        let pod = ends.pod.identity.as_ref().ok();
        let assignment = memory.owners.assign(event.time, pod.map(|pod| &**pod));
        let owner = self.apply(assignment);
        self.servers.observe(event, ends);
        self.workloads.observe(event, ends);
        let counts = &self.counts;
        match &event.body {
            // Each exchange counts once in the cluster: on the client's side.
            Body::Dns(exchange, _) if client && event.incomplete => {
                counts.incomplete_exchange(exchange, &owner);
            }
            Body::Dns(exchange, _) if client => counts.exchange(exchange, &owner),
            Body::Lookup(_) if event.incomplete => counts.incomplete_lookup(&owner),
            Body::Lookup(lookup) => counts.lookup(lookup, &owner),
            // Neither its outcome nor its times are certain.
            Body::Tcp(_) if event.incomplete => {}
            Body::Tcp(connection) => {
                let outcome = ("outcome", words::tcp_state(connection.state));
                match connection.state {
                    TcpState::Established | TcpState::Refused(_) | TcpState::Timeout => {
                        counts.tcp.with([outcome, direction], &owner, inc);
                        if let (TcpState::Established, true, Some(handshake)) =
                            (connection.state, client, connection.handshake)
                        {
                            let seconds = handshake.as_secs_f64();
                            counts.handshake.with([], &owner, |h| h.observe(seconds));
                        }
                    }
                    TcpState::Reset | TcpState::Closed => {
                        counts.tcp_ends.with([outcome, direction], &owner, inc);
                        if let Some(segments) = connection.totals.retransmits {
                            counts.retransmits.with([], &owner, |total| {
                                total.inc_by(segments);
                            });
                        }
                    }
                    // Another state follows.
                    TcpState::Opening => {}
                    // Neither an outcome nor an end.
                    TcpState::Idle | TcpState::Undecided => {}
                }
            }
            Body::Udp(flow) if flow.state != UdpState::Closed => {
                let outcome = ("outcome", words::udp_state(flow.state));
                counts.udp.with([outcome, direction], &owner, inc);
            }
            Body::Echo(echo) => {
                let new = memory.runs.growth(echo);
                if echo.state == EchoState::Undecided {
                    return;
                }
                counts.echo_requests.with([direction], &owner, |total| {
                    total.inc_by(new.sent);
                });
                counts.echo_replies.with([direction], &owner, |total| {
                    total.inc_by(new.received);
                });
                if new.over {
                    counts.echo_runs.with([direction], &owner, inc);
                }
            }
            Body::IcmpError(_) => counts.icmp_errors.with([], &owner, inc),
            Body::Drop(dropped) => {
                let reason = ("reason", dropped.reason);
                counts.drops.with([reason], &owner, inc);
                if dropped.unreported > 0 {
                    counts
                        .drops
                        .with([("reason", "unreported")], &owner, |total| {
                            total.inc_by(dropped.unreported);
                        });
                }
            }
            Body::Finding(finding) => {
                let id = memory.hasher.hash_one(&finding.id);
                let before = memory.findings.put(id, finding.count);
                let new = counts.finding(finding, before, &owner);
                self.workloads.finding(event, ends, finding, new);
            }
            Body::Dns(..) | Body::Udp(_) | Body::Lost(_) => {}
        }
    }

    /// Drops the series of evicted owners, counts overflows, and returns the owner of the event's series.
    fn apply(&self, assignment: Assignment) -> Owner {
        if let Some(gone) = assignment.evicted_namespace {
            self.counts.forget(&|owner| owner.namespace == gone);
        }
        if let Some(gone) = assignment.evicted_pod {
            self.counts.forget(&|owner| *owner == gone);
        }
        for (overflow, label) in [
            (assignment.namespace_overflow, "namespace"),
            (assignment.pod_overflow, "pod"),
        ] {
            if overflow {
                self.counts
                    .overflow
                    .get_or_create(&[("label", label)])
                    .inc();
            }
        }
        assignment.owner
    }
}

impl Counts {
    fn exchange(&self, exchange: &Exchange, owner: &Owner) {
        if exchange.late {
            // Its exchange was counted as a timeout.
            return self.late.with([], owner, inc);
        }
        let outcome = ("outcome", exchange.outcome.as_str());
        let asked = exchange.question.as_ref().map(|question| question.qtype);
        self.exchanges
            .with([outcome, ("qtype", qtype(asked))], owner, inc);
        let again = u64::from(exchange.attempts.saturating_sub(1));
        if again > 0 {
            self.retries.with([], owner, |total| {
                total.inc_by(again);
            });
        }
        if let Some(latency) = exchange.latency {
            self.latency
                .with([], owner, |h| h.observe(latency.as_secs_f64()));
        }
    }

    /// Its answer, attempts and latency are not certain.
    fn incomplete_exchange(&self, exchange: &Exchange, owner: &Owner) {
        let outcome = ("outcome", Outcome::Undecided.as_str());
        let asked = exchange.question.as_ref().map(|question| question.qtype);
        self.exchanges
            .with([outcome, ("qtype", qtype(asked))], owner, inc);
    }

    fn incomplete_lookup(&self, owner: &Owner) {
        let outcome = ("outcome", Outcome::Undecided.as_str());
        self.lookups.with([outcome], owner, inc);
    }

    fn lookup(&self, lookup: &Lookup, owner: &Owner) {
        let outcome = ("outcome", lookup.outcome.as_str());
        self.lookups.with([outcome], owner, inc);
        self.lookup_queries
            .with([], owner, |h| h.observe(f64::from(lookup.queries)));
        self.lookup_duration
            .with([], owner, |h| h.observe(lookup.duration.as_secs_f64()));
    }

    /// `before` is the count in the finding's previous event. Returns by how much it grew.
    fn finding(&self, finding: &Finding, before: Option<u64>, owner: &Owner) -> u64 {
        let words = [
            ("rule", finding.rule),
            ("severity", words::severity(finding.severity)),
        ];
        // A smaller count means that the pipeline had forgotten the finding and counts from one again.
        let before = before.filter(|before| *before <= finding.count);
        if before.is_none() {
            self.findings.with(words, owner, inc);
        }
        let new = finding.count - before.unwrap_or(0);
        self.occurrences.with(words, owner, |total| {
            total.inc_by(new);
        });
        new
    }
}

fn inc(counter: &Counter) {
    counter.inc();
}

/// A query type's label value: [`OTHER`] for a rare or unreadable type.
fn qtype(asked: Option<RecordType>) -> &'static str {
    asked
        .and_then(|asked| QTYPES.into_iter().find(|known| *known == asked))
        .map_or(OTHER, |known| match type_mnemonic(known) {
            std::borrow::Cow::Borrowed(word) => word,
            // Every type of the list has a mnemonic.
            std::borrow::Cow::Owned(_) => OTHER,
        })
}
