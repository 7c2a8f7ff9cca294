//! A line's columns, and where it breaks on a terminal that is too narrow for it.

use unicode_width::UnicodeWidthStr;

use super::paint::{Painter, styles};
use super::wrap::wrap;
use crate::model::printable::{is_plain, safe};

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
    /// What the event is: `dns`, `tcp`, `ping`; empty in the rows below the first.
    pub(super) kind: &'static str,
    /// The tree branch in front of the subject.
    pub(super) branch: &'static str,
    /// The name with its record types, or the peer.
    pub(super) subject: String,
    /// The verdict and its word.
    pub(super) verdict: Option<(Verdict, String)>,
    /// Numbers; padded if something follows.
    pub(super) detail: String,
    /// The server, where a terminal has room for it.
    pub(super) server: String,
    /// The answers, the round-trip times.
    pub(super) tail: String,
    /// A sentence instead of the columns after the kind.
    pub(super) sentence: Option<(Verdict, String)>,
    /// The wide form's `key=value` pairs.
    pub(super) extra: String,
}

/// The current width of each column, and the limits to which it may grow.
#[derive(Debug)]
pub(super) struct Columns {
    /// The terminal's columns; `None` if lines do not break.
    terminal: Option<usize>,
    pod: Column,
    subject: Column,
    verdict: usize,
    detail: Column,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    width: usize,
    limit: usize,
}

impl Column {
    /// One long name must not make every later line too long.
    fn widen(&mut self, to: usize) {
        self.width = self.width.max(to.min(self.limit));
    }
}

const TIME: usize = 12;
/// Fits `ping` and `icmp`.
const KIND: usize = 4;
/// Fits `✓ established`, and on a narrow terminal `· undecided`.
const VERDICT: usize = 13;
const NARROW_VERDICT: usize = 11;
/// Fits `4 queries, 3.1 ms`.
const DETAIL: usize = 17;
/// Spaces between two columns.
const GAP: usize = 2;
/// The column of a pod, and of the second line of a sentence.
const POD_START: usize = TIME + GAP;
/// On a terminal at least this wide a line's columns keep their usual widths.
const WIDE_TERMINAL: usize = 132;
/// No terminal is taken for narrower than this.
const MIN_TERMINAL: usize = 60;

impl Columns {
    /// The columns for a terminal of this width; without one, lines are as long as their text.
    pub(super) fn new(terminal: Option<usize>) -> Columns {
        let terminal = terminal.map(|width| width.max(MIN_TERMINAL));
        match terminal {
            Some(width) if width < WIDE_TERMINAL => {
                let pod = Column {
                    width: 18,
                    limit: 18 + width.saturating_sub(80) / 8,
                };
                // What the columns before and after the subject leave of it.
                let before = POD_START + pod.limit + GAP + KIND + GAP;
                let after = GAP + NARROW_VERDICT + GAP + DETAIL;
                let subject = width.saturating_sub(before + after).clamp(20, 48);
                Columns {
                    terminal,
                    pod,
                    subject: Column {
                        width: subject.min(30),
                        limit: subject,
                    },
                    verdict: NARROW_VERDICT,
                    detail: Column {
                        width: DETAIL,
                        limit: DETAIL,
                    },
                }
            }
            terminal => Columns {
                terminal,
                pod: Column {
                    width: 18,
                    limit: 40,
                },
                subject: Column {
                    width: 36,
                    limit: 56,
                },
                verdict: VERDICT,
                detail: Column {
                    width: DETAIL,
                    limit: 30,
                },
            },
        }
    }

    /// Widens the pod column for this pod, up to a limit.
    pub(super) fn fit_pod(&mut self, pod: &str) {
        self.pod.widen(width(pod));
    }

    /// Widens the other columns for these rows, up to a limit.
    pub(super) fn fit_rows(&mut self, rows: &[Row]) {
        for row in rows.iter().filter(|row| row.verdict.is_some()) {
            self.subject.widen(width(row.branch) + width(&row.subject));
            if !row.server.is_empty() || !row.tail.is_empty() {
                self.detail.widen(width(&row.detail));
            }
        }
    }

    /// The column in which the subject begins.
    fn subject_start(&self) -> usize {
        POD_START + self.pod.width + GAP + KIND + GAP
    }

    /// The names of the columns.
    pub(super) fn header(&self, painter: Painter, out: &mut String) {
        let mut line = Line::new(painter, self.terminal, 0, out);
        line.cell("TIME", styles::FAINT, TIME);
        line.cell("POD", styles::FAINT, self.pod.width);
        line.cell("TYPE", styles::FAINT, KIND);
        line.cell("NAME OR PEER", styles::FAINT, self.subject.width);
        line.cell("RESULT", styles::FAINT, self.verdict);
        if line.has_room_for("DETAILS") {
            line.cell("DETAILS", styles::FAINT, 0);
        }
        out.push('\n');
    }

