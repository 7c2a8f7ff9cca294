//! The DNS server is unreachable: queries, or connections, to it are rejected.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{PathFact, Rejection, ServerFact};
use crate::diagnose::headline::Fix;
use crate::diagnose::rule::Rule;
use crate::diagnose::{filters, policies, server};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-server-unreachable",
    severity: Severity::Error,
    finds: "queries to the DNS server are rejected",
    means: "Queries to the DNS server are rejected with an ICMP error, or its TCP port refuses connections: no name can be looked \
            up there. For the cluster's DNS, this usually means that its Service has no ready endpoint.",
    looks_at: "Lookups that ended with an ICMP error; connections to a DNS port that were refused or rejected; the endpoints of the \
               server's Service.",
    cannot_know: "Why the server's pods are not ready. Without EndpointSlices, whether it has endpoints.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let ip = case.ends.peer.ip;
    let port = case.ends.peer.port.unwrap_or_default();
    let (summary, evidence, rejection, protocol) = match case.symptom {
        Symptom::Lookup(lookup) if lookup.event.outcome == Outcome::IcmpError => {
            let summary = Summary::QueriesRejected {
                asked: lookup.asked()?.name.to_owned(),
                server: server::named(case),
                figures: lookup.figures(),
            };
            let error = lookup.exchanges().iter().find_map(|exchange| exchange.icmp);
            (
                summary,
                lookup.evidence(),
                error.map(Rejection::Icmp),
                "UDP",
            )
        }
        Symptom::Tcp(_) if case.is_dns_port() => {
            let attempt = Attempt::from_case(case)?;
            let rejection = match attempt.failure {
                Failure::Reset => Rejection::Reset,
                Failure::Rejected(error) => Rejection::Icmp(error),
                Failure::Silent | Failure::Late(_) => return None,
            };
            let summary = Summary::ServerRefusesTcp(server::named(case));
            (
                summary,
                vec![attempt.evidence(case)],
                Some(rejection),
                "TCP",
            )
        }
        _ => return None,
    };
    let claim = Claim::new(Cause::Address(ip), summary)
        .fix(Fix::CheckServer(server::named(case)))
        .evidence(evidence);
    let claim = match rejection {
        Some(rejection) => claim.why(ServerFact::CameBack(rejection)),
        None => claim,
    };
    let claim = match rejection {
        Some(Rejection::Icmp(error)) if filters::sent(&error) => {
            let meaning = PathFact::IcmpMeans((&error).into(), protocol);
            filters::explain(case, claim.why(meaning), &error)
        }
        _ => claim,
    };
    let claim = server::endpoints(case, claim, ip).cure(Cure::Answers(ip));
    Some(match rejection {
        // A reset comes from the server itself.
        Some(Rejection::Reset) => claim,
        _ => policies::explain(case, claim, protocol, port),
    })
}
