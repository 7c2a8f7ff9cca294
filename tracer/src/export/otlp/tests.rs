//! What a collector receives, and what one costs that is slow, away or unwilling. The collector is a gRPC
//! server made of the generated service, and in [`real`] the OpenTelemetry Collector itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::*;
use tracer_core::view::gallery;

mod converted;
mod real;

/// Time limit for each wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a collector treats requests.
#[derive(Clone, Debug)]
enum Treatment {
    Accept,
    /// Refuses this many records of each request.
    Refuse(i64),
    Fail(Status),
}

/// A collector that passes on what it received.
struct Receiver {
    requests: mpsc::UnboundedSender<Request<ExportLogsServiceRequest>>,
    treatment: Treatment,
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let _ = self.requests.send(request);
        let partial = |rejected| ExportLogsPartialSuccess {
            rejected_log_records: rejected,
            error_message: "too old".to_owned(),
        };
        match &self.treatment {
            Treatment::Accept => Ok(Response::new(ExportLogsServiceResponse::default())),
            Treatment::Refuse(count) => Ok(Response::new(ExportLogsServiceResponse {
                partial_success: Some(partial(*count)),
            })),
            Treatment::Fail(status) => Err(status.clone()),
        }
    }
}

type Requests = mpsc::UnboundedReceiver<Request<ExportLogsServiceRequest>>;

/// Serves a collector on this address, or a free port.
async fn collector(
    address: Option<SocketAddr>,
    treatment: Treatment,
    tls: Option<ServerTlsConfig>,
) -> (SocketAddr, Requests) {
    let any = || "127.0.0.1:0".parse().expect("an address");
    let listener = TcpListener::bind(address.unwrap_or_else(any))
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let (requests, received) = mpsc::unbounded_channel();
    let service = LogsServiceServer::new(Receiver {
        requests,
        treatment,
    })
    .accept_compressed(CompressionEncoding::Gzip);
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls).expect("TLS");
    }
    tokio::spawn(
        server
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (address, received)
}

fn config(url: String, events: &[EventClass]) -> OtlpConfig {
    OtlpConfig {
        target: Target {
            url,
            ca: None,
            headers: None,
        },
        events: events.to_vec(),
        sample: 0.0,
        metrics_every: None,
    }
}

fn origin() -> Origin {
    Origin {
        node: "worker-1".to_owned(),
        instance: "0123".to_owned(),
    }
}

fn event(name: &str) -> Event {
    let mut all = gallery::all().into_iter();
    let (_, event) = all.find(|(known, _)| *known == name).expect("an event");
    event
}

/// Attributes, as text.
fn attributes(list: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::ArrayValue(array) => {
            let texts = array.values.iter().map(|value| match &value.value {
                Some(Value::StringValue(text)) => text.clone(),
                other => panic!("a list of texts, not {other:?}"),
            });
            texts.collect::<Vec<_>>().join(" | ")
        }
        other => panic!("no such value: {other:?}"),
    };
    let mut attributes = BTreeMap::new();
    for one in list {
        let value = one.value.as_ref().and_then(|value| value.value.as_ref());
        let twice = attributes.insert(one.key.as_str(), text(value.expect("a value")));
        assert_eq!(twice, None, "{} twice", one.key);
    }
    attributes
}

/// Exports these events, and returns the records that arrived and the totals.
async fn exported(
    events: &[Event],
    config: &OtlpConfig,
    received: &mut Requests,
) -> (Vec<LogRecord>, OtlpTotals) {
    let (otlp, worker, _) = new(config, &origin()).expect("a valid target");
    let clock = gallery::clock();
    for event in events {
        otlp.offer(event, event.time, &clock);
    }
    let counters = Arc::clone(&otlp.counters);
    drop(otlp);
    tokio::time::timeout(PATIENCE, worker.run())
        .await
        .expect("it ends with its queue");
    let mut records = Vec::new();
    while let Ok(request) = received.try_recv() {
        let logs = request.into_inner().resource_logs;
        records.extend(logs.into_iter().flat_map(|logs| {
            let scopes = logs.scope_logs.into_iter();
            scopes.flat_map(|scope| scope.log_records)
        }));
    }
    (records, counters.totals())
}

