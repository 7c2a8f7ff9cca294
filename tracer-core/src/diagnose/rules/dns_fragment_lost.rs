//! The answer came in fragments, and only the first one arrived.

use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::PodCommand;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::server;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-fragment-lost",
    severity: Severity::Error,
    finds: "a fragment of the answer is missing",
    means: "The answer was too big for one packet. Its first IP fragment arrived and the others did not, so the pod's kernel dropped \
            it, and the resolver waited for nothing. The server did answer.",
    looks_at: "Answers over UDP of which only the first fragment arrived at the pod.",
    cannot_know: "Where the fragments were dropped.",
    check,
};

/// The size that DNS software agreed on to avoid fragments (DNS flag day 2020).
const SAFE_SIZE: u16 = 1232;
/// A lookup that waited less got the answer otherwise, at once.
const MIN_WAIT: Duration = Duration::from_millis(900);

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let mut exchanges = lookup.exchanges().iter();
    let lost = exchanges.find(|exchange| exchange.fragments_lost > 0)?;
    if lookup.event.outcome == Outcome::Answered && lookup.event.waited < MIN_WAIT {
        return None;
    }
    let ip = lost.server.ip();
    let server = server::at(case, ip);
    let summary = Summary::FragmentsLost {
        asked: lookup.asked()?.name.to_owned(),
        server,
        figures: lookup.figures(),
    };
    let claim = Claim::new(Cause::ServerAndName(ip, lost.name.clone()), summary)
        .because(Reason::FragmentsLost)
        .fix(Fix::LowerBufferSize(SAFE_SIZE))
        .why(ServerFact::FragmentsLost)
        .why(ServerFact::FragmentCauses)
        .command(PodCommand::DigBufferSize {
            name: lost.name.clone(),
            server: ip,
            size: SAFE_SIZE,
        })
        .command(PodCommand::DigTcp {
            name: lost.name.clone(),
            server: ip,
        })
        .evidence(lookup.evidence())
        .cures(lookup.names().into_iter().cloned().map(Cure::Found));
    Some(claim)
}
