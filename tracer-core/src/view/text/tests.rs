//! The text form as snapshots, and what it must never contain.

use jiff::tz::TimeZone;

use super::super::{Encode, gallery};
use super::{FindingBlocks, Text, TextSettings};

fn text(wide: bool, color: bool) -> Text {
    Text::new(TextSettings {
        wide,
        color,
        width: None,
        time_zone: TimeZone::UTC,
    })
}

fn show(mut text: Text) -> String {
    let clock = gallery::clock();
    let mut out = String::new();
    for (_, event) in gallery::all() {
        text.encode(&event, &clock, &mut out).expect("a line");
    }
    out
}

#[test]
fn text_matches_its_snapshot() {
    insta::assert_snapshot!("text", show(text(false, false)));
}

#[test]
fn wide_text_matches_its_snapshot() {
    insta::assert_snapshot!("wide", show(text(true, false)));
}

#[test]
fn colour_adds_only_colour_sequences() {
    let plain = show(text(false, false));
    let colored = show(text(false, true));
    assert_ne!(plain, colored);
    let mut stripped = String::new();
    let mut rest = colored.as_str();
    // Only Select Graphic Rendition (ECMA-48 section 8.3.117) is allowed.
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        stripped.push_str(before);
        let (codes, after) = after.split_once('m').expect("the end of the sequence");
        assert!(
            codes.bytes().all(|b| b.is_ascii_digit() || b == b';'),
            "{codes:?}"
        );
        rest = after;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn names_from_the_wire_cannot_move_the_cursor() {
    for wide in [false, true] {
        for line in show(text(wide, false)).lines() {
            assert!(
                !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
        }
    }
}

#[test]
fn no_line_ends_in_spaces() {
    for wide in [false, true] {
        for line in show(text(wide, false)).lines() {
            assert_eq!(line, line.trim_end());
        }
    }
}

#[test]
fn columns_stay_aligned_from_event_to_event() {
    let clock = gallery::clock();
    let mut text = text(false, false);
    let mut last = String::new();
    let verdict_at = |line: &str| {
        line.chars()
            .position(|c| "✓✗·".contains(c))
            .expect("a verdict")
    };
    let mut columns = Vec::new();
    for (what, event) in gallery::all() {
        if what.starts_with("tcp refused") || what == "ping answered" {
            last.clear();
            text.encode(&event, &clock, &mut last).expect("a line");
            columns.push(verdict_at(last.lines().last().expect("a line")));
        }
    }
    assert_eq!(columns.len(), 3);
    assert!(
        columns.windows(2).all(|pair| pair[0] == pair[1]),
        "{columns:?}"
    );
}

#[test]
fn an_unknown_pod_is_explained_only_once() {
    let out = show(text(false, false));
    assert_eq!(out.matches("no inventory: give --inventory").count(), 1);
    let mut again = text(false, false);
    let clock = gallery::clock();
    let mut out = String::new();
    for (what, event) in gallery::all() {
        if what.contains("no inventory") || what.contains("not in the inventory") {
            again.encode(&event, &clock, &mut out).expect("lines");
            again.encode(&event, &clock, &mut out).expect("lines");
        }
    }
    assert_eq!(out.matches("shown by address").count(), 2);
    assert_eq!(out.lines().count(), 6);
}

#[test]
fn sentences_wrap_at_the_width_of_the_terminal() {
    let longest = |width: Option<usize>| {
        let clock = gallery::clock();
        let settings = TextSettings {
            wide: false,
            color: false,
            width,
            time_zone: TimeZone::UTC,
        };
        let event = gallery::finding(crate::model::finding::Severity::Error, false);
        let encoders: [Box<dyn Encode>; 2] = [
            Box::new(Text::new(settings.clone())),
            Box::new(FindingBlocks::new(settings)),
        ];
        encoders.map(|mut encoder| {
            let mut out = String::new();
            encoder.encode(&event, &clock, &mut out).expect("lines");
            out.lines().map(super::line::width).max().unwrap_or(0)
        })
    };
    let [stream, report] = longest(Some(100));
    assert!(stream <= 100 && report <= 100, "{stream} {report}");
    // A wide terminal does not make sentences too long to read.
    assert_eq!(longest(Some(400)), longest(None));
}