#[tokio::test]
async fn a_finding_arrives_with_its_headline_severity_and_conventional_attributes() {
    let (address, mut received) = collector(None, Treatment::Accept, None).await;
    let config = config(format!("http://{address}"), &[EventClass::Findings]);
    let events = [
        event("finding active"),
        event("finding resolved"),
        event("dns answered"),
    ];
    let (otlp, worker, _) = new(&config, &origin()).expect("a valid target");
    for event in &events {
        otlp.offer(event, event.time, &gallery::clock());
    }
    drop(otlp);
    worker.run().await;
    let request = received.recv().await.expect("a request").into_inner();
    let [logs] = &request.resource_logs[..] else {
        panic!("one resource: {request:?}");
    };
    let resource = attributes(&logs.resource.as_ref().expect("a resource").attributes);
    assert_eq!(resource["service.name"], "tracer");
    assert_eq!(resource["service.instance.id"], "0123");
    assert_eq!(resource["k8s.node.name"], "worker-1");
    let [active, resolved] = &logs.scope_logs[0].log_records[..] else {
        panic!("two records, without the success: {logs:?}");
    };
    // The numbers of the specification: INFO is 9, ERROR is 17.
    assert_eq!(
        (active.severity_number, &*active.severity_text),
        (17, "ERROR")
    );
    assert_eq!(
        (resolved.severity_number, &*resolved.severity_text),
        (9, "INFO")
    );
    assert_eq!(active.event_name, "nxdomain-other-namespace");
    let body = active.body.as_ref().and_then(|body| body.value.clone());
    let Some(Value::StringValue(body)) = body else {
        panic!("a text: {body:?}");
    };
    assert_eq!(
        body,
        "default/deb-ubuntu can't resolve \"clusterip-apache2-ds-myns\": the Service is in namespace myns; \
         use clusterip-apache2-ds-myns.myns"
    );
    // 12:01:03.126 UTC: the last of its failures.
    assert_eq!(active.time_unix_nano, 1_772_366_463_126_000_000);
    let found = attributes(&active.attributes);
    for (name, expected) in [
        ("k8s.namespace.name", "default"),
        ("k8s.pod.name", "deb-ubuntu"),
        ("k8s.pod.uid", "uid-of-deb-ubuntu"),
        ("client.address", "10.1.39.193"),
        ("server.address", "10.152.183.10"),
        ("server.port", "53"),
        ("tracer.peer.service.name", "kube-dns"),
        ("tracer.rule", "nxdomain-other-namespace"),
        ("tracer.outcome", "active"),
        ("tracer.finding.severity", "error"),
        ("tracer.finding.count", "2"),
        ("tracer.finding.of", "5"),
        ("tracer.finding.fix", "use clusterip-apache2-ds-myns.myns"),
        ("tracer.finding.evidence", "4 candidates, 4 NXDOMAIN"),
    ] {
        assert_eq!(
            found.get(name).map(String::as_str),
            Some(expected),
            "{name}"
        );
    }
}

#[tokio::test]
async fn failed_events_arrive_as_warnings_with_their_outcome() {
    let (address, mut received) = collector(None, Treatment::Accept, None).await;
    let config = config(format!("http://{address}"), &[EventClass::Failed]);
    let events: Vec<Event> = gallery::all().into_iter().map(|(_, event)| event).collect();
    let (records, totals) = exported(&events, &config, &mut received).await;
    assert_eq!(totals.sent, records.len() as u64);
    assert_eq!(totals.dropped + totals.failed + totals.rejected, 0);
    let mut kinds: Vec<&str> = records.iter().map(|record| &*record.event_name).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["dns", "icmp", "lookup", "lost", "tcp", "udp"]);
    for record in &records {
        assert_eq!(record.severity_number, 13, "WARN: {record:?}");
        let found = attributes(&record.attributes);
        if record.event_name != "lost" {
            assert_eq!(found["error.type"], found["tracer.outcome"]);
        }
        // A lookup of the gallery has no query, so nothing was asked.
        if record.event_name == "lookup" && found["tracer.dns.queries"] != "0" {
            assert!(found.contains_key("dns.question.name"), "{found:?}");
        }
    }
}

