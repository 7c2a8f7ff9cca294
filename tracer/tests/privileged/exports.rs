//! What an agent with real probes exports: log records and metrics to a collector in its network, and events as
//! lines.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::running::{PATIENCE, Running};
use testbed::stage::{CLIENT, NODE, Stage, program};
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What a collector received.
#[derive(Debug)]
enum Received {
    Log(Box<LogRecord>),
    Metric(String),
}

#[derive(Clone)]
struct Collector(Sender<Received>);

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        for logs in request.into_inner().resource_logs {
            for record in logs
                .scope_logs
                .into_iter()
                .flat_map(|scope| scope.log_records)
            {
                let _ = self.0.send(Received::Log(Box::new(record)));
            }
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        for metrics in request.into_inner().resource_metrics {
            for metric in metrics
                .scope_metrics
                .into_iter()
                .flat_map(|scope| scope.metrics)
            {
                let _ = self.0.send(Received::Metric(metric.name));
            }
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// A socket in another network namespace, which it keeps.
fn listen_in(netns: &Path) -> TcpListener {
    let netns = File::open(netns).expect("a network namespace");
    let bound = std::thread::spawn(move || {
        // Only this thread moves, and it ends at once.
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("as root");
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")
    });
    bound.join().expect("no panic")
}

fn collector(netns: &Path) -> (SocketAddr, Receiver<Received>) {
    let listener = listen_in(netns);
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("set");
    let (sender, received) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let collector = Collector(sender);
            let gzip = CompressionEncoding::Gzip;
            Server::builder()
                .add_service(LogsServiceServer::new(collector.clone()).accept_compressed(gzip))
                .add_service(MetricsServiceServer::new(collector).accept_compressed(gzip))
                .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener))
                .await
        })
    });
    (address, received)
}

/// An attribute's text.
fn attribute<'a>(record: &'a LogRecord, name: &str) -> Option<&'a str> {
    let found = record.attributes.iter().find(|one| one.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The first of what arrives that fits.
fn until<T>(received: &Receiver<Received>, fits: impl Fn(&Received) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut others = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(one) = received.recv_timeout(left) else {
            panic!("only {others:#?}");
        };
        match fits(&one) {
            Some(found) => return found,
            None => others.push(one),
        }
    }
}

#[test]
fn findings_failures_and_metrics_arrive_at_a_collector_and_in_a_file() {
    let stage = Stage::new(ProxyMode::Iptables);
    let (address, received) = collector(&stage.lab.node_netns(NODE).expect("a node"));
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("events.json");
    let program = program().to_str().expect("UTF-8");
    let mut command = stage.on_node(NODE, &[program, "agent", "--node-name", NODE]);
    command
        .arg("--inventory")
        .arg(stage.lab.inventory_file())
        .arg("--socket")
        .arg(directory.path().join("agent.sock"))
        .args([
            "--otlp",
            &format!("http://{address}"),
            "--otlp-metrics",
            "1s",
        ])
        .arg("--events")
        .arg(&file);
    let mut agent = Running::start(&mut command);
    agent.wait_for("the agent serves", |agent| agent.says("serving on unix:"));

    let name = "clusterip-apache2-ds-myns";
    let asked = stage.run_in(CLIENT, &["getent", "hosts", name]);
    assert!(!asked.status.success(), "{asked:?}");
    let log = |fits: fn(&LogRecord) -> bool| {
        until(&received, move |one| match one {
            Received::Log(record) if fits(record) => Some(record.clone()),
            _ => None,
        })
    };
    // The failure comes first, then its cause.
    let failure = log(|record| record.event_name == "lookup");
    assert_eq!(attribute(&failure, "dns.question.name"), Some(name));
    assert_eq!(attribute(&failure, "error.type"), Some("nxdomain"));
    assert_eq!(attribute(&failure, "k8s.pod.name"), Some("deb-ubuntu"));
    let finding = log(|record| record.event_name == "nxdomain-other-namespace");
    assert_eq!(attribute(&finding, "k8s.namespace.name"), Some("default"));
    let body = finding.body.and_then(|body| body.value);
    let Some(Any::StringValue(headline)) = body else {
        panic!("a text: {body:?}");
    };
    assert!(
        headline.contains("use clusterip-apache2-ds-myns.myns"),
        "{headline}"
    );
    until(&received, |one| match one {
        Received::Metric(name) if name == "tracer_workload_lookups_total" => Some(()),
        _ => None,
    });

    assert_eq!(agent.stop(Signal::TERM), Some(0));
    let text = fs::read_to_string(&file).expect("the file");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(!lines.is_empty());
    assert!(
        lines.iter().all(|line| line["type"] != "lookup"),
        "findings only: {text}"
    );
    let found = lines
        .iter()
        .find(|line| line["rule"] == "nxdomain-other-namespace");
    let found = found.expect("the finding");
    assert_eq!(found["headline"], headline.as_str());
    assert_eq!(found["pod"]["name"], "deb-ubuntu");
    let mode = fs::metadata(&file).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
