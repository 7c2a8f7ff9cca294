//! Findings and losses as lines of the stream.

use super::line::{Row, Verdict};
use crate::diagnose::settled;
use crate::model::finding::{Finding, Severity, State};
use crate::model::loss::Loss;
use crate::view::words;

/// How the headline of a resolved finding begins; the line has its own word for that.
const RESOLVED: &str = "resolved: ";

/// A finding's line; `diagnose` shows the rest.
pub(super) fn finding(finding: &Finding) -> Row {
    let headline = settled(finding).headline.to_string();
    let headline = headline.strip_prefix(RESOLVED).unwrap_or(&headline);
    // Most headlines have the numbers already.
    let has_share = headline.contains(&format!("{} of {} ", finding.count, finding.of));
    let times = match share(finding).filter(|_| !has_share) {
        Some(share) => format!(" ({share})"),
        None => String::new(),
    };
    Row {
        kind: "FINDING",
        sentence: Some((
            verdict(finding),
            format!("{}: {headline}{times}", standing(finding)),
        )),
        ..Row::default()
    }
}

/// `error`, `intermittent error`, `resolved`.
pub(super) fn standing(finding: &Finding) -> String {
    let severity = words::severity(finding.severity);
    match finding.state {
        State::Active => severity.to_owned(),
        State::Intermittent => format!("intermittent {severity}"),
        State::Resolved => "resolved".to_owned(),
    }
}

/// How many of the attempts failed; `None` for the only one.
pub(super) fn share(finding: &Finding) -> Option<String> {
    match (finding.count, finding.of) {
        (1, 0..=1) => None,
        (count, of) if of > count => Some(format!("{count} of {of} times")),
        (count, _) => Some(crate::model::units::count(count, "time")),
    }
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
        kind: "lost",
        sentence: Some((
            Verdict::Warn,
            format!("{} ({}): {}", loss.count, loss.stage.as_str(), loss.reason),
        )),
        ..Row::default()
    }
}
