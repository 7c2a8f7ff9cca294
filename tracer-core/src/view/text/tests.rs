//! What people see, as snapshots, and what they must never see.

use jiff::tz::TimeZone;

use super::super::{Encode, gallery};
use super::{Text, TextSettings};

fn text(wide: bool, color: bool) -> Text {
    Text::new(TextSettings {
        wide,
        color,
        time_zone: TimeZone::UTC,
    })
}

fn show(mut text: Text) -> String {
    let clock = gallery::clock();
    let mut out = String::new();
    for (_, event) in gallery::all() {
        text.encode(&event, &clock, &mut out);
    }
    out
}

#[test]
fn text_is_as_blessed() {
    insta::assert_snapshot!("text", show(text(false, false)));
}

#[test]
fn wide_is_as_blessed() {
    insta::assert_snapshot!("wide", show(text(true, false)));
}

#[test]
fn colour_changes_nothing_but_the_colour() {
    let plain = show(text(false, false));
    let colored = show(text(false, true));
    assert_ne!(plain, colored);
    let mut stripped = String::new();
    let mut rest = colored.as_str();
    // Select Graphic Rendition, ECMA-48 8.3.117: the only sequences there may be.
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
fn nothing_from_the_wire_moves_the_cursor() {
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
fn columns_are_kept_while_events_come() {
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
            text.encode(&event, &clock, &mut last);
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
fn an_unknown_pod_is_explained_once() {
    let out = show(text(false, false));
    assert_eq!(out.matches("no inventory: give --inventory").count(), 1);
    let mut again = text(false, false);
    let clock = gallery::clock();
    let mut out = String::new();
    for (what, event) in gallery::all() {
        if what.contains("no inventory") || what.contains("not in the inventory") {
            again.encode(&event, &clock, &mut out);
            again.encode(&event, &clock, &mut out);
        }
    }
    assert_eq!(out.matches("shown by address").count(), 2);
    assert_eq!(out.lines().count(), 6);
}
