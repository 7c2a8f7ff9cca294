//! Every loss is counted.

use std::time::Duration;

use testbed::turn;
use tracer::capture::Options;
use tracer_core::model::flow::{FlowTotals, Traffic};
use tracer_core::model::loss::Stage;
use tracer_core::model::record::Record;

use super::live::{GATEWAY, Live, udp_payload, udp_socket};
use super::netns::Netns;

#[test]
fn seen_and_lost_are_what_was_sent_with_a_tiny_ring() {
    let _turn = turn::shared();
    const SENT: u64 = 5_000;
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let options = Options {
        ring_bytes: 4_096,
        records_per_second: 0,
        ..Options::default()
    };
    let mut live = Live::start(&node, options);
    let client = udp_socket(&pod, "0.0.0.0:0");
    for number in 0..SENT {
        client
            .send_to(format!("query {number}").as_bytes(), (GATEWAY, 53))
            .expect("sends");
    }
    live.wait_seen(SENT);
    let (records, stats) = live.stop();
    let received = records
        .iter()
        .filter(|record| udp_payload(record).starts_with(b"query"))
        .count() as u64;
    assert!(
        stats.ring_full > 0,
        "the ring was too large for this test: {stats:?}"
    );
    assert_eq!(stats.emitted, records.len() as u64);
    // ARP and the like cause no record; ICMP errors (no listener) do.
    let others = stats.due - SENT;
    assert!(
        received + stats.ring_full >= SENT && received + stats.ring_full <= SENT + others,
        "{stats:?}"
    );
    let losses = stats.losses();
    let ring = losses
        .iter()
        .find(|loss| loss.stage == Stage::Ring)
        .expect("a signal");
    assert_eq!(ring.count, stats.ring_full);
}

#[test]
fn every_loss_is_reported_for_its_interface_before_the_time_passes_it() {
    let _turn = turn::shared();
    const SENT: u64 = 5_000;
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let options = Options {
        ring_bytes: 4_096,
        records_per_second: 0,
        ..Options::default()
    };
    let mut live = Live::start(&node, options);
    live.receive();
    let client = udp_socket(&pod, "0.0.0.0:0");
    let begun = live.capture.clock().now();
    for _ in 0..SENT {
        client.send_to(b"query", (GATEWAY, 53)).expect("sends");
    }
    let ended = live.capture.clock().now();
    live.wait("report of the time", |live| live.read_until > ended);
    let lost = live.stats().lost_records();
    assert!(lost > 1_000, "the ring was too large for this test: {lost}");
    let ifindex = live.ifindex("pod1");
    let reported: u64 = live.lost.iter().map(|loss| loss.count).sum();
    assert_eq!(reported, lost, "{:?}", live.lost);
    for loss in &live.lost {
        assert_eq!(loss.ifindex, ifindex);
        assert!(loss.until > begun && loss.from < ended, "{loss:?}");
        assert!(loss.from < loss.until, "{loss:?}");
    }
    // The next record says itself that others are missing before it.
    let before = live.records.len();
    client.send_to(b"query", (GATEWAY, 53)).expect("sends");
    live.wait("next record", |live| live.records.len() > before);
    let last = live.records.last().expect("some came through");
    assert!(last.missing.count > 0, "{last:?}");
    live.stop();
}

#[test]
fn a_flood_is_thinned_and_counted_and_its_totals_stay_exact() {
    let _turn = turn::shared();
    const SOCKETS: usize = 128;
    const ROUNDS: usize = 200;
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let options = Options {
        ring_bytes: 64 << 10,
        records_per_second: 1_000,
        ..Options::default()
    };
    let mut live = Live::start(&node, options);
    let server = udp_socket(&node, &format!("{GATEWAY}:53"));
    let clients: Vec<_> = (0..SOCKETS)
        .map(|_| udp_socket(&pod, "0.0.0.0:0"))
        .collect();
    let mut buffer = [0; 128];
    for _ in 0..ROUNDS {
        for client in &clients {
            client.send_to(&[0; 100], (GATEWAY, 53)).expect("sends");
        }
        for _ in 0..SOCKETS {
            let (len, from) = server.recv_from(&mut buffer).expect("nothing is lost here");
            server.send_to(&buffer[..len], from).expect("answers");
        }
        for client in &clients {
            client.recv(&mut buffer).expect("nothing is lost here");
        }
    }
    let ended = live.capture.clock().now();
    live.wait("report of the time", |live| live.read_until > ended);
    let flows = live.capture.sweep().expect("sweeps");
    let dns = flows.iter().filter(|flow| flow.flow.peer.port() == 53);
    let exact = FlowTotals {
        tx: Traffic {
            packets: ROUNDS as u64,
            bytes: ROUNDS as u64 * 128,
        },
        rx: Traffic {
            packets: ROUNDS as u64,
            bytes: ROUNDS as u64 * 128,
        },
        retransmits: None,
    };
    let totals: Vec<FlowTotals> = dns.map(|flow| flow.totals).collect();
    assert_eq!(totals, vec![exact; SOCKETS]);

    let status = live.capture.interfaces().pop().expect("traced");
    let reported: u64 = live.lost.iter().map(|loss| loss.count).sum();
    let (_, stats) = live.stop();
    assert!(
        stats.suppressed > 1_000,
        "the ring was too large: {stats:?}"
    );
    assert_eq!(status.suppressed, stats.suppressed);
    assert_eq!(status.lost, stats.lost_records());
    assert_eq!(reported, stats.lost_records());
    drop(server);
}

