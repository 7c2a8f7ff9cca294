//! The metrics of `/metrics` as OTLP metrics.
//!
//! Names and labels are those of docs/metrics.md, as a collector that scrapes `/metrics` has them. Counters
//! and histograms are cumulative since the start of the process.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    metric,
};
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as prometheus;

use super::attributes::Attributes;

/// The time that the values cover, nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub start: u64,
    pub end: u64,
}

/// Converts a registry's metrics. A family without series has no metric.
pub(super) fn convert(families: Vec<prometheus::MetricFamily>, period: Period) -> Vec<Metric> {
    let families = families.into_iter();
    families.filter_map(|family| one(family, period)).collect()
}

fn one(family: prometheus::MetricFamily, period: Period) -> Option<Metric> {
    let cumulative = AggregationTemporality::Cumulative.into();
    let kind = family.r#type();
    let series = family.metric.into_iter();
    let data = match kind {
        prometheus::MetricType::Counter => {
            let points = series.filter_map(|series| {
                let value = series.counter?.value;
                Some(number(value, labels(series.label), period))
            });
            metric::Data::Sum(Sum {
                data_points: points.collect(),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            })
        }
        prometheus::MetricType::Gauge => {
            let points = series.filter_map(|series| {
                let value = series.gauge?.value;
                Some(number(value, labels(series.label), period))
            });
            metric::Data::Gauge(Gauge {
                data_points: points.collect(),
            })
        }
        prometheus::MetricType::Histogram => {
            let points = series.filter_map(|series| {
                let attributes = labels(series.label);
                Some(histogram(&series.histogram?, attributes, period))
            });
            metric::Data::Histogram(Histogram {
                data_points: points.collect(),
                aggregation_temporality: cumulative,
            })
        }
        // No metric of this program has another type.
        _ => return None,
    };
    let is_empty = match &data {
        metric::Data::Sum(sum) => sum.data_points.is_empty(),
        metric::Data::Gauge(gauge) => gauge.data_points.is_empty(),
        metric::Data::Histogram(histogram) => histogram.data_points.is_empty(),
        _ => true,
    };
    (!is_empty).then(|| Metric {
        name: family.name,
        description: family.help,
        unit: unit(&family.unit).to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// Prometheus writes units in full, OTLP as UCUM has them.
fn unit(written: &str) -> &str {
    match written {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    }
}

fn number(value: f64, attributes: Vec<KeyValue>, period: Period) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: period.start,
        time_unix_nano: period.end,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

/// A bucket counts all smaller values too in Prometheus, only its own in OTLP; there the last one has no
/// bound.
fn histogram(
    histogram: &prometheus::Histogram,
    attributes: Vec<KeyValue>,
    period: Period,
) -> HistogramDataPoint {
    let mut bucket_counts = Vec::new();
    let mut explicit_bounds = Vec::new();
    let mut below = 0;
    for bucket in &histogram.bucket {
        if bucket.upper_bound < f64::MAX {
            explicit_bounds.push(bucket.upper_bound);
            bucket_counts.push(bucket.cumulative_count.saturating_sub(below));
            below = bucket.cumulative_count;
        }
    }
    bucket_counts.push(histogram.sample_count.saturating_sub(below));
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: period.start,
        time_unix_nano: period.end,
        count: histogram.sample_count,
        sum: Some(histogram.sample_sum),
        bucket_counts,
        explicit_bounds,
        ..HistogramDataPoint::default()
    }
}

/// A label without a value is no attribute: for Prometheus the two are the same.
fn labels(labels: Vec<prometheus::LabelPair>) -> Vec<KeyValue> {
    let mut attributes = Attributes::default();
    for label in labels {
        attributes.text(&label.name, label.value);
    }
    attributes.into_list()
}
