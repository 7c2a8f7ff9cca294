//! Why a pod can't reach a destination: everything that the inventory, the policies and recent events say about
//! it, in one object.
//!
//! Owns the answer of `tracer explain` ([`Explanation`]), its JSON fields and its text ([`text`]). Pure: the
//! caller lists the objects, collects the events and names what it could not get ([`Input`]). One file per
//! section. It never guesses: facts of the inventory are stated as facts, what was not seen or is not listed is
//! said to be unknown, and a cause is certain only where a finding has it.

mod alias;
mod attempts;
mod backends;
mod command;
mod coverage;
mod drops;
mod findings;
mod outcome;
mod path;
mod pod;
mod policies;
mod probe;
mod resolution;
mod service;
mod subject;
mod target;
pub mod text;
mod verdict;

use serde::Serialize;

pub use self::alias::{AliasFacts, LeadsTo};
pub use self::attempts::{Attempt, Attempts, Group, Moment, PerEndpoint};
pub use self::coverage::Coverage;
pub use self::drops::DropFacts;
pub use self::findings::FindingFacts;
pub use self::path::{Followed, HopFacts, PathFacts};
pub use self::pod::PodFacts;
pub use self::policies::{PolicyFacts, Ruling};
pub use self::probe::Probe;
pub use self::resolution::{Candidate, InInventory, Instead, Resolution, SeenAnswer};
pub use self::service::{EndpointFacts, PortFacts, ServiceFacts};
pub use self::subject::{Subject, SubjectError};
pub use self::target::{PortNumber, Target, TargetError};
pub use self::verdict::{Next, Verdict, VerdictKind};

use self::attempts::Matcher;
use crate::identity::Index;
use crate::model::event::Event;
use crate::model::time::Timestamp;
use crate::view::WallClock;
use crate::view::json::printable;

/// What an explanation is made of.
pub struct Input<'a> {
    /// The objects.
    pub index: &'a Index,
    /// Which of them are there.
    pub coverage: &'a Coverage,
    /// The pod that can't reach something.
    pub subject: &'a Subject,
    /// What it can't reach; `None` explains the pod itself.
    pub target: Option<&'a Target>,
    /// Recent events, in the order in which they were emitted.
    pub events: &'a [Event],
    /// Whether events could be collected; `None` with the reason in [`Input::unknown`].
    pub span: Option<Span>,
    /// The time that ages are relative to.
    pub now: Timestamp,
    /// Maps the events' times to wall time.
    pub clock: &'a dyn WallClock,
    /// What could not be asked or was lost, in sentences.
    pub unknown: Vec<String>,
    /// The attempt that [`failed_attempt`] names, with its path, if that is known.
    pub followed: Option<Followed<'a>>,
}

/// The time that the events cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// The minutes before now, as agents remember them.
    Last(std::time::Duration),
    /// All of a capture, or of a run.
    Whole(&'static str),
}

impl Span {
    /// As in "12 attempts in the last 15 min".
    pub fn words(&self) -> String {
        match self {
            Span::Last(span) => format!("in the last {} min", span.as_secs() / 60),
            Span::Whole(what) => format!("in {what}"),
        }
    }
}

/// Why a pod can, or can't, reach a destination.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The answer.
    pub verdict: Verdict,
    /// The one thing to do.
    pub next: Next,
    /// The pod.
    pub pod: PodFacts,
    /// The destination, as it was understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How the destination's name resolves in the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// The ExternalName Services that lead to the Service, or elsewhere, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<AliasFacts>,
    /// The Service behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceFacts>,
    /// What NetworkPolicies say, each way.
    pub policies: Vec<PolicyFacts>,
    /// What the pod tried.
    pub attempts: Attempts,
    /// What was found about it.
    pub findings: Vec<FindingFacts>,
    /// What is unknown, and why.
    pub unknown: Vec<String>,
}

impl Explanation {
    /// One line of JSON, without its newline. Nothing in it can reach a terminal unescaped.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(printable(&serde_json::to_string(self)?))
    }
}

/// Explains.
pub fn explain(input: &Input<'_>) -> Explanation {
    let resolution = resolution::explain(input);
    let reached = target::reached(input, resolution.as_ref());
    let service = service::explain(input, &reached);
    let matcher = Matcher::new(input, &reached, resolution.as_ref());
    let attempts = attempts::collect(input, &matcher);
    let findings = findings::concerning(input, &matcher);
    let backends = backends::of(input, &reached);
    let policies = policies::explain(input, &reached, &backends, resolution.as_ref());
    let pod = pod::explain(input);
    let mut unknown = input.unknown.clone();
    unknown.extend(target::outside(&reached));
    unknown.extend(input.coverage.lacking(input.index, input.target.is_some()));
    let parts = verdict::Parts {
        input,
        reached: &reached,
        pod: &pod,
        resolution: resolution.as_ref(),
        service: service.as_ref(),
        policies: &policies,
        attempts: &attempts,
        findings: &findings,
        unknown: &unknown,
    };
    let (verdict, next) = verdict::judge(&parts);
    let aliases = reached.aliases;
    Explanation {
        verdict,
        next,
        pod,
        to: input.target.map(ToString::to_string),
        resolution,
        aliases,
        service,
        policies,
        attempts,
        findings,
        unknown,
    }
}

/// Whether an event is of the pod that is explained.
pub fn is_of(subject: &Subject, event: &Event) -> bool {
    let Some(ends) = &event.ends else {
        return false;
    };
    match &ends.pod.identity {
        Ok(pod) => subject.is(pod),
        Err(_) => subject.pod.as_ref().is_some_and(|pod| {
            // A hostNetwork pod has its node's address.
            !pod.host_network && pod.ips.contains(&ends.pod.ip)
        }),
    }
}

/// Whether an explanation looks at an event: the pod's, or a drop of a packet from or to the pod at the other end.
pub fn is_needed(subject: &Subject, event: &Event) -> bool {
    is_of(subject, event) || drops::is_of_peer(subject, event)
}

/// The command that makes an attempt visible; `None` without a target, or if its address is unknown.
pub fn probe(input: &Input<'_>) -> Option<Probe> {
    let resolution = resolution::explain(input);
    let reached = target::reached(input, resolution.as_ref());
    let asked = resolution.as_ref().map(|one| one.asked.as_str());
    probe::of(input, &reached, asked)
}

/// The latest attempt that failed and that can have a path, which the caller may ask for.
pub fn failed_attempt<'a>(input: &Input<'a>) -> Option<&'a Event> {
    let resolution = resolution::explain(input);
    let reached = target::reached(input, resolution.as_ref());
    let matcher = Matcher::new(input, &reached, resolution.as_ref());
    attempts::latest_failure(input, &matcher)
}

/// Whether any event is the pod's, and of this destination: an attempt that `--watch` waits for.
pub fn attempted(input: &Input<'_>) -> bool {
    let resolution = resolution::explain(input);
    let reached = target::reached(input, resolution.as_ref());
    let matcher = Matcher::new(input, &reached, resolution.as_ref());
    let mut events = input.events.iter();
    events.any(|event| is_of(input.subject, event) && matcher.attempt(event))
}
