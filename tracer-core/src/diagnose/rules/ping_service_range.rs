//! A ping to an address in the range of ClusterIPs that no Service has.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Evidence, Summary};
use crate::diagnose::command::Kubectl;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{IcmpMeaning, PathFact, PingFact};
use crate::diagnose::headline::Reason;
use crate::diagnose::holder;
use crate::diagnose::rule::Rule;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "ping-service-range",
    severity: Severity::Warning,
    finds: "a ping to an address in the range of ClusterIPs that no Service has",
    means: "A pod pinged an address in the range that ClusterIPs come from, and no Service has it.",
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
    let range = *ranges.find(|range| range.contains(&ip))?;
    let summary = Summary::PingedServiceRange {
        ip,
        sent: echo.sent,
    };
    let mut claim = Claim::new(Cause::Address(ip), summary)
        .because(Reason::NoServiceHasAddress)
        .why(PingFact::InServiceRange(range));
    if let Some(error) = echo.last_error {
        let sender = error.from.ip();
        claim = claim
            .why(PingFact::CameBack(error))
            .why(PathFact::IcmpMeans(IcmpMeaning::from(&error), "ICMP"))
            .why(PathFact::IcmpSender(sender, holder::of(case, sender)));
    }
    let pings = Evidence::Pings {
        sent: echo.sent,
        received: echo.received,
        errors: echo.errors,
    };
    let claim = claim
        .command(Kubectl::ServiceWithAddress(ip))
        .evidence([pings])
        .cure(Cure::Replies(ip));
    Some(claim)
}
