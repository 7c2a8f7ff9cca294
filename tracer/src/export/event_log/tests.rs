//! The lines, their rotation, and what a slow or hostile disk costs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use super::*;
use tracer_core::model::event::Body;
use tracer_core::view::gallery;

fn config(target: EventLogTarget, events: &[EventClass]) -> EventLogConfig {
    EventLogConfig {
        target,
        events: events.to_vec(),
    }
}

const LARGE: Rotation = Rotation {
    max_bytes: 1 << 20,
    files: 2,
};

fn finding() -> Event {
    let mut all = gallery::all().into_iter().map(|(_, event)| event);
    all.find(|event| matches!(event.body, Body::Finding(_)))
        .expect("a finding")
}

/// The lines of a file, each parsed.
fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the file");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn the_file_has_the_lines_of_json_output_for_the_selected_events() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.json");
    let target = EventLogTarget::File(path.clone(), LARGE);
    let started = start(&config(target, &[EventClass::Findings]), "a-node").expect("started");
    let Started {
        mut log,
        counts,
        thread,
    } = started;
    let clock = gallery::clock();
    let mut json = Json::new("a-node".into());
    let mut expected = String::new();
    for (_, event) in gallery::all() {
        log.offer(&event, &clock);
        if matches!(event.body, Body::Finding(_)) {
            json.encode(&event, &clock, &mut expected).expect("encoded");
        }
    }
    drop(log);
    thread.join().expect("it ends with its input");
    let text = fs::read_to_string(&path).expect("the file");
    let (findings, rest): (Vec<_>, Vec<_>) = text
        .lines()
        .partition(|line| line.starts_with(r#"{"type":"finding""#));
    // Pods take turns, so compare without the order.
    let mut expected: Vec<&str> = expected.lines().collect();
    let mut findings = findings;
    expected.sort_unstable();
    findings.sort_unstable();
    assert!(!expected.is_empty());
    assert_eq!(findings, expected);
    assert!(
        rest.iter()
            .all(|line| line.starts_with(r#"{"type":"lost""#))
    );
    assert_eq!(counts.totals().written, text.lines().count() as u64);
    let mode = fs::metadata(&path).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_full_file_is_rotated_and_the_number_of_files_is_bounded() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.json");
    let mut file = RotatedFile::open(
        path.clone(),
        Rotation {
            max_bytes: 40,
            files: 3,
        },
    )
    .expect("opened");
    for number in 0..100 {
        let line = format!("{{\"number\":{number}}}\n");
        file.write_line(&line).expect("written");
    }
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["events.json", "events.json.1", "events.json.2"]);
    let mut newest_first = Vec::new();
    for name in names {
        let path = directory.path().join(name);
        assert!(fs::metadata(&path).expect("metadata").len() <= 40);
        newest_first.extend(lines(&path).into_iter().rev());
    }
    let numbers: Vec<u64> = newest_first
        .iter()
        .map(|line| line["number"].as_u64().expect("a number"))
        .collect();
    let expected: Vec<u64> = (0..100).rev().take(numbers.len()).collect();
    assert_eq!(numbers, expected, "the latest lines, without a gap");
    // A restart continues the file.
    drop(file);
    let before = lines(&path).len();
    let mut file = RotatedFile::open(path.clone(), LARGE).expect("opened");
    file.write_line("{}\n").expect("written");
    assert_eq!(lines(&path).len(), before + 1);
}

#[test]
fn links_and_other_things_than_files_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().join("target");
    fs::write(&target, "untouched").expect("written");
    let link = directory.path().join("link");
    symlink(&target, &link).expect("linked");
    let error = RotatedFile::open(link, LARGE)
        .expect_err("a link")
        .to_string();
    assert!(error.contains("symbolic link"), "{error}");
    assert_eq!(fs::read_to_string(&target).expect("read"), "untouched");
    for other in [directory.path(), std::path::Path::new("/dev/null")] {
        assert!(RotatedFile::open(other.to_owned(), LARGE).is_err());
    }
    // A link in the place of an older file is replaced, not followed.
    let path = directory.path().join("events.json");
    symlink(&target, directory.path().join("events.json.1")).expect("linked");
    let small = Rotation {
        max_bytes: 1,
        files: 2,
    };
    let mut file = RotatedFile::open(path, small).expect("opened");
    file.write_line("one\n").expect("written");
    file.write_line("two\n").expect("written");
    assert_eq!(fs::read_to_string(&target).expect("read"), "untouched");
}

#[test]
fn a_disk_that_cannot_be_written_loses_lines_and_counts_them() {
    // The kernel's device that is always full.
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let counters = Arc::<Counters>::default();
    let mut writer = Writer {
        output: Output::File(RotatedFile::of(full.expect("the device"))),
        counters: Arc::clone(&counters),
        failing: false,
        torn: false,
    };
    for _ in 0..3 {
        writer.write("{}\n".to_owned());
    }
    let totals = EventLogCounts(counters).totals();
    assert_eq!((totals.written, totals.failed), (0, 3));
    let mut losses = Losses::default();
    totals.add_losses(&mut losses);
    assert_eq!(losses.total(), 3);
}

#[test]
fn lines_beyond_the_queue_are_dropped_and_counted() {
    let (wake, _asleep) = sync_channel(1);
    let counters = Arc::<Counters>::default();
    let mut log = EventLog {
        selection: Selection::new(&[EventClass::All]),
        json: Json::new("a-node".into()),
        waiting: Arc::new(Mutex::new(Waiting::new())),
        wake,
        counters: Arc::clone(&counters),
    };
    let (event, clock) = (finding(), gallery::clock());
    let limit = crate::export::waiting::MAX_FINDINGS as u64;
    for _ in 0..limit + 7 {
        log.offer(&event, &clock);
    }
    assert_eq!(EventLogCounts(counters).totals().dropped, 7);
    assert_eq!(log.waiting.lock().len() as u64, limit);
}
