//! Which names are tried, and which of them exist.

use tracer_core::explain::{Explanation, InInventory, VerdictKind};
use tracer_core::model::cluster::Kind;

use super::question::{FINDINGS, LAB, Question, ask};

/// The candidates, and whether the inventory has each.
fn names(explanation: &Explanation) -> Vec<(&str, InInventory)> {
    let resolution = explanation.resolution.as_ref().expect("a name");
    let candidates = resolution.candidates.iter();
    candidates
        .map(|one| (one.name.as_str(), one.inventory))
        .collect()
}

#[test]
fn a_short_name_is_tried_in_the_pods_namespace_first_and_wins_there() {
    let answer = ask(&[LAB], "default/deb-ubuntu", "clusterip-nginx-ds");
    assert_eq!(
        names(&answer),
        [
            (
                "clusterip-nginx-ds.default.svc.cluster.local.",
                InInventory::Exists
            ),
            ("clusterip-nginx-ds.svc.cluster.local.", InInventory::Absent),
            ("clusterip-nginx-ds.cluster.local.", InInventory::Absent),
            ("clusterip-nginx-ds.", InInventory::Outside),
        ]
    );
    let resolution = answer.resolution.as_ref().expect("a name");
    let winner = resolution.winner.as_deref();
    assert_eq!(
        winner,
        Some("clusterip-nginx-ds.default.svc.cluster.local.")
    );
    let service = answer.service.expect("the Service");
    assert_eq!(
        (&*service.namespace, &*service.name),
        ("default", "clusterip-nginx-ds")
    );
    assert_eq!(
        service.asked_port.as_deref(),
        Some("80/TCP"),
        "its only port"
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
    let command = answer.next.command.expect("a probe");
    assert!(
        command.starts_with("kubectl -n default debug "),
        "{command}"
    );
    assert!(
        command.ends_with("telnet://clusterip-nginx-ds:80"),
        "{command}"
    );
}

#[test]
fn a_service_of_another_namespace_is_named_with_the_name_that_leads_to_it() {
    let answer = ask(&[LAB], "default/deb-ubuntu", "clusterip-apache2-ds-myns");
    assert_eq!(answer.verdict.kind, VerdictKind::Blocked);
    assert!(answer.service.is_none());
    assert_eq!(answer.next.says, "use clusterip-apache2-ds-myns.myns");
    let dotted = ask(
        &[LAB],
        "default/deb-ubuntu",
        "clusterip-apache2-ds-myns.myns:90",
    );
    assert!(dotted.service.is_some());
    assert_ne!(dotted.verdict.kind, VerdictKind::Blocked);
}

#[test]
fn ndots_and_a_final_dot_decide_whether_the_search_list_is_used() {
    let few = ask(&[LAB, FINDINGS], "default/few-dots", "web.prod");
    assert_eq!(names(&few)[0], ("web.prod.", InInventory::Outside));
    assert_eq!(names(&few)[1].0, "web.prod.default.svc.cluster.local.");
    let many = ask(&[LAB, FINDINGS], "default/deb-ubuntu", "web.prod");
    assert_eq!(
        names(&many)[1],
        ("web.prod.svc.cluster.local.", InInventory::Exists)
    );
    let absolute = ask(
        &[LAB, FINDINGS],
        "default/deb-ubuntu",
        "web.prod.svc.cluster.local.",
    );
    assert_eq!(
        names(&absolute),
        [("web.prod.svc.cluster.local.", InInventory::Exists)]
    );
}

#[test]
fn a_headless_pod_that_is_not_ready_has_no_name() {
    let ready = ask(&[LAB, FINDINGS], "prod/inside", "db-0.db:5432");
    assert_eq!(
        names(&ready)[0],
        ("db-0.db.prod.svc.cluster.local.", InInventory::Exists)
    );
    let unready = ask(&[LAB, FINDINGS], "prod/inside", "db-2.db:5432");
    assert_eq!(names(&unready)[0].1, InInventory::Absent);
    assert_eq!(unready.verdict.kind, VerdictKind::Blocked);
    assert!(
        unready.verdict.says.contains("is not ready"),
        "{}",
        unready.verdict.says
    );
}

#[test]
fn services_that_cannot_be_listed_are_unknown_and_not_absent() {
    let mut question = Question::new(&[LAB]);
    question
        .coverage
        .limit(Kind::Service, vec!["default".to_owned()]);
    let answer = question.ask("default/deb-ubuntu", Some("elsewhere.other"));
    assert_eq!(
        names(&answer)[1],
        ("elsewhere.other.svc.cluster.local.", InInventory::Unknown)
    );
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
    let lacks_services = |one: &String| one.contains("services could be listed there alone");
    assert!(
        answer.unknown.iter().any(lacks_services),
        "{:?}",
        answer.unknown
    );
    question
        .coverage
        .refuse(Kind::EndpointSlice, "forbidden".to_owned());
    let answer = question.ask("default/deb-ubuntu", Some("clusterip-nginx-ds"));
    assert!(answer.service.expect("the Service").endpoints.is_none());
    assert_eq!(
        answer.verdict.kind,
        VerdictKind::Unknown,
        "no endpoint is known to be missing"
    );
}
