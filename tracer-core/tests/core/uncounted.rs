//! Flows for which the kernel's flow table has no room. Live, their packets but the first have no record, so
//! the lack of records and counters proves nothing.

use std::collections::BTreeSet;

use tracer_core::model::connection::UdpState;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::flow::{Direction, FlowTotals, Ifindex, Traffic};
use tracer_core::model::loss::Stage;
use tracer_core::pipeline::{Input, Pipeline, Settings};

use super::scenario;

/// The interface that has filled its share of the table.
const FULL: Ifindex = Ifindex(7);

/// Silent UDP flows of two pods, and a connection whose data is not acknowledged any more.
const TRAFFIC: &str = "
inventory testbed/lab/inventory.yaml
pod 7 default/deb-ubuntu
pod 8 default/nginx-ds-v2qf5
at 0s      8 out udp 10.1.39.194:40000 192.0.2.9:9999 data 100
at 1s      7 out udp 10.1.39.193:40001 192.0.2.9:9999 data 100
at 2s      7 out tcp 10.1.39.193:50001 10.1.79.66:80 syn 100
at 2.0004s 7 in  tcp 10.1.79.66:80 10.1.39.193:50001 syn+ack 900 101
at 2.0006s 7 out tcp 10.1.39.193:50001 10.1.79.66:80 ack 101 901 data 100
at 2.002s  7 in  tcp 10.1.79.66:80 10.1.39.193:50001 ack 901 203 data 100
at 5s      7 out tcp 10.1.39.193:50001 10.1.79.66:80 ack 203 1003 data 420
at 5.2s    7 out tcp 10.1.39.193:50001 10.1.79.66:80 ack 203 1003 data 420
at 5.6s    7 out tcp 10.1.39.193:50001 10.1.79.66:80 ack 203 1003 data 420
at 6.4s    7 out tcp 10.1.39.193:50001 10.1.79.66:80 ack 203 1003 data 420
at 8s      7 out tcp 10.1.39.193:50001 10.1.79.66:80 ack 203 1003 data 420
at 11.2s   7 out tcp 10.1.39.193:50001 10.1.79.66:80 ack 203 1003 data 420
at 17.6s   7 out tcp 10.1.39.193:50001 10.1.79.66:80 ack 203 1003 data 420
tick 20s
tick 25s
end 40s
";

fn play(pipeline: &mut Pipeline, live: bool) -> Vec<Event> {
    let mut events = Vec::new();
    for mut input in scenario::play(TRAFFIC).expect("a scenario").inputs {
        if let Input::Record(record) = &mut input
            && live
            && record.ifindex != FULL
        {
            assert_eq!(record.direction, Direction::FromPod);
            record.totals = Some(FlowTotals {
                tx: Traffic {
                    packets: 1,
                    bytes: record.wire_len.into(),
                },
                ..FlowTotals::default()
            });
        }
        pipeline.step(input, &mut events);
    }
    events
}

/// The last state of the UDP flow on each interface, and whether it is incomplete.
fn udp(events: &[Event], ifindex: Ifindex) -> Option<(UdpState, bool)> {
    events.iter().rev().find_map(|event| match &event.body {
        Body::Udp(flow) if flow.flow.ifindex == ifindex => Some((flow.state, event.incomplete)),
        _ => None,
    })
}

fn rules(events: &[Event]) -> BTreeSet<&'static str> {
    let rules = events.iter().filter_map(|event| match &event.body {
        Body::Finding(finding) => Some(finding.rule),
        _ => None,
    });
    rules.collect()
}

#[test]
fn no_verdict_rests_on_counters_that_a_full_flow_table_does_not_have() {
    // In a file every packet has a record, so silence is silence.
    let mut pipeline = Pipeline::new(Settings::default());
    let from_file = play(&mut pipeline, false);
    assert_eq!(udp(&from_file, FULL), Some((UdpState::Unanswered, false)));
    assert!(
        rules(&from_file).contains("connection-stalled"),
        "{:?}",
        rules(&from_file)
    );

    let mut pipeline = Pipeline::new(Settings::default());
    let live = play(&mut pipeline, true);
    assert_eq!(udp(&live, FULL), Some((UdpState::Undecided, true)));
    assert_eq!(rules(&live), BTreeSet::new());
    let last = live.iter().rev().find_map(|event| match &event.body {
        Body::Tcp(connection) => Some((connection.evidence.unanswered, event.incomplete)),
        _ => None,
    });
    assert_eq!(last, Some((None, true)), "its totals are too low");
    // The other interface has room.
    let other = udp(&live, Ifindex(8));
    assert_eq!(other, Some((UdpState::Unanswered, false)));
    let losses = pipeline.losses();
    let counted: Vec<_> = losses.interfaces().iter().collect();
    let [(ifindex, loss)] = counted.as_slice() else {
        panic!("{counted:?}");
    };
    assert_eq!((*ifindex, loss.stage, loss.count), (FULL, Stage::Kernel, 1));
    assert_eq!(loss.reason, "udp undecided: flow table full");
}
