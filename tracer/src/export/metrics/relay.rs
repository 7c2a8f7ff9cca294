//! Metrics of a relay.
//!
//! Owns their names, types and labels; a test compares them with docs/metrics.md. The relay counts requests, reviews
//! and events as they happen, and a scrape reads the rest from it as a [`RelayState`]. All label values are words of
//! this program.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use super::{Build, Words};

/// What a scrape reads from the relay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RelayState {
    /// The relay answers requests: it knows the pods, and whom to trust.
    pub ready: bool,
    /// Connected agents.
    pub agents: u64,
    /// Findings in the store.
    pub findings: u64,
    /// Their bytes.
    pub findings_bytes: u64,
    /// Findings that are not in the store, by reason.
    pub findings_dropped: Vec<(&'static str, u64)>,
    /// Questions about the paths of findings, by result.
    pub paths: Vec<(&'static str, u64)>,
    /// When the certificate in use ends, in seconds since 1970; `None` before there is one.
    pub certificate_expires: Option<i64>,
}

/// A request's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    resource: &'static str,
    verb: &'static str,
    code: u16,
}

/// Labels with values of this program.
type Pair = [(&'static str, &'static str); 2];

/// All metrics of one relay.
pub struct RelayMetrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Family<Pair, Histogram, fn() -> Histogram>,
    watches: Family<Pair, Gauge>,
    events: Family<Pair, Counter>,
    reviews: Family<Pair, Counter>,
    refused: Words,
    state: Source,
}

impl fmt::Debug for RelayMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayMetrics").finish_non_exhaustive()
    }
}

/// An answer from memory takes milliseconds; one for which agents are asked up to 30 s.
fn seconds() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

impl RelayMetrics {
    /// Metrics with nothing counted.
    #[rustfmt::skip]
    pub fn new(build: &Build, started: jiff::Timestamp) -> RelayMetrics {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("tracer_relay");
        let (requests, watches, events) = (Family::default(), Family::default(), Family::default());
        let (reviews, refused) = (Family::default(), Words::default());
        let durations = Family::new_with_constructor(seconds as fn() -> Histogram);
        own.register("requests", "Requests that were answered, by resource, verb and HTTP status code", requests.clone());
        own.register_with_unit("request_duration", "Time of gets and lists, until the last byte was sent", Unit::Seconds, durations.clone());
        own.register("open_watches", "Open watches and streams", watches.clone());
        own.register("events", "Events of watches and streams: sent to the client, or lost because it did not read", events.clone());
        own.register("reviews", "Questions to the API server: whose token it is, and whether a user may", reviews.clone());
        own.register("agents_refused", "Attempts of agents to connect that were refused", refused.clone());
        own.register(
            "build",
            "Version and commit of this program",
            Info::new(vec![("version", build.version.clone()), ("commit", build.commit.clone())]),
        );
        let state = Source::default();
        own.register_collector(Box::new(state.clone()));
        registry.register_collector(Box::new(Process::new(started)));
        RelayMetrics { registry, requests, durations, watches, events, reviews, refused, state }
    }

    /// Sets where a scrape reads what is not counted here. The first call counts.
    pub fn read_from(&self, state: impl Fn() -> RelayState + Send + Sync + 'static) {
        let _ = self.state.0.set(Box::new(state));
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts an answer.
    pub fn answered(&self, resource: &'static str, verb: &'static str, code: u16) {
        let labels = Answered {
            resource,
            verb,
            code,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Adds the time of a get or a list.
    pub fn took(&self, resource: &'static str, verb: &'static str, time: Duration) {
        let labels = [("resource", resource), ("verb", verb)];
        self.durations
            .get_or_create(&labels)
            .observe(time.as_secs_f64());
    }

    /// Counts a watch as open until the value is dropped.
    pub fn open_watch(&self, resource: &'static str, form: &'static str) -> OpenWatch {
        let labels = [("resource", resource), ("form", form)];
        let gauge = self.watches.get_or_create(&labels).clone();
        gauge.inc();
        OpenWatch(gauge)
    }

    /// The counter of events that were sent for a resource.
    pub fn sent(&self, resource: &'static str) -> Counter {
        self.events_of(resource, "sent")
    }

    /// The counter of events that clients did not read in time.
    pub fn lost(&self, resource: &'static str) -> Counter {
        self.events_of(resource, "lost")
    }

    fn events_of(&self, resource: &'static str, result: &'static str) -> Counter {
        let labels = [("resource", resource), ("result", result)];
        self.events.get_or_create(&labels).clone()
    }

    /// Counts a question to the API server: `kind` is token or access, `result` allowed, denied or failed.
    pub fn reviewed(&self, kind: &'static str, result: &'static str) {
        let labels = [("kind", kind), ("result", result)];
        self.reviews.get_or_create(&labels).inc();
    }

    /// Counts an agent that was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }
}

/// An open watch.
#[derive(Debug)]
pub struct OpenWatch(Gauge);

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.0.dec();
    }
}

type Read = Box<dyn Fn() -> RelayState + Send + Sync>;

/// Where a scrape reads the state.
#[derive(Clone, Default)]
struct Source(Arc<OnceLock<Read>>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Collector for Source {
    #[rustfmt::skip]
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(read) = self.0.get() else { return Ok(()) };
        let state = read();
        let mut gauge = |name: &str, unit: Option<&Unit>, help: &str, value: u64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        gauge("ready", None, "1 while the relay answers requests for objects, otherwise 0", u64::from(state.ready))?;
        gauge("agents_connected", None, "Connected agents", state.agents)?;
        gauge("findings", None, "Findings in the store", state.findings)?;
        gauge("findings", Some(&Unit::Bytes), "Size of the findings in the store", state.findings_bytes)?;
        if let Some(expires) = state.certificate_expires {
            let help = "When the certificate in use expires, since the Unix epoch";
            ConstGauge::new(expires).encode(encoder.encode_descriptor(
                "certificate_expiry_timestamp", help, Some(&Unit::Seconds), MetricType::Gauge,
            )?)?;
        }
        let help = "Findings that are not in the store, by reason";
        let mut family = encoder.encode_descriptor("findings_dropped", help, None, MetricType::Counter)?;
        for (reason, count) in state.findings_dropped {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        let help = "Questions to agents about the path of a finding, by result";
        let mut family = encoder.encode_descriptor("paths", help, None, MetricType::Counter)?;
        for (result, count) in state.paths {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}
