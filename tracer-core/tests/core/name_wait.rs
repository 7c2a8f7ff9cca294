//! How long the events of an interface wait for its pod's name: until one deadline, and only there.
//!
//! The same packets are played twice, with the pod named from the beginning and without a name for it. The
//! times at which the named pod's events are emitted show what the packets alone allow.

use std::time::Duration;

use tracer_core::model::event::{Body, Event};
use tracer_core::model::flow::Ifindex;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};

use super::scenario;

/// No object has it: the interface alone identifies the pod.
const POD: &str = "10.1.39.250";
const INTERFACE: Ifindex = Ifindex(7);
const WAIT: Duration = Duration::from_secs(2);

/// A lookup every 50 ms for ten seconds. Every tenth query has no answer.
fn packets() -> String {
    let mut packets = String::new();
    for number in 0..200 {
        let at = 1000 + number * 50;
        let (from, to) = (format!("{POD}:{}", 40_000 + number), "10.152.183.10:53");
        let question = format!("{number} A name-{number}.example.");
        packets += &match number % 10 {
            3 => format!("at {at}ms 7 out udp {from} {to} query {question}\n"),
            _ => format!(
                "ask {at}ms 7 {from} {to} {number} A name-{number}.example. NOERROR 30 A 192.0.2.1\n"
            ),
        };
    }
    packets
}

/// Each event with the time at which it is emitted.
fn emitted(header: &str) -> Vec<(Timestamp, Event)> {
    let text = format!("{header}{}end 30s\n", packets());
    let mut inputs = scenario::play(&text).expect("a scenario").inputs;
    inputs.extend((0..1200).map(|tick| Input::Tick(Timestamp(tick * 25_000_000))));
    // `Input::End` stays the last one.
    inputs.sort_by_key(Input::time);
    let mut pipeline = Pipeline::new(Settings::default());
    let mut emitted = Vec::new();
    for input in inputs {
        let (now, mut events) = (input.time(), Vec::new());
        pipeline.step(input, &mut events);
        events.retain(|event| !matches!(event.body, Body::Finding(_)));
        emitted.extend(events.into_iter().map(|event| (now, event)));
    }
    emitted
}

/// Plays the packets under a header that gives the pod no name. `first` is when the interface was first seen.
fn assert_one_deadline(header: &str, first: Timestamp) {
    let named = emitted(&format!(
        "inventory {INVENTORY}\npod 7 default/deb-ubuntu\n"
    ));
    let unnamed = emitted(header);
    assert!(named.len() > 390, "{} events", named.len());
    assert_eq!(unnamed.len(), named.len());
    let deadline = first.after(WAIT);
    // Order among the events of one instant is no concern here.
    let at = |emitted: &[(Timestamp, Event)]| {
        let mut times: Vec<Timestamp> = emitted.iter().map(|(now, _)| *now).collect();
        times.sort_unstable();
        times
    };
    let mut waited = 0;
    for (now, possible) in at(&unnamed).into_iter().zip(at(&named)) {
        assert!(
            now <= possible.max(deadline),
            "emitted at {now:?} instead of {possible:?}"
        );
        waited += u64::from(now > possible);
    }
    assert!(waited > 10, "no event waits for a name: {waited}");
    for (_, event) in unnamed {
        let ends = event.ends.expect("ends");
        assert!(ends.ifindex == INTERFACE && ends.pod.identity.is_err());
    }
}

const INVENTORY: &str = "testbed/lab/inventory.yaml";

#[test]
fn a_pod_without_a_process_delays_no_event_beyond_its_interface_deadline() {
    let header = format!("inventory {INVENTORY}\ninterface 900ms 7\n");
    assert_one_deadline(&header, Timestamp(900_000_000));
}

#[test]
fn a_pod_without_an_object_delays_no_event_beyond_its_interface_deadline() {
    let header =
        format!("inventory {INVENTORY}\ninterface 900ms 7\ninterface 1200ms 7 no-such-uid\n");
    assert_one_deadline(&header, Timestamp(900_000_000));
}

#[test]
fn an_interface_without_a_report_delays_no_event_beyond_its_deadline() {
    let header = format!("inventory {INVENTORY}\npod 8 default/deb-ubuntu\n");
    assert_one_deadline(&header, Timestamp(1_000_000_000));
}
