//! Findings as blocks, losses as lines.

use super::line::{Row, Verdict};
use super::units::count;
use super::wrap::wrap;
use crate::model::finding::{Finding, Severity};
use crate::model::loss::Loss;

/// The width of a label with the spaces after it.
const LABEL: usize = 5;

/// A finding's rows; its sentences take at most `room` columns.
pub(super) fn finding(finding: &Finding, wide: bool, room: usize) -> Vec<Row> {
    let verdict = verdict(finding);
    let word = if finding.is_resolved() {
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
    rows.extend(paragraph("", &finding.summary.to_string(), room));
    if !finding.is_resolved() {
        for (label, sentence) in labelled("why", &finding.why) {
            rows.extend(paragraph(label, &sentence.to_string(), room));
        }
        // Commands stay on one line: they are there to be copied.
        for (label, remedy) in labelled("try", &finding.remedies) {
            rows.push(row(format!("{label:LABEL$}{remedy}")));
        }
    }
    if wide {
        for (label, evidence) in labelled("saw", &finding.evidence) {
            rows.extend(paragraph(label, &evidence.to_string(), room));
        }
    }
    rows
}

/// The verdict of a finding's severity.
pub(super) fn verdict(finding: &Finding) -> Verdict {
    match finding.severity {
        _ if finding.is_resolved() => Verdict::Good,
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

/// Puts the label before the first of several texts, and a blank one before the others.
fn labelled<T>(
    label: &'static str,
    texts: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = (&'static str, T)> {
    let labels = std::iter::once(label).chain(std::iter::repeat(" "));
    labels.zip(texts)
}

/// A text in lines. All lines begin in the column after the label, if there is one.
fn paragraph(label: &str, text: &str, room: usize) -> Vec<Row> {
    let taken = if label.is_empty() { 0 } else { LABEL };
    wrap(text, room.saturating_sub(taken))
        .into_iter()
        .filter(|line| !line.is_empty())
        .enumerate()
        .map(|(number, line)| {
            let label = if number == 0 { label } else { "" };
            row(format!("{label:taken$}{line}"))
        })
        .collect()
}

fn row(subject: String) -> Row {
    Row {
        subject,
        ..Row::default()
    }
}
