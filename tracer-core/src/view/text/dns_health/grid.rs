//! A table of one name and some numbers a row, as wide as the terminal.

use anstyle::Style;

use crate::model::printable::safe;
use crate::view::text::line::width;
use crate::view::text::paint::{Painter, styles};

/// A name keeps this width on a terminal that is too narrow for the table.
const MIN_NAME: usize = 24;
/// Spaces between two columns.
const GAP: usize = 1;
/// Spaces around a column of text.
const TEXT_GAP: usize = 2;

/// What is in a row's column.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn plain(text: impl ToString) -> Cell {
        Cell::styled(text, styles::PLAIN)
    }

    /// A number that should be 0.
    pub(super) fn bad(text: impl ToString) -> Cell {
        Cell::styled(text, styles::BAD)
    }

    /// A number that is better low.
    pub(super) fn warn(text: impl ToString) -> Cell {
        Cell::styled(text, styles::WARN)
    }

    fn styled(text: impl ToString, style: Style) -> Cell {
        let text = safe(&text.to_string()).into_owned();
        let style = if text == "0" { styles::PLAIN } else { style };
        Cell { text, style }
    }
}

/// A table. Its first column is the name; the others are numbers, or text where the header begins with `<`.
#[derive(Debug)]
pub(super) struct Grid {
    header: Vec<Cell>,
    is_text: Vec<bool>,
    rows: Vec<Vec<Cell>>,
}

impl Grid {
    pub(super) fn new(header: &[&str]) -> Grid {
        let title = |title: &&str| Cell::styled(title.trim_start_matches('<'), styles::FAINT);
        let text = |(column, title): (usize, &&str)| column == 0 || title.starts_with('<');
        Grid {
            header: header.iter().map(title).collect(),
            is_text: header.iter().enumerate().map(text).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes the table; `terminal` has this many columns.
    pub(super) fn write(&self, terminal: Option<usize>, painter: Painter, out: &mut String) {
        let widths = self.widths(terminal);
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let mut line = String::new();
            let last = row.len().saturating_sub(1);
            for (column, cell) in row.iter().enumerate() {
                let text = shortened(&cell.text, widths[column]);
                let free = " ".repeat(widths[column].saturating_sub(width(&text)));
                let gap = " ".repeat(if column == 0 { 0 } else { self.gap(column) });
                line.push_str(&gap);
                if !self.is_text[column] {
                    line.push_str(&free);
                }
                painter.put(&mut line, &text, cell.style);
                if self.is_text[column] && column != last {
                    line.push_str(&free);
                }
            }
            out.push_str(&line);
            out.push('\n');
        }
    }

    fn gap(&self, column: usize) -> usize {
        if self.is_text[column] { TEXT_GAP } else { GAP }
    }

    /// What each column needs; names take what the terminal leaves of it.
    fn widths(&self, terminal: Option<usize>) -> Vec<usize> {
        let all = || std::iter::once(&self.header).chain(&self.rows);
        let widest = |column: usize| {
            let cells = all().filter_map(|row| row.get(column));
            cells.map(|cell| width(&cell.text)).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.header.len()).map(widest).collect();
        let Some(terminal) = terminal else {
            return widths;
        };
        let gaps: usize = (1..widths.len()).map(|column| self.gap(column)).sum();
        // The last column of text gives way too, but not below a third of the line.
        for column in [widths.len() - 1, 0] {
            if !self.is_text[column] {
                continue;
            }
            let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(terminal);
            let least = MIN_NAME.max(if column == 0 { 0 } else { terminal / 3 });
            widths[column] = widths[column]
                .saturating_sub(over)
                .max(least.min(widths[column]));
        }
        widths
    }
}

/// A text without its middle: names of pods differ at the end, those of namespaces at the beginning.
fn shortened(text: &str, to: usize) -> String {
    if width(text) <= to {
        return text.to_owned();
    }
    let (mut head, mut tail) = (String::new(), String::new());
    let (mut front, mut back) = (text.chars(), text.chars().rev());
    let half = to.saturating_sub(1);
    while let Some(next) = front
        .next()
        .filter(|next| fits(&head, *next, half.div_ceil(2)))
    {
        head.push(next);
    }
    while let Some(next) = back.next().filter(|next| fits(&tail, *next, half / 2)) {
        tail.insert(0, next);
    }
    format!("{head}…{tail}")
}

fn fits(text: &str, next: char, to: usize) -> bool {
    width(text) + width(next.encode_utf8(&mut [0; 4])) <= to
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        assert_eq!(
            shortened("kube-system/coredns-a", 21),
            "kube-system/coredns-a"
        );
        assert_eq!(shortened("kube-system/coredns-a", 11), "kube-…dns-a");
        assert_eq!(shortened("kube-system/coredns-a", 2), "k…");
        assert_eq!(shortened("日本語日本語", 6), "日…語");
    }
}
