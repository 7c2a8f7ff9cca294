//! The DNS server cannot be reached: what is sent to it is rejected.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::server;
use crate::diagnose::words;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-server-unreachable",
    severity: Severity::Error,
    finds: "queries to the DNS server are rejected",
    means: "Queries to the DNS server are rejected with an ICMP error, or its TCP port refuses: no name can be looked up there. \
            For the cluster's DNS mostly that its Service has no ready endpoint.",
    looks_at: "Lookups that ended with an ICMP error; connections to a DNS port that were refused or rejected; the endpoints of the \
               server's Service.",
    cannot_know: "Why the server's pods are not ready. Without EndpointSlices, whether there are any.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (summary, evidence, back) = match case.symptom {
        Symptom::Lookup(looked) if looked.lookup.outcome == Outcome::IcmpError => {
            let asked = looked.asked()?;
            let back = looked.seen.iter().find_map(|seen| seen.icmp);
            (
                format!(
                    "{} cannot look up \"{}\": its queries to DNS server {} are rejected ({}).",
                    case.who(),
                    asked.name,
                    server::name(case),
                    looked.figures()
                ),
                looked.evidence(),
                back.map(|error| words::icmp(&error)),
            )
        }
        Symptom::Tcp(_) if case.to_dns_port() => {
            let attempt = Attempt::of(case)?;
            let back = match attempt.failure {
                Failure::Reset => "a reset".to_owned(),
                Failure::Rejected(error) => words::icmp(&error),
                Failure::Silent => return None,
            };
            let claim = attempt.claim(case, "");
            (
                format!(
                    "{} cannot connect to DNS server {} over TCP: refused.",
                    case.who(),
                    server::name(case)
                ),
                claim.evidence,
                Some(back),
            )
        }
        _ => return None,
    };
    let claim = Claim::new(case.ends.peer.ip.to_string(), summary).evidence(evidence);
    let claim = match back {
        Some(back) => claim.why(format!("What came back: {back}.")),
        None => claim,
    };
    let claim = server::endpoints(case, claim);
    Some(claim.cure(Cure::Answers(case.ends.peer.ip)))
}
