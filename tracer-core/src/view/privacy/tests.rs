//! Excluded namespaces and redacted names.

use std::sync::Arc;

use super::*;
use crate::model::dns::DnsName;
use crate::model::event::Body;
use crate::model::lookup::Place;
use crate::model::sentence::{Sentence, Span};
use crate::view::{Encode as _, gallery, json::Json};

fn privacy(exclude: &[&str], redact: &[&str]) -> Privacy {
    let settings = PrivacySettings {
        exclude_namespaces: exclude
            .iter()
            .map(|glob| glob.parse().expect("a pattern"))
            .collect(),
        redact: redact
            .iter()
            .map(|domain| domain.parse().expect("a domain"))
            .collect(),
    };
    Privacy::new(settings, Key::from_bytes([1; 32]))
}

fn of(name: &str) -> Event {
    let found = gallery::all().into_iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no event {name}")).1
}

/// A DNS event with this question, and this as what the application asked for.
fn question(name: &str, asked: Option<&str>) -> Event {
    let mut event = of("dns nodata");
    if let Body::Dns(exchange, place) = &mut event.body {
        let exchange = Arc::make_mut(exchange);
        exchange.question.as_mut().expect("a question").name = DnsName::new(name);
        exchange.answers.clear();
        *place = Some(Place {
            asked: asked.map(str::to_owned),
            candidate: 1,
            of: None,
        });
    }
    event
}

fn json(event: &Event) -> serde_json::Value {
    let mut line = String::new();
    Json::new("a-node".into())
        .encode(event, &gallery::clock(), &mut line)
        .expect("a line");
    serde_json::from_str(&line).expect("JSON")
}

fn name_of(privacy: &mut Privacy, name: &str) -> String {
    let event = privacy.pass(question(name, None)).expect("it passes");
    json(&event)["name"].as_str().expect("a name").to_owned()
}

#[test]
fn events_of_pods_in_an_excluded_namespace_are_dropped_and_counted() {
    let mut privacy = privacy(&["kube-*", "payments"], &[]);
    let mut in_namespace = |namespace: &str| {
        let mut event = of("tcp established");
        if let Some(ends) = &mut event.ends {
            ends.pod.identity = Ok(gallery::identity(namespace, "a", None, "a-node"));
        }
        privacy.pass(event).is_some()
    };
    assert!(in_namespace("default"));
    assert!(!in_namespace("payments"));
    assert!(!in_namespace("kube-system"));
    assert!(in_namespace("payments-2"));
    assert_eq!(privacy.excluded(), 2);
    // What is about no pod passes.
    assert!(privacy.pass(of("lost")).is_some());
}

#[test]
fn with_an_exclusion_events_of_pods_without_a_name_are_held_back_and_counted() {
    let unnamed = "tcp reset, no inventory";
    let mut excluding = privacy(&["payments"], &[]);
    assert_eq!(excluding.pass(of(unnamed)), None);
    assert_eq!(excluding.excluded(), 1);
    let mut open = privacy(&[], &[]);
    assert!(open.pass(of(unnamed)).is_some());
    assert_eq!(open.excluded(), 0);
}

#[test]
fn what_an_excluded_pod_asks_is_held_back_at_the_server_too() {
    let mut privacy = privacy(&["payments"], &[]);
    let mut asked_by = |namespace: &str, role, on_host: bool| {
        let mut event = of("dns at the server");
        if let Some(ends) = &mut event.ends {
            ends.role = role;
            let peer = Some(gallery::identity(namespace, "a", None, "a-node"));
            (ends.peer.pod, ends.peer.host_pod) = match on_host {
                true => (None, peer),
                false => (peer, None),
            };
        }
        privacy.pass(event).is_some()
    };
    for on_host in [false, true] {
        assert!(asked_by("default", Role::Server, on_host));
        assert!(!asked_by("payments", Role::Server, on_host));
        let own = asked_by("payments", Role::Client, on_host);
        assert!(own, "the pod's own doing");
    }
}

