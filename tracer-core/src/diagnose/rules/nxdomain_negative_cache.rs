//! A Service that exists where it was looked up, and still NXDOMAIN: an answer from before it did, possibly.

use std::time::Duration;

use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::memory::Seen;
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::words;
use crate::model::finding::Severity;
use crate::model::units::duration;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-negative-cache",
    severity: Severity::Warning,
    finds: "the Service exists, and the answer is that it does not",
    means: "The Service exists under the name that was looked up, and the answer was NXDOMAIN all the same. A cache may \
            remember that there was no such name before the Service was made: for as long as the SOA record of the answer says.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN, with the SOA record of that answer; the Service, and since when \
               the inventory has it.",
    cannot_know: "Whether the answer came from a cache, unless its time to live was counted down; whether the DNS server had heard \
                  of the Service. Which caches there are besides: in the node, in the application.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (looked, asked) = case.no_such_name()?;
    let own = case.pod()?.namespace.as_ref();
    let domain = case.index.cluster_domain();
    let service = names::service(case.index, asked, own)?;
    let full = names::full(None, service, domain);
    let seen = looked.seen.iter().find(|seen| seen.name == full)?;
    if seen.alias.is_some() {
        // An ExternalName Service, whose target does not exist.
        return None;
    }
    let name = words::name_of(service);
    let mut claim = case
        .looked_up(looked, asked.name)
        .why(format!("Service {name} exists, under the name {full}"));
    claim = match case.memory.births.of(service) {
        Some(born) if born <= seen.asked => claim.why(format!(
            "It came {} before it was asked for. Possible cause: an answer from before that is remembered by a cache.",
            duration(seen.asked.since(born))
        )),
        Some(born) => claim.why(format!(
            "It came {} after it was asked for.",
            duration(born.since(seen.asked))
        )),
        None => claim.why("Possible causes: an answer from before it was made is remembered by a cache, or the DNS server has not heard of it."),
    };
    Some(how_long(
        claim,
        seen,
        &case.in_pod(&format!("getent hosts {}", asked.name)),
    ))
}

/// What the SOA says.
fn how_long(claim: Claim, seen: &Seen, again: &str) -> Claim {
    let Some(ttl) = seen.negative_ttl else {
        return claim
            .why("The answer does not say how long it may be remembered: it holds no SOA record.")
            .remedy(again.to_owned());
    };
    let lasts = duration(Duration::from_secs(ttl.into()));
    let claim = match seen.zone_negative_ttl.and_then(|full| full.checked_sub(ttl)) {
        Some(age) if age > 0 => claim.why(format!(
            "By its SOA record it may be remembered for {lasts} more, as of one that a cache counts down: {ttl} s of {} s.",
            ttl.saturating_add(age)
        )),
        _ => claim.why(format!(
            "By its SOA record the answer may be remembered for {lasts}."
        )),
    };
    claim.remedy(format!("sleep {ttl}; {again}"))
}
