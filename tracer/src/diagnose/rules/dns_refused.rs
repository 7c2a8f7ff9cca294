//! The DNS server does not want to answer this pod.

use crate::diagnose::case::Case;
use crate::diagnose::catalogue::Rule;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::{names, server};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;
use crate::model::lookup::Step;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-refused",
    severity: Severity::Error,
    finds: "the DNS server refuses to answer",
    means: "The DNS server answered REFUSED: it is there and does not answer this name, or this client.",
    looks_at: "Lookups that ended with REFUSED.",
    cannot_know: "The server's rules: which clients, which zones.",
    fired_by: &["finding-dns-refused"],
    not_fired_by: &[
        "finding-dns-servfail",
        "finding-dns-server-unreachable",
        "finding-none-when-it-works",
    ],
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let looked = case.lookup(Outcome::Refused)?;
    if looked.cut_short {
        return None;
    }
    let asked = looked.asked()?;
    let server = case.ends.peer.ip;
    let refused = |step: &&Step| step.outcome == Some(Outcome::Refused);
    let name = &looked.lookup.steps.iter().rfind(refused)?.name;
    let cluster = case.index.cluster_domain();
    // A server refuses by zone: that it answers for another one does not show that this is over.
    let domain = match names::below(name.relative(), cluster) {
        Some(_) => cluster.clone(),
        None => names::registered(name),
    };
    Some(
        Claim::new(
            server.to_string(),
            format!(
                "{} looked up \"{}\": REFUSED by DNS server {} ({}).",
                case.who(),
                asked.name,
                server::name(case),
                looked.figures()
            ),
        )
        .why("Possible causes: the server has no zone for that name and does not forward it (a Corefile without forward), or it does not serve this client (an access list).")
        .remedy("kubectl -n kube-system get configmap coredns -o yaml   # its Corefile")
        .remedy(server::logs(case))
        .evidence(looked.evidence())
        .cure(Cure::Resolves(server, domain)),
    )
}
