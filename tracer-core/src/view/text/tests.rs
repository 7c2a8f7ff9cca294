//! The text form as snapshots, and what it must never contain.

use jiff::tz::TimeZone;

use super::super::{Encode, gallery};
use super::{FindingBlocks, FindingTable, Text, TextSettings};

fn text(wide: bool, color: bool) -> Text {
    Text::new(TextSettings {
        wide,
        color,
        width: None,
        header: false,
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
            .position(|c| "✓✗".contains(c))
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

/// The gallery, or one event of it, on a terminal of this width.
fn on_terminal(width: usize, event: Option<&crate::model::event::Event>) -> String {
    let clock = gallery::clock();
    let mut text = Text::new(TextSettings {
        wide: false,
        color: false,
        width: Some(width),
        header: true,
        time_zone: TimeZone::UTC,
    });
    let mut out = String::new();
    let all: Vec<_> = gallery::all().into_iter().map(|(_, event)| event).collect();
    let events = event.map_or(all.as_slice(), std::slice::from_ref);
    for event in events {
        text.encode(event, &clock, &mut out).expect("lines");
    }
    out
}

#[test]
fn text_on_a_terminal_of_80_columns_matches_its_snapshot() {
    insta::assert_snapshot!("terminal_80", on_terminal(80, None));
}

#[test]
fn text_on_a_terminal_of_120_columns_matches_its_snapshot() {
    insta::assert_snapshot!("terminal_120", on_terminal(120, None));
}

#[test]
fn lines_fit_the_terminal_unless_a_single_name_does_not() {
    for width in [80, 100, 120, 140, 200] {
        for line in on_terminal(width, None).lines() {
            let longest = line.split_whitespace().map(super::line::width).max();
            // A name stays whole, so that it can be copied.
            let fits = super::line::width(line) <= width || longest > Some(width / 4);
            assert!(fits, "{width}: {line:?}");
        }
    }
}

#[test]
fn only_a_terminal_gets_a_header_and_broken_lines() {
    let event = gallery::finding(crate::model::finding::Severity::Error, false);
    assert!(on_terminal(100, Some(&event)).starts_with("TIME "));
    let mut piped = String::new();
    text(false, false)
        .encode(&event, &gallery::clock(), &mut piped)
        .expect("lines");
    assert_eq!(piped.lines().count(), 1, "{piped}");
    assert!(piped.contains("FINDING"), "{piped}");
}

#[test]
fn a_line_has_the_time_of_its_decision_and_says_when_the_event_began() {
    let clock = gallery::clock();
    let mut out = String::new();
    let mut text = text(false, false);
    let event = gallery::tcp(
        gallery::client("10.152.183.117", 80),
        crate::model::connection::TcpState::Timeout,
        |_| {},
    );
    text.set_decided(event.time.after(std::time::Duration::from_secs(7)));
    text.encode(&event, &clock, &mut out).expect("a line");
    assert!(out.starts_with("12:01:10.200 "), "{out}");
    assert!(out.contains("began 12:01:03.200"), "{out}");
    out.clear();
    text.set_decided(event.time.after(std::time::Duration::from_millis(200)));
    text.encode(&event, &clock, &mut out).expect("a line");
    assert!(!out.contains("began"), "{out}");
}

/// A finding of twelve pods of a Deployment.
fn rolled_up() -> crate::model::event::Event {
    use crate::model::event::Body;
    let mut event = gallery::finding(crate::model::finding::Severity::Error, false);
    if let Body::Finding(finding) = &mut event.body {
        finding.pods = Some(crate::model::finding::PodGroup {
            workload: "Deployment shop/web".to_owned(),
            count: 12,
            names: vec![
                "shop/web-0".into(),
                "shop/web-1".into(),
                "shop/web-2".into(),
            ],
        });
        finding.state = crate::model::finding::State::Intermittent;
    }
    event
}

#[test]
fn a_report_is_blocks_or_a_table() {
    let clock = gallery::clock();
    let events = [
        rolled_up(),
        gallery::finding(crate::model::finding::Severity::Info, false),
        gallery::finding(crate::model::finding::Severity::Error, true),
    ];
    let settings = TextSettings {
        wide: true,
        color: false,
        width: None,
        header: false,
        time_zone: TimeZone::UTC,
    };
    let encoders: [(&str, Box<dyn Encode>); 2] = [
        ("blocks", Box::new(FindingBlocks::new(settings.clone()))),
        ("table", Box::new(FindingTable::new(settings))),
    ];
    for (name, mut encoder) in encoders {
        let mut out = String::new();
        encoder.set_all(&events, &clock);
        for event in &events {
            encoder.encode(event, &clock, &mut out).expect("lines");
        }
        insta::assert_snapshot!(name, out);
    }
}

#[test]
fn sentences_wrap_at_the_width_of_the_terminal() {
    let longest = |width: Option<usize>| {
        let clock = gallery::clock();
        let settings = TextSettings {
            wide: true,
            color: false,
            width,
            header: false,
            time_zone: TimeZone::UTC,
        };
        let event = gallery::finding(crate::model::finding::Severity::Error, false);
        let mut out = String::new();
        FindingBlocks::new(settings)
            .encode(&event, &clock, &mut out)
            .expect("lines");
        out.lines().map(super::line::width).max().unwrap_or(0)
    };
    assert!(longest(Some(80)) <= 80);
    assert!(longest(None) <= 100);
    // A wide terminal does not make sentences too long to read.
    assert!(longest(Some(400)) <= 110);
}
