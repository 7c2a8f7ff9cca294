//! Findings as a table, a line each, as kubectl prints objects.

use super::TextSettings;
use super::findings::date_and_time;
use super::line::width;
use super::names;
use super::paint::{Painter, styles};
use super::report::verdict;
use crate::diagnose::settled;
use crate::model::event::{Body, Event};
use crate::model::finding::Finding;
use crate::model::printable::safe;
use crate::view::{Encode, EncodeError, WallClock, words};

const HEADER: [&str; COLUMNS] = [
    "SEVERITY",
    "STATE",
    "COUNT",
    "OF",
    "POD/WORKLOAD",
    "RULE",
    "HEADLINE",
    "LAST",
];
const COLUMNS: usize = 8;
const HEADLINE: usize = 6;
/// Spaces between two columns, as in kubectl's tables.
const GAP: usize = 3;
/// A headline keeps this width on a terminal that is too narrow for the table.
const MIN_HEADLINE: usize = 40;

/// The encoder of a report as a table. The header is part of it, also in a pipe.
#[derive(Clone, Debug)]
pub struct FindingTable {
    settings: TextSettings,
    widths: [usize; COLUMNS],
    header_due: bool,
}

impl FindingTable {
    /// An encoder that has written nothing yet.
    pub fn new(settings: TextSettings) -> FindingTable {
        FindingTable {
            settings,
            widths: HEADER.map(width),
            header_due: true,
        }
    }

    fn cells(&self, event: &Event, finding: &Finding, clock: &dyn WallClock) -> [String; COLUMNS] {
        let last = clock
            .wall(finding.last)
            .to_zoned(self.settings.time_zone.clone());
        let whose = match (&finding.pods, &event.ends) {
            (Some(pods), _) => pods.workload.replacen(' ', "/", 1),
            (None, Some(ends)) => names::pod(&ends.pod),
            (None, None) => String::new(),
        };
        [
            words::severity(finding.severity).to_owned(),
            words::finding_state(finding.state).to_owned(),
            finding.count.to_string(),
            finding.of.to_string(),
            safe(&whose).into_owned(),
            finding.rule.to_owned(),
            safe(&settled(finding).headline.to_string()).into_owned(),
            date_and_time(&last),
        ]
    }

    /// The width of the headlines: what a terminal leaves of it.
    fn headline(&self) -> usize {
        let whole = self.widths[HEADLINE];
        let Some(terminal) = self.settings.width else {
            return whole;
        };
        let others = self.widths.iter().sum::<usize>() - whole + GAP * (COLUMNS - 1);
        whole.min(terminal.saturating_sub(others).max(MIN_HEADLINE))
    }

    fn write(&self, cells: &[String; COLUMNS], out: &mut String) {
        let mut widths = self.widths;
        widths[HEADLINE] = self.headline();
        let mut line = String::new();
        for (cell, to) in cells.iter().zip(widths) {
            let cell = clipped(cell, to);
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', to - width(&cell) + GAP));
        }
        out.push_str(line.trim_end());
    }
}

impl Encode for FindingTable {
    fn set_all(&mut self, events: &[Event], clock: &dyn WallClock) {
        for event in events {
            if let Body::Finding(finding) = &event.body {
                let cells = self.cells(event, finding, clock);
                for (widest, cell) in self.widths.iter_mut().zip(&cells) {
                    *widest = (*widest).max(width(cell));
                }
            }
        }
    }

    fn encode(
        &mut self,
        event: &Event,
        clock: &dyn WallClock,
        out: &mut String,
    ) -> Result<(), EncodeError> {
        let Body::Finding(finding) = &event.body else {
            return Ok(());
        };
        if std::mem::take(&mut self.header_due) {
            self.write(&HEADER.map(str::to_owned), out);
            out.push('\n');
        }
        let mut line = String::new();
        self.write(&self.cells(event, finding, clock), &mut line);
        let style = match finding.is_resolved() {
            true => styles::FAINT,
            false => verdict(finding).style(),
        };
        Painter::new(self.settings.color).put(out, &line, style);
        out.push('\n');
        Ok(())
    }
}

/// The text, cut to a width.
fn clipped(text: &str, to: usize) -> String {
    if width(text) <= to {
        return text.to_owned();
    }
    let mut cut = String::new();
    for character in text.chars() {
        if width(&cut) + 2 > to {
            break;
        }
        cut.push(character);
    }
    cut.push('…');
    while width(&cut) > to {
        cut.remove(0);
    }
    cut
}
