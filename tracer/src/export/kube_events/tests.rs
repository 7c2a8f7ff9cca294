//! The requests: their rate at the ledger, their content at a server.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::ledger::{NODE_BURST, POD_BURST, UPDATE_EVERY};
use super::*;
use tracer_core::model::finding::{self, Finding};
use tracer_core::view::gallery;

/// Time limit for each wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// An API server that records its requests and gives prepared answers.
struct Server {
    client: Client,
    requests: mpsc::UnboundedReceiver<Received>,
    answers: Arc<Mutex<Vec<u16>>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Received {
    method: Method,
    path: String,
    content_type: String,
    body: Value,
}

#[derive(Clone)]
struct Shared {
    requests: mpsc::UnboundedSender<Received>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Server {
    /// Answers with these codes, then with success.
    async fn start(answers: &[u16]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, requests) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.iter().rev().copied().collect()));
        let shared = Shared {
            requests: sender,
            answers: Arc::clone(&answers),
        };
        let router = Router::new().fallback(answer).with_state(shared);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let uri = format!("http://{address}").parse().expect("a URI");
        let client = Client::try_from(kube::Config::new(uri)).expect("a client");
        Server {
            client,
            requests,
            answers,
            task,
        }
    }

    async fn request(&mut self) -> Received {
        tokio::time::timeout(PATIENCE, self.requests.recv())
            .await
            .expect("a request in time")
            .expect("a request")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let content_type = headers.get(header::CONTENT_TYPE).expect("a content type");
    let received = Received {
        method,
        path: uri.path().to_owned(),
        content_type: content_type.to_str().expect("text").to_owned(),
        body: body.clone(),
    };
    let _ = shared.requests.send(received);
    let code = shared.answers.lock().pop();
    let json = [(header::CONTENT_TYPE, "application/json")];
    match code {
        None | Some(200) => {
            let mut object = json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event",
                "metadata": {"name": "an-event"}, "eventTime": null,
            });
            if let (Some(object), Some(fields)) = (object.as_object_mut(), body.as_object()) {
                object.extend(fields.clone());
            }
            (json, object.to_string()).into_response()
        }
        Some(code) => {
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
                "message": "events.events.k8s.io is forbidden", "reason": "Any", "code": code,
            });
            let code = StatusCode::from_u16(code).expect("a code");
            (code, json, status.to_string()).into_response()
        }
    }
}

fn finding(severity: Severity, change: impl FnOnce(&mut Finding)) -> Event {
    let mut event = gallery::finding(severity, false);
    if let Body::Finding(finding) = &mut event.body {
        change(finding);
    }
    event
}

fn state(resolved: bool) -> finding::State {
    if resolved {
        finding::State::Resolved
    } else {
        finding::State::Active
    }
}

fn error_finding(count: u64, resolved: bool) -> Event {
    finding(Severity::Error, |finding| {
        finding.count = count;
        finding.state = state(resolved);
    })
}

