//! Findings as a report: one block each, without the columns of the stream.
//!
//! A block starts with the headline, then the rule, the state, the count and the times, then the cause, the
//! fix and the commands to try. Commands stay on one line: they are there to be copied.

use std::fmt::Write as _;

use jiff::Zoned;

use super::TextSettings;
use super::line::Verdict;
use super::paint::{Painter, styles};
use super::report::{share, verdict};
use super::wrap::wrap;
use crate::diagnose::settled;
use crate::model::event::{Body, Event};
use crate::model::finding::{Finding, PodGroup};
use crate::model::printable::safe;
use crate::view::{Encode, EncodeError, WallClock, words};

/// Sentences break before this column without a terminal.
const WIDTH: usize = 100;
/// Sentences break before this column on a wider terminal: longer lines are hard to read.
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
        let terminal = self.settings.width.unwrap_or(WIDTH);
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

pub(super) fn date_and_time(at: &Zoned) -> String {
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
        let finding = &*settled(finding);
        if std::mem::replace(&mut self.any, true) {
            out.push('\n');
        }
        let mut block = Block {
            painter: Painter::new(self.settings.color),
            width: self.width(),
            out,
        };
        let head = match &finding.was {
            Some(was) if finding.is_resolved() => was,
            _ => &finding.headline,
        };
        block.head(verdict(finding), &head.to_string());
        let mut line = format!(
            "{} ({}, {})",
            finding.rule,
            words::severity(finding.severity),
            words::finding_state(finding.state),
        );
        let share = share(finding).unwrap_or_else(|| "1 time".to_owned());
        // Writing to a String does not fail.
        let _ = write!(line, ", {share} {}", self.times(finding, clock));
        if let Some(node) = node(event).filter(|_| self.settings.wide) {
            let _ = write!(line, ", on node {node}");
        }
        block.faint(&line);
        if finding.is_resolved() {
            let at = clock
                .wall(event.time)
                .to_zoned(self.settings.time_zone.clone());
            block.resolved(&format!("Resolved {}: {}", time(&at), finding.summary));
        }
        if let Some(pods) = &finding.pods {
            block.paragraph("in", &names(pods));
        }
        for (label, sentence) in labelled("why", &finding.why) {
            block.paragraph(label, &sentence.to_string());
        }
        if !finding.is_resolved() {
            let fix = finding.fix.as_ref().map(ToString::to_string);
            let in_headline = |fix: &&String| finding.headline.to_string().ends_with(fix.as_str());
            if let Some(fix) = fix.as_ref().filter(|fix| !in_headline(fix)) {
                block.paragraph("fix", fix);
            }
            // The fix can name what a remedy of older findings has alone.
            let new = |remedy: &String| fix.as_ref().is_none_or(|fix| !is_in(remedy, fix));
            let remedies = finding.remedies.iter().map(ToString::to_string);
            for (label, remedy) in labelled("try", remedies.filter(new)) {
                block.whole(label, &remedy);
            }
        }
        if self.settings.wide {
            let facts = std::iter::once(&finding.summary).filter(|_| !finding.is_resolved());
            for (label, evidence) in labelled("saw", facts.chain(&finding.evidence)) {
                block.paragraph(label, &evidence.to_string());
            }
        }
        if let Some(path) = finding.path.as_ref().filter(|_| !finding.is_resolved()) {
            block.whole("path", &path.line);
        }
        Ok(())
    }
}

/// Whether a remedy is the fix, or the name at its end.
fn is_in(remedy: &str, fix: &str) -> bool {
    let before = fix.strip_suffix(remedy);
    before.is_some_and(|before| before.is_empty() || before.ends_with(' '))
}

/// `shop/web-0, shop/web-1, shop/web-2 and 9 more pods`.
fn names(pods: &PodGroup) -> String {
    let named = pods.names.join(", ");
    match pods.count.saturating_sub(pods.names.len() as u64) {
        0 => format!("pods {named}"),
        more => format!("pods {named} and {more} more"),
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
        for line in wrap(text, self.width - 2) {
            self.out.push_str("  ");
            self.painter.put(self.out, &safe(&line), styles::FAINT);
            self.out.push('\n');
        }
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
