//! A line's columns.

use unicode_width::UnicodeWidthStr;

use super::paint::{Painter, styles};
use crate::model::printable::safe;

/// The result that a line reports.
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

/// One line, in parts. [`Columns::write`] escapes what is not safe for a terminal.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// The mark of the pod's action; empty in the rows below the first.
    pub(super) mark: &'static str,
    /// The tree branch in front of the subject.
    pub(super) branch: &'static str,
    /// The name, peer or rule.
    pub(super) subject: String,
    /// Protocol or record types.
    pub(super) kind: String,
    /// The verdict and its word.
    pub(super) verdict: Option<(Verdict, String)>,
    /// Numbers; padded if something follows.
    pub(super) detail: String,
    /// The server, the answers, the round-trip times.
    pub(super) tail: String,
    /// The wide form's `key=value` pairs.
    pub(super) extra: String,
}

/// The current width of each column.
#[derive(Debug)]
pub(super) struct Columns {
    pod: usize,
    subject: usize,
    detail: usize,
}

const TIME: usize = 12;
const MARK: usize = 1;
/// Fits the word `established`.
const VERDICT: usize = 11;
const KIND: usize = 6;
/// Spaces between two columns.
const GAP: usize = 2;

impl Default for Columns {
    fn default() -> Columns {
        Columns {
            pod: 18,
            subject: 30,
            detail: 17,
        }
    }
}

impl Columns {
    /// Widens the pod column for this pod, up to a limit.
    pub(super) fn fit_pod(&mut self, pod: &str) {
        widen(&mut self.pod, width(pod), 40);
    }

    /// The column in which the subject begins.
    pub(super) fn subject_start(&self) -> usize {
        TIME + GAP + self.pod + GAP + MARK + GAP
    }

    /// Widens the other columns for these rows, up to a limit: one long name must not make every later line
    /// too long.
    pub(super) fn fit_rows(&mut self, rows: &[Row]) {
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
            padding: 0,
        };
        match first {
            Some((time, pod)) => {
                line.cell(time, styles::FAINT, TIME);
                line.cell(&safe(pod), styles::POD, self.pod);
            }
            None => {
                line.cell("", styles::PLAIN, TIME);
                line.cell("", styles::PLAIN, self.pod);
            }
        }
        line.cell(row.mark, mark_style(row), MARK);
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

/// A line being written. Padding waits until something follows, so no line ends in spaces.
struct Line<'a> {
    painter: Painter,
    out: &'a mut String,
    padding: usize,
}

impl Line<'_> {
    /// Appends text without padding after it.
    fn text(&mut self, text: &str, style: anstyle::Style) {
        if !text.is_empty() {
            self.out.extend(std::iter::repeat_n(' ', self.padding));
            self.padding = 0;
            self.painter.put(self.out, text, style);
        }
    }

    /// Appends text, padded to a width, and the gap to the next column.
    fn cell(&mut self, text: &str, style: anstyle::Style, to: usize) {
        self.text(text, style);
        let taken = width(text);
        if taken > 0 || to > 0 {
            self.padding += to.saturating_sub(taken) + GAP;
        }
    }
}

/// The number of terminal columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

fn widen(column: &mut usize, to: usize, limit: usize) {
    *column = (*column).max(to.min(limit));
}
