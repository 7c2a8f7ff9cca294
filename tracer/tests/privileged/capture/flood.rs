//! A flood of pings: records are lost, and the counts still equal ping's.

use testbed::turn;
use tracer::capture::Options;
use tracer_core::model::echo::Echo;
use tracer_core::model::event::Body;
use tracer_core::model::flow::Ifindex;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline, Settings};

use super::live::{GATEWAY, Live};
use super::netns::Netns;

/// The number before a word of ping's last lines.
fn number(reported: &str, word: &str) -> u64 {
    let before = reported.split(word).next().unwrap_or_default();
    before
        .split_whitespace()
        .last()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number before {word:?} in {reported}"))
}

#[test]
fn a_flood_with_losses_is_counted_as_ping_counts_it_though_records_are_lost() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    // Of two hundred replies one never reaches the pod's interface.
    node.sh("nft 'table ip lossy {
            chain out { type filter hook output priority 0
                icmp type echo-reply numgen inc mod 200 == 0 drop
            }
        }'");
    let options = Options {
        ring_bytes: 4_096,
        records_per_second: 0,
        ..Options::default()
    };
    let mut live = Live::start(&node, options);
    let reported = pod.sh(&format!("ping -n -q -f -c 20000 {GATEWAY} || true"));
    let (sent, received) = (
        number(&reported, " packets transmitted"),
        number(&reported, " received"),
    );
    assert!(received > 0 && received < sent, "{reported}");

    let flows = live.capture.sweep().expect("sweeps");
    let now = live.capture.clock().now();
    let (records, stats) = live.stop();
    assert!(stats.ring_full > 1_000, "too slow for this test: {stats:?}");
    let mut pipeline = Pipeline::new(Settings::default());
    let mut events = Vec::new();
    let ifindex = records.first().map_or(Ifindex(0), |record| record.ifindex);
    pipeline.step(Input::Attached(Timestamp(0), ifindex), &mut events);
    for record in records {
        pipeline.step(Input::Record(record), &mut events);
    }
    pipeline.step(Input::Counters(now, flows), &mut events);
    pipeline.step(Input::End(now), &mut events);
    let echoes: Vec<&Echo> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Echo(echo) => Some(&**echo),
            _ => None,
        })
        .collect();
    let echo = echoes.last().expect("an echo run");
    assert_eq!((echo.sent, echo.received), (sent, received), "{reported}");
    assert!(
        echo.samples > 100 && echo.samples < received,
        "{} round trips measured",
        echo.samples
    );
}
