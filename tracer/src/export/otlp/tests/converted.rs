//! Metrics by OTLP have the values of the text that Prometheus reads.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};

use super::super::metrics::{Period, convert};
use super::attributes;
use crate::export::metrics::{Build, Metrics};
use tracer_core::view::gallery;

/// A sample's name with its labels, by their names, and its value.
type Samples = BTreeMap<String, f64>;

fn series(name: &str, labels: &[KeyValue], more: Option<(&str, String)>) -> String {
    let mut labels: BTreeMap<&str, String> = attributes(labels);
    labels.extend(more);
    format!("{name}{labels:?}")
}

/// The samples of the text, without metadata. No label of the gallery has an escaped character.
fn from_text(text: &str) -> Samples {
    let mut samples = Samples::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match name.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed")),
            None => (name, ""),
        };
        let labels: BTreeMap<&str, String> = labels
            .split("\",")
            .filter_map(|label| label.split_once("=\""))
            .map(|(label, value)| (label, value.trim_end_matches('"').to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        samples.insert(
            format!("{name}{labels:?}"),
            value.parse().expect("a number"),
        );
    }
    samples
}

#[test]
fn metrics_have_the_names_labels_and_values_of_the_text() {
    let build = Build {
        version: "1.2.3".to_owned(),
        commit: "c0ffee".to_owned(),
    };
    let metrics = Metrics::new(true, &build, jiff::Timestamp::UNIX_EPOCH);
    for (name, event) in gallery::all() {
        if !name.contains("hostile") {
            metrics.observe(&event);
        }
    }
    let period = Period { start: 1, end: 2 };
    let mut converted = Samples::new();
    let mut names = Vec::new();
    for metric in convert(metrics.families().expect("families"), period) {
        let name = metric.name;
        match metric.data.expect("data") {
            Data::Sum(sum) => {
                assert!(
                    sum.is_monotonic && sum.aggregation_temporality == 2,
                    "{name}"
                );
                for point in sum.data_points {
                    let Some(Value::AsDouble(value)) = point.value else {
                        panic!("{point:?}");
                    };
                    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
                    converted.insert(series(&name, &point.attributes, None), value);
                }
            }
            Data::Gauge(gauge) => {
                for point in gauge.data_points {
                    let Some(Value::AsDouble(value)) = point.value else {
                        panic!("{point:?}");
                    };
                    converted.insert(series(&name, &point.attributes, None), value);
                }
            }
            Data::Histogram(histogram) => {
                for point in histogram.data_points {
                    let labels = &point.attributes;
                    let bounds = point
                        .explicit_bounds
                        .iter()
                        .map(|bound| format!("{bound:?}"));
                    let bounds = bounds.chain(["+Inf".to_owned()]);
                    let mut below = 0;
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    for (bound, count) in bounds.zip(&point.bucket_counts) {
                        below += count;
                        let more = Some(("le", bound));
                        converted.insert(
                            series(&format!("{name}_bucket"), labels, more),
                            below as f64,
                        );
                    }
                    assert_eq!(below, point.count);
                    converted.insert(
                        series(&format!("{name}_count"), labels, None),
                        point.count as f64,
                    );
                    let sum = point.sum.expect("a sum");
                    converted.insert(series(&format!("{name}_sum"), labels, None), sum);
                }
            }
            other => panic!("{other:?}"),
        }
        if metric.unit == "s" {
            assert!(name.contains("_seconds"), "{name}");
        }
        names.push(name);
    }
    assert!(
        names.contains(&"tracer_dns_latency_seconds".to_owned()),
        "{names:?}"
    );
    assert!(names.contains(&"tracer_build_info".to_owned()), "{names:?}");
    let mut text = from_text(&metrics.encode().expect("text"));
    // These change between the two.
    text.retain(|name, _| !name.starts_with("process_"));
    converted.retain(|name, _| !name.starts_with("process_"));
    let left: Vec<_> = text
        .keys()
        .filter(|name| !converted.contains_key(*name))
        .collect();
    assert!(left.is_empty(), "missing: {left:?}");
    assert_eq!(converted, text);
}
