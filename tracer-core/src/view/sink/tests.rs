//! Filter, encoder and writer together.

use std::io;
use std::sync::{Arc, Mutex};

use super::super::filter::FilterConfig;
use super::super::{DnsSettings, Format, OutputSettings, gallery};
use super::*;
use crate::model::time::Timestamp;

/// An output that a test reads while the sink owns it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output that fails with this error.
struct Broken(io::ErrorKind);

impl io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(format: Format, count: Option<u64>) -> OutputSettings {
    OutputSettings {
        format,
        count,
        ..OutputSettings::default()
    }
}

fn sink<W: io::Write>(settings: &OutputSettings, out: W) -> Sink<W> {
    settings.sink(&"k8s-worker03".into(), Box::new(gallery::clock()), out)
}

fn event(what: &str) -> Event {
    gallery::all()
        .into_iter()
        .find(|(name, _)| *name == what)
        .unwrap_or_else(|| panic!("no event {what}"))
        .1
}

#[test]
fn the_last_event_of_count_is_flushed_and_ends_the_output() {
    let out = Shared::default();
    let mut sink = sink(&settings(Format::Json, Some(2)), out.clone());
    let ping = event("ping answered");
    // A loss does not count against the limit.
    assert_eq!(sink.take(&event("lost")).expect("room"), Next::Continue);
    assert_eq!(sink.take(&ping).expect("room"), Next::Continue);
    assert_eq!(out.text(), "", "buffered until idle");
    assert_eq!(sink.idle().expect("room"), Next::Continue);
    assert_eq!(out.text().lines().count(), 2);
    assert_eq!(sink.take(&ping).expect("room"), Next::Enough);
    assert_eq!(
        out.text().lines().count(),
        3,
        "the last one is not buffered"
    );
    assert_eq!(sink.take(&ping).expect("room"), Next::Enough);
    assert_eq!(out.text().lines().count(), 3);
    assert_eq!(sink.shown(), 2);
}

#[test]
fn a_closed_pipe_ends_the_output_and_a_full_disk_is_an_error() {
    let ping = event("ping answered");
    let mut gone = sink(
        &settings(Format::Text, None),
        Broken(io::ErrorKind::BrokenPipe),
    );
    assert_eq!(gone.take(&ping).expect("buffered"), Next::Continue);
    assert_eq!(gone.idle().expect("no failure"), Next::Closed);
    let mut full = sink(
        &settings(Format::Text, Some(1)),
        Broken(io::ErrorKind::StorageFull),
    );
    let error = full.take(&ping).expect_err("a full disk");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn only_the_narrow_text_form_omits_routine_events() {
    let routine = event("dns answered");
    for (format, lines) in [(Format::Text, 0), (Format::Wide, 2), (Format::Json, 1)] {
        let out = Shared::default();
        let mut sink = sink(&settings(format, None), out.clone());
        sink.take(&routine).expect("room");
        sink.idle().expect("room");
        assert_eq!(out.text().lines().count(), lines, "{format:?}");
        assert_eq!(sink.shown(), u64::from(lines > 0));
    }
}

/// The time and name of each written line.
fn lines(out: &Shared) -> Vec<(String, String)> {
    let field = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or("").to_owned();
    out.text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .map(|line| (field(&line, "time"), field(&line, "name")))
        .collect()
}

/// An exchange for `name` that began `seconds` after the gallery's start.
fn exchange_at(seconds: u64, name: &str) -> Event {
    let Event { ends, mut body, .. } = event("dns answered");
    if let Body::Dns(exchange, _) = &mut body
        && let Some(question) = &mut Arc::make_mut(exchange).question
    {
        question.name = crate::model::dns::DnsName::new(name);
    }
    Event {
        time: Timestamp(seconds * 1_000_000_000),
        ends,
        incomplete: false,
        body,
    }
}

#[test]
fn since_compares_the_time_of_the_event_and_keeps_losses() {
    let out = Shared::default();
    let mut sink = sink(
        &OutputSettings {
            since: Some("2026-03-01T12:01:12Z".parse().expect("a time")),
            ..settings(Format::Json, None)
        },
        out.clone(),
    );
    for (seconds, name) in [
        (9, "before."),
        (10, "then."),
        (9, "reported-late."),
        (11, "after."),
    ] {
        sink.take(&exchange_at(seconds, name)).expect("room");
    }
    sink.take(&event("lost")).expect("room");
    sink.end().expect("room");
    let names: Vec<_> = lines(&out).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["then.", "after.", ""]);
}

#[test]
fn last_shows_the_latest_matching_events_when_the_input_ends() {
    let out = Shared::default();
    let mut sink = sink(
        &OutputSettings {
            filter: FilterConfig {
                names: vec!["yes-*".parse().expect("a pattern")],
                ..FilterConfig::default()
            },
            last: Some(2),
            ..settings(Format::Json, None)
        },
        out.clone(),
    );
    for name in ["yes-1", "yes-2", "yes-3", "no"] {
        assert_eq!(
            sink.take(&exchange_at(1, name)).expect("room"),
            Next::Continue
        );
    }
    sink.take(&event("lost")).expect("room");
    sink.idle().expect("room");
    assert_eq!(lines(&out).len(), 1, "only the loss so far");
    sink.end().expect("room");
    let names: Vec<_> = lines(&out).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["", "yes-2.", "yes-3."]);
    assert_eq!(sink.shown(), 2);
}

#[test]
fn the_health_of_dns_is_one_object_at_the_end_of_what_began_in_time() {
    let out = Shared::default();
    let mut sink = sink(
        &OutputSettings {
            since: Some("2026-03-01T12:01:12Z".parse().expect("a time")),
            dns: Some(DnsSettings::default()),
            ..settings(Format::Json, None)
        },
        out.clone(),
    );
    for seconds in [9, 10, 11] {
        sink.take(&exchange_at(seconds, "web.")).expect("room");
    }
    sink.take(&event("lost")).expect("room");
    sink.take(&event("tcp closed")).expect("room");
    sink.idle().expect("room");
    assert_eq!(out.text(), "", "nothing before the end");
    sink.end().expect("room");
    let text = out.text();
    assert_eq!(text.lines().count(), 1);
    let object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(object["totals"]["queries"], 2);
    assert_eq!(object["lost"][0]["count"], 31);
    assert_eq!(sink.shown(), 2);
}
