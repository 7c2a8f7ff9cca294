//! The screen as a snapshot, its size, and what it must never contain.

use jiff::tz::TimeZone;

use crate::model::dns::RecordType;
use crate::model::event::{Body, Event};
use crate::model::exchange::Outcome;
use crate::model::loss::{Loss, Stage};
use crate::view::dns_health::DnsHealth;
use crate::view::gallery;
use crate::view::text::line::width;
use crate::view::text::{DnsText, TextSettings};

fn screen_of(health: &DnsHealth, color: bool, width: Option<usize>, top: usize) -> String {
    let settings = TextSettings {
        wide: false,
        color,
        width,
        header: false,
        time_zone: TimeZone::UTC,
    };
    DnsText::new(&settings, top).screen(health, &gallery::clock())
}

fn health(events: impl IntoIterator<Item = Event>) -> DnsHealth {
    let mut health = DnsHealth::default();
    for event in events {
        health.take(None, &event);
    }
    health
}

fn gallery_health() -> DnsHealth {
    health(gallery::all().into_iter().map(|(_, event)| event))
}

/// Many servers, workloads and names, all long.
fn crowd() -> DnsHealth {
    let events = (0..400).flat_map(|number| {
        let name = format!("a-service-that-is-not-there-{number}.a-long-namespace.example.com");
        let pod = format!("a-deployment-with-a-long-name-5d78c9869d-{number:05}");
        let step = |name: &str, outcome| gallery::step(name, RecordType::A, Some(outcome), &[]);
        let searched = format!("{name}.default.svc.cluster.local.");
        let failed = step(&name, Outcome::Nxdomain);
        let steps = vec![
            step(&searched, Outcome::Nxdomain),
            step(&name, Outcome::Answered),
        ];
        let ends = gallery::server(
            gallery::identity("a-long-namespace", &pod, None, "node-1"),
            "10.1.0.2",
            53,
        );
        let exchange = gallery::exchange(&name, RecordType::A, Outcome::IcmpError);
        let mut lookups = [
            gallery::lookup(Some(&name), Outcome::Nxdomain, vec![failed]),
            gallery::lookup(Some(&name), Outcome::Answered, steps),
        ];
        for lookup in &mut lookups {
            if let Some(ends) = &mut lookup.ends {
                let name = format!("asks-{pod}");
                ends.pod.identity =
                    Ok(gallery::identity("a-long-namespace", &name, None, "node-1"));
            }
        }
        lookups
            .into_iter()
            .chain([gallery::dns(ends, exchange, None)])
    });
    let mut health = health(events);
    let loss = Loss {
        stage: Stage::Ring,
        reason: "ring buffer full",
        count: 7,
    };
    health.take(None, &gallery::event(0, None, Body::Lost(loss)));
    health
}

#[test]
fn the_screen_of_the_gallery_matches_its_snapshot() {
    insta::assert_snapshot!(
        "dns_health",
        screen_of(&gallery_health(), false, Some(100), 7)
    );
}

#[test]
fn a_crowded_screen_fits_100_columns_and_40_lines() {
    let screen = screen_of(&crowd(), false, Some(100), 7);
    let wide: Vec<&str> = screen.lines().filter(|line| width(line) > 100).collect();
    assert_eq!(wide, Vec::<&str>::new());
    let lines = screen.lines().count();
    assert!(lines <= 40, "{lines} lines:\n{screen}");
    assert!(screen.contains("7 of 400"), "{screen}");
    assert!(
        screen.contains("lost: 7 (ring): ring buffer full"),
        "{screen}"
    );
}

#[test]
fn in_a_pipe_names_are_whole() {
    let screen = screen_of(&crowd(), false, None, 7);
    assert!(!screen.contains('…'), "{screen}");
}

#[test]
fn nothing_seen_is_said_with_the_losses() {
    let screen = screen_of(&DnsHealth::default(), false, Some(100), 7);
    assert_eq!(screen, "no DNS lookup was seen\n  lost: nothing\n");
}

#[test]
fn names_cannot_move_the_cursor_and_colour_adds_only_colour() {
    let plain = screen_of(&gallery_health(), false, Some(100), 20);
    let safe = |text: &str| !text.contains(|c: char| c.is_control() && c != '\n');
    assert!(safe(&plain), "{plain:?}");
    let coloured = screen_of(&gallery_health(), true, Some(100), 20);
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        stripped.push_str(before);
        rest = after.split_once('m').expect("the end of the sequence").1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
    assert_ne!(coloured, plain);
}
