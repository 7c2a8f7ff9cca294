//! A Service that exists under the name looked up, and NXDOMAIN: possibly an answer from before the Service
//! existed.

use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Command, PodCommand};
use crate::diagnose::fact::NameFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::memory::ExchangeEvidence;
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-negative-cache",
    severity: Severity::Warning,
    finds: "the Service exists, and the answer is that it does not",
    means: "The Service exists under the name looked up, and the answer was NXDOMAIN. A cache may still have an answer from before \
            the Service was created, for as long as the SOA record of the answer says.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN, with the SOA record of that answer; the Service, and when the \
               inventory got it.",
    cannot_know: "Whether the answer came from a cache, unless its time to live was counted down. Whether the DNS server knew of \
                  the Service. Which other caches exist: in the node, in the application.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (lookup, asked) = case.no_such_name()?;
    let own = case.pod()?.namespace.as_ref();
    let domain = case.index.cluster_domain();
    let service = names::service(case.index, asked, own)?;
    let name = names::full(None, service, domain);
    let mut exchanges = lookup.exchanges().iter();
    let exchange = exchanges.find(|exchange| exchange.name == name)?;
    if exchange.alias.is_some() {
        // The target of an ExternalName Service does not exist.
        return None;
    }
    let created = match case.memory.service_creations.created(service) {
        Some(created) if created <= exchange.asked => {
            NameFact::CreatedBefore(exchange.asked.since(created))
        }
        Some(created) => NameFact::CreatedAfter(created.since(exchange.asked)),
        None => NameFact::CreationUnknown,
    };
    let claim = case
        .no_such_name_claim(lookup, asked.name)
        .because(Reason::CachedAbsence(service.into()))
        .why(NameFact::ServiceExists {
            service: service.into(),
            name,
        })
        .why(created);
    Some(lifetime(claim, exchange, asked.name))
}

/// Adds how long a cache may keep the answer, and when to try again.
fn lifetime(claim: Claim, exchange: &ExchangeEvidence, asked: &str) -> Claim {
    let again = PodCommand::Getent(asked.to_owned());
    let Some(ttl) = exchange.negative_ttl else {
        return claim.why(NameFact::NoNegativeTtl).command(again);
    };
    let age = exchange
        .zone_negative_ttl
        .and_then(|full| full.checked_sub(ttl));
    claim
        .why(match age {
            Some(age) if age > 0 => NameFact::NegativeTtlCountedDown {
                ttl,
                full: ttl.saturating_add(age),
            },
            _ => NameFact::NegativeTtl(ttl),
        })
        .fix(Fix::RetryIn(ttl))
        .command(Command::InPodAfter(ttl, again))
}
