//! The values that come from no event: losses, interfaces, the index. The agent sets them, a scrape reads
//! them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::export::kube_events::KubeEventTotals;
use crate::export::otlp::OtlpTotals;
use tracer_core::model::loss::Losses;
use tracer_core::model::signal::ConntrackCounters;

mod conntrack;

/// Totals since the agent's start, and current values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Losses at all stages.
    pub losses: Losses,
    /// Packets seen by the probes.
    pub packets: u64,
    /// Records that reached the pipeline.
    pub records: u64,
    /// Events dropped for `--exclude-namespace`.
    pub excluded: u64,
    /// Traced interfaces.
    pub attached: u64,
    /// Traced interfaces with only one visible direction.
    pub one_way: u64,
    /// Findings sent as Kubernetes Events; `None` if that is off.
    pub kube_events: Option<KubeEventTotals>,
    /// Records and metrics sent by OTLP; `None` if that is off.
    pub otlp: Option<OtlpTotals>,
    /// Relays that the agent is connected to; `None` without --relay.
    pub relays: Option<u64>,
    /// What is read of conntrack.
    pub conntrack: ConntrackState,
    /// The state of the index.
    pub index: IndexState,
    /// The state of the settings files; `None` without such files.
    pub settings: Option<SettingsState>,
}

/// What is read of conntrack.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConntrackState {
    /// Every new translation is read; `None` if that is off.
    pub following: Option<bool>,
    /// Translations read.
    pub translations: u64,
    /// The kernel's counters, if they can be read.
    pub counters: Option<ConntrackCounters>,
}

/// The state of the settings files that are read again when they change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SettingsState {
    /// The latest content is in effect.
    pub applied: bool,
    /// When the settings in effect were read.
    pub read: jiff::Timestamp,
}

/// The state of the index of cluster objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexState {
    /// Objects by kind.
    pub objects: Vec<(&'static str, u64)>,
    /// Every kind has been listed once.
    pub synced: bool,
    /// For how long the index may have been behind the cluster; zero while it is current. `None` without a
    /// cluster.
    pub stale: Option<Duration>,
}

/// The state, shared by the agent and the scrapes.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub fn set(&self, state: State) {
        *self.0.lock() = state;
    }

    fn get(&self) -> State {
        self.0.lock().clone()
    }
}

impl Collector for Shared {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let state = self.get();
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        counter("packets", "Packets seen by the probes", state.packets)?;
        counter("records", "Records emitted by the probes", state.records)?;
        counter(
            "excluded_events",
            "Events dropped because their pod is in an excluded namespace",
            state.excluded,
        )?;
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(
            "attached_interfaces",
            "Traced pod interfaces",
            state.attached,
        )?;
        gauge(
            "one_way_interfaces",
            "Traced pod interfaces with only one visible direction, where silence is not evidence",
            state.one_way,
        )?;
        gauge(
            "index_synced",
            "1 once every kind of object has been listed, otherwise 0",
            u64::from(state.index.synced),
        )?;
        if let Some(relays) = state.relays {
            gauge(
                "relays_connected",
                "Relays that the agent is connected to",
                relays,
            )?;
        }
        if let Some(stale) = state.index.stale {
            let age = ConstGauge::new(stale.as_secs_f64());
            age.encode(encoder.encode_descriptor(
                "index_age",
                "Time for which the index may have been behind the cluster; 0 while it is current",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?)?;
        }
        if let Some(settings) = state.settings {
            let applied = ConstGauge::new(u64::from(settings.applied));
            applied.encode(encoder.encode_descriptor(
                "config_last_reload_successful",
                "1 if the latest content of --config and --rules is in effect, 0 if an error in it keeps the previous settings",
                None,
                MetricType::Gauge,
            )?)?;
            let read = ConstGauge::new(settings.read.as_duration().as_secs_f64());
            read.encode(encoder.encode_descriptor(
                "config_last_reload_success_timestamp",
                "Time of the last successful reload of --config and --rules",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?)?;
        }
        conntrack::encode(&mut encoder, &state.conntrack)?;
        let mut family = encoder.encode_descriptor(
            "index_objects",
            "Known objects of the cluster, by kind",
            None,
            MetricType::Gauge,
        )?;
        for (kind, count) in &state.index.objects {
            let labels = [("kind", *kind)];
            family.encode_family(&labels)?.encode_gauge(count)?;
        }
        if let Some(totals) = state.kube_events {
            let mut family = encoder.encode_descriptor(
                "kube_events",
                "Findings to publish as Kubernetes Events, by result",
                None,
                MetricType::Counter,
            )?;
            for (result, total) in [
                ("created", totals.created),
                ("updated", totals.updated),
                ("failed", totals.failed),
                ("limited", totals.limited),
                ("dropped", totals.dropped),
                ("forgotten", totals.forgotten),
            ] {
                family
                    .encode_family(&[("result", result)])?
                    .encode_counter::<NoLabelSet, _, u64>(&total, None)?;
            }
        }
        if let Some(totals) = state.otlp {
            let mut results = |name: &str, help: &str, results: &[(&str, u64)]| {
                let mut family =
                    encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                for (result, total) in results {
                    family
                        .encode_family(&[("result", *result)])?
                        .encode_counter::<NoLabelSet, _, u64>(total, None)?;
                }
                Ok(())
            };
            results(
                "otlp_records",
                "Log records for the OpenTelemetry collector, by result",
                &[
                    ("sent", totals.sent),
                    ("rejected", totals.rejected),
                    ("failed", totals.failed),
                    ("dropped", totals.dropped),
                ],
            )?;
            results(
                "otlp_metric_exports",
                "Exports of all metrics to the OpenTelemetry collector, by result",
                &[
                    ("sent", totals.metrics_sent),
                    ("failed", totals.metrics_failed),
                ],
            )?;
        }
        let mut family = encoder.encode_descriptor(
            "lost",
            "Packets, records and events that were lost or left undecided, by stage and reason",
            None,
            MetricType::Counter,
        )?;
        for loss in state.losses.iter() {
            let labels = [("stage", loss.stage.as_str()), ("reason", loss.reason)];
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&loss.count, None)?;
        }
        Ok(())
    }
}
