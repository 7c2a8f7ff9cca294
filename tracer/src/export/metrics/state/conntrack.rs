//! Metrics of the node's conntrack. Absent where it cannot be read.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::ConntrackState;

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    state: &ConntrackState,
) -> Result<(), fmt::Error> {
    let Some(following) = state.following else {
        return Ok(());
    };
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = ConstGauge::new(value);
        gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    };
    gauge(
        "conntrack_following",
        "1 while every new translation of conntrack is read, otherwise 0",
        u64::from(following),
    )?;
    if let Some(counters) = state.counters {
        gauge(
            "conntrack_entries",
            "Entries of conntrack on this node",
            counters.entries,
        )?;
        if counters.max > 0 {
            gauge(
                "conntrack_max_entries",
                "Maximum number of entries of conntrack on this node",
                counters.max,
            )?;
        }
    }
    let mut counter = |name: &str, help: &str, value: u64| {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
    };
    counter(
        "conntrack_translations",
        "Translations of conntrack that were read",
        state.translations,
    )?;
    if let Some(counters) = state.counters {
        for (name, help, value) in [
            (
                "conntrack_insert_failed",
                "Packets of this node that conntrack dropped because another one had inserted the same entry",
                counters.insert_failed,
            ),
            (
                "conntrack_drop",
                "Packets of this node that conntrack dropped, a full table being one reason",
                counters.drop,
            ),
            (
                "conntrack_early_drop",
                "Entries of conntrack on this node removed early to make room",
                counters.early_drop,
            ),
        ] {
            counter(name, help, value)?;
        }
    }
    Ok(())
}
