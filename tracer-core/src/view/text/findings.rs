//! Findings as a report: one block each, without the columns of the stream.
//!
//! A block starts with the failure, then the rule, the count and the times, then the cause and the commands
//! to try. Commands stay on one line: they are there to be copied.

use std::fmt::Write as _;

use jiff::Zoned;

use super::TextSettings;
use super::line::Verdict;
use super::paint::{Painter, styles};
use super::report::verdict;
use super::wrap::wrap;
use crate::model::event::{Body, Event};
use crate::model::finding::Finding;
use crate::model::printable::safe;
use crate::model::units::count;
use crate::view::{Encode, EncodeError, WallClock, words};

/// Sentences break before this column: longer lines are hard to read.
const MAX_WIDTH: usize = 110;
/// Sentences keep this width on a terminal that is narrower.
const MIN_WIDTH: usize = 40;
/// The column of the text after the labels.
const INDENT: usize = 7;

/// The encoder of a report.
#[derive(Clone, Debug)]
pub struct FindingBlocks {
    settings: TextSettings,
    /// A block was written, so an empty line separates the next one.
    any: bool,
}

impl FindingBlocks {
    /// An encoder that has written nothing yet.
    pub fn new(settings: TextSettings) -> FindingBlocks {
        FindingBlocks {
            settings,
            any: false,
        }
    }

    fn width(&self) -> usize {
        let terminal = self.settings.width.unwrap_or(MAX_WIDTH);
        terminal.clamp(MIN_WIDTH, MAX_WIDTH)
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
    fn encode(
        &mut self,
        event: &Event,
        clock: &dyn WallClock,
        out: &mut String,
    ) -> Result<(), EncodeError> {
        let Body::Finding(finding) = &event.body else {
            return Ok(());
        };
        if std::mem::replace(&mut self.any, true) {
            out.push('\n');
        }
        let mut block = Block {
            painter: Painter::new(self.settings.color),
            width: self.width(),
            out,
        };
        let failed = finding.was.as_ref().unwrap_or(&finding.summary);
        block.head(verdict(finding), &failed.to_string());
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
        if finding.is_resolved() {
            let at = clock
                .wall(event.time)
                .to_zoned(self.settings.time_zone.clone());
            block.resolved(&format!("Resolved {}: {}", time(&at), finding.summary));
        }
        for (label, sentence) in labelled("why", &finding.why) {
            block.paragraph(label, &sentence.to_string());
        }
        if !finding.is_resolved() {
            for (label, remedy) in labelled("try", &finding.remedies) {
                block.whole(label, &remedy.to_string());
            }
        }
        if self.settings.wide {
            for (label, evidence) in labelled("saw", &finding.evidence) {
                block.paragraph(label, &evidence.to_string());
            }
        }
        Ok(())
    }
}

fn node(event: &Event) -> Option<&str> {
    let pod = event.ends.as_ref()?.pod.identity.as_ref().ok()?;
    pod.node.as_deref()
}

/// Puts the label before the first of several texts.
fn labelled<T>(
    label: &'static str,
    texts: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = (&'static str, T)> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels.zip(texts)
}

struct Block<'a> {
    painter: Painter,
    width: usize,
    out: &'a mut String,
}

impl Block<'_> {
    fn head(&mut self, verdict: Verdict, text: &str) {
        for (number, line) in wrap(text, self.width - 2).into_iter().enumerate() {
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
        for line in wrap(text, self.width - 2) {
            self.put("", &line, 2);
        }
    }

    fn paragraph(&mut self, label: &str, text: &str) {
        for (number, line) in wrap(text, self.width - INDENT).into_iter().enumerate() {
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
