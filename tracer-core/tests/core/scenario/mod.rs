//! Reads a scenario file, plays it and compares the events (see `tests/scenarios/README.md`).

mod captured;
mod cluster;
pub mod expected;
pub mod filter;
mod message;
pub mod packet;
mod signal;
mod story;
pub mod words;

use std::collections::BTreeSet;

use tracer_core::diagnose::catalogue::rule;
use tracer_core::model::event::{Body, Event};
use tracer_core::pipeline::Input;

use self::story::Story;

/// One scenario, played once: tests look at the parts that concern them.
pub struct Played {
    /// What the packets and changes were, for a pipeline of one's own.
    pub inputs: Vec<Input>,
    /// The events, whatever is expected.
    pub events: Vec<Event>,
    /// What the header declares about rules.
    pub declared: Declared,
    /// Whether the events are the expected ones. The error has the difference and all events.
    pub expected: Result<(), String>,
}

/// Plays one scenario.
pub fn play(text: &str) -> Result<Played, String> {
    let mut story = Story::new();
    story.read(text)?;
    let expected = story.compare();
    Ok(Played {
        inputs: story.inputs,
        events: story.events,
        declared: story.declared,
        expected,
    })
}

/// What the header of a scenario declares about rules.
#[derive(Debug, Default)]
pub struct Declared {
    /// `fires`: exactly these rules fire.
    pub fires: BTreeSet<&'static str>,
    /// `silent`: these must not fire, though the packets look similar.
    pub silent: BTreeSet<&'static str>,
}

impl Declared {
    /// Whether the scenario declares nothing.
    pub fn is_empty(&self) -> bool {
        self.fires.is_empty() && self.silent.is_empty()
    }

    /// Takes one `fires` or `silent` statement.
    fn add(&mut self, statement: &str, ids: &[&str]) -> Result<(), String> {
        if ids.is_empty() {
            return Err(format!("{statement} names no rule"));
        }
        for id in ids {
            let rule = rule(id).ok_or_else(|| format!("{id:?} is no rule"))?;
            if self.fires.contains(rule.id) || self.silent.contains(rule.id) {
                return Err(format!("{id} is declared twice"));
            }
            match statement {
                "fires" => self.fires.insert(rule.id),
                _ => self.silent.insert(rule.id),
            };
        }
        Ok(())
    }
}

impl Played {
    /// The rules that fire.
    pub fn fired(&self) -> BTreeSet<&'static str> {
        let fired = self.events.iter().filter_map(|event| match &event.body {
            Body::Finding(finding) => Some(finding.rule),
            _ => None,
        });
        fired.collect()
    }
}
