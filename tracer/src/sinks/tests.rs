//! Filter, encoder and writer together.

use std::io;
use std::sync::{Arc, Mutex};

use super::*;

/// What was written can be read while the sink has it.
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

/// An output that fails as it is told to.
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
fn what_was_asked_for_is_shown_at_once_and_then_it_is_enough() {
    let out = Shared::default();
    let mut sink = sink(&settings(Format::Json, Some(2)), out.clone());
    let ping = event("ping answered");
    // A loss uses nothing up.
    assert_eq!(sink.take(&event("lost")).expect("room"), Next::Continue);
    assert_eq!(sink.take(&ping).expect("room"), Next::Continue);
    assert_eq!(out.text(), "", "it waits for more or for idleness");
    assert_eq!(sink.idle().expect("room"), Next::Continue);
    assert_eq!(out.text().lines().count(), 2);
    assert_eq!(sink.take(&ping).expect("room"), Next::Enough);
    assert_eq!(out.text().lines().count(), 3, "the last one does not wait");
    assert_eq!(sink.take(&ping).expect("room"), Next::Enough);
    assert_eq!(out.text().lines().count(), 3);
    assert_eq!(sink.shown(), 2);
}

#[test]
fn a_reader_that_went_away_is_an_end_and_a_full_disk_an_error() {
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
    let error = full.take(&ping).expect_err("told");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn only_text_leaves_routine_out() {
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
