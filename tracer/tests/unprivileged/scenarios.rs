//! The scenarios of the core, on the edges of this program: their events survive the wire, and their `filter`
//! lines mean to `tracer observe` what they mean to the runner.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use prost::Message as _;
use tracer::cli::{Cli, Command, Host};
use tracer::stream;
use tracer_core::model::event::Event;
use tracer_core::model::time::Timestamp;
use tracer_core::view::filter::FilterConfig;
use tracer_core::view::json::Json;
use tracer_core::view::{Encode as _, WallClock};

#[expect(dead_code, reason = "the core's own tests compare the events")]
#[path = "../../../tracer-core/tests/core/scenario/mod.rs"]
mod scenario;

/// Name and text of every scenario file.
fn scenarios() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer-core/tests/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the scenarios")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scenarios");
    files
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = fs::read_to_string(path).expect("a readable scenario");
            (name.into_owned(), text)
        })
        .collect()
}

fn json(event: &Event, clock: &dyn WallClock) -> String {
    let mut line = String::new();
    Json::new("a-node".into())
        .encode(event, clock, &mut line)
        .expect("a line");
    line
}

/// The event as a client receives it from an agent.
fn over_the_wire(event: &Event, clock: &dyn WallClock) -> Event {
    let sent = stream::event::to_wire(event, clock).encode_to_vec();
    let received = stream::proto::Event::decode(sent.as_slice()).expect("a valid message");
    stream::event::from_wire(received).expect("an event")
}

#[test]
fn every_event_of_every_scenario_is_the_same_after_the_wire() {
    let clock =
        |time: Timestamp| jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
    for (name, text) in scenarios() {
        let played = scenario::play(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for event in played.events {
            let received = over_the_wire(&event, &clock);
            assert_eq!(
                json(&received, &stream::event::unix_clock),
                json(&event, &clock),
                "{name}"
            );
        }
    }
}

/// The filter that these options of `tracer observe` ask for.
fn observed(options: &[&str]) -> FilterConfig {
    let words = ["tracer", "observe", "--local"].iter().chain(options);
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{options:?}: {error}"));
    let Command::Observe(arguments) = cli.command else {
        panic!("{options:?}: not observe");
    };
    let config = arguments.resolve(&Host::look_up());
    config.expect("a configuration").output.filter
}

#[test]
fn a_filter_line_means_the_same_to_tracer_observe_as_to_the_runner() {
    let mut lines = 0;
    for (name, text) in scenarios() {
        for line in text.lines().filter_map(|line| line.strip_prefix("filter ")) {
            let line = line.split(" #").next().unwrap_or_default();
            let options: Vec<&str> = line.split_whitespace().collect();
            let expected = scenario::filter::parse(&options)
                .unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            assert_eq!(observed(&options), expected, "{name}: {line}");
            lines += 1;
        }
    }
    assert!(lines > 50, "{lines} filter lines");
}
