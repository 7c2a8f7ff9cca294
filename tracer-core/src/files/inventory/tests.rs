use std::net::IpAddr;

use super::*;
use crate::model::cluster::ServiceKind;

const CORNERS: &str = include_str!("../../../tests/fixtures/inventory/corners.yaml");

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn pods_are_read_in_every_state() {
    let pods = parse(CORNERS).unwrap().inventory.pods;
    let [web, job, waiting, proxy] = &pods[..] else {
        panic!("{pods:?}")
    };
    assert_eq!(web.ips, [ip("10.1.0.1"), ip("fd00::1")]);
    let workload = |pod: &crate::model::cluster::Pod| {
        pod.workload
            .as_ref()
            .map(|workload| format!("{}/{}", workload.kind, workload.name))
    };
    assert_eq!(workload(web).as_deref(), Some("Deployment/web"));
    assert_eq!(web.dns.ndots, Some(2));
    assert_eq!(web.dns.searches[0].as_str(), "example.com.");
    assert!(!web.terminated && job.terminated);
    assert_eq!(workload(job).as_deref(), Some("Job/report-28000000"));
    assert!(waiting.ips.is_empty() && waiting.node.is_none() && workload(waiting).is_none());
    assert!(proxy.host_network);
    assert_eq!(
        proxy.static_uid.as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
}

#[test]
fn services_are_read_in_every_kind() {
    let services = parse(CORNERS).unwrap().inventory.services;
    let [web, db, search] = &services[..] else {
        panic!("{services:?}")
    };
    assert_eq!(web.cluster_ips, [ip("10.96.0.10"), ip("fd00:96::a")]);
    assert_eq!(web.external_ips, [ip("198.51.100.7"), ip("203.0.113.9")]);
    let ports: Vec<_> = web
        .ports
        .iter()
        .map(|port| (&*port.protocol, port.port, port.target.as_deref()))
        .collect();
    assert_eq!(ports, [("TCP", 80, Some("web")), ("UDP", 53, Some("5353"))]);
    assert_eq!(
        (&db.kind, db.cluster_ips.len()),
        (&ServiceKind::Headless, 0)
    );
    assert!(
        matches!(&search.kind, ServiceKind::ExternalName(target) if target.as_str() == "search.example.com.")
    );
}

#[test]
fn other_known_kinds_are_read_and_unknown_ones_counted() {
    let loaded = parse(CORNERS).unwrap();
    let skipped: Vec<_> = loaded
        .skipped
        .iter()
        .map(|(kind, count)| (kind.as_str(), *count))
        .collect();
    assert_eq!(skipped, [("ConfigMap", 2), ("Service", 1)]);
    assert_eq!(loaded.duplicates, 1);
    let inventory = loaded.inventory;
    assert_eq!(inventory.namespaces, ["shop".into()]);
    let [slice, outside] = &inventory.slices[..] else {
        panic!("{:?}", inventory.slices)
    };
    assert_eq!(slice.service.as_deref(), Some("web"));
    assert_eq!(
        (slice.endpoints[0].ready, slice.endpoints[1].ready),
        (false, true)
    );
    assert_eq!(
        slice.endpoints[0].pod.as_deref(),
        Some("web-7c9d8f5b6d-x2x4z")
    );
    assert_eq!(slice.endpoints[1].hostname.as_deref(), Some("web-0"));
    assert_eq!(
        (slice.ports[1].name.as_ref(), slice.ports[1].port),
        (None, Some(5353))
    );
    assert!(outside.endpoints[0].ips.is_empty());
    let policy = &inventory.policies[0];
    // Without policyTypes only egress rules make it govern egress.
    assert_eq!(
        (policy.ingress.as_deref(), policy.egress.as_deref()),
        (Some(&[][..]), None)
    );
    assert_eq!(policy.pods.labels, [("app".into(), "web".into())]);
    assert_eq!(policy.pods.expressions.len(), 1);
    assert_eq!(
        inventory.service_cidrs[0].cidrs[0].to_string(),
        "10.96.0.0/12"
    );
}

#[test]
fn a_json_list_is_read() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b", "uid": "c"},
         "spec": {"containers": []}, "status": {"podIPs": [{"ip": "10.0.0.1"}]}}]}"#;
    assert_eq!(parse(json).unwrap().inventory.pods[0].ips, [ip("10.0.0.1")]);
}

