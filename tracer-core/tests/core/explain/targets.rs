//! How the pod and the target are given.

use std::net::IpAddr;

use tracer_core::explain::{
    Coverage, PortNumber, Subject, SubjectError, Target, TargetError, VerdictKind,
};
use tracer_core::identity::{Index, IndexSettings};
use tracer_core::model::cluster::Kind;
use tracer_core::model::flow::Protocol;

use super::question::{LAB, Question, ROUTING, index};

#[test]
fn targets_are_read_in_every_form() {
    let index = index(&[ROUTING]);
    let coverage = Coverage::default();
    let read = |to: &str| Target::parse(to, "team", &index, &coverage);
    let tcp = |number| {
        Some(PortNumber {
            number,
            protocol: Protocol::Tcp,
        })
    };
    let udp = |number| {
        Some(PortNumber {
            number,
            protocol: Protocol::Udp,
        })
    };
    let name = |name: &str, port| Ok(Target::Name(name.to_owned(), port));
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let service = |port| Ok(Target::Service("team".to_owned(), "local".to_owned(), port));
    let pod = |port| Ok(Target::Pod("team".to_owned(), "api-0".to_owned(), port));
    for (written, expected) in [
        ("local", name("local", None)),
        ("local:80", name("local", tcp(80))),
        ("local.team:8125/udp", name("local.team", udp(8125))),
        (
            "https://user@www.example.com/path?q#f",
            name("www.example.com", tcp(443)),
        ),
        ("http://web:8080/", name("web", tcp(8080))),
        ("amqp://queue", name("queue", None)),
        ("team/local:80", service(tcp(80))),
        ("svc/local", service(None)),
        ("team/api-0:8080", pod(tcp(8080))),
        ("pod/api-0", pod(None)),
        ("10.97.0.1", Ok(Target::Address(ip("10.97.0.1"), None))),
        (
            "10.97.0.1:53/UDP",
            Ok(Target::Address(ip("10.97.0.1"), udp(53))),
        ),
        ("fd00:97::11", Ok(Target::Address(ip("fd00:97::11"), None))),
        (
            "[fd00:97::11]:80",
            Ok(Target::Address(ip("fd00:97::11"), tcp(80))),
        ),
    ] {
        assert_eq!(read(written), expected, "{written}");
    }
    for wrong in [
        "",
        "web:http",
        "web:0",
        "web:80/sctp",
        "a b",
        "web;id",
        "a/b/c",
        "web:70000",
        "$(id)",
    ] {
        assert_eq!(
            read(wrong),
            Err(TargetError::Form(wrong.to_owned())),
            "{wrong}"
        );
    }
    let Err(TargetError::Missing { what, known, .. }) = read("svc/locale") else {
        panic!("{:?}", read("svc/locale"));
    };
    assert_eq!(what, "Service");
    assert!(known.contains(&"team/local".to_owned()));
}

#[test]
fn pods_are_found_by_name_and_by_workload() {
    let index = index(&[LAB]);
    let find =
        |written: &str, namespace| Subject::find(written, namespace, &index, &Coverage::default());
    let found = find("deb-ubuntu", None).expect("in the default namespace");
    assert_eq!(found.full_name(), "default/deb-ubuntu");
    let of_daemonset = find("ds/nginx-ds", Some("default")).expect("a pod of it");
    assert!(of_daemonset.name.starts_with("nginx-ds-"));
    assert_eq!(
        of_daemonset.chosen.as_deref(),
        Some("one of 4 pods of ds/nginx-ds")
    );
    let Err(SubjectError::NoPod { elsewhere, .. }) = find("kube-system/deb-ubuntu", None) else {
        panic!("there is none there");
    };
    assert_eq!(elsewhere, ["default/deb-ubuntu"]);
    let Err(SubjectError::NoPodOf { workloads, .. }) = find("deploy/nginx", Some("default")) else {
        panic!("there is none");
    };
    assert_eq!(workloads, ["ds/nginx-ds"]);
}

#[test]
fn without_an_inventory_a_pod_is_explained_by_its_name() {
    let index = Index::new(IndexSettings::default());
    let mut coverage = Coverage::default();
    coverage.refuse(Kind::Pod, "forbidden".to_owned());
    let subject = Subject::find("shop/web", None, &index, &coverage).expect("may exist");
    let question = Question {
        index,
        coverage,
        events: Vec::new(),
    };
    assert!(subject.pod.is_none());
    let answer = question.ask("shop/web", Some("db"));
    assert_eq!(answer.verdict.kind, VerdictKind::Unknown);
    assert!(
        answer
            .unknown
            .iter()
            .any(|one| one.contains("pods could not be listed (forbidden)"))
    );
}
