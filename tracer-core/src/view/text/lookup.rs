//! Lookups as blocks.

use super::INCOMPLETE;
use super::dns::{branch, push_reasons, server, shown, verdict, word};
use super::line::{Row, Verdict};
use super::units::{count, duration};
use crate::model::dns::{DnsName, type_mnemonic};
use crate::model::edns::ExtendedError;
use crate::model::event::Ends;
use crate::model::exchange::Outcome;
use crate::model::lookup::{Lookup, Step};

/// A lookup as one block: the name that the pod looked up, then each candidate.
pub(super) fn lookup(
    lookup: &Lookup,
    ends: Option<&Ends>,
    incomplete: bool,
    wide: bool,
) -> Vec<Row> {
    let candidates = grouped(&lookup.steps);
    let asked = match (&lookup.asked, candidates.first()) {
        (Some(asked), _) => asked.clone(),
        // The wire does not show the name that the application passed to the resolver, only the queries for
        // it.
        (None, Some(first)) => first.name.as_str().to_owned(),
        (None, None) => "(no query kept)".to_owned(),
    };
    let types: Vec<_> = lookup.qtypes.iter().copied().map(type_mnemonic).collect();
    let mut detail = count(u64::from(lookup.queries), "query");
    // Nothing was awaited if the input ended with the query.
    if incomplete {
        detail.push_str(&format!(", {INCOMPLETE}"));
    } else if lookup.outcome == Outcome::Undecided {
        detail.push_str(", no answer yet");
    } else if !lookup.duration.is_zero() {
        detail.push_str(&format!(", {}", duration(lookup.duration)));
    }
    let mut head = Row {
        kind: "dns",
        subject: format!("{asked} {}", types.join("+")).trim_end().to_owned(),
        verdict: Some((verdict(lookup.outcome), word(lookup.outcome).to_owned())),
        detail,
        server: server(ends),
        ..Row::default()
    };
    // A single query for exactly this name: the head line shows everything.
    if let [only] = candidates.as_slice()
        && *only.name == DnsName::new(&asked)
    {
        if !only.data.is_empty() {
            head.tail = shown(&only.data, wide);
        }
        push_reasons(&mut head.tail, &only.errors);
        return vec![head];
    }
    let mut rows = vec![head];
    let last = candidates.len().saturating_sub(1);
    for (index, candidate) in candidates.iter().enumerate() {
        let mut tail = shown(&candidate.data, wide);
        push_reasons(&mut tail, &candidate.errors);
        rows.push(Row {
            branch: branch(index == last),
            subject: format!(
                "{} {}",
                abbreviated(candidate.name, &asked, wide),
                candidate.types.join("+")
            ),
            verdict: Some(match candidate.outcome {
                Some(outcome) => (verdict(outcome), word(outcome).to_owned()),
                None => (Verdict::Neutral, "no answer".to_owned()),
            }),
            detail: candidate.latency.map(duration).unwrap_or_default(),
            tail,
            ..Row::default()
        });
    }
    rows
}

/// Steps of one name with the same outcome, shown on one line.
struct Candidate<'a> {
    name: &'a DnsName,
    types: Vec<std::borrow::Cow<'static, str>>,
    outcome: Option<Outcome>,
    latency: Option<std::time::Duration>,
    data: Vec<&'a str>,
    errors: Vec<ExtendedError>,
}

fn grouped(steps: &[Step]) -> Vec<Candidate<'_>> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for step in steps {
        let mnemonic = type_mnemonic(step.qtype);
        match candidates.last_mut() {
            Some(last)
                if *last.name == step.name
                    && last.outcome == step.outcome
                    && !last.types.contains(&mnemonic) =>
            {
                last.types.push(mnemonic);
                // A resolver sends both at once, so the application waits for the slower one.
                last.latency = last.latency.max(step.latency);
                last.data.extend(step.data.iter().map(String::as_str));
                for error in &step.errors {
                    if !last.errors.contains(error) {
                        last.errors.push(error.clone());
                    }
                }
            }
            _ => candidates.push(Candidate {
                name: &step.name,
                types: vec![mnemonic],
                outcome: step.outcome,
                latency: step.latency,
                data: step.data.iter().map(String::as_str).collect(),
                errors: step.errors.clone(),
            }),
        }
    }
    candidates
}

/// `….default.svc.cluster.local.` for the looked-up name with a search domain appended.
fn abbreviated(candidate: &DnsName, asked: &str, wide: bool) -> String {
    if !wide
        && let Some(suffix) = candidate
            .as_str()
            .strip_prefix(asked.to_ascii_lowercase().as_str())
            .filter(|rest| rest.starts_with('.') && *rest != ".")
    {
        return format!("…{suffix}");
    }
    candidate.as_str().to_owned()
}
