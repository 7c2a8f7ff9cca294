//! An event as one line without columns: the message of a log record.

use super::{rows, whose};
use crate::model::event::Event;
use crate::model::printable::safe;

/// The event's first line, without its time and without padding. Nothing from the wire is unescaped.
pub fn one_line(event: &Event) -> String {
    let mut line = whose(event, None);
    let Some(row) = rows(event, false).into_iter().next() else {
        return line;
    };
    let verdict = row.verdict.map(|(_, word)| word).unwrap_or_default();
    let sentence = row.sentence.map(|(_, text)| text).unwrap_or_default();
    for part in [row.kind, &row.subject, &verdict, &sentence] {
        append(&mut line, " ", part);
    }
    for part in [&row.detail, &row.server, &row.tail] {
        append(&mut line, ", ", part);
    }
    // Columns keep two spaces between answers and errors.
    safe(&line).replace("  ", " ")
}

fn append(line: &mut String, separator: &str, part: &str) {
    let part = part.trim();
    if !part.is_empty() {
        line.push_str(separator);
        line.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;
    use crate::view::gallery;

    #[test]
    fn every_event_is_one_line_without_columns() {
        let lines: Vec<String> = gallery::all()
            .into_iter()
            .map(|(name, event)| format!("{name}: {}", one_line(&event)))
            .collect();
        insta::assert_snapshot!("one_line", lines.join("\n"));
        for line in &lines {
            assert!(!line.contains("  ") && !line.contains('\u{1b}'), "{line}");
        }
    }
}
