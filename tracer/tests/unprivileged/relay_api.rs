//! The relay's Kubernetes API over real TLS, with a real agent's service behind it.
//!
//! What is not real: the API server that the relay asks. No kube-apiserver runs without root, so a double
//! answers the list of pods, the ConfigMap and SubjectAccessReviews by a fixed policy. The rest of the way
//! (aggregation, kubectl, RBAC) `cargo xtask e2e` covers on a real cluster.

use std::time::Duration;

use serde_json::{Value, json};
use tracer::stream::proto::observe_response::Message;
use tracer::stream::proto::relayed_response::Message as Relayed;
use tracer::stream::proto::{self, NodeStatuses};
use tracer_core::model::finding::State;
use tracer_core::model::flow::Role;

mod client;
mod double;
mod relay;

use client::{Answer, TABLE};
use relay::{Relay, finding, large, ping, within};
pub use relay::{refused, refused_finding};

const BASE: &str = "/apis/tracer.internal/v1alpha1";

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().expect("a name"))
        .collect()
}

fn is_status(answer: &Answer, code: u16, reason: &str) {
    assert_eq!(answer.code, code, "{}", answer.text());
    let status = answer.json();
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["apiVersion"], "v1");
    assert_eq!(status["code"], code);
    assert_eq!(status["reason"], reason, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_users_that_the_api_server_names_are_answered_and_only_what_rbac_allows() {
    let relay = Relay::start().await;
    relay.emit(finding("shop", "web", "x", 1, State::Active));
    relay.wait_for_findings(1).await;
    let findings = format!("{BASE}/namespaces/shop/findings");
    // Without the certificate the headers count for nothing.
    let answer = relay.anonymous().get(&findings, "jane", "").await;
    is_status(&answer, 401, "Unauthorized");
    let answer = relay.forged().get(&findings, "jane", "").await;
    is_status(&answer, 401, "Unauthorized");
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(
            relay.anonymous().get(path, "", "").await.code,
            200,
            "{path}"
        );
    }
    let proxy = relay.front_proxy();
    assert_eq!(proxy.get(&findings, "jane", "").await.code, 200);
    let answer = proxy.get(&findings, "joe", "").await;
    is_status(&answer, 403, "Forbidden");
    let message = answer.json()["message"]
        .as_str()
        .expect("a text")
        .to_owned();
    // kubectl shows it as it is.
    assert_eq!(
        message,
        "findings.tracer.internal is forbidden: User \"joe\" cannot list resource \"findings\" in API group \
         \"tracer.internal\" in the namespace \"shop\""
    );
    let everywhere = format!("{BASE}/findings");
    is_status(&proxy.get(&everywhere, "jane", "").await, 403, "Forbidden");
    assert_eq!(proxy.get(&everywhere, "admin", "").await.code, 200);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = proxy.send(method, &findings, "admin", "").await;
        is_status(&answer, 405, "MethodNotAllowed");
    }
    is_status(
        &proxy.get("/apis/other", "admin", "").await,
        404,
        "NotFound",
    );
    // Verbs that do not exist need no review.
    let reviews = relay.reviews();
    assert!(
        reviews.iter().all(|review| review["verb"] == "list"),
        "{reviews:?}"
    );
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findings_are_objects_that_kubectl_lists_selects_and_pages() {
    let relay = Relay::start().await;
    relay.emit(finding("shop", "web", "x", 3, State::Active));
    relay.emit(finding("shop", "api", "y", 1, State::Resolved));
    relay.emit(finding("bank", "vault", "z", 1, State::Active));
    // A pod of another node: the relay refuses it.
    relay.emit(finding("shop", "elsewhere", "w", 1, State::Active));
    relay.wait_for_findings(3).await;
    let proxy = relay.front_proxy();
    let list = async |query: &str, accept: &str| {
        let path = format!("{BASE}/findings?{query}");
        let answer = proxy.get(&path, "admin", accept).await;
        assert_eq!(answer.code, 200, "{}", answer.text());
        answer.json()
    };
    let all = list("", "").await;
    assert_eq!(all["kind"], "FindingList");
    assert_eq!(names(&all).len(), 3);
    let shop = proxy
        .get(&format!("{BASE}/namespaces/shop/findings"), "jane", "")
        .await
        .json();
    assert_eq!(names(&shop).len(), 2);
    for (query, expected) in [
        ("fieldSelector=status.state%3Dresolved", 1),
        ("fieldSelector=state%21%3Dresolved", 2),
        ("fieldSelector=metadata.namespace%3Dbank", 1),
        ("labelSelector=tracer.internal%2Fpod%20in%20(web,vault)", 2),
        ("labelSelector=tracer.internal%2Fseverity%3Dinfo", 0),
    ] {
        assert_eq!(names(&list(query, "").await).len(), expected, "{query}");
    }
    // As `kubectl get --chunk-size=2`.
    let first = list("limit=2", "").await;
    assert_eq!(
        (
            names(&first).len(),
            &first["metadata"]["remainingItemCount"]
        ),
        (2, &json!(1))
    );
    let token = first["metadata"]["continue"].as_str().expect("a token");
    let second = list(&format!("limit=2&continue={token}"), "").await;
    assert_eq!(second["metadata"].get("continue"), None);
    assert_eq!(
        [names(&first), names(&second)].concat(),
        names(&all),
        "no gap and no repetition"
    );
    let table = list("", TABLE).await;
    assert_eq!(table["kind"], "Table");
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .filter(|column| column["priority"] == 0)
        .map(|column| column["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        columns,
        [
            "Name", "Severity", "State", "Count", "Pod", "Last", "Headline"
        ]
    );
    let web = table["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .find(|row| row["cells"][4] == "web")
        .expect("a row");
    assert_eq!(web["cells"][3], 3);
    let name = web["object"]["metadata"]["name"].as_str().expect("a name");
    let one = proxy
        .get(
            &format!("{BASE}/namespaces/shop/findings/{name}"),
            "jane",
            "",
        )
        .await
        .json();
    assert_eq!(one["spec"]["pod"]["name"], "web");
    assert_eq!(one["status"]["conditions"][0]["type"], "Active");
    assert_eq!(one["status"]["conditions"][0]["status"], "True");
    let missing = format!("{BASE}/namespaces/bank/findings/{name}");
    is_status(&proxy.get(&missing, "admin", "").await, 404, "NotFound");
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sends_tables_and_says_when_an_object_leaves_its_selector() {
    let relay = Relay::start().await;
    relay.emit(finding("shop", "web", "x", 1, State::Active));
    relay.wait_for_findings(1).await;
    let proxy = relay.front_proxy();
    let findings = format!("{BASE}/namespaces/shop/findings");
    let list = proxy.get(&findings, "jane", "").await.json();
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("a version");
    let mut watch = proxy
        .open(
            &format!(
                "{findings}?watch=true&resourceVersion={version}&fieldSelector=status.state%3Dactive&timeoutSeconds=50"
            ),
            "jane",
            TABLE,
        )
        .await;
    // Nothing that the list had comes again: the same replica sent its version.
    relay.emit(finding("shop", "api", "y", 1, State::Active));
    let event = watch.event().await;
    assert_eq!(
        (&event["type"], &event["object"]["kind"]),
        (&json!("ADDED"), &json!("Table"))
    );
    assert_eq!(event["object"]["rows"][0]["cells"][4], "api");
    assert!(event["object"]["columnDefinitions"].is_array());
    relay.emit(finding("shop", "web", "x", 2, State::Active));
    let event = watch.event().await;
    assert_eq!(
        (&event["type"], &event["object"]["rows"][0]["cells"][3]),
        (&json!("MODIFIED"), &json!(2))
    );
    assert!(
        event["object"]["columnDefinitions"].is_null(),
        "only in the first"
    );
    relay.emit(finding("shop", "web", "x", 3, State::Resolved));
    let event = watch.event().await;
    assert_eq!(
        (&event["type"], &event["object"]["rows"][0]["cells"][2]),
        (&json!("DELETED"), &json!("resolved"))
    );
    // Without a version the state comes first.
    let mut whole = proxy
        .open(
            &format!("{findings}?watch=true&timeoutSeconds=1"),
            "jane",
            "",
        )
        .await;
    for _ in 0..2 {
        assert_eq!(whole.event().await["type"], "ADDED");
    }
    assert_eq!(whole.rest().await, "", "it ends at its timeout");
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_watch_cannot_have_is_refused_as_clients_expect() {
    let relay = Relay::start().await;
    relay.wait_for_findings(0).await;
    let proxy = relay.front_proxy();
    let findings = format!("{BASE}/namespaces/shop/findings?watch=true");
    let get = async |query: &str| proxy.get(&format!("{findings}&{query}"), "jane", "").await;
    // client-go lists and watches without initial events when it sees this.
    let answer =
        get("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
            .await;
    is_status(&answer, 422, "Invalid");
    // Before this replica started: client-go lists again.
    is_status(&get("resourceVersion=1000").await, 410, "Expired");
    is_status(&get("resourceVersion=x").await, 400, "BadRequest");
    is_status(&get("fieldSelector=colour%3Dred").await, 400, "BadRequest");
    let answer = proxy
        .get(&findings, "jane", "application/vnd.kubernetes.protobuf")
        .await;
    is_status(&answer, 406, "NotAcceptable");
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_have_the_events_of_the_namespaces_own_pods_only() {
    let relay = Relay::start().await;
    relay.emit(ping("shop", "web", "bank", "vault"));
    // Its peer is in the namespace, its own pod is not.
    relay.emit(ping("bank", "vault", "shop", "web"));
    relay.emit(ping("shop", "elsewhere", "bank", "vault"));
    relay.reached();
    let proxy = relay.front_proxy();
    let traces = format!("{BASE}/namespaces/shop/traces");
    let list = proxy.get(&traces, "jane", "").await.json();
    let pods: Vec<&Value> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["event"]["pod"]["name"])
        .collect();
    assert_eq!(pods, ["web"]);
    // A forged filter in a request of the client's own form.
    let request = proto::ObserveRequest {
        filter: Some(proto::Filter {
            namespaces: vec!["bank".to_owned()],
            ..proto::Filter::default()
        }),
        history: true,
        ..proto::ObserveRequest::default()
    };
    let messages = proxy.frames(&traces, &request, "jane").await;
    let mut seen = Vec::new();
    for message in &messages {
        if message.node.is_empty() {
            // All histories have ended.
            assert_eq!(message.message, Some(Relayed::Ended(true)));
            continue;
        }
        assert_eq!(message.node, "node-a");
        match &message.message {
            Some(Relayed::Response(response)) => match response.message.as_ref().expect("one") {
                Message::Node(info) => assert!(info.filter_warnings.is_empty()),
                Message::Event(event) => {
                    let ends = event.event.as_ref().and_then(|event| event.ends.as_ref());
                    let pod = ends.and_then(|ends| ends.pod.as_ref()).expect("a pod");
                    match pod.identity.as_ref() {
                        Some(proto::pod_end::Identity::Pod(pod)) => {
                            seen.push(format!("{}/{}", pod.namespace, pod.name));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                Message::Mark(mark) => assert!(mark.history_ended),
                Message::Lost(lost) => panic!("{lost:?}"),
            },
            Some(Relayed::Ended(true)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["shop/web"]);
    assert!(matches!(
        messages.last().expect("one").message,
        Some(Relayed::Ended(true))
    ));
    is_status(
        &proxy.get(&format!("{traces}/x"), "admin", "").await,
        405,
        "MethodNotAllowed",
    );
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_loses_events_and_learns_how_many() {
    let relay = Relay::start().await;
    let proxy = relay.front_proxy();
    let request = proto::ObserveRequest {
        follow: true,
        ..proto::ObserveRequest::default()
    };
    let path = format!("{BASE}/traces?watch=true");
    let mut slow = proxy.open_frames(&path, &request, "admin").await;
    // The history has ended: from here on every event is a new one.
    loop {
        if let Some(Relayed::Response(response)) = slow.frame().await.message
            && let Some(Message::Mark(mark)) = response.message
            && mark.history_ended
        {
            break;
        }
    }
    let total = 6_000;
    for number in 0..total {
        relay.emit(large());
        if number % 100 == 0 {
            relay.reached();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    relay.reached();
    // Others are served meanwhile.
    let list = proxy
        .get(
            &format!("{BASE}/namespaces/shop/traces?limit=3"),
            "jane",
            "",
        )
        .await;
    assert_eq!(list.json()["items"].as_array().expect("items").len(), 3);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut events, mut lost) = (0, 0);
    while events + lost < total {
        if events + lost > 0 && lost == 0 {
            // Events after the loss carry the report to the client.
            relay.emit(large());
            relay.reached();
        }
        match slow.frame().await.message {
            Some(Relayed::Response(response)) => match response.message {
                Some(Message::Event(_)) => events += 1,
                Some(Message::Lost(report)) => lost += report.count,
                _ => {}
            },
            // All histories have ended.
            Some(Relayed::Ended(true)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(lost > 0 && events > 0, "{events} events, {lost} lost");
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findings_outlive_their_agent_and_a_restarted_one_changes_only_what_is_new() {
    let mut relay = Relay::start().await;
    relay.emit(finding("shop", "web", "x", 1, State::Active));
    relay.wait_for_findings(1).await;
    let proxy = relay.front_proxy();
    let findings = format!("{BASE}/namespaces/shop/findings");
    let versions = async || {
        let list = proxy.get(&findings, "jane", "").await.json();
        let items = list["items"].as_array().expect("items").clone();
        let version = |item: &Value| item["metadata"]["resourceVersion"].clone();
        items.iter().map(version).collect::<Vec<Value>>()
    };
    let first = versions().await;
    relay.disconnect();
    assert_eq!(versions().await, first, "it is kept without the agent");
    relay.reconnect().await;
    relay.emit(finding("shop", "api", "y", 1, State::Active));
    relay.wait_for_findings(2).await;
    let second = versions().await;
    assert!(second.contains(&first[0]), "what was known is no change");
    relay.disconnect();
    relay.restart();
    relay.emit(finding("shop", "web", "x", 2, State::Active));
    relay.emit(finding("shop", "web", "z", 1, State::Active));
    relay.reconnect().await;
    relay.wait_for_findings(3).await;
    let third = versions().await;
    let unchanged = second.iter().filter(|version| third.contains(version));
    assert_eq!(unchanged.count(), 1, "x has a new state, y has none");
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_continues_where_it_was_when_the_agent_is_back() {
    let relay = Relay::start().await;
    let proxy = relay.front_proxy();
    let request = proto::ObserveRequest {
        follow: true,
        mark_interval_ms: 1,
        ..proto::ObserveRequest::default()
    };
    let path = format!("{BASE}/namespaces/shop/traces?watch=true");
    let mut stream = proxy.open_frames(&path, &request, "jane").await;
    let mut connected = 0;
    let mut events: Vec<u64> = Vec::new();
    let mut interrupted = 0;
    // A mark after the second event: the position from which the stream continues.
    let mut marked = false;
    while !marked {
        match stream.frame().await.message {
            Some(Relayed::Response(response)) => match response.message {
                Some(Message::Node(_)) => connected += 1,
                Some(Message::Event(event)) => events.push(event.sequence),
                Some(Message::Mark(mark)) if mark.history_ended => {
                    relay.emit(ping("shop", "web", "bank", "vault"));
                    relay.emit(ping("shop", "web", "bank", "vault"));
                    relay.reached();
                }
                Some(Message::Mark(mark)) => {
                    marked = mark.position.expect("a position").next == 2;
                }
                other => panic!("{other:?}"),
            },
            Some(Relayed::Ended(true)) => {}
            other => panic!("{other:?}"),
        }
    }
    relay.disconnect();
    while interrupted == 0 {
        if let Some(Relayed::Interrupted(_)) = stream.frame().await.message {
            interrupted += 1;
        }
    }
    // While it is away.
    relay.emit(ping("shop", "web", "bank", "vault"));
    relay.reached();
    relay.reconnect().await;
    while events.len() < 3 {
        if let Some(Relayed::Response(response)) = stream.frame().await.message {
            match response.message {
                Some(Message::Node(_)) => connected += 1,
                Some(Message::Event(event)) => events.push(event.sequence),
                _ => {}
            }
        }
    }
    assert_eq!(events, [0, 1, 2], "nothing twice and nothing missing");
    assert_eq!(connected, 2);
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_an_agent_are_listed_too() {
    let relay = Relay::start().await;
    let proxy = relay.front_proxy();
    let path = format!("{BASE}/tracernodes");
    let list = proxy.get(&path, "admin", "").await.json();
    let states: Vec<(&Value, &Value)> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| (&item["metadata"]["name"], &item["status"]["state"]))
        .collect();
    assert_eq!(
        states,
        [
            (&json!("node-a"), &json!("tracing")),
            (&json!("node-b"), &json!("not connected"))
        ]
    );
    let answer = proxy.get(&path, "admin", tracer::relay::api::NATIVE).await;
    let statuses: NodeStatuses = prost::Message::decode(&*answer.body).expect("a message");
    assert_eq!(statuses.nodes.len(), 2);
    is_status(&proxy.get(&path, "jane", "").await, 403, "Forbidden");
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_and_schemas_are_for_every_user() {
    let relay = Relay::start().await;
    let proxy = relay.front_proxy();
    for (path, kind) in [
        ("/apis", "APIGroupList"),
        ("/apis/tracer.internal", "APIGroup"),
        (BASE, "APIResourceList"),
    ] {
        let answer = proxy.get(path, "system:aggregator", "").await;
        assert_eq!(answer.json()["kind"], kind);
    }
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = proxy.get("/apis", "system:aggregator", accept).await;
    assert_eq!(answer.json()["kind"], "APIGroupDiscoveryList");
    assert!(
        answer.head.contains("as=APIGroupDiscoveryList"),
        "{}",
        answer.head
    );
    let index = proxy
        .get("/openapi/v3", "system:aggregator", "")
        .await
        .json();
    let url = index["paths"]["apis/tracer.internal/v1alpha1"]["serverRelativeURL"].clone();
    let schema = proxy
        .get(url.as_str().expect("a URL"), "x", "")
        .await
        .json();
    assert_eq!(schema["openapi"], "3.0.0");
    assert_eq!(
        proxy.get("/openapi/v2", "x", "").await.json()["swagger"],
        "2.0"
    );
    assert_eq!(within(async { relay.reviews().len() }).await, 0);
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_when_its_users_permission_is_withdrawn() {
    let relay = Relay::start().await;
    let proxy = relay.front_proxy();
    let findings = format!("{BASE}/namespaces/shop/findings?watch=true");
    let nodes = format!("{BASE}/tracernodes?watch=true");
    let mut shop = proxy.open(&findings, "jane", "").await;
    let mut traces = proxy
        .open(
            &format!("{BASE}/namespaces/shop/traces?watch=true"),
            "jane",
            "",
        )
        .await;
    let request = proto::ObserveRequest {
        follow: true,
        ..proto::ObserveRequest::default()
    };
    let mut stream = proxy
        .open_frames(
            &format!("{BASE}/namespaces/shop/traces?watch=true"),
            &request,
            "jane",
        )
        .await;
    let mut others = proxy.open(&nodes, "admin", "").await;
    assert_eq!(others.event().await["type"], "ADDED");
    relay.withdraw("jane");
    for watch in [&mut shop, &mut traces] {
        let last = within(watch.rest()).await;
        let last = last.lines().last().expect("an event");
        let event: Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(event["type"], "ERROR", "{event}");
        let status = &event["object"];
        assert_eq!(
            (&status["kind"], &status["code"]),
            (&json!("Status"), &json!(403))
        );
        let message = status["message"].as_str().expect("a message");
        assert!(message.contains("User \"jane\" cannot watch"), "{message}");
    }
    // The relay's own form has no event for it: the stream ends, and the next request is refused.
    within(stream.rest()).await;
    let again = proxy.get(&findings, "jane", "").await;
    is_status(&again, 403, "Forbidden");
    // Another user's watch continues.
    relay
        .measured(r#"tracer_relay_open_watches{resource="tracernodes",form="objects"} 1"#)
        .await;
    relay
        .measured(r#"tracer_relay_open_watches{resource="findings",form="objects"} 0"#)
        .await;
    relay
        .measured(r#"tracer_relay_open_watches{resource="traces",form="stream"} 0"#)
        .await;
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_what_the_relay_answers_sends_and_holds() {
    let relay = Relay::start().await;
    let proxy = relay.front_proxy();
    relay.emit(finding("shop", "web", "x", 1, State::Active));
    // The pod is on another node.
    relay.emit(finding("shop", "elsewhere", "y", 1, State::Active));
    relay.wait_for_findings(1).await;
    let findings = format!("{BASE}/namespaces/shop/findings");
    let mut watch = proxy
        .open(&format!("{findings}?watch=true"), "jane", "")
        .await;
    assert_eq!(watch.event().await["type"], "ADDED");
    for _ in 0..3 {
        assert_eq!(proxy.get(&findings, "jane", "").await.code, 200);
    }
    assert_eq!(proxy.get(&findings, "nobody", "").await.code, 403);
    assert_eq!(
        proxy
            .get(&format!("{findings}/none"), "jane", "")
            .await
            .code,
        404
    );
    assert_eq!(proxy.get("/apis", "jane", "").await.code, 200);
    for line in [
        r#"tracer_relay_agents_connected 1"#,
        r#"tracer_relay_findings 1"#,
        r#"tracer_relay_findings_dropped_total{reason="other-node"} 1"#,
        r#"tracer_relay_findings_dropped_total{reason="limit"} 0"#,
        r#"tracer_relay_ready 1"#,
        r#"tracer_relay_requests_total{resource="findings",verb="list",code="200"} 3"#,
        r#"tracer_relay_requests_total{resource="findings",verb="list",code="403"} 1"#,
        r#"tracer_relay_requests_total{resource="findings",verb="get",code="404"} 1"#,
        r#"tracer_relay_requests_total{resource="findings",verb="watch",code="200"} 1"#,
        r#"tracer_relay_requests_total{resource="other",verb="get",code="200"} 1"#,
        r#"tracer_relay_request_duration_seconds_count{resource="findings",verb="list"} 4"#,
        r#"tracer_relay_open_watches{resource="findings",form="objects"} 1"#,
        r#"tracer_relay_events_total{resource="findings",result="sent"} 1"#,
        r#"tracer_relay_reviews_total{kind="access",result="denied"} 1"#,
    ] {
        relay.measured(line).await;
    }
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finding_gets_the_path_that_the_agents_of_both_nodes_saw() {
    let relay = Relay::start().await;
    let proxy = relay.front_proxy();
    let findings = format!("{BASE}/namespaces/shop/findings");
    let mut watch = proxy
        .open(&format!("{findings}?watch=true"), "jane", "")
        .await;
    relay.emit(refused(Role::Client));
    relay.join("node-b", refused(Role::Server)).await;
    relay.emit(refused_finding());
    let added = within(watch.event()).await;
    assert_eq!(added["object"]["status"].get("path"), None, "{added}");
    let modified = within(watch.event()).await;
    assert_eq!(modified["type"], "MODIFIED");
    let path = &modified["object"]["status"]["path"];
    assert_eq!(path["verdict"], "refused-by-pod", "{modified}");
    assert_eq!(
        path["line"],
        "web ─✓─ node-a ─✓─ node-b ─✓─ ✗ elsewhere (sent RST)"
    );
    let listed = proxy.get(&findings, "jane", "").await.json();
    assert_eq!(&listed["items"][0]["status"]["path"], path);
    relay
        .measured(r#"tracer_relay_paths_total{result="whole"} 1"#)
        .await;
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_other_agent_half_of_the_path_is_unknown() {
    let relay = Relay::start().await;
    relay.emit(refused(Role::Client));
    relay.emit(refused_finding());
    relay
        .measured(r#"tracer_relay_paths_total{result="half"} 1"#)
        .await;
    let findings = format!("{BASE}/namespaces/shop/findings");
    let listed = relay.front_proxy().get(&findings, "jane", "").await.json();
    let path = &listed["items"][0]["status"]["path"];
    assert_eq!(path["verdict"], "server-half-unknown", "{listed}");
    relay.end().await;
}
