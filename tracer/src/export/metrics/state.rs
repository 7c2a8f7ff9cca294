//! What no event tells: losses, interfaces, the index. The agent hands it over; a scrape reads it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::export::kube_events::KubeEventTotals;
use tracer_core::model::loss::Losses;

/// Totals since the agent's start, and how things are now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// What was lost, at all stages.
    pub losses: Losses,
    /// Packets that the probes saw.
    pub packets: u64,
    /// Records that the pipeline took in.
    pub records: u64,
    /// Events that were dropped for `--exclude-namespace`.
    pub excluded: u64,
    /// Interfaces that are traced.
    pub attached: u64,
    /// Of these, those of which one direction is not visible.
    pub one_way: u64,
    /// What became of findings that were to be Events of the cluster; `None` where none are.
    pub kube_events: Option<KubeEventTotals>,
    /// What is known of the cluster.
    pub index: IndexState,
    /// How files of settings stand; `None` where there are none.
    pub settings: Option<SettingsState>,
}

/// How files of settings stand that are read again when they change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SettingsState {
    /// The latest change of them holds.
    pub holds: bool,
    /// When what holds was read.
    pub read: jiff::Timestamp,
}

/// What is known of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexState {
    /// Objects by kind.
    pub objects: Vec<(&'static str, u64)>,
    /// Every kind was listed once.
    pub synced: bool,
    /// Since when it may be behind the cluster; zero while it is not. `None` where there is no cluster to follow.
    pub stale: Option<Duration>,
}

/// The state where both sides reach it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn get(&self) -> State {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Collector for Shared {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let state = self.get();
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        counter(
            "packets",
            "Packets that the probes saw, told or not",
            state.packets,
        )?;
        counter("records", "Packets that the probes told of", state.records)?;
        counter(
            "excluded_events",
            "Events that were dropped because their pod is in an excluded namespace",
            state.excluded,
        )?;
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(
            "attached_interfaces",
            "Pod interfaces that are traced",
            state.attached,
        )?;
        gauge(
            "one_way_interfaces",
            "Pod interfaces of which one direction is not visible, so that silence means nothing",
            state.one_way,
        )?;
        gauge(
            "index_synced",
            "1 once every kind of object was listed, else 0",
            u64::from(state.index.synced),
        )?;
        if let Some(stale) = state.index.stale {
            let age = ConstGauge::new(stale.as_secs_f64());
            age.encode(encoder.encode_descriptor(
                "index_age",
                "Since when what is known of the cluster may be out of date; 0 while it follows",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?)?;
        }
        if let Some(settings) = state.settings {
            let holds = ConstGauge::new(u64::from(settings.holds));
            holds.encode(encoder.encode_descriptor(
                "config_last_reload_successful",
                "1 if what the files of --config and --rules say holds, 0 if a mistake in them keeps what held before",
                None,
                MetricType::Gauge,
            )?)?;
            let read = ConstGauge::new(settings.read.as_duration().as_secs_f64());
            read.encode(encoder.encode_descriptor(
                "config_last_reload_success_timestamp",
                "When the files of --config and --rules were read last without a mistake",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?)?;
        }
        let mut family = encoder.encode_descriptor(
            "index_objects",
            "Objects of the cluster that are known",
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
                "Findings that were to be Events of the cluster, by what became of them",
                None,
                MetricType::Counter,
            )?;
            for (result, total) in [
                ("created", totals.created),
                ("updated", totals.updated),
                ("failed", totals.failed),
                ("limited", totals.limited),
                ("dropped", totals.dropped),
            ] {
                family
                    .encode_family(&[("result", result)])?
                    .encode_counter::<NoLabelSet, _, u64>(&total, None)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "lost",
            "What was lost or left out before it could be told, by stage and reason",
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
