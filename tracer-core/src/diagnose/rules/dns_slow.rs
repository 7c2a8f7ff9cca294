//! Answers that take longer than the threshold and longer than usual.

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Evidence, Summary};
use crate::diagnose::command::Kubectl;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::ServerFact;
use crate::diagnose::headline::Fix;
use crate::diagnose::rule::Rule;
use crate::diagnose::{server, services};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-slow",
    severity: Severity::Warning,
    finds: "the DNS server answers slowly",
    means: "A DNS server answers slowly: three times within a minute, an answer took longer than the threshold (500 ms) and, if \
            enough answers are known, eight times as long as usual for that pod. Answers that the pod waited for at the same \
            time count once. Names of the cluster and other names are measured separately.",
    looks_at: "The time from query to answer, by pod and server; for a repeated query, the time from the attempt that the answer \
               belongs to. Failures (SERVFAIL, REFUSED) are left to their own rules.",
    cannot_know: "Where the time is spent: in the network, in the server, or in its upstream.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::SlowAnswer(exchange, slow, scope) = case.symptom else {
        return None;
    };
    let name = exchange.question.as_ref()?.name.clone();
    if slow.times < case.thresholds.slow_dns_answers {
        return None;
    }
    let ip = case.ends.peer.ip;
    let summary = Summary::SlowServer {
        server: server::named(case),
        latency: slow.latency,
        name: name.clone(),
        times: slow.times,
    };
    let claim = Claim::new(Cause::ServerAndScope(ip, scope), summary)
        .fix(Fix::CheckServer(server::named(case)))
        .why(ServerFact::UsualLatency(scope, slow.normal))
        .why(ServerFact::SlowCauses(scope));
    let service = case
        .service()
        .filter(|service| !service.selector.is_empty());
    let claim = match service {
        Some(service) => claim.command(Kubectl::TopPods(
            service.namespace.clone(),
            services::selector(service),
        )),
        None => claim,
    };
    let latency = slow.latency;
    let claim = server::logs(case, claim, ip)
        .evidence([Evidence::SlowAnswer { name, latency }])
        .cure(Cure::NormalLatency(ip, scope));
    Some(claim)
}
