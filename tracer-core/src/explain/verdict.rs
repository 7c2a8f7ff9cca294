//! The answer, and the one thing to do.
//!
//! The strongest evidence decides: a finding, a configuration that no attempt contradicts, a drop of the attempt's
//! packets, its path, a policy that denies it, then attempts without a finding. Otherwise nothing is known, and the next thing is an attempt that would be seen.

mod configuration;
mod drops;
mod path;

use serde::Serialize;

use self::configuration::Fact;

use super::attempts::{Attempts, Group};
use super::findings::FindingFacts;
use super::outcome::Result;
use super::policies::PolicyFacts;
use super::service::ServiceFacts;
use super::target::Reached;
use super::{Input, PodFacts, Probe, Resolution, Target, probe};

/// The kind of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// Attempts fail.
    Fails,
    /// The configuration prevents it, and no attempt shows otherwise.
    Blocked,
    /// The latest attempts succeeded.
    Works,
    /// Nothing was seen that decides it.
    Unknown,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Its kind.
    pub kind: VerdictKind,
    /// In a sentence.
    pub says: String,
}

/// The one thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Next {
    /// What to do, in a sentence.
    pub says: String,
    /// The command for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Next {
    fn new(says: impl Into<String>) -> Next {
        Next {
            says: says.into(),
            command: None,
        }
    }

    fn run(says: impl Into<String>, command: impl Into<String>) -> Next {
        Next {
            says: says.into(),
            command: Some(command.into()),
        }
    }
}

/// The sections that the answer rests on.
pub(super) struct Parts<'p, 'a> {
    pub input: &'p Input<'a>,
    pub reached: &'p Reached<'a>,
    pub pod: &'p PodFacts,
    pub resolution: Option<&'p Resolution>,
    pub service: Option<&'p ServiceFacts>,
    pub policies: &'p [PolicyFacts],
    pub attempts: &'p Attempts,
    pub findings: &'p [FindingFacts],
    pub unknown: &'p [String],
}

/// Decides.
pub(super) fn judge(parts: &Parts<'_, '_>) -> (Verdict, Next) {
    by_finding(parts)
        .or_else(|| by_configuration(parts, configuration::fact))
        .or_else(|| drops::answer(parts))
        .or_else(|| path::answer(parts))
        .or_else(|| by_configuration(parts, configuration::denied))
        .or_else(|| by_failures(parts))
        .or_else(|| by_success(parts))
        .unwrap_or_else(|| unknown(parts))
}

fn by_finding(parts: &Parts<'_, '_>) -> Option<(Verdict, Next)> {
    let mut lookups = parts
        .attempts
        .groups
        .iter()
        .filter(|one| one.kind == "lookup");
    let resolved = lookups.clone().next().is_some() && lookups.all(|one| one.failed == 0);
    // A server that fails for other names is not why this one, which it always answered, can't be reached.
    let decides =
        |finding: &&FindingFacts| finding.is_problem && !(finding.about_dns_server && resolved);
    let finding = parts.findings.iter().find(decides)?;
    if drops::outranks(finding.rule)
        && let Some(dropped) = drops::answer(parts)
    {
        return Some(dropped);
    }
    let verdict = Verdict {
        kind: VerdictKind::Fails,
        says: finding.headline.clone(),
    };
    let fix = finding
        .fix
        .clone()
        .unwrap_or_else(|| "narrow it down".to_owned());
    // A remedy can be the name or the setting of the fix, or be about something else than the logs that it names.
    let logs = fix.contains("logs");
    let mut remedies = finding.r#try.iter();
    let command = remedies
        .find(|one| one.contains(' ') && !fix.contains(*one) && (!logs || one.contains(" logs ")));
    let next = Next {
        says: fix,
        command: command.cloned(),
    };
    Some((verdict, next))
}

/// A fact of the inventory that makes it impossible.
fn by_configuration(
    parts: &Parts<'_, '_>,
    fact: impl Fn(&Parts<'_, '_>) -> Option<Fact>,
) -> Option<(Verdict, Next)> {
    let (says, next, contradicted_by) = fact(parts)?;
    // Something that worked outranks what the objects say.
    if has_worked(parts, contradicted_by) {
        return None;
    }
    let verdict = Verdict {
        kind: VerdictKind::Blocked,
        says,
    };
    Some((verdict, next))
}

/// Whether the latest attempt of one of these kinds succeeded.
fn has_worked(parts: &Parts<'_, '_>, kinds: &[&str]) -> bool {
    let mut groups = parts.attempts.groups.iter();
    groups.any(|group| kinds.contains(&group.kind) && group.last_result == Result::Succeeded)
}

