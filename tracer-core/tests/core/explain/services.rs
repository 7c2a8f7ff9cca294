//! Ports, endpoints and policies, as the inventory has them.

use tracer_core::explain::{Ruling, VerdictKind};
use tracer_core::model::connection::TcpState;

use super::question::{
    FINDINGS, LAB, POLICIES, Question, ROUTING, ROUTING_POLICIES, ask, connection,
};

#[test]
fn a_port_that_is_not_served_and_a_port_without_endpoint_are_facts() {
    for (to, says, next) in [
        (
            "local:443",
            "does not serve 443/TCP: it serves only 80/TCP, 8125/UDP",
            "use a port that it has",
        ),
        (
            "local:8125",
            "does not serve 8125/TCP",
            "use a port that it has",
        ),
        (
            "guarded:80",
            "does not serve 80/TCP: it serves only 443/TCP",
            "use port 443/TCP",
        ),
        (
            "named",
            "has the target port http of its port 80/TCP",
            "compare it with the names",
        ),
        (
            "local:80",
            "internalTrafficPolicy Local and no ready endpoint on worker-1",
            "run an endpoint on worker-1",
        ),
    ] {
        let answer = ask(&[ROUTING], "team/client", to);
        assert_eq!(
            answer.verdict.kind,
            VerdictKind::Blocked,
            "{to}: {}",
            answer.verdict.says
        );
        assert!(
            answer.verdict.says.contains(says),
            "{to}: {}",
            answer.verdict.says
        );
        assert!(
            answer.next.says.contains(next),
            "{to}: {}",
            answer.next.says
        );
    }
    let none = ask(&[LAB, FINDINGS], "prod/inside", "web.staging");
    assert_eq!(none.verdict.kind, VerdictKind::Blocked);
    assert!(
        none.verdict
            .says
            .contains("has no ready endpoint: no pod of staging has its labels"),
        "{}",
        none.verdict.says
    );
    // Nodes use an endpoint that serves while it terminates if none is ready.
    let leaving = ask(&[ROUTING], "team/client", "leaving");
    assert_eq!(
        leaving.verdict.kind,
        VerdictKind::Unknown,
        "{}",
        leaving.verdict.says
    );
    let local = ask(&[ROUTING], "team/client", "local-here");
    assert_eq!(
        local.verdict.kind,
        VerdictKind::Unknown,
        "{}",
        local.verdict.says
    );
}

#[test]
fn policies_are_judged_each_way_and_for_each_endpoint() {
    let answer = ask(&[ROUTING, ROUTING_POLICIES], "team/client", "admitted");
    let rulings: Vec<(&str, &str, Ruling)> = answer
        .policies
        .iter()
        .filter(|one| !one.dns)
        .map(|one| (one.direction, one.of.as_str(), one.ruling))
        .collect();
    assert!(
        rulings.contains(&("egress", "team/client", Ruling::Denied)),
        "{rulings:?}"
    );
    assert!(
        rulings.contains(&("ingress", "team/api-0", Ruling::Denied)),
        "{rulings:?}"
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Blocked);
    assert!(
        answer.verdict.says.contains("possible cause"),
        "{}",
        answer.verdict.says
    );
    let dns = ask(&[LAB, POLICIES], "default/deb-ubuntu", "clusterip-nginx-ds");
    assert!(
        dns.policies
            .iter()
            .all(|one| !one.dns || one.direction == "ingress"),
        "it may ask: {:?}",
        dns.policies
    );
    let none = ask(&[ROUTING], "team/client", "admitted");
    assert!(none.policies.is_empty());
    let lacks = |one: &String| one.contains("the inventory has no networkpolicies");
    assert!(none.unknown.iter().any(lacks), "{:?}", none.unknown);
}

#[test]
fn a_success_outranks_a_policy_that_denies_it() {
    let question = Question::new(&[ROUTING, ROUTING_POLICIES]);
    let event = connection(
        &question.index,
        90,
        "10.97.0.5:443",
        None,
        TcpState::Established,
    );
    let answer = question
        .with(vec![event])
        .ask("team/client", Some("admitted:443"));
    assert_eq!(
        answer.verdict.kind,
        VerdictKind::Works,
        "{}",
        answer.verdict.says
    );
    assert!(
        answer
            .policies
            .iter()
            .any(|one| one.ruling == Ruling::Denied)
    );
}
