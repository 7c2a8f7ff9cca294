//! The answer did not fit into UDP, and the query over TCP failed or was not sent.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::PodCommand;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ServerFact, TcpFailure};
use crate::diagnose::rule::Rule;
use crate::diagnose::{policies, server};
use crate::model::exchange::{ConnectionEnd, Outcome};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-truncated-no-tcp",
    severity: Severity::Warning,
    finds: "the answer is too big for UDP, and there is none over TCP",
    means: "The answer was too big for UDP and came truncated, so the resolver has to ask again over TCP. It did not, or TCP \
            failed. The application may get a part of the answer, or none.",
    looks_at: "Exchanges whose answer over UDP is truncated, and the query over TCP that followed.",
    cannot_know: "Whether the application could use the truncated answer.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let outcome = lookup.event.outcome;
    if lookup.cut_short || !matches!(outcome, Outcome::Truncated | Outcome::Timeout) {
        return None;
    }
    let mut exchanges = lookup.exchanges().iter();
    let truncated = exchanges.find(|exchange| exchange.truncated)?;
    let asked = lookup.asked()?;
    let tcp = match truncated.connection {
        Some(ConnectionEnd::Refused) => TcpFailure::Refused,
        Some(ConnectionEnd::Timeout) => TcpFailure::NoConnection,
        Some(ConnectionEnd::Reset | ConnectionEnd::Closed) => TcpFailure::Closed,
        None if outcome == Outcome::Timeout => TcpFailure::NoAnswer,
        None => TcpFailure::NotTried,
    };
    let no_connection = matches!(tcp, TcpFailure::Refused | TcpFailure::NoConnection);
    if server::is_one(case) && !no_connection {
        // A forwarder passes the truncated answer on: its client decides whether to ask again.
        return None;
    }
    let ip = case.ends.peer.ip;
    let summary = Summary::Truncated {
        asked: asked.name.to_owned(),
        server: server::named(case),
        tcp,
    };
    let claim = Claim::new(Cause::Address(ip), summary)
        .why(ServerFact::Tcp(tcp))
        .evidence(lookup.evidence())
        .command(PodCommand::DigTcp {
            name: truncated.name.clone(),
            server: ip,
        });
    let claim = match truncated.connection {
        Some(_) => {
            let port = case.ends.peer.port.unwrap_or_default();
            policies::explain(case, claim, "TCP", port)
        }
        None => claim,
    };
    Some(claim.cure(Cure::AnswersTcp(ip)))
}
