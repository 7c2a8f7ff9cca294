//! One finding for the pods of a workload that share its cause.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Kept, cluster};
use crate::model::finding::{Finding, PodGroup, State};
use crate::model::identity::PodIdentity;
use crate::model::sentence::{Sentence, Span};

/// Pods that a combined finding names.
const MAX_NAMES: usize = 3;
/// The limit of a headline, as the model says.
const MAX_HEADLINE: usize = 160;

/// Combines the findings of one rule and cause in several pods of one workload. Count and attempts are sums,
/// the state is the worst one, and the words are those of the worst pod.
pub(super) fn roll_up<'a>(all: impl Iterator<Item = &'a Kept>) -> Vec<Kept> {
    let mut alone = Vec::new();
    let mut groups: BTreeMap<(&str, &str, &str, String), Vec<&Kept>> = BTreeMap::new();
    for kept in all {
        let Some(finding) = kept.finding() else {
            continue;
        };
        match kept.pod().and_then(workload) {
            Some(workload) => groups
                .entry((
                    cluster(kept.node.as_ref()),
                    finding.rule,
                    &finding.cause,
                    workload,
                ))
                .or_default()
                .push(kept),
            None => alone.push(kept.clone()),
        }
    }
    for ((.., workload), findings) in groups {
        match findings.as_slice() {
            [one] => alone.push((*one).clone()),
            several => alone.extend(combined(workload, several)),
        }
    }
    alone
}

/// `Deployment shop/web`.
fn workload(pod: &Arc<PodIdentity>) -> Option<String> {
    let workload = pod.workload.as_ref()?;
    Some(format!(
        "{} {}/{}",
        workload.kind, pod.namespace, workload.name
    ))
}

fn combined(workload: String, several: &[&Kept]) -> Option<Kept> {
    let mut pods: Vec<(&Kept, &Finding, String)> = several
        .iter()
        .filter_map(|kept| {
            let pod = kept.pod()?;
            let name = format!("{}/{}", pod.namespace, pod.name);
            Some((*kept, kept.finding()?, name))
        })
        .collect();
    pods.sort_by_key(|(_, finding, name)| {
        (
            Reverse(badness(finding.state)),
            Reverse((finding.severity, finding.count, finding.last)),
            name.clone(),
        )
    });
    let (worst, of_worst, name_of_worst) = pods.first()?;
    let mut finding = (*of_worst).clone();
    let numbers = |number: fn(&Finding) -> u64| {
        pods.iter()
            .fold(0_u64, |sum, (_, one, _)| sum.saturating_add(number(one)))
    };
    finding.count = numbers(|one| one.count);
    finding.of = numbers(|one| one.of);
    finding.first = pods.iter().map(|(_, one, _)| one.first).min()?;
    finding.last = pods.iter().map(|(_, one, _)| one.last).max()?;
    finding.severity = pods.iter().map(|(_, one, _)| one.severity).max()?;
    let mut names: Vec<Arc<str>> = (pods.iter())
        .map(|(_, _, name)| Arc::from(name.as_str()))
        .collect();
    // One pod can have findings of different targets with one cause.
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(Arc::clone(name)));
    let count = names.len() as u64;
    names.truncate(MAX_NAMES);
    if count > 1 {
        let whose = format!("{workload} ({count} pods)");
        finding.headline = about(&finding, of_worst, name_of_worst, &whose);
        let (rule, cause) = (finding.rule, &finding.cause);
        finding.id = format!("{rule}:{}:{cause}", workload.replacen(' ', "/", 1));
        finding.pods = Some(PodGroup {
            workload,
            count,
            names,
        });
    }
    Some(worst.with(finding))
}

fn badness(state: State) -> u8 {
    match state {
        State::Active => 2,
        State::Intermittent => 1,
        State::Resolved => 0,
    }
}

/// The headline of the worst pod, about the workload, with the sums.
fn about(combined: &Finding, worst: &Finding, pod: &str, whose: &str) -> Sentence {
    let share = |finding: &Finding| format!("{} of {} ", finding.count, finding.of);
    let mut headline = worst.headline.clone();
    replace(&mut headline, &share(worst), &share(combined));
    headline = with_subject(&headline, pod, whose);
    let fix = combined.fix.as_ref().map(|fix| format!("; {fix}"));
    let text = headline.to_string();
    match fix.filter(|fix| text.ends_with(fix)) {
        // The fix is worth more than the end of the cause.
        Some(fix) if headline.chars() > MAX_HEADLINE => {
            let fix_length = fix.chars().count();
            let before = without_end(&headline, fix_length);
            let mut short = before.clipped(MAX_HEADLINE.saturating_sub(fix_length));
            short.push_words("; ");
            if let Some(fix) = &combined.fix {
                short.append(fix.clone());
            }
            short.clipped(MAX_HEADLINE)
        }
        _ => headline.clipped(MAX_HEADLINE),
    }
}

/// The headline about another subject than the pod that it begins with.
fn with_subject(headline: &Sentence, pod: &str, whose: &str) -> Sentence {
    let mut about = Sentence::from(whose.to_owned());
    if headline.to_string().starts_with(pod) {
        about.append(without_start(headline, pod.chars().count()));
    } else {
        about.push_words(": ");
        about.append(headline.clone());
    }
    about
}

/// Replaces the first occurrence among the sentence's words.
fn replace(sentence: &mut Sentence, old: &str, new: &str) {
    for span in sentence.spans_mut() {
        if let Span::Words(words) = span
            && words.contains(old)
        {
            *words = words.replacen(old, new, 1).into();
            return;
        }
    }
}

/// The sentence without its first characters.
fn without_start(sentence: &Sentence, characters: usize) -> Sentence {
    let mut skipped = characters;
    let mut kept = Sentence::default();
    for span in sentence.spans() {
        let length = span.as_str().chars().count();
        let cut = |text: &str| text.chars().skip(skipped).collect::<String>();
        kept.push(match span {
            _ if skipped == 0 => span.clone(),
            Span::Words(text) => Span::Words(cut(text).into()),
            Span::Name(name) => Span::Asked(cut(name.as_str())),
            Span::Asked(text) => Span::Asked(cut(text)),
            Span::Opaque(text) => Span::Opaque(cut(text)),
        });
        skipped = skipped.saturating_sub(length);
    }
    kept
}

/// The sentence without its last characters.
fn without_end(sentence: &Sentence, characters: usize) -> Sentence {
    let mut room = sentence.chars().saturating_sub(characters);
    let mut kept = Sentence::default();
    for span in sentence.spans() {
        let length = span.as_str().chars().count();
        let cut = |text: &str| text.chars().take(room).collect::<String>();
        kept.push(match span {
            _ if length <= room => span.clone(),
            Span::Words(text) => Span::Words(cut(text).into()),
            Span::Name(name) => Span::Asked(cut(name.as_str())),
            Span::Asked(text) => Span::Asked(cut(text)),
            Span::Opaque(text) => Span::Opaque(cut(text)),
        });
        room = room.saturating_sub(length);
    }
    kept
}