#[tokio::test]
async fn a_finding_becomes_an_event_of_its_pod_that_counts_until_it_is_resolved() {
    let mut server = Server::start(&[]).await;
    let (events, worker) = new("k8s-worker03");
    let worker = tokio::spawn(worker.run(server.client.clone()));
    events.offer(&error_finding(1, false), &gallery::clock());
    let created = server.request().await;
    assert_eq!(created.method, Method::POST);
    assert_eq!(
        created.path,
        "/apis/events.k8s.io/v1/namespaces/default/events"
    );
    let name = created.body["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(name.starts_with("deb-ubuntu."), "{name}");
    assert_eq!(
        created.body,
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "default"},
            "eventTime": "2026-03-01T12:01:03.123000Z",
            "regarding": {
                "apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "deb-ubuntu",
                "uid": "uid-of-deb-ubuntu",
            },
            "reason": "NxdomainOtherNamespace",
            "note": "default/deb-ubuntu can't resolve \"clusterip-apache2-ds-myns\": the Service is in namespace myns; \
                     use clusterip-apache2-ds-myns.myns",
            "type": "Warning",
            "action": "Diagnose",
            "reportingController": "tracer-agent",
            "reportingInstance": "k8s-worker03",
        })
    );
    // Too early for an update; the end is reported at once.
    events.offer(&error_finding(2, false), &gallery::clock());
    events.offer(&error_finding(7, true), &gallery::clock());
    let updated = server.request().await;
    assert_eq!(updated.method, Method::PATCH);
    assert_eq!(
        updated.path,
        format!("/apis/events.k8s.io/v1/namespaces/default/events/{name}")
    );
    assert_eq!(updated.content_type, "application/merge-patch+json");
    assert_eq!(
        updated.body,
        json!({"series": {"count": 7, "lastObservedTime": "2026-03-01T12:01:03.126000Z"}})
    );
    // A new occurrence gets a new Event, which counts from here.
    events.offer(&error_finding(9, false), &gallery::clock());
    let again = server.request().await;
    assert_eq!(again.method, Method::POST);
    assert_ne!(again.body["metadata"]["name"], name.as_str());
    assert_eq!(again.body["series"]["count"], 2);
    assert_eq!(again.body["eventTime"], "2026-03-01T12:01:03.126000Z");
    let totals = events.totals();
    drop(events);
    worker.await.expect("it ends with the queue");
    assert!(totals.created >= 1 && totals.failed == 0, "{totals:?}");
}

#[tokio::test]
async fn hints_and_findings_without_a_known_pod_become_no_event() {
    let mut server = Server::start(&[]).await;
    let (events, worker) = new("k8s-worker03");
    let worker = tokio::spawn(worker.run(server.client.clone()));
    events.offer(&finding(Severity::Info, |_| {}), &gallery::clock());
    let mut unknown = error_finding(1, false);
    if let Some(ends) = &mut unknown.ends {
        ends.pod.identity = Err(tracer_core::model::identity::UnknownReason::NotInInventory);
    }
    events.offer(&unknown, &gallery::clock());
    for (_, event) in gallery::all() {
        if !matches!(event.body, Body::Finding(_)) {
            events.offer(&event, &gallery::clock());
        }
    }
    // The first request is that of the last finding.
    let last = finding(Severity::Warning, |finding| finding.rule = "dns-slow");
    events.offer(&last, &gallery::clock());
    assert_eq!(server.request().await.body["reason"], "DnsSlow");
    drop(events);
    worker.await.expect("no panic");
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn an_event_that_the_server_has_deleted_is_created_again() {
    let mut server = Server::start(&[200, 404]).await;
    let (events, worker) = new("k8s-worker03");
    let worker = tokio::spawn(worker.run(server.client.clone()));
    events.offer(&error_finding(1, false), &gallery::clock());
    let first = server.request().await;
    // A resolved finding is due at once, but creates no new Event.
    let mut report = error_finding(3, true);
    events.offer(&report, &gallery::clock());
    assert_eq!(server.request().await.method, Method::PATCH);
    if let Body::Finding(finding) = &mut report.body {
        (finding.state, finding.count) = (finding::State::Active, 4);
    }
    events.offer(&report, &gallery::clock());
    let again = server.request().await;
    assert_eq!(again.method, Method::POST);
    assert_ne!(
        again.body["metadata"]["name"],
        first.body["metadata"]["name"]
    );
    drop(events);
    worker.await.expect("no panic");
    assert!(server.answers.lock().is_empty());
}

#[tokio::test]
async fn a_failed_request_is_counted_and_repeated_with_the_next_occurrence() {
    let mut server = Server::start(&[403, 500]).await;
    let (events, worker) = new("k8s-worker03");
    let worker = tokio::spawn(worker.run(server.client.clone()));
    for count in 1..=3 {
        events.offer(&error_finding(count, false), &gallery::clock());
        assert_eq!(server.request().await.method, Method::POST);
    }
    let counts = events.clone();
    drop(events);
    // `counts` keeps the queue open, so the test drops it before it awaits the worker.
    let totals = async {
        loop {
            let totals = counts.totals();
            if totals.created == 1 {
                return totals;
            }
            tokio::task::yield_now().await;
        }
    };
    let totals = tokio::time::timeout(PATIENCE, totals)
        .await
        .expect("in time");
    assert_eq!((totals.failed, totals.created), (2, 1));
    drop(counts);
    worker.await.expect("no panic");
}

#[tokio::test]
async fn findings_beyond_the_queue_are_dropped_and_counted() {
    let (events, worker) = new("k8s-worker03");
    for count in 0..QUEUE as u64 + 5 {
        events.offer(&error_finding(count, false), &gallery::clock());
    }
    assert_eq!(events.totals().dropped, 5);
    drop(worker);
}

fn occurrence(pod: &str, id: &str, count: u64, resolved: bool) -> Occurrence {
    Occurrence {
        pod: gallery::identity("shop", pod, None, "a-node"),
        id: id.to_owned(),
        rule: "dns-timeout",
        resolved,
        count,
        first: jiff::Timestamp::UNIX_EPOCH,
        last: jiff::Timestamp::UNIX_EPOCH,
        note: "It failed".to_owned(),
    }
}

fn kind(decision: &Decision) -> &'static str {
    match decision {
        Decision::Send(Request::Create(_)) => "create",
        Decision::Send(Request::Update { .. }) => "update",
        Decision::Skip => "skip",
        Decision::Limited => "limited",
    }
}

