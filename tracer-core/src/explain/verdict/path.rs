//! The answer where the path of the latest attempt shows where it ended.

use super::{Next, Parts, Verdict, VerdictKind, try_again};
use crate::diagnose::shown_by;
use crate::explain::attempts::{destination, kind};
use crate::explain::outcome::Result;

/// What the path shows, if the attempt is the latest of its kind and destination.
pub(super) fn answer(parts: &Parts<'_, '_>) -> Option<(Verdict, Next)> {
    let followed = parts.input.followed?;
    let (because, fix) = shown_by(followed.path)?;
    let attempt = followed.attempt;
    let (_, kind) = kind(&attempt.body)?;
    let to = destination(attempt);
    let is_latest = parts.attempts.groups.iter().any(|group| {
        let same = kind == group.kind && to == group.to;
        same && group.last_result == Result::Failed
    });
    if !is_latest {
        return None;
    }
    let own = parts.input.subject.full_name();
    let verdict = Verdict {
        kind: VerdictKind::Fails,
        says: format!("{own} can't reach {to}: {because}"),
    };
    let next = match fix {
        Some(fix) => Next::new(fix.to_string()),
        None => try_again(parts, "see whether it still fails"),
    };
    Some((verdict, next))
}
