//! Findings as blocks, losses as lines.

use super::line::{Row, Verdict, width};
use super::units::count;
use crate::model::finding::{Finding, Severity};
use crate::model::loss::Loss;

/// Where sentences are broken: with the columns in front of them they end at about 130.
const WRAP: usize = 84;
/// What a label takes, with the space behind it.
const LABEL: usize = 5;

pub(super) fn finding(finding: &Finding, wide: bool) -> Vec<Row> {
    let verdict = verdict(finding);
    let word = if finding.resolved {
        "resolved"
    } else {
        crate::view::words::severity(finding.severity)
    };
    let mut rows = vec![Row {
        mark: "!",
        subject: finding.rule.to_owned(),
        verdict: Some((verdict, word.to_owned())),
        detail: match finding.count {
            1 => String::new(),
            times => count(times, "time"),
        },
        ..Row::default()
    }];
    paragraph("", &finding.summary, &mut rows);
    if !finding.resolved {
        for (label, sentence) in labelled("why", finding.why.lines()) {
            paragraph(label, sentence, &mut rows);
        }
        // Not broken into lines: they are there to be copied.
        for (label, remedy) in labelled("try", &finding.remedies) {
            rows.push(sentence(format!("{label:LABEL$}{remedy}")));
        }
    }
    if wide {
        let seen = finding.evidence.iter().map(AsRef::as_ref);
        for (label, evidence) in labelled("saw", seen) {
            paragraph(label, evidence, &mut rows);
        }
    }
    rows
}

/// How bad it looks.
pub(super) fn verdict(finding: &Finding) -> Verdict {
    match finding.severity {
        _ if finding.resolved => Verdict::Good,
        Severity::Info => Verdict::Neutral,
        Severity::Warning => Verdict::Warn,
        Severity::Error => Verdict::Bad,
    }
}

pub(super) fn lost(loss: &Loss) -> Row {
    Row {
        mark: "!",
        subject: format!("{}: {}", loss.stage.as_str(), loss.reason),
        kind: "lost".to_owned(),
        verdict: Some((Verdict::Warn, loss.count.to_string())),
        ..Row::default()
    }
}

/// The label stands before the first of several texts.
fn labelled<T>(
    label: &'static str,
    texts: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = (&'static str, T)> {
    let labels = std::iter::once(label).chain(std::iter::repeat(" "));
    labels.zip(texts)
}

/// Breaks a text at spaces; all lines begin in the column behind the label, if there is one.
fn paragraph(label: &str, text: &str, rows: &mut Vec<Row>) {
    let room = if label.is_empty() { 0 } else { LABEL };
    let indent = " ".repeat(room);
    let mut line = format!("{label:room$}");
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && width(&line) + 1 + width(word) > WRAP {
            rows.push(sentence(std::mem::replace(&mut line, indent.clone())));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    if !empty {
        rows.push(sentence(line));
    }
}

fn sentence(subject: String) -> Row {
    Row {
        subject,
        ..Row::default()
    }
}
