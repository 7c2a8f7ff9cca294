//! The DNS server does not want to answer this pod.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::{names, server};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-refused",
    severity: Severity::Error,
    finds: "the DNS server refuses to answer",
    means: "The DNS server answered REFUSED: it is there and does not answer this name, or this client.",
    looks_at: "Lookups that ended with REFUSED.",
    cannot_know: "The server's rules: which clients, which zones.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let looked = case.lookup(Outcome::Refused)?;
    if looked.cut_short {
        return None;
    }
    let asked = looked.asked()?;
    let server = case.ends.peer.ip;
    let mut steps = looked.lookup.steps.iter();
    let refused = steps.rfind(|step| step.outcome == Some(Outcome::Refused))?;
    let cluster = case.index.cluster_domain();
    // One name that works again says nothing of the others, unless the server knows them all itself.
    let (domain, back) = match names::below(refused.name.relative(), cluster) {
        Some(_) => (cluster.clone(), cluster.clone()),
        None => (names::registered(&refused.name), refused.name.clone()),
    };
    let claim =
        Claim::new(
            format!("{server}:{}", domain.relative()),
            format!(
                "{} looked up \"{}\": REFUSED by DNS server {} ({}).",
                case.who(),
                asked.name,
                server::name(case),
                looked.figures()
            ),
        )
        .why("Possible causes: the server has no zone for that name and does not forward it (a Corefile without forward), or it does not serve this client (an access list).")
        .evidence(looked.evidence())
        .cure(Cure::Resolves(server, back));
    let claim = match server::in_cluster(case) {
        true => claim.remedy(
            "kubectl -n kube-system get configmap coredns -o yaml   # the Corefile, where CoreDNS is the cluster's DNS",
        ),
        false => claim,
    };
    Some(server::logs(case, claim))
}
