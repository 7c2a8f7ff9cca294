//! The address of a pod that is gone.

use crate::diagnose::attempt::{Attempt, Failure, target};
use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::rule::Rule;
use crate::diagnose::{gone, names, services, words};
use crate::identity::ResolverConfig;
use crate::model::finding::Severity;
use crate::model::units::duration;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "stale-pod-address",
    severity: Severity::Error,
    finds: "the address of a pod that is gone",
    means: "A pod tried to reach an address that belonged to a pod which is gone. Addresses of pods change with every new pod; \
            the name of a Service stays.",
    looks_at: "Connections that were not answered, refused by an ICMP error or by a reset, and pings without a reply; who had the \
               address before, for five minutes after a pod is gone, and pods that have ended.",
    cannot_know: "Where the pod got the address from. Pods that were gone before it watched, or for longer.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (pod, until) = gone::owner(case)?;
    let ip = case.ends.peer.ip;
    let claim = match case.symptom {
        Symptom::Echo(echo, _) if echo.received == 0 && echo.sent > 0 => Claim::new(
            format!("{ip}/icmp"),
            format!(
                "{} pinged {ip}: {} sent, 0 received.",
                case.who(),
                echo.sent
            ),
        )
        .cure(Cure::Replies(ip)),
        _ => {
            let attempt = Attempt::of(case)?;
            if attempt.protocol == "UDP" && attempt.failure == Failure::Silent {
                return None;
            }
            attempt
                .claim(case, &target(case, attempt.port))
                .cure(Cure::Connects(ip, Some(attempt.port)))
        }
    };
    let name = format!("{}/{}", pod.namespace, pod.name);
    let mut claim = claim.why(match until {
        Some(until) => format!(
            "{ip} was the address of pod {name}, which had been gone for {} by then.",
            duration(case.at.since(until))
        ),
        None => format!("{ip} is the address of pod {name}, which has ended."),
    });
    let resolver: Option<ResolverConfig> = case.pod().and_then(|own| case.index.resolver(own));
    let object = case.index.pod_object(pod);
    for service in object
        .map(|pod| services::selecting(case.index, pod))
        .unwrap_or_default()
    {
        let domain = case.index.cluster_domain();
        claim = claim
            .why(format!(
                "Service {} leads to pods like it.",
                words::name_of(service)
            ))
            .remedy(names::shortest(None, service, resolver.as_ref(), domain));
    }
    Some(claim.remedy(format!(
        "kubectl get pods -A -o wide | grep -wF {ip}   # who has the address now"
    )))
}