#[test]
fn an_event_is_updated_at_most_once_a_minute() {
    let mut ledger = Ledger::new("a-node");
    let start = Instant::now();
    let mut take = |after: Duration, count, resolved| {
        kind(&ledger.take(start + after, &occurrence("web", "a", count, resolved)))
    };
    let second = Duration::from_secs(1);
    assert_eq!(take(Duration::ZERO, 1, false), "create");
    assert_eq!(take(30 * second, 2, false), "skip");
    assert_eq!(take(UPDATE_EVERY, 3, false), "update");
    assert_eq!(take(UPDATE_EVERY + second, 4, false), "skip");
    assert_eq!(take(UPDATE_EVERY + 2 * second, 4, true), "update");
    // A closed Event needs no second end; a new occurrence gets a new Event.
    assert_eq!(take(UPDATE_EVERY + 3 * second, 4, true), "skip");
    assert_eq!(take(UPDATE_EVERY + 4 * second, 5, false), "create");
    // No new occurrence: the end needs no update.
    assert_eq!(take(UPDATE_EVERY + 5 * second, 5, true), "skip");
}

#[test]
fn each_cause_and_each_pod_has_its_own_event() {
    let mut ledger = Ledger::new("a-node");
    let now = Instant::now();
    for (pod, id) in [("web", "a"), ("web", "b"), ("db", "a")] {
        assert_eq!(
            kind(&ledger.take(now, &occurrence(pod, id, 1, false))),
            "create"
        );
    }
}

#[test]
fn the_rate_limit_of_a_pod_does_not_affect_other_pods() {
    let mut ledger = Ledger::new("a-node");
    let now = Instant::now();
    let mut created = 0;
    for cause in 0..100 {
        let occurrence = occurrence("web", &cause.to_string(), 1, false);
        created += u32::from(kind(&ledger.take(now, &occurrence)) == "create");
    }
    assert_eq!(created, POD_BURST);
    assert_eq!(
        kind(&ledger.take(now, &occurrence("db", "a", 1, false))),
        "create"
    );
    // One more in a minute.
    let later = now + Duration::from_secs(60);
    assert_eq!(
        kind(&ledger.take(later, &occurrence("web", "x", 1, false))),
        "create"
    );
    assert_eq!(
        kind(&ledger.take(later, &occurrence("web", "y", 1, false))),
        "limited"
    );
}