#[test]
fn an_empty_list_is_an_inventory_but_an_empty_file_is_not() {
    assert_eq!(
        parse("apiVersion: v1\nkind: List\nitems: []\n").unwrap(),
        Loaded::default()
    );
    assert_eq!(parse("kind: List\n").unwrap(), Loaded::default());
    for text in ["", "\n", "# nothing\n", "---\n---\n", "null\n"] {
        assert_eq!(error(text), "no Kubernetes object in it", "{text:?}");
    }
}

#[test]
fn every_invalid_object_is_reported_with_its_position_and_field() {
    let text = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- apiVersion: v1
  kind: Service
  metadata: {name: web, namespace: shop}
  spec: {ports: [{port: eighty}]}
- apiVersion: v1
  kind: Service
  metadata: {name: db, namespace: shop}
  spec: {clusterIPs: [10.96.0.300], ports: [{port: 80}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: \"a\\e[31m\", namespace: shop, uid: x}
- {apiVersion: v1, kind: Pod, metadata: {name: b, uid: x}}
- {apiVersion: v1, metadata: {name: c}}
- just a string
- {apiVersion: v1, kind: Service, metadata: {name: d, namespace: shop}, spec: {ports: [{port: 65536}]}}
";
    assert_eq!(
        error(text),
        r#"object 2 (Service shop/web, line 5): spec.ports[0].port: invalid type: string "eighty", expected i32
object 3 (Service shop/db, line 9): spec.clusterIPs: "10.96.0.300" is not an IP address
object 4 (Pod shop/a\u{1b}[31m, line 13): metadata.name: "a\u{1b}[31m" is not a name
object 5 (Pod b, line 16): metadata.namespace is missing
object 6 (no kind c, line 17): kind is missing
object 7 (no kind, line 18): not an object
object 8 (Service shop/d, line 19): spec.ports.port: "65536" is not a port number"#
    );
}

#[test]
fn keys_of_the_file_are_escaped_in_messages() {
    let key = r#""\e[31m\u202e""#;
    let pod = format!("{{kind: Pod, metadata: {{namespace: a, name: p, labels: {{{key}: [1]}}}}}}");
    let label = r"metadata.labels.\u{1b}[31m\u{202e}: invalid type";
    assert!(error(&pod).contains(label), "{}", error(&pod));
    let twice = format!("{{{key}: 1, {key}: 2}}");
    for text in [pod, twice, format!("{{{key}: *{key}}}")] {
        let message = parse(&text).map_err(|error| error.to_string());
        if let Err(message) = message {
            assert!(!message.contains(['\u{1b}', '\u{202e}']), "{message:?}");
        }
    }
}

#[test]
fn many_problems_are_truncated_and_counted() {
    let pods: String = (0..30)
        .map(|n| format!("- {{kind: Pod, metadata: {{name: p{n}}}}}\n"))
        .collect();
    let text = error(&format!("kind: List\nitems:\n{pods}"));
    assert_eq!(text.lines().count(), MAX_PROBLEMS + 1);
    assert_eq!(text.lines().last(), Some("and 20 more"));
}

#[test]
fn a_syntax_error_is_reported_with_its_line() {
    let text = error("kind: List\nitems:\n- kind: Pod\n  metadata: {name: [}\n");
    assert!(
        text.starts_with("not what `kubectl get -o yaml` or `-o json` prints: line 4, column "),
        "{text}"
    );
    assert!(!text.contains('\n'), "{text}");
    let text = error("just words\n");
    assert!(
        text.starts_with("not what `kubectl get -o yaml` or `-o json` prints: line 1, column 1: "),
        "{text}"
    );
}

#[test]
fn the_error_names_a_file_that_cannot_be_read() {
    let text = load(Path::new("/nowhere/inventory.yaml"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "inventory /nowhere/inventory.yaml: cannot read it: No such file or directory (os error 2)"
    );
}

#[test]
fn a_large_cluster_inventory_is_within_the_limits() {
    // More documents and more nodes than the parser's own limits allow.
    let pods: String = (0..12_000)
        .map(|n| {
            let (b, c) = (n / 250, n % 250 + 1);
            format!(
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{n}, namespace: n{b}, uid: u{n}}}\n\
                 spec: {{containers: [], nodeName: node-{b}}}\nstatus: {{podIPs: [{{ip: 10.1.{b}.{c}}}]}}\n"
            )
        })
        .collect();
    assert_eq!(parse(&pods).unwrap().inventory.pods.len(), 12_000);
}

#[test]
fn aliases_cannot_multiply_the_size_of_a_file() {
    let mut text = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (last, next) in ('a'..='i').zip('b'..='j') {
        text.push_str(&format!(
            "{next}: &{next} [{}]\n",
            vec![format!("*{last}"); 10].join(", ")
        ));
    }
    assert!(error(&text).starts_with("not what `kubectl get -o yaml` or `-o json` prints: "));
}

#[test]
fn json_reads_like_yaml_and_its_errors_have_a_position() {
    let items = r#"[{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "managedFields": [{}]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "a", "uid": "1"},
         "spec": {"nodeName": "here"}, "status": {"podIP": "10.1.0.1"}}]"#;
    let list = format!(r#"{{"kind": "List", "items": {items}}}"#);
    let json = parse_json(&list).expect("read as JSON");
    assert_eq!(json, parse_yaml(&list).expect("read as YAML"));
    assert_eq!(parse(&list).expect("read"), json);
    assert_eq!(
        (json.inventory.pods.len(), json.inventory.namespaces.len()),
        (1, 1)
    );
    // jq -c writes one document per line.
    let lines = r#"{"kind": "Namespace", "metadata": {"name": "a"}}
        {"kind": "Namespace", "metadata": {"name": "b"}}"#;
    let both = parse(lines).expect("read").inventory.namespaces;
    assert_eq!(both, ["a".into(), "b".into()]);
    let wrong = list.replace("10.1.0.1", "10.1.0.999");
    assert!(parse_json(&wrong).is_none());
    let error = parse(&wrong).expect_err("an invalid address").to_string();
    assert!(error.contains("object 2 (Pod shop/a, line 2)"), "{error}");
}

#[test]
fn the_workload_is_the_deployed_object() {
    let workload = |name: &str, labels: &str, owner: &str| {
        let text = format!(
            r#"{{"kind": "Pod", "metadata": {{"namespace": "shop", "name": "{name}", "uid": "1", "labels": {{{labels}}},
                "ownerReferences": [{owner}]}}}}"#
        );
        let loaded = parse(&text).expect("a pod");
        let workload = loaded.inventory.pods[0].workload.clone();
        workload.map(|workload| format!("{} {}", workload.kind, workload.name))
    };
    let owner = |kind: &str, name: &str| {
        format!(
            r#"{{"apiVersion": "x/v1", "kind": "{kind}", "name": "{name}", "uid": "2", "controller": true}}"#
        )
    };
    let hash = r#""pod-template-hash": "7d4b9c8f6""#;
    for (name, labels, owner, expected) in [
        (
            "web-7d4b9c8f6-x2x9k",
            hash,
            owner("ReplicaSet", "web-7d4b9c8f6"),
            Some("Deployment web"),
        ),
        // Created by hand, or by a controller with another naming scheme.
        (
            "web-x2x9k",
            "",
            owner("ReplicaSet", "web"),
            Some("ReplicaSet web"),
        ),
        (
            "web-x2x9k",
            hash,
            owner("ReplicaSet", "web"),
            Some("ReplicaSet web"),
        ),
        (
            "x",
            hash,
            owner("ReplicaSet", "-7d4b9c8f6"),
            Some("ReplicaSet -7d4b9c8f6"),
        ),
        (
            "db-0",
            "",
            owner("StatefulSet", "db"),
            Some("StatefulSet db"),
        ),
        (
            "agent-5n7xk",
            "",
            owner("DaemonSet", "agent"),
            Some("DaemonSet agent"),
        ),
        (
            "tick-29380001-abcde",
            "",
            owner("Job", "tick-29380001"),
            Some("Job tick-29380001"),
        ),
        ("web-1", "", owner("Rollout", "web"), Some("Rollout web")),
        // The mirror of a static pod.
        ("etcd-master", "", owner("Node", "master"), None),
        ("bare", "", String::new(), None),
    ] {
        assert_eq!(
            workload(name, labels, &owner).as_deref(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_token_in_place_of_an_inventory_is_not_quoted() {
    let token = format!(
        "eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl",
        "c2VjcmV0".repeat(60)
    );
    for text in [
        token.clone(),
        format!("kind: List\nitems: {token}\n"),
        format!("[{token}]"),
    ] {
        let error = parse(&text).expect_err("no inventory").to_string();
        assert!(!error.contains("c2VjcmV0"), "{error}");
    }
}