#[tokio::test]
async fn a_sample_of_successes_has_its_share() {
    let (address, mut received) = collector(None, Treatment::Accept, None).await;
    let mut config = config(format!("http://{address}"), &[EventClass::None]);
    config.sample = 0.25;
    let events = vec![event("tcp established"); 4_000];
    let (records, _) = exported(&events, &config, &mut received).await;
    // Eight standard deviations of the binomial distribution: 8 × √(4000 × 0.25 × 0.75).
    assert!((780..=1220).contains(&records.len()), "{}", records.len());
    for record in &records {
        assert_eq!(record.severity_number, 9);
        assert_eq!(attributes(&record.attributes)["tracer.sample"], "0.25");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_loses_only_what_does_not_fit_the_queue() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let config = config(format!("http://{address}"), &[EventClass::Failed]);
    let (otlp, worker, _) = new(&config, &origin()).expect("a valid target");
    let failure = event("ping unanswered");
    let began = Instant::now();
    let limit = crate::export::waiting::MAX_EVENTS;
    for _ in 0..limit + 5 {
        otlp.offer(&failure, failure.time, &gallery::clock());
    }
    assert!(began.elapsed() < PATIENCE, "it never waits");
    assert_eq!(otlp.totals().dropped, 5);
    let mut losses = Losses::default();
    otlp.totals().add_losses(&mut losses);
    assert_eq!(losses.total(), 5);
    let worker = tokio::spawn(worker.run());
    // Its first request fails. Only then does the collector start.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(otlp.totals().sent, 0);
    let (_, mut received) = collector(Some(address), Treatment::Accept, None).await;
    let counters = Arc::clone(&otlp.counters);
    let arrived = tokio::time::timeout(PATIENCE, received.recv());
    assert!(arrived.await.expect("in time").is_some());
    drop(otlp);
    tokio::time::timeout(PATIENCE, worker)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(counters.totals().sent, limit as u64);
    assert_eq!(counters.totals().failed, 0);
}

#[tokio::test]
async fn refused_and_unauthorised_records_are_counted_and_not_sent_again() {
    let findings = [EventClass::Findings];
    let events = [event("finding active"), event("finding resolved")];
    let (address, mut received) = collector(None, Treatment::Refuse(1), None).await;
    let config_of = |address: SocketAddr| config(format!("http://{address}"), &findings);
    let (records, totals) = exported(&events, &config_of(address), &mut received).await;
    assert_eq!(records.len(), 2, "sent once");
    assert_eq!((totals.sent, totals.rejected), (1, 1));
    let denied = Treatment::Fail(Status::unauthenticated("who are you?"));
    let (address, mut received) = collector(None, denied, None).await;
    let (records, totals) = exported(&events, &config_of(address), &mut received).await;
    assert_eq!(records.len(), 2, "sent once");
    assert_eq!((totals.sent, totals.failed), (0, 2));
}

#[tokio::test]
async fn headers_of_the_file_are_sent_over_tls_to_the_right_collector_only() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let authority = || {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).expect("signed").pem();
        (pem, Issuer::new(parameters, key))
    };
    let ((right, issuer), (wrong, _)) = (authority(), authority());
    std::fs::write(path("right.pem"), right).expect("written");
    std::fs::write(path("wrong.pem"), wrong).expect("written");
    std::fs::write(
        path("headers"),
        "# a token\nAuthorization: Bearer t0ken\nx-scope: a b\n",
    )
    .expect("written");
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = parameters.signed_by(&key, &issuer).expect("signed");
    let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
    let tls = ServerTlsConfig::new().identity(identity);
    let (address, mut received) = collector(None, Treatment::Accept, Some(tls)).await;
    let mut config = config(format!("https://{address}"), &[EventClass::Findings]);
    config.target.headers = Some(path("headers"));
    config.target.ca = Some(path("wrong.pem"));
    let events = [event("finding active")];
    let (records, totals) = exported(&events, &config, &mut received).await;
    assert_eq!((records.len(), totals.failed), (0, 1), "another authority");
    config.target.ca = Some(path("right.pem"));
    let (otlp, worker, _) = new(&config, &origin()).expect("a valid target");
    otlp.offer(&events[0], events[0].time, &gallery::clock());
    drop(otlp);
    worker.run().await;
    let request = received.recv().await.expect("a request");
    let header = |name: &str| {
        let value = request.metadata().get(name).expect("a header");
        value.to_str().expect("text").to_owned()
    };
    assert_eq!(header("authorization"), "Bearer t0ken");
    assert_eq!(header("x-scope"), "a b");
    assert!(header("user-agent").starts_with("tracer/"));
}

#[test]
fn a_mistake_in_the_headers_is_reported_without_their_content() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("headers");
    std::fs::write(&path, "\nBearer s3cret\n").expect("written");
    let target = Target {
        url: "http://127.0.0.1:4317".to_owned(),
        ca: None,
        headers: Some(path),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _within = runtime.enter();
    let error = Collector::new(&target).expect_err("no header").to_string();
    assert!(
        error.contains("headers: line 2: expected `name: value`"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn docs_list_exactly_the_attributes() {
    let mut used: Vec<String> = Vec::new();
    let clock = gallery::clock();
    for (_, event) in gallery::all() {
        let record = record::record(&event, event.time, &clock, Some(0.5));
        used.extend(record.attributes.into_iter().map(|one| one.key));
    }
    used.extend(
        resource(&origin())
            .attributes
            .into_iter()
            .map(|one| one.key),
    );
    used.sort();
    used.dedup();
    let page = include_str!("../../../../docs/export.md");
    let mut documented: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('|'))
        .flat_map(|(cell, _)| {
            cell.split(", ")
                .map(|name| name.trim_matches(['`', ' ']).to_owned())
        })
        .filter(|name| name.contains('.'))
        .collect();
    documented.sort();
    // Only of workloads that the gallery does not have.
    let kinds = ["cronjob", "job", "replicaset", "statefulset"];
    documented.retain(|name| !kinds.iter().any(|kind| *name == format!("k8s.{kind}.name")));
    assert_eq!(used, documented);
}
