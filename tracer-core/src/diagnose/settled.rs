//! What a finding says once the path of its latest attempt is known.
//!
//! The agent that finds something sees one end. Its words name what is possible, each with the parts of the way that it is
//! about. A path comes later, from the agents of both nodes, and rules parts out. What is left is made when it is shown:
//! a later path starts from all words again.

use std::borrow::Cow;

use super::rule::can_be_followed;
use super::wording::{AlongPath, MAX_HEADLINE, along_path};
use crate::model::finding::Finding;
use crate::model::path::Path;
use crate::model::sentence::Sentence;
use crate::model::stretch::Stretches;

/// The finding without causes that its path rules out, and with what the path shows instead.
pub fn settled(finding: &Finding) -> Cow<'_, Finding> {
    let path = finding.path.as_deref();
    let open = !finding.is_resolved() && can_be_followed(finding.rule);
    let Some((path, ended)) = path
        .filter(|_| open)
        .and_then(|path| Some((path, path.ended()?)))
    else {
        return Cow::Borrowed(finding);
    };
    let holds = |sentence: &Sentence| sentence.stretches().meets(ended);
    let shown = along_path(path).unwrap_or_default();
    let mut settled = finding.clone();
    settled.headline = headline(finding, &shown, ended);
    settled.fix = (finding.fix.clone().filter(|fix| holds(fix))).or(shown.fix);
    settled.why.retain(holds);
    settled.remedies.retain(holds);
    // What is certain comes before the causes that are left. Words that are settled already have it.
    if settled.why.first() != shown.why.as_ref() {
        settled.why.splice(0..0, shown.why);
    }
    settled.symptom = None;
    Cow::Owned(settled)
}

/// What a path shows of an attempt's end, and what to do about it, as clauses.
pub(crate) fn shown_by(path: &Path) -> Option<(Sentence, Option<Sentence>)> {
    path.ended()?;
    let shown = along_path(path)?;
    Some((shown.because?, shown.fix))
}

/// The headline, with what the path shows for a cause that it rules out, or where there is none.
fn headline(finding: &Finding, shown: &AlongPath, ended: Stretches) -> Sentence {
    let Some(symptom) = &finding.symptom else {
        return finding.headline.clone();
    };
    let cause_holds = finding.headline.stretches().meets(ended);
    let fix = finding.fix.as_ref();
    let fix_holds = fix.is_none_or(|fix| fix.stretches().meets(ended));
    if cause_holds && fix_holds && *symptom != finding.headline {
        return finding.headline.clone();
    }
    let fix = fix.filter(|_| fix_holds).or(shown.fix.as_ref());
    let clauses = [(": ", shown.because.as_ref()), ("; ", fix)];
    let mut line = symptom.clone();
    for (between, clause) in clauses {
        let Some(clause) = clause else { continue };
        if line.chars() + between.len() + clause.chars() <= MAX_HEADLINE {
            line.push_words(between);
            line.append(clause.clone());
        }
    }
    line
}
