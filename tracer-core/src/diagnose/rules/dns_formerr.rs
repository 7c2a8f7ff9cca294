//! The DNS server does not understand the query.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::PodCommand;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::server;
use crate::model::dns::ResponseCode;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-formerr",
    severity: Severity::Error,
    finds: "the DNS server does not understand the query",
    means: "The DNS server answered FORMERR, NOTIMP or BADVERS: it cannot read the query, or does not implement what it asks for. A \
            resolver that repeats the query without EDNS (RFC 6891) gets an answer; one that does not fails.",
    looks_at: "Lookups that ended with one of these response codes, and whether their queries used EDNS.",
    cannot_know: "Which part of the query the server, or a device on the way, does not accept.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    if lookup.cut_short || !matches!(lookup.event.outcome, Outcome::Formerr | Outcome::Other) {
        return None;
    }
    let mut exchanges = lookup.exchanges().iter().rev();
    let (failed, rcode) = exchanges.find_map(|exchange| {
        let rcode = exchange.rcode.filter(|rcode| {
            matches!(
                rcode,
                ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS
            )
        })?;
        Some((exchange, rcode))
    })?;
    let ip = failed.server.ip();
    let server = server::at(case, ip);
    let summary = Summary::NotUnderstood {
        asked: lookup.asked()?.name.to_owned(),
        server: server.clone(),
        rcode,
        figures: lookup.figures(),
    };
    let claim = Claim::new(Cause::Address(ip), summary)
        .fix(Fix::CheckServer(server))
        .why(ServerFact::NotUnderstood {
            rcode,
            edns: failed.edns,
        });
    let claim = match failed.edns {
        true => claim
            .because(Reason::EdnsNotUnderstood)
            .fix(Fix::TestWithoutEdns)
            .command(PodCommand::DigWithoutEdns {
                name: failed.name.clone(),
                server: ip,
            }),
        false => claim,
    };
    let claim = server::on_node(case, claim, ip);
    let claim = server::logs(case, claim, ip)
        .evidence(lookup.evidence())
        .cure(Cure::Understands(ip));
    Some(claim)
}
