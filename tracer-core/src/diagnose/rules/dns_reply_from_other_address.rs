//! The answers have an endpoint's own address instead of the Service's that was asked.

use std::sync::Arc;
use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::Command;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::server;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-reply-from-other-address",
    severity: Severity::Error,
    finds: "DNS answers come from another address than the one asked",
    means: "The DNS server answers, but its answers have another source address than the one that the pod asked: the endpoint's own \
            instead of the Service's. No resolver accepts such an answer (RFC 5452), so the lookup fails although the server \
            works.",
    looks_at: "Answers with the question, the identifier and the port of an open query, and another source address; the endpoints \
               of the Service asked.",
    cannot_know: "Why the address was not translated back: the node's settings are not visible.",
    check,
};

/// A lookup that waited less was answered properly at once.
const MIN_WAIT: Duration = Duration::from_millis(900);

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let first = lookup.misdirected.first()?;
    let answered = matches!(
        lookup.event.outcome,
        Outcome::Answered | Outcome::Nodata | Outcome::Nxdomain
    );
    if answered && lookup.event.waited < MIN_WAIT {
        return None;
    }
    let from = server::place(case, first.from);
    let asked = server::at(case, first.asked.ip());
    let own = case.pod().and_then(|pod| pod.node.as_ref());
    let same_node = own.filter(|own| from.node.as_ref() == Some(*own));
    let summary = Summary::RepliesFromElsewhere {
        asked: lookup.asked()?.name.to_owned(),
        server: asked.clone(),
        from: first.from,
        figures: lookup.figures(),
    };
    let claim = Claim::new(Cause::Address(first.asked.ip()), summary)
        .because(Reason::NotTranslatedBack(first.from))
        .fix(Fix::CheckBridgeNetfilter(same_node.map(Arc::clone)))
        .why(ServerFact::RepliesFrom {
            from,
            asked,
            replies: u64::try_from(lookup.misdirected.len()).unwrap_or(u64::MAX),
        })
        .why(ServerFact::UntranslatedCauses(same_node.map(Arc::clone)))
        .command(Command::BridgeNetfilter(own.map(Arc::clone)))
        .evidence(lookup.evidence())
        .cure(Cure::Answers(first.asked.ip()));
    Some(claim)
}
