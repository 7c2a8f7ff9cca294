//! Answers that take long: longer than the threshold and longer than this pod is used to.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::memory::Pace;
use crate::diagnose::rule::Rule;
use crate::diagnose::{server, services, words};
use crate::model::finding::Severity;
use crate::model::units::duration;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-slow",
    severity: Severity::Warning,
    finds: "the DNS server answers slowly",
    means: "A DNS server answers slowly: three times within a minute an answer took longer than the threshold (500 ms) and, where \
            enough is known, eight times as long as that pod is used to. Answers that were waited for at the same time count \
            once. Names of the cluster and others are measured apart.",
    looks_at: "The time from query to answer of queries that were sent once, by pod and server.",
    cannot_know: "Where the time goes: in the network, in the server, or in its upstream.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Paced(exchange, pace, of_cluster) = case.symptom else {
        return None;
    };
    let Pace::Slow {
        latency,
        times,
        normal,
        ..
    } = pace
    else {
        return None;
    };
    let question = exchange.question.as_ref()?;
    if times < case.thresholds.slow_dns_answers {
        return None;
    }
    let server = case.ends.peer.ip;
    let (which, cause) = if of_cluster {
        ("names of the cluster", "cluster")
    } else {
        ("names outside of the cluster", "outside")
    };
    let claim = Claim::new(
        format!("{server}:{cause}"),
        format!(
            "DNS server {} answers {} slowly: {} for {}, the {} time within a minute.",
            server::name(case),
            case.who(),
            duration(latency),
            question.name,
            words::ordinal(times)
        ),
    )
    .why(match normal {
        Some(normal) => format!("For {which} this pod is used to {}.", duration(normal)),
        None => format!("What this pod is used to for {which} is not known yet."),
    })
    .why(if of_cluster {
        "The cluster's DNS knows these names itself. Possible causes: it is short of CPU, or the network to it is slow."
    } else {
        "These names a DNS server of the cluster asks of another one. Possible cause: that one is slow."
    });
    let pods = case
        .service()
        .filter(|service| !service.selector.is_empty());
    let claim = match pods {
        Some(service) => claim.remedy(format!(
            "kubectl -n {} top pods -l {}",
            service.namespace,
            services::selector(service)
        )),
        None => claim,
    };
    Some(
        server::logs(case, claim)
            .evidence([format!("{}: {}", question.name, duration(latency))])
            .cure(Cure::Fast(server, of_cluster)),
    )
}
