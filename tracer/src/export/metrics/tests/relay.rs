//! The metrics of a relay.

use super::*;

/// A relay's metrics, with a sample of each.
pub(super) fn all() -> RelayMetrics {
    let build = Build {
        version: "1.2.3".to_owned(),
        commit: "c0ffee".to_owned(),
    };
    let metrics = RelayMetrics::new(&build, jiff::Timestamp::UNIX_EPOCH);
    metrics.answered("findings", "list", 200);
    metrics.took("findings", "list", Duration::from_millis(20));
    metrics.reviewed("token", "failed");
    metrics.refused("node");
    metrics.sent("findings").inc();
    metrics.lost("traces").inc();
    drop(metrics.open_watch("findings", "objects"));
    metrics.read_from(|| RelayState {
        findings_dropped: vec![("limit", 3)],
        paths: vec![("whole", 2)],
        certificate_expires: Some(1_800_000_000),
        ..RelayState::default()
    });
    metrics
}

#[test]
fn a_watch_is_open_until_it_is_dropped() {
    let metrics = all();
    let name = "tracer_relay_open_watches";
    let value = || {
        let text = metrics.encode().expect("text");
        let samples = read(&text).remove(name).expect("registered").samples;
        samples.into_values().sum::<f64>()
    };
    let first = metrics.open_watch("findings", "objects");
    let second = metrics.open_watch("traces", "stream");
    assert_eq!(value(), 2.0);
    drop(first);
    assert_eq!(value(), 1.0);
    drop(second);
    assert_eq!(value(), 0.0);
}

#[test]
fn a_certificates_end_is_a_timestamp() {
    let text = all().encode().expect("text");
    let families = read(&text);
    let expiry = &families["tracer_relay_certificate_expiry_timestamp_seconds"];
    let values: Vec<f64> = expiry.samples.values().copied().collect();
    assert_eq!(values, [1_800_000_000.0]);
}
