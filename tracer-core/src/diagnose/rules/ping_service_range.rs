//! A ping to an address of the Services' range that no Service has.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::words;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "ping-service-range",
    severity: Severity::Warning,
    finds: "a ping to an address of the Services' range that no Service has",
    means: "A pod pinged an address of the range that ClusterIPs come from, and no Service has it.",
    looks_at: "Runs of echo requests without a reply, the ServiceCIDRs and the Services of the inventory.",
    cannot_know: "Which Service had the address before. Without a ServiceCIDR (clusters before 1.33), what the range is.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Echo(echo, _) = case.symptom else {
        return None;
    };
    let peer = &case.ends.peer;
    if echo.received > 0 || peer.service.is_some() || peer.pod.is_some() || !case.knows_services() {
        return None;
    }
    let ip = peer.ip;
    let mut ranges = case
        .index
        .service_cidrs()
        .iter()
        .flat_map(|range| &range.cidrs);
    let range = ranges.find(|range| range.contains(&ip))?;
    let mut claim = Claim::new(
        ip.to_string(),
        format!(
            "{} pinged {ip}, which is no Service's address: {} sent, 0 received.",
            case.who(),
            echo.sent
        ),
    )
    .why(format!(
        "The address lies in the range of ClusterIPs, {range}, and no Service has it: there is nobody to answer."
    ));
    if let Some(error) = &echo.last_error {
        claim = claim.why(format!("What came back: {}.", words::icmp(error)));
    }
    Some(
        claim
            .remedy(words::find_service(ip))
            .evidence([words::echo(echo)])
            .cure(Cure::Replies(ip)),
    )
}
