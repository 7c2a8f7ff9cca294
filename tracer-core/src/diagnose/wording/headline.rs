//! The headline: symptom, cause and fix in one line.

mod because;
mod brief;
mod fix;
mod symptom;

use super::sentence;
use crate::diagnose::claim::Summary;
use crate::diagnose::fact::{ObjectName, Who};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::tally::Tally;
use crate::model::sentence::Sentence;

use self::because::because;
pub(in crate::diagnose) use self::fix::fix;
pub(super) use self::symptom::symptom;

/// The most characters of a headline: what the note of a Kubernetes Event and a line of a terminal can show.
pub(in crate::diagnose) const MAX_HEADLINE: usize = 160;

/// The most characters of a pod's name where the line is too long.
const MAX_POD: usize = 32;

/// Symptom, cause and fix. Where they do not fit, the pod's name is shortened, which the finding has elsewhere;
/// then the cause is left out, which it explains below; then the fix.
pub(in crate::diagnose) fn headline(
    who: &Who,
    summary: &Summary,
    tally: &Tally,
    reason: Option<&Reason>,
    fix: Option<&Fix>,
) -> Sentence {
    let long = symptom(who, summary, tally);
    let short = symptom(&shortened(who), summary, tally);
    let reason = reason.map(because);
    let fix = fix.map(self::fix);
    let with = |symptom: &Sentence, reason: Option<&Sentence>, fix: Option<&Sentence>| {
        let mut line = symptom.clone();
        for (between, clause) in [(": ", reason), ("; ", fix)] {
            if let Some(clause) = clause {
                line.push_words(between);
                line.append(clause.clone());
            }
        }
        (line.chars() <= MAX_HEADLINE).then_some(line)
    };
    let (reason, fix) = (reason.as_ref(), fix.as_ref());
    [(reason, fix), (None, fix), (reason, None)]
        .into_iter()
        .flat_map(|(reason, fix)| [(&long, reason, fix), (&short, reason, fix)])
        .find_map(|(symptom, reason, fix)| with(symptom, reason, fix))
        .unwrap_or_else(|| short.clone().clipped(MAX_HEADLINE))
}

/// The pod, its name cut in the middle: the end distinguishes replicas.
pub(super) fn shortened(who: &Who) -> Who {
    let Who::Pod(pod) = who else {
        return who.clone();
    };
    let length = pod.name.chars().count();
    if length <= MAX_POD {
        return who.clone();
    }
    let (start, end) = (MAX_POD / 2, MAX_POD - MAX_POD / 2 - 1);
    let first = pod.name.chars().take(start);
    let last = pod.name.chars().skip(length - end);
    let name: String = first.chain(['…']).chain(last).collect();
    Who::Pod(ObjectName {
        namespace: std::sync::Arc::clone(&pod.namespace),
        name: name.into(),
    })
}

/// The headline of a resolved finding.
pub(in crate::diagnose) fn resolved(how: &Sentence) -> Sentence {
    sentence!("resolved: {}", how).clipped(MAX_HEADLINE)
}