    /// Appends a row; `first` is time and pod of an event's first row.
    pub(super) fn write(
        &self,
        first: Option<(&str, &str)>,
        row: &Row,
        painter: Painter,
        out: &mut String,
    ) {
        let below = match row.sentence {
            Some(_) => POD_START,
            None => self.subject_start() + GAP,
        };
        let mut line = Line::new(painter, self.terminal, below, out);
        let (time, pod) = first.unwrap_or_default();
        line.cell(time, styles::FAINT, TIME);
        line.cell(&safe(pod), styles::POD, self.pod.width);
        line.cell(row.kind, kind_style(row), KIND);
        if let Some((verdict, sentence)) = &row.sentence {
            line.words(&safe(sentence), verdict.style());
        } else {
            line.text(row.branch, styles::FAINT);
            let taken = width(row.branch);
            line.cell(
                &safe(&row.subject),
                styles::PLAIN,
                self.subject.width.saturating_sub(taken),
            );
        }
        if let Some((verdict, word)) = &row.verdict {
            let text = format!("{} {}", verdict.mark(), safe(word));
            line.whole(&text, verdict.style(), self.verdict);
        }
        line.soft(&safe(&row.detail), styles::PLAIN, self.detail.width);
        if line.has_room_for(&row.server) {
            line.cell(&safe(&row.server), styles::PLAIN, 0);
        }
        line.soft(&safe(&row.tail), styles::PLAIN, 0);
        line.soft(&safe(&row.extra), styles::FAINT, 0);
        out.push('\n');
    }
}

fn kind_style(row: &Row) -> anstyle::Style {
    match &row.sentence {
        Some((verdict, _)) => verdict.style(),
        None => styles::FAINT,
    }
}

/// A line being written. Padding waits until something follows, so no line ends in spaces.
struct Line<'a> {
    painter: Painter,
    out: &'a mut String,
    terminal: Option<usize>,
    /// The column in which a broken line continues.
    below: usize,
    /// The column that the text has reached.
    column: usize,
    padding: usize,
}

impl<'a> Line<'a> {
    fn new(
        painter: Painter,
        terminal: Option<usize>,
        below: usize,
        out: &'a mut String,
    ) -> Line<'a> {
        Line {
            painter,
            out,
            terminal,
            below,
            column: 0,
            padding: 0,
        }
    }

    /// Appends text without padding after it.
    fn text(&mut self, text: &str, style: anstyle::Style) {
        if !text.is_empty() {
            self.out.extend(std::iter::repeat_n(' ', self.padding));
            self.column += self.padding + width(text);
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

    fn has_room_for(&self, text: &str) -> bool {
        (self.terminal).is_none_or(|end| self.column + self.padding + width(text) <= end)
    }

    /// Like [`Line::cell`], on the next line if this one has no room.
    fn whole(&mut self, text: &str, style: anstyle::Style, to: usize) {
        if !self.has_room_for(text) {
            self.next_line();
        }
        self.cell(text, style, to);
    }

    /// Like [`Line::cell`]; what does not fit continues below, broken at spaces.
    fn soft(&mut self, text: &str, style: anstyle::Style, to: usize) {
        if text.is_empty() || self.has_room_for(text) {
            return self.cell(text, style, to);
        }
        self.next_line();
        self.words(text, style);
        self.padding += GAP;
    }

    /// Appends a text that begins here and continues below, broken at spaces.
    fn words(&mut self, text: &str, style: anstyle::Style) {
        let Some(end) = self.terminal else {
            return self.text(text, style);
        };
        let mut rest = text;
        let here = end.saturating_sub(self.column + self.padding);
        if let Some(first) = wrap(rest, here).first()
            && width(first) <= here
        {
            // The lines after the first have another width.
            let words = first.split_whitespace().count();
            rest = skip_words(rest, words);
            self.text(first, style);
        }
        for line in wrap(rest, end.saturating_sub(self.below)) {
            if !line.is_empty() {
                self.next_line();
                self.text(&line, style);
            }
        }
    }

    fn next_line(&mut self) {
        if self.column > self.below || self.padding > 0 && self.column > 0 {
            self.out.push('\n');
            self.column = 0;
        }
        self.padding = self.below.saturating_sub(self.column);
    }
}

/// The text after its first words.
fn skip_words(text: &str, words: usize) -> &str {
    let mut rest = text.trim_start();
    for _ in 0..words {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        rest = rest[end..].trim_start();
    }
    rest
}

/// The number of terminal columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    if is_plain(text) {
        text.len()
    } else {
        text.width()
    }
}
