//! The findings that concern the pod and the destination.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::attempts::{Matcher, Moment};
use super::{Followed, Input, is_of};
use crate::diagnose::{can_be_followed, settled};
use crate::model::event::{Body, Event};
use crate::model::finding::{Finding, Severity, State};
use crate::view::words;

/// A finding.
#[derive(Clone, Debug, Serialize)]
pub struct FindingFacts {
    /// Its id.
    pub id: String,
    /// Its rule.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: &'static str,
    /// Whether the cause still exists.
    pub state: &'static str,
    /// Failed attempts.
    pub count: u64,
    /// All attempts.
    pub of: u64,
    /// When it was seen last.
    pub last: Moment,
    /// Symptom, cause and fix.
    pub headline: String,
    /// Why.
    pub why: Vec<String>,
    /// The fix, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Where the latest attempt ended, hop by hop, where the agents of both nodes were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Commands.
    pub r#try: Vec<String>,
    /// It is about the server of the names, whatever name was asked for.
    pub about_dns_server: bool,
    /// It is about a name, rather than about traffic.
    #[serde(skip)]
    pub(super) about_name: bool,
    #[serde(skip)]
    pub(super) is_problem: bool,
}

/// Whether a finding concerns the destination, and whether it is about the pod's DNS server as such.
fn concerns(event: &Event, finding: &Finding, matcher: &Matcher<'_>) -> Option<bool> {
    if !matcher.has_target() {
        return Some(false);
    }
    let ends = event.ends.as_ref()?;
    let by_name = finding.names.iter().any(|name| matcher.is_name(name));
    // A finding about a name has the DNS server as its other end.
    if is_about_name(finding.rule) {
        let of_server = ABOUT_SERVERS.contains(&finding.rule);
        return (matcher.by_name() && (by_name || of_server)).then_some(!by_name);
    }
    // One about the address as such, such as a ping, has no port.
    let of_port = ends.peer.port.is_none() || matcher.has_port(ends);
    (matcher.is_end(ends) && of_port).then_some(false)
}

fn is_about_name(rule: &str) -> bool {
    rule.starts_with("dns-") || ABOUT_NAMES.contains(&rule)
}

/// The rules about a DNS server that concern every name.
const ABOUT_SERVERS: [&str; 6] = [
    "dns-reply-from-other-address",
    "dns-server-unreachable",
    "dns-race",
    "dns-timeout",
    "dns-retried",
    "dns-slow",
];

/// The rules about one name, besides those of a server's answer.
const ABOUT_NAMES: [&str; 10] = [
    "search-domain-answers",
    "nxdomain-other-namespace",
    "nxdomain-no-endpoints",
    "externalname-target",
    "nxdomain-wrong-form",
    "nxdomain-negative-cache",
    "nxdomain-unknown-name",
    "search-path-waste",
    "aaaa-fails",
    "nodata-not-found",
];

/// The latest state of each finding of the pod that concerns the destination, the worst first, resolved ones
/// last.
pub(super) fn concerning(input: &Input<'_>, matcher: &Matcher<'_>) -> Vec<FindingFacts> {
    let mut latest: BTreeMap<String, (FindingFacts, Severity)> = BTreeMap::new();
    for event in input
        .events
        .iter()
        .filter(|event| is_of(input.subject, event))
    {
        let Body::Finding(finding) = &event.body else {
            continue;
        };
        let Some(about_dns_server) = concerns(event, finding, matcher) else {
            continue;
        };
        let finding = settled_by(input, event, finding);
        let facts = facts(input, &finding, about_dns_server);
        latest.insert(facts.id.clone(), (facts, finding.severity));
    }
    let mut findings: Vec<(FindingFacts, Severity)> = latest.into_values().collect();
    findings.sort_by_key(|(facts, severity)| {
        (
            !facts.is_problem,
            facts.about_dns_server,
            Reverse(*severity),
            // A wrong address makes the connections to it fail.
            matcher.has_target() && !facts.about_name,
            facts.last.ago,
        )
    });
    findings.into_iter().map(|(facts, _)| facts).collect()
}

/// The finding in the words that its path leaves. Without a path of its own it has that of its latest attempt.
fn settled_by<'f>(input: &Input<'_>, event: &Event, finding: &'f Finding) -> Cow<'f, Finding> {
    let is_its_attempt = |followed: &Followed<'_>| {
        let of = |event: &Event| {
            event
                .ends
                .as_ref()
                .map(|ends| (ends.peer.ip, ends.peer.port))
        };
        let at = followed.attempt.time;
        of(followed.attempt) == of(event) && (finding.first..=finding.last).contains(&at)
    };
    let followed = input.followed.filter(is_its_attempt);
    match followed.filter(|_| finding.path.is_none() && can_be_followed(finding.rule)) {
        Some(followed) => {
            let mut finding = finding.clone();
            finding.path = Some(Box::new(followed.path.clone()));
            Cow::Owned(settled(&finding).into_owned())
        }
        None => settled(finding),
    }
}

fn facts(input: &Input<'_>, finding: &Finding, about_dns_server: bool) -> FindingFacts {
    let texts = |sentences: &[crate::model::sentence::Sentence]| {
        sentences.iter().map(ToString::to_string).collect()
    };
    FindingFacts {
        id: finding.id.clone(),
        rule: finding.rule,
        severity: words::severity(finding.severity),
        state: words::finding_state(finding.state),
        count: finding.count,
        of: finding.of,
        last: Moment::new(input, finding.last),
        headline: finding.headline.to_string(),
        why: texts(&finding.why),
        fix: finding.fix.as_ref().map(ToString::to_string),
        path: finding.path.as_ref().map(|path| path.line.to_string()),
        r#try: texts(&finding.remedies),
        about_dns_server,
        about_name: is_about_name(finding.rule),
        is_problem: finding.severity >= Severity::Warning && finding.state != State::Resolved,
    }
}