#[test]
fn a_node_has_a_rate_limit() {
    let mut ledger = Ledger::new("a-node");
    let now = Instant::now();
    let mut created = 0;
    for pod in 0..1_000 {
        let occurrence = occurrence(&format!("web-{pod}"), "a", 1, false);
        created += u32::from(kind(&ledger.take(now, &occurrence)) == "create");
    }
    assert_eq!(created, NODE_BURST);
}

#[test]
fn pods_with_many_requests_leave_some_to_others() {
    let mut ledger = Ledger::new("a-node");
    let start = Instant::now();
    let mut take = |after, pod: &str, id: u32, count| {
        kind(&ledger.take(
            start + after,
            &occurrence(pod, &id.to_string(), count, false),
        ))
    };
    // Eight pods have ten findings each, which occur again every minute, for an hour.
    for minute in 0..60 {
        let at = minute * UPDATE_EVERY;
        for second in 0..60 {
            let at = at + Duration::from_secs(second);
            for pod in 0..8 {
                for id in 0..10 {
                    let count = 1 + u64::from(minute) * 60 + second;
                    take(at, &format!("web-{pod}"), id, count);
                }
            }
        }
        let name = format!("db-{minute}");
        let first = take(at + Duration::from_secs(59), &name, 0, 1);
        assert_eq!(first, "create", "minute {minute}");
    }
}

#[test]
fn what_a_pod_has_in_the_queue_delays_and_drops_no_finding_of_another() {
    let mut queue = FairQueue::new(10);
    let mut push = |pod: &str, id: &str| {
        let one = occurrence(pod, id, 1, false);
        queue.push(&Arc::clone(&one.pod.uid), one)
    };
    assert_eq!(push("db", "first"), 0);
    let dropped: u64 = (0..50)
        .map(|number: u32| push("web", &number.to_string()))
        .sum();
    assert_eq!(dropped, 41);
    assert_eq!(push("db", "second"), 1);
    let left: Vec<String> = std::iter::from_fn(|| queue.pop())
        .map(|one| one.id)
        .collect();
    assert_eq!(
        left,
        [
            "first", "42", "second", "43", "44", "45", "46", "47", "48", "49"
        ]
    );
}

#[test]
fn a_pod_that_has_most_events_makes_room_for_those_of_others() {
    let mut ledger = Ledger::new("a-node");
    let mut now = Instant::now();
    assert_eq!(
        kind(&ledger.take(now, &occurrence("db", "a", 1, false))),
        "create"
    );
    for number in 0..5_000 {
        now += Duration::from_secs(60);
        let id = number.to_string();
        let created = kind(&ledger.take(now, &occurrence("web", &id, 1, false)));
        assert_eq!(created, "create", "{number}");
    }
    assert_eq!(ledger.forgotten(), 5_001 - 4_096);
    let again = kind(&ledger.take(now, &occurrence("db", "a", 2, false)));
    assert_eq!(again, "update", "its Event is known");
    let again = kind(&ledger.take(now, &occurrence("web", "4999", 2, false)));
    assert_eq!(again, "skip", "the latest of the other is known too");
}

#[test]
fn names_of_events_are_valid() {
    let mut ledger = Ledger::new("a-node");
    let long = format!("{}.{}", "a".repeat(235), "b".repeat(17));
    let Decision::Send(Request::Create(event)) =
        ledger.take(Instant::now(), &occurrence(&long, "a", 1, false))
    else {
        panic!("an Event");
    };
    let name = event.metadata.name.expect("a name");
    assert!(name.len() <= 253, "{}", name.len());
    assert!(
        name.split('.')
            .all(|label| !label.is_empty() && !label.ends_with('-')),
        "{name}"
    );
}
