//! The DNS server says that it failed.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::{names, server};
use crate::model::dns::DnsName;
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;
use crate::model::lookup::Step;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-servfail",
    severity: Severity::Error,
    finds: "the DNS server says that it failed",
    means: "The DNS server answered SERVFAIL: it could not find out. For a name of the cluster the server itself is in trouble; any \
            other name it asks of an upstream server.",
    looks_at: "Lookups that ended with SERVFAIL, the name that got it, and why the server says so (RFC 8914) where it does.",
    cannot_know: "What happened between the server and its upstream.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let looked = case.lookup(Outcome::Servfail)?;
    if looked.cut_short {
        return None;
    }
    let asked = looked.asked()?;
    let steps = &looked.lookup.steps;
    let cluster = case.index.cluster_domain();
    let inside = |step: &Step| names::below(step.name.relative(), cluster).is_some();
    let failed = || {
        let failed = |step: &&Step| step.outcome == Some(Outcome::Servfail);
        steps.iter().filter(failed)
    };
    // The server's own trouble tells more than that of another one.
    let own = failed().rfind(|step| inside(step));
    let failed = own.or_else(|| failed().next_back())?;
    let inside = inside(failed);
    let domain = if inside {
        cluster.clone()
    } else {
        names::registered(&failed.name)
    };
    let mut claim = Claim::new(
        format!("{}:{}", case.ends.peer.ip, domain.relative()),
        format!(
            "{} looked up \"{}\": SERVFAIL from DNS server {} ({}).",
            case.who(),
            asked.name,
            server::name(case),
            looked.figures()
        ),
    )
    .evidence(looked.evidence());
    claim = claim.why(if inside {
        format!(
            "{} is a name of the cluster, so the DNS server failed itself. Possible cause: it cannot reach the API server.",
            failed.name
        )
    } else {
        format!(
            "{} is no name of the cluster, so a DNS server of the cluster has to ask another one. Possible causes: its upstream does not answer or fails, or the domain itself is broken.",
            failed.name
        )
    });
    for error in &failed.errors {
        claim = claim.why(format!(
            "The server says why: {}{}.",
            error.meaning().unwrap_or("an unknown extended error"),
            match error.text.as_str() {
                "" => String::new(),
                text => format!(" ({text})"),
            }
        ));
    }
    Some(
        server::logs(case, claim)
            .remedy(ask(case, failed.name.clone()))
            // One name that works again says nothing of the others, unless the server knows them all itself.
            .cure(Cure::Resolves(
                case.ends.peer.ip,
                if inside { domain } else { failed.name.clone() },
            )),
    )
}

/// The same question again, of the same server.
fn ask(case: &Case<'_>, name: DnsName) -> String {
    case.in_pod(&format!(
        "nslookup {} {}",
        names::quoted(name.as_str()),
        case.ends.peer.ip
    ))
}
