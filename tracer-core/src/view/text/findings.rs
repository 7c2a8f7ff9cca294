//! Findings as a report: a block each, without the columns of a stream.
//!
//! What failed comes first, then the rule, how often and when, then why and what to try. Commands are not broken into
//! lines: they are there to be copied.

use std::fmt::Write as _;

use jiff::Zoned;

use super::TextSettings;
use super::line::{Verdict, width};
use super::paint::{Painter, styles};
use super::report::verdict;
use crate::model::event::{Body, Event};
use crate::model::finding::Finding;
use crate::model::printable::safe;
use crate::model::units::count;
use crate::view::{Encode, WallClock, words};

/// Sentences are broken before this column.
const WRAP: usize = 110;
/// Where the text behind the labels begins.
const INDENT: usize = 7;

/// The encoder of a report.
#[derive(Clone, Debug)]
pub struct FindingBlocks {
    settings: TextSettings,
    any: bool,
}

impl FindingBlocks {
    /// With nothing written yet.
    pub fn new(settings: TextSettings) -> FindingBlocks {
        FindingBlocks {
            settings,
            any: false,
        }
    }

    fn times(&self, finding: &Finding, clock: &dyn WallClock) -> String {
        let local = |at| clock.wall(at).to_zoned(self.settings.time_zone.clone());
        let (first, last) = (local(finding.first), local(finding.last));
        let (from, to) = (date_and_time(&first), date_and_time(&last));
        if from == to {
            return format!("at {from}");
        }
        let to = match first.date() == last.date() {
            true => time(&last),
            false => to,
        };
        format!("from {from} to {to}")
    }
}

fn date_and_time(at: &Zoned) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn time(at: &Zoned) -> String {
    at.strftime("%H:%M:%S").to_string()
}

impl Encode for FindingBlocks {
    fn encode(&mut self, event: &Event, clock: &dyn WallClock, out: &mut String) {
        let Body::Finding(finding) = &event.body else {
            return;
        };
        if std::mem::replace(&mut self.any, true) {
            out.push('\n');
        }
        let mut block = Block {
            painter: Painter::new(self.settings.color),
            out,
        };
        let failed = finding.was.as_ref().unwrap_or(&finding.summary);
        block.head(verdict(finding), failed);
        let mut line = format!(
            "{} ({}), {} {}",
            finding.rule,
            words::severity(finding.severity),
            count(finding.count, "time"),
            self.times(finding, clock)
        );
        if let Some(node) = node(event).filter(|_| self.settings.wide) {
            // Writing to a String does not fail.
            let _ = write!(line, ", on node {node}");
        }
        block.faint(&line);
        if finding.resolved {
            let at = clock
                .wall(event.time)
                .to_zoned(self.settings.time_zone.clone());
            block.resolved(&format!("Resolved {}: {}", time(&at), finding.summary));
        }
        for (label, sentence) in labelled("why", finding.why.lines()) {
            block.paragraph(label, sentence);
        }
        if !finding.resolved {
            for (label, remedy) in labelled("try", &finding.remedies) {
                block.whole(label, remedy);
            }
        }
        if self.settings.wide {
            let seen = finding.evidence.iter().map(AsRef::as_ref);
            for (label, evidence) in labelled("saw", seen) {
                block.paragraph(label, evidence);
            }
        }
    }
}

fn node(event: &Event) -> Option<&str> {
    let pod = event.ends.as_ref()?.pod.identity.as_ref().ok()?;
    pod.node.as_deref()
}

/// The label stands before the first of several texts.
fn labelled<T>(
    label: &'static str,
    texts: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = (&'static str, T)> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels.zip(texts)
}

struct Block<'a> {
    painter: Painter,
    out: &'a mut String,
}

impl Block<'_> {
    fn head(&mut self, verdict: Verdict, text: &str) {
        for (number, line) in wrapped(text, WRAP - 2).enumerate() {
            let mark = if number == 0 { verdict.mark() } else { " " };
            self.painter.put(
                self.out,
                &format!("{mark} {}", safe(&line)),
                verdict.style(),
            );
            self.out.push('\n');
        }
    }

    fn faint(&mut self, text: &str) {
        self.out.push_str("  ");
        self.painter.put(self.out, &safe(text), styles::FAINT);
        self.out.push('\n');
    }

    fn resolved(&mut self, text: &str) {
        for line in wrapped(text, WRAP - 2) {
            self.put("", &line, 2);
        }
    }

    fn paragraph(&mut self, label: &str, text: &str) {
        for (number, line) in wrapped(text, WRAP - INDENT).enumerate() {
            let label = if number == 0 { label } else { "" };
            self.put(label, &line, INDENT);
        }
    }

    fn whole(&mut self, label: &str, text: &str) {
        self.put(label, text, INDENT);
    }

    fn put(&mut self, label: &str, text: &str, indent: usize) {
        self.out.push_str("  ");
        self.painter.put(self.out, label, styles::FAINT);
        let taken = 2 + label.len();
        self.out
            .extend(std::iter::repeat_n(' ', indent.saturating_sub(taken)));
        self.out.push_str(&safe(text));
        self.out.push('\n');
    }
}

/// Breaks a text at spaces.
fn wrapped(text: &str, room: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() || width(line) + 1 + width(word) <= room => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}
