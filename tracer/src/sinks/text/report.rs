//! Findings as blocks, losses as lines.

use super::line::{Row, Verdict, width};
use super::units::count;
use crate::model::finding::{Finding, Severity};
use crate::model::loss::Loss;

/// Where sentences are broken: with the columns in front of them they end at about 130.
const WRAP: usize = 84;

pub(super) fn finding(finding: &Finding, wide: bool) -> Vec<Row> {
    let verdict = match finding.severity {
        _ if finding.resolved => Verdict::Good,
        Severity::Info => Verdict::Neutral,
        Severity::Warning => Verdict::Warn,
        Severity::Error => Verdict::Bad,
    };
    let word = if finding.resolved {
        "resolved"
    } else {
        crate::sinks::words::severity(finding.severity)
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
        paragraph("why: ", &finding.why, &mut rows);
        for remedy in &finding.remedies {
            paragraph("try: ", remedy, &mut rows);
        }
    }
    if wide {
        for evidence in &finding.evidence {
            paragraph("saw: ", evidence, &mut rows);
        }
    }
    rows
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

/// Breaks a text at spaces; later lines are indented below the first word after the label.
fn paragraph(label: &str, text: &str, rows: &mut Vec<Row>) {
    let indent = " ".repeat(width(label));
    let mut line = label.to_owned();
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
