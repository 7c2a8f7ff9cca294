//! The columns of a line.

use unicode_width::UnicodeWidthStr;

use super::paint::{Painter, styles};
use crate::model::printable::safe;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Neutral,
    Warn,
    Bad,
}

impl Verdict {
    pub(super) fn mark(self) -> &'static str {
        match self {
            Verdict::Good => "✓",
            Verdict::Neutral => "·",
            Verdict::Warn => "!",
            Verdict::Bad => "✗",
        }
    }

    pub(super) fn style(self) -> anstyle::Style {
        match self {
            Verdict::Good => styles::GOOD,
            Verdict::Neutral => styles::PLAIN,
            Verdict::Warn => styles::WARN,
            Verdict::Bad => styles::BAD,
        }
    }
}

/// One line, in parts. What has not been made safe for a terminal is made so when it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// What the pod does; empty in the rows below the first.
    pub(super) mark: &'static str,
    /// Branches of a tree in front of the subject.
    pub(super) branch: &'static str,
    /// Whom or what it is about.
    pub(super) subject: String,
    /// Protocol or record types.
    pub(super) kind: String,
    /// How it went.
    pub(super) verdict: Option<(Verdict, String)>,
    /// Figures; padded if something follows.
    pub(super) detail: String,
    /// Who was asked and the like.
    pub(super) tail: String,
    /// `key=value` of the wide form.
    pub(super) extra: String,
}

/// Widths so far.
#[derive(Debug)]
pub(super) struct Columns {
    who: usize,
    subject: usize,
    detail: usize,
}

/// What a verdict's word takes, so that `established` fits.
const VERDICT: usize = 11;
const KIND: usize = 6;

impl Default for Columns {
    fn default() -> Columns {
        Columns {
            who: 18,
            subject: 30,
            detail: 17,
        }
    }
}

impl Columns {
    /// Widens the columns for what comes, up to where a line would get too long for everybody.
    pub(super) fn fit(&mut self, who: &str, rows: &[Row]) {
        widen(&mut self.who, width(who), 40);
        for row in rows.iter().filter(|row| row.verdict.is_some()) {
            widen(
                &mut self.subject,
                width(row.branch) + width(&row.subject),
                48,
            );
            if !row.tail.is_empty() {
                widen(&mut self.detail, width(&row.detail), 30);
            }
        }
    }

    /// Appends a row; `first` is time and pod of an event's first row.
    pub(super) fn write(
        &self,
        first: Option<(&str, &str)>,
        row: &Row,
        painter: Painter,
        out: &mut String,
    ) {
        let mut line = Line {
            painter,
            out,
            owed: 0,
        };
        match first {
            Some((time, who)) => {
                line.cell(time, styles::FAINT, 12);
                line.cell(&safe(who), styles::POD, self.who);
            }
            None => {
                line.cell("", styles::PLAIN, 12);
                line.cell("", styles::PLAIN, self.who);
            }
        }
        line.cell(row.mark, mark_style(row), 1);
        line.text(row.branch, styles::FAINT);
        let taken = width(row.branch);
        line.cell(
            &safe(&row.subject),
            styles::PLAIN,
            self.subject.saturating_sub(taken),
        );
        if !row.kind.is_empty() || row.verdict.is_some() {
            line.cell(&safe(&row.kind), styles::PLAIN, KIND);
        }
        if let Some((verdict, word)) = &row.verdict {
            let text = format!("{} {}", verdict.mark(), safe(word));
            line.cell(&text, verdict.style(), VERDICT + 2);
        }
        line.cell(&safe(&row.detail), styles::PLAIN, self.detail);
        line.cell(&safe(&row.tail), styles::PLAIN, 0);
        line.cell(&safe(&row.extra), styles::FAINT, 0);
        line.out.push('\n');
    }
}

fn mark_style(row: &Row) -> anstyle::Style {
    match &row.verdict {
        Some((verdict, _)) if row.mark == "!" => verdict.style(),
        _ => styles::FAINT,
    }
}

/// A line being written. Spaces are owed until something follows, so that no line ends in them.
struct Line<'a> {
    painter: Painter,
    out: &'a mut String,
    owed: usize,
}

impl Line<'_> {
    /// Text without anything owed after it.
    fn text(&mut self, text: &str, style: anstyle::Style) {
        if !text.is_empty() {
            self.out.extend(std::iter::repeat_n(' ', self.owed));
            self.owed = 0;
            self.painter.put(self.out, text, style);
        }
    }

    /// Text padded to a width, and two spaces.
    fn cell(&mut self, text: &str, style: anstyle::Style, to: usize) {
        self.text(text, style);
        let taken = width(text);
        if taken > 0 || to > 0 {
            self.owed += to.saturating_sub(taken) + 2;
        }
    }
}

/// Columns on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

fn widen(column: &mut usize, to: usize, limit: usize) {
    *column = (*column).max(to.min(limit));
}