/// Attempts that fail without a finding.
fn by_failures(parts: &Parts<'_, '_>) -> Option<(Verdict, Next)> {
    let groups = &parts.attempts.groups;
    let traffic = |group: &&Group| group.kind != "lookup" && group.last_result == Result::Succeeded;
    let worked = groups
        .iter()
        .filter(traffic)
        .map(|group| group.last.ago)
        .min();
    // With a target, a connection shows that an earlier lookup's failure is over.
    let over = |group: &Group| {
        parts.input.target.is_some() && worked.is_some_and(|ago| ago < group.last.ago)
    };
    let failing = |group: &&Group| group.last_result == Result::Failed && !over(group);
    let group = groups.iter().find(failing)?;
    let span = parts.attempts.span.as_deref().unwrap_or_default();
    let says = format!(
        "{} of {} attempts ({} {}) failed {span}, the last one {}; no rule found a cause",
        group.failed,
        group.count,
        group.kind,
        group.subject(),
        group.last_words
    );
    let verdict = Verdict {
        kind: VerdictKind::Fails,
        says,
    };
    Some((verdict, try_again(parts, "see whether it still fails")))
}

fn by_success(parts: &Parts<'_, '_>) -> Option<(Verdict, Next)> {
    let groups = &parts.attempts.groups;
    let traffic = groups
        .iter()
        .find(|group| group.kind != "lookup" && group.last_result == Result::Succeeded);
    let span = parts.attempts.span.as_deref().unwrap_or_default();
    let works = |says: String| Verdict {
        kind: VerdictKind::Works,
        says,
    };
    if parts.input.target.is_none() {
        let any = groups
            .iter()
            .find(|group| group.last_result == Result::Succeeded)?;
        let verdict = works(format!(
            "nothing of {} fails {span}; its last attempt: {} {}, {}",
            parts.input.subject.full_name(),
            any.kind,
            any.subject(),
            any.last_words
        ));
        return Some((
            verdict,
            Next::new("nothing to do; --to explains one destination"),
        ));
    }
    if let Some(group) = traffic {
        let failed = match group.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let verdict = works(format!(
            "it works: {} {} {} {span}{failed}; the last one {}",
            group.count,
            attempts_of(group.kind),
            group.subject(),
            group.last_words
        ));
        return Some((verdict, Next::new("nothing to do")));
    }
    // A lookup shows that the name resolves, and nothing about connections.
    None
}

fn attempts_of(kind: &str) -> &'static str {
    match kind {
        "tcp" => "connections",
        "udp" => "UDP flows",
        "ping" => "pings",
        "dns" => "queries",
        _ => "lookups",
    }
}

fn unknown(parts: &Parts<'_, '_>) -> (Verdict, Next) {
    let own = parts.input.subject.full_name();
    let span = parts.attempts.span.as_deref();
    let target = parts.input.target.map(ToString::to_string);
    let lookup = parts
        .attempts
        .groups
        .iter()
        .find(|one| one.kind == "lookup" && one.last_result == Result::Succeeded);
    let undecided = parts.attempts.groups.iter().any(|one| one.undecided > 0);
    let seen = match (&target, span) {
        (_, None) => "no events could be collected".to_owned(),
        (None, Some(span)) => format!("nothing of {own} was seen {span}"),
        (Some(target), Some(span)) => match (lookup, undecided) {
            (Some(_), _) => {
                format!("{own} resolved the name of {target}, and no connection was seen {span}")
            }
            (None, true) => format!("{own} tried {target}, and what came of it is undecided"),
            (None, false) => format!("{own} did not try {target} {span}"),
        },
    };
    let stands = match (target.is_some(), parts.unknown.is_empty()) {
        (false, _) => String::new(),
        (true, true) => "; nothing in the inventory stands in its way".to_owned(),
        (true, false) => "; nothing that is known stands in its way".to_owned(),
    };
    let verdict = Verdict {
        kind: VerdictKind::Unknown,
        says: format!("{seen}{stands}"),
    };
    (
        verdict,
        try_again(parts, "try it, and explain again (--watch waits for it)"),
    )
}

fn try_again(parts: &Parts<'_, '_>, says: &str) -> Next {
    let asked = parts.resolution.map(|one| one.asked.as_str());
    match probe::of(parts.input, parts.reached, asked) {
        Some(Probe { command, expect }) => {
            Next::run(format!("{says}; expected: {expect}"), command)
        }
        None => match parts.input.target {
            Some(Target::Pod(..)) => {
                Next::new("the pod has no known address: give one with --to ADDRESS")
            }
            _ => Next::run(
                "follow what it does",
                format!(
                    "tracer observe -f -n {} -p {}",
                    parts.pod.namespace, parts.pod.name
                ),
            ),
        },
    }
}