#[test]
fn a_pod_that_fills_its_share_of_the_flow_table_hides_no_flow_of_another() {
    let _turn = turn::shared();
    let (node, flooder, victim) = (Netns::new(), Netns::new(), Netns::new());
    node.add_pod(&flooder, "pod1", 1);
    node.add_pod(&victim, "pod2", 2);
    let mut live = Live::start(
        &node,
        Options {
            flow_entries: 256,
            ..Options::default()
        },
    );
    let (first, second) = (live.ifindex("pod1"), live.ifindex("pod2"));
    let flood = udp_socket(&flooder, "0.0.0.0:0");
    for port in 10_000..12_000 {
        flood.send_to(b"flood", (GATEWAY, port)).expect("sends");
    }
    let client = udp_socket(&victim, "0.0.0.0:0");
    for port in 10_000..10_050 {
        // Its second packet is no news.
        client.send_to(b"first", (GATEWAY, port)).expect("sends");
        client.send_to(b"second", (GATEWAY, port)).expect("sends");
    }
    let of = |live: &Live, ifindex, payload: &[u8]| {
        let records = live.records.iter().filter(|record| {
            record.ifindex == ifindex
                && record.bytes.get(9) == Some(&17)
                && udp_len(record) == payload.len()
        });
        records.count()
    };
    // Records end with the header: the lengths tell the packets apart.
    live.wait("record of each flow", |live| {
        of(live, second, b"first") == 50 && of(live, first, b"flood") == 2_000
    });
    let flows = live.capture.sweep().expect("sweeps");
    let held = |ifindex| {
        flows
            .iter()
            .filter(|flow| flow.flow.ifindex == ifindex)
            .count()
    };
    assert!((100..=128).contains(&held(first)), "{}", held(first));
    assert!(held(second) >= 50, "{}", held(second));
    assert_eq!(of(&live, second, b"second"), 0);
    let (records, _) = live.stop();
    let untracked = |ifindex| {
        let records = records.iter().filter(|record| record.ifindex == ifindex);
        records.filter(|record| record.totals.is_none()).count()
    };
    assert_eq!(untracked(second), 0);
    assert!(untracked(first) >= 2_000 - 128);
}

/// The length of an IPv4 UDP record's payload on the wire.
fn udp_len(record: &Record) -> usize {
    record.wire_len as usize - 28
}

#[test]
fn a_flow_without_room_in_the_table_is_counted_and_still_recorded() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(
        &node,
        Options {
            flow_entries: 8,
            ..Options::default()
        },
    );
    let server = udp_socket(&node, &format!("{GATEWAY}:53"));
    let clients: Vec<_> = (0..50).map(|_| udp_socket(&pod, "0.0.0.0:0")).collect();
    for client in &clients {
        client.send_to(b"query", (GATEWAY, 53)).expect("sends");
    }
    live.wait("50 records", |live| {
        live.records
            .iter()
            .filter(|record| udp_payload(record) == b"query")
            .count()
            == 50
    });
    let (records, stats) = live.stop();
    assert!(stats.flow_table_full >= 42, "{stats:?}");
    let without = records
        .iter()
        .filter(|record| record.totals.is_none())
        .count() as u64;
    assert!(
        without >= 42 && without <= stats.flow_table_full,
        "{without} of {stats:?}"
    );
    drop(server);
}

#[test]
fn records_in_the_ring_at_the_end_are_still_reported() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let live = Live::start(
        &node,
        Options {
            records_per_second: 0,
            ..Options::default()
        },
    );
    let server = udp_socket(&node, &format!("{GATEWAY}:53"));
    let client = udp_socket(&pod, "0.0.0.0:0");
    for _ in 0..2_000 {
        client.send_to(b"query", (GATEWAY, 53)).expect("sends");
    }
    // Nothing was received so far: all of it waits in queue and ring.
    let (records, stats) = live.stop();
    assert_eq!(
        records
            .iter()
            .filter(|record| udp_payload(record) == b"query")
            .count(),
        2_000,
        "{stats:?}"
    );
    drop(server);
}

#[test]
fn a_record_waits_less_than_ten_milliseconds() {
    let _turn = turn::shared();
    let (node, pod) = (Netns::new(), Netns::new());
    node.add_pod(&pod, "pod1", 1);
    let mut live = Live::start(&node, Options::default());
    let server = udp_socket(&node, &format!("{GATEWAY}:53"));
    let client = udp_socket(&pod, "0.0.0.0:0");
    let clock = live.capture.clock();
    let mut waits = Vec::new();
    for count in 1..=40 {
        client.send_to(b"query", (GATEWAY, 53)).expect("sends");
        live.wait("record", |live| {
            live.records
                .iter()
                .filter(|record| udp_payload(record) == b"query")
                .count()
                == count
        });
        let record = live.records.last().expect("just waited for");
        waits.push(clock.now().since(record.time));
    }
    waits.sort();
    // Each record is sent right after the one before has arrived: one that waits for a timer waits for its whole interval,
    // so all would. On a busy machine many wait for the CPU.
    assert!(waits[0] < Duration::from_millis(10), "{waits:?}");
    live.stop();
    drop(server);
}