#[test]
fn a_name_keeps_its_domain_and_is_the_same_hash_each_time() {
    let mut privacy = privacy(&[], &["corp.example"]);
    let hashed = name_of(&mut privacy, "db.prod.corp.example.");
    let hex = hashed
        .strip_prefix("h-")
        .and_then(|rest| rest.strip_suffix(".corp.example."))
        .unwrap_or_else(|| panic!("{hashed}"));
    assert_eq!(hex.len(), 12);
    assert!(hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(name_of(&mut privacy, "DB.prod.corp.example."), hashed);
    assert_ne!(name_of(&mut privacy, "db.test.corp.example."), hashed);
    // Another agent's key, another hash.
    let settings = PrivacySettings {
        redact: vec!["corp.example".parse().expect("a domain")],
        ..PrivacySettings::default()
    };
    let mut other = Privacy::new(settings, Key::from_bytes([2; 32]));
    assert_ne!(name_of(&mut other, "db.prod.corp.example."), hashed);
}

#[test]
fn only_what_is_below_the_domain_is_hashed() {
    let mut privacy = privacy(&[], &["corp.example"]);
    for untouched in [
        "corp.example.",
        "www.example.",
        "xcorp.example.",
        "corp.example.org.",
        "kubernetes.default.svc.cluster.local.",
        ".",
    ] {
        assert_eq!(name_of(&mut privacy, untouched), untouched);
    }
    // With a search domain behind it, too.
    let hashed = name_of(&mut privacy, "a.corp.example.default.svc.cluster.local.");
    assert!(
        hashed.starts_with("h-") && hashed.ends_with(".corp.example.default.svc.cluster.local."),
        "{hashed}"
    );
    // A dot behind a backslash ends no label.
    let hashed = name_of(&mut privacy, "a\\.corp.example.corp.example.");
    assert!(
        hashed.ends_with(".corp.example.") && !hashed.contains('\\'),
        "{hashed}"
    );
    assert_eq!(hashed.matches("corp").count(), 1, "{hashed}");
}

#[test]
fn what_the_application_asked_for_is_hashed_with_the_name_it_became() {
    let mut privacy = privacy(&[], &["corp.example"]);
    let event = privacy
        .pass(question("db.prod.corp.example.", Some("DB.prod")))
        .expect("it passes");
    let line = json(&event);
    let asked = line["lookup"]["asked"].as_str().expect("what was asked");
    assert_eq!(line["name"], format!("{asked}.corp.example."));
    // A search domain below the redacted one: what was asked for is a part of the secret.
    let event = privacy
        .pass(question("db.prod.corp.example.", Some("db")))
        .expect("it passes");
    assert!(!json(&event).to_string().contains("\"db\""));
}

#[test]
fn all_candidates_of_a_lookup_are_hashed_when_one_of_them_is() {
    let mut privacy = privacy(&[], &["svc.cluster.local"]);
    let event = privacy
        .pass(of("lookup found nowhere, by glibc"))
        .expect("it passes");
    let Body::Lookup(lookup) = &event.body else {
        panic!("a lookup");
    };
    for step in &lookup.steps {
        assert!(step.name.as_str().starts_with("h-"), "{}", step.name);
    }
    assert!(!json(&event).to_string().contains("clusterip-apache2"));
}

#[test]
fn names_in_a_finding_are_hashed_as_names_and_in_opaque_text() {
    let mut privacy = privacy(&[], &["corp.example"]);
    let mut event = of("finding active");
    if let Body::Finding(finding) = &mut event.body {
        finding.id = "dns-servfail:default/a:10.0.0.1:db.prod.corp.example".to_owned();
        let opaque = |text: &str| {
            let mut sentence = Sentence::default();
            sentence.push(Span::Opaque(text.to_owned()));
            sentence
        };
        finding.summary = opaque("Asked for `db.prod`, (DB.prod.corp.example.), and 'xdb.prod'.");
        let mut why = Sentence::from("db.prod: literal words stay, ");
        why.push(Span::Asked("db.prod".to_owned()));
        why.push_words(" and ");
        why.push(Span::Name(DnsName::new("db.prod.corp.example")));
        finding.why = vec![why];
        finding.was = Some(opaque("db.prod failed"));
        finding.names = vec!["db.prod.corp.example".into()];
        finding.remedies = vec![opaque(
            "try db.prod.corp.example; then db.prod.corp.example:80",
        )];
        finding.evidence = vec![opaque("CNAME db.prod.corp.example")];
    }
    let event = privacy.pass(event).expect("it passes");
    let Body::Finding(finding) = &event.body else {
        panic!("a finding");
    };
    let evidence = finding.evidence[0].to_string();
    let (_, hash) = evidence.split_once(' ').expect("two words");
    let hash = hash.strip_suffix(".corp.example").expect("the domain");
    assert_eq!(
        finding.id,
        format!("dns-servfail:default/a:10.0.0.1:{hash}.corp.example")
    );
    assert_eq!(
        finding.summary.to_string(),
        format!("Asked for `{hash}`, ({hash}.corp.example.), and 'xdb.prod'.")
    );
    assert_eq!(
        Sentence::lines(&finding.why),
        format!("db.prod: literal words stay, {hash} and {hash}.corp.example.")
    );
    let was = finding.was.as_ref().map(Sentence::to_string);
    assert_eq!(was, Some(format!("{hash} failed")));
    assert_eq!(*finding.names[0], *format!("{hash}.corp.example"));
    assert_eq!(
        Sentence::lines(&finding.remedies),
        format!("try {hash}.corp.example; then {hash}.corp.example:80")
    );
}

#[test]
fn bytes_that_nobody_understood_are_withheld() {
    let mut privacy = privacy(&[], &["corp.example"]);
    let mut event = question("www.example.org.", None);
    if let Body::Dns(exchange, _) = &mut event.body {
        let exchange = Arc::make_mut(exchange);
        exchange.answers = vec![crate::model::dns::ResourceRecord {
            name: DnsName::new("www.example.org."),
            rtype: crate::model::dns::RecordType::from(65_280),
            ttl: 1,
            data: "\\# 3 026462".to_owned(),
        }];
    }
    let event = privacy.pass(event).expect("it passes");
    assert_eq!(json(&event)["answers"][0]["data"], "(withheld)");
}

#[test]
fn without_domains_every_event_passes_as_it_is() {
    let mut privacy = privacy(&[], &[]);
    for (name, event) in gallery::all() {
        assert_eq!(privacy.pass(event.clone()), Some(event), "{name}");
    }
}

#[test]
fn hostile_names_are_no_trouble() {
    let mut privacy = privacy(&[], &["example", "com", "31m"]);
    for (_, event) in gallery::all() {
        let passed = privacy.pass(event).expect("it passes");
        let mut line = String::new();
        Json::new("a-node".into())
            .encode(&passed, &gallery::clock(), &mut line)
            .expect("a line");
        assert!(line.ends_with('\n'));
    }
}

#[test]
fn what_can_change_while_it_runs_leaves_the_hashes_as_they_were() {
    let mut privacy = privacy(&[], &["corp.example"]);
    let before = name_of(&mut privacy, "db.corp.example.");
    privacy.set(PrivacySettings {
        exclude_namespaces: vec!["payments".parse().expect("a pattern")],
        redact: vec![
            "internal".parse().expect("a domain"),
            "corp.example".parse().expect("a domain"),
        ],
    });
    assert_eq!(name_of(&mut privacy, "db.corp.example."), before);
    assert!(name_of(&mut privacy, "db.internal.").starts_with("h-"));
}

#[test]
fn a_domain_is_told_from_what_is_none() {
    for (written, expected) in [
        ("corp.example", Ok("corp.example")),
        (".Corp.Example.", Ok("corp.example")),
        ("internal", Ok("internal")),
        ("*.corp.example", Err(RedactedDomainError::Pattern)),
        ("", Err(RedactedDomainError::NotAName)),
        (".", Err(RedactedDomainError::NotAName)),
        ("a..b", Err(RedactedDomainError::NotAName)),
        ("a b", Err(RedactedDomainError::NotAName)),
    ] {
        let parsed: Result<RedactedDomain, _> = written.parse();
        let parsed = parsed.map(|domain| domain.to_string());
        assert_eq!(parsed, expected.map(str::to_owned), "{written:?}");
    }
}
