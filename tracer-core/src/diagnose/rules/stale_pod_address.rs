//! The address of a pod that is gone.

use crate::diagnose::attempt::{Attempt, Failure};
use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::{Command, Kubectl};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, ObjectName};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::{gone, names, services};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "stale-pod-address",
    severity: Severity::Error,
    finds: "the address of a pod that is gone",
    means: "A pod tried to reach an address that belonged to a pod which is gone. Every new pod gets a new address; the name of a \
            Service stays.",
    looks_at: "Connections that were unanswered, or refused by an ICMP error or a reset, and pings without a reply; the previous \
               owner of the address, for five minutes after it is gone, and pods that have ended.",
    cannot_know: "Where the pod got the address from. Pods that were gone before Tracer started, or for longer than that.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    if matches!(case.symptom, Symptom::Lookup(_)) {
        return None;
    }
    let (pod, until) = gone::owner(case)?;
    let ip = case.ends.peer.ip;
    let claim = match case.symptom {
        Symptom::Echo(echo, _) if echo.received == 0 && echo.sent > 0 => {
            let summary = Summary::PingUnanswered {
                ip,
                sent: echo.sent,
            };
            Claim::new(Cause::Ping(ip), summary).cure(Cure::Replies(ip))
        }
        _ => {
            let attempt = Attempt::from_case(case)?;
            if attempt.protocol == "UDP" && attempt.failure == Failure::Silent {
                return None;
            }
            attempt
                .claim(case)
                .cure(Cure::Connects(ip, Some(attempt.port)))
        }
    };
    let mut claim = claim
        .because(Reason::GonePod(ObjectName::from(&**pod)))
        .why(ConnectionFact::AddressOfGonePod {
            ip,
            pod: ObjectName::from(&**pod),
            gone_for: until.map(|until| case.at.since(until)),
        });
    let resolver = case.pod().and_then(|own| case.index.resolver(own));
    let object = case.index.pod_object(pod);
    let services = object.map(|pod| services::selecting(case.index, pod));
    for service in services.unwrap_or_default() {
        let domain = case.index.cluster_domain();
        let name = names::shortest(None, service, resolver.as_deref(), domain);
        claim = claim
            .why(ConnectionFact::SelectsSimilarPods(service.into()))
            .fix(Fix::UseName(name.clone()))
            .command(Command::UseName(name));
    }
    Some(claim.command(Kubectl::PodWithAddress(ip)))
}
