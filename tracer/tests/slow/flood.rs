//! One pod's flood changes no report about another pod, and the tracer stays within its memory.

use std::time::Duration;

use testbed::flood;
use testbed::lab::ProxyMode;
use testbed::stage::{Stage, program};

#[test]
fn a_pod_that_floods_changes_no_verdict_about_another_and_memory_stays_bounded() {
    let stage = Stage::new(ProxyMode::Iptables);
    let report = flood::run(&stage.lab, program(), Duration::from_secs(60)).expect("it runs");
    println!("{report}");
    assert!(report.sent > 100_000, "too slow to be a flood:\n{report}");
    assert!(report.faults.is_empty(), "{report}");
}
