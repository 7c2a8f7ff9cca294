//! Captures through the whole pipeline: the same traffic gives the same events wherever it was captured, and
//! they are what dig, ping and the TCP client of `tests/fixtures/captures/make.sh` did.

use std::net::IpAddr;
use std::path::Path;

use tracer_core::files::capture::{Reader, Replay, ReplaySettings, Writer};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::flow::Role;
use tracer_core::model::record::Record;
use tracer_core::pipeline::{Input, Pipeline, Settings};

/// The client pod.
const CLIENT: [&str; 2] = ["10.1.39.193", "fd00::39:193"];

fn records(reader: Reader, is_pod: impl Fn(IpAddr) -> bool) -> Vec<Record> {
    let mut replay = Replay::new(reader, &ReplaySettings::default());
    let mut records = Vec::new();
    while replay.step(&is_pod, &mut records).expect("it is whole") {}
    records
}

fn fixture(file: &str) -> Reader {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/captures")
        .join(file);
    Reader::open(path).expect("the fixture is in the repository")
}

fn is_client(ip: IpAddr) -> bool {
    CLIENT.iter().any(|pod| pod.parse() == Ok(ip))
}

fn events(records: &[Record]) -> Vec<Event> {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut events = Vec::new();
    for record in records {
        pipeline.step(Input::Record(record.clone()), &mut events);
    }
    let end = records.last().expect("some").time;
    pipeline.step(Input::End(end), &mut events);
    events
}

/// A description of the client pod's events, without times.
fn reported(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .filter(|event| {
            event
                .ends
                .as_ref()
                .is_some_and(|ends| ends.role == Role::Client && is_client(ends.pod.ip))
        })
        .filter_map(|event| {
            let peer = event.ends.as_ref().map(|ends| ends.peer.ip)?;
            match &event.body {
                Body::Dns(exchange, _) => {
                    let name = exchange
                        .question
                        .as_ref()
                        .map(|question| question.name.to_string());
                    Some(format!(
                        "dns {:?} {} of {peer}: {} after {} attempt(s)",
                        exchange.transport,
                        name.unwrap_or_default(),
                        exchange.outcome.as_str(),
                        exchange.attempts
                    ))
                }
                Body::Tcp(connection) => Some(format!(
                    "tcp {peer}:{} {:?} tx {:?} rx {:?}",
                    connection.flow.peer.port(),
                    connection.state,
                    connection.totals.tx,
                    connection.totals.rx
                )),
                Body::Udp(flow) => Some(format!(
                    "udp {peer}:{} {:?}",
                    flow.flow.peer.port(),
                    flow.state
                )),
                Body::Echo(echo) => Some(format!(
                    "echo {peer}: {} sent, {} received, {} duplicates",
                    echo.sent, echo.received, echo.duplicates
                )),
                _ => None,
            }
        })
        .collect()
}

#[test]
fn the_events_of_a_capture_are_what_was_done() {
    let reported = reported(&events(&records(fixture("ethernet.pcap"), is_client)));
    for line in [
        "dns Udp clusterip-nginx-ds.default.svc.cluster.local. of 10.1.235.206: answered after 1 attempt(s)",
        "dns Udp no-such-service.default.svc.cluster.local. of 10.1.235.206: nxdomain after 1 attempt(s)",
        "dns Udp clusterip-nginx-ds.default.svc.cluster.local. of fd00::235:206: nodata after 1 attempt(s)",
        "tcp 10.1.235.206:90 Refused(Rst) tx Traffic { packets: 1, bytes: 60 } rx Traffic { packets: 1, bytes: 40 }",
        "udp 10.1.235.206:9 IcmpError",
        "echo 10.1.235.206: 2 sent, 2 received, 0 duplicates",
        "echo fd00::235:206: 1 sent, 1 received, 0 duplicates",
        // In fragments.
        "echo 10.1.235.206: 1 sent, 1 received, 0 duplicates",
    ] {
        assert!(
            reported.iter().any(|reported| reported == line),
            "{line} is not in {reported:#?}"
        );
    }
}

#[test]
fn the_same_traffic_gives_the_same_events_wherever_and_however_it_was_captured() {
    let expected = reported(&events(&records(fixture("ethernet.pcap"), is_client)));
    for file in [
        "any.pcap",
        "cooked1.pcap",
        "ethernet.pcapng.gz",
        "inside.pcap",
        "microseconds.pcap",
        "raw.pcap",
        "two-interfaces.pcapng",
    ] {
        let listed = reported(&events(&records(fixture(file), is_client)));
        assert_eq!(listed, expected, "{file}");
        // The pod that asks is the client, without an inventory.
        let unlisted = reported(&events(&records(fixture(file), |_| false)));
        assert_eq!(unlisted, expected, "{file} without an inventory");
    }
}

#[test]
fn a_recording_gives_the_events_of_the_run_that_was_recorded() {
    let run = records(fixture("any.pcap"), is_client);
    let mut writer = Writer::new("recording", Vec::new());
    for record in &run {
        let result = writer.write(record.time, "cali1", record, "default/deb-ubuntu");
        result.expect("in memory");
    }
    let (recording, _, result) = writer.finish();
    result.expect("in memory");
    let again = records(
        Reader::new("recording", std::io::Cursor::new(recording)),
        |_| true,
    );
    assert_eq!(events(&again), events(&run));
}
