//! The OpenTelemetry Collector reads what the agent sends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::export::metrics::{Build, Metrics};

/// Ends the collector with the test.
struct Collector(Child);

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a collector that prints what it receives.
fn start(program: &str, address: SocketAddr) -> (Collector, std::sync::mpsc::Receiver<String>) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("collector.yaml");
    let text = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{address}'}}}}}}}}\n\
         exporters: {{debug: {{verbosity: detailed}}}}\n\
         service:\n  \
           telemetry: {{metrics: {{level: none}}}}\n  \
           pipelines:\n    \
             logs: {{receivers: [otlp], exporters: [debug]}}\n    \
             metrics: {{receivers: [otlp], exporters: [debug]}}\n"
    );
    std::fs::write(&path, text).expect("written");
    let mut child = Command::new(program)
        .arg("--config")
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the collector starts");
    let output = child.stderr.take().expect("its output");
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Kept until the collector has read it.
        let _directory = directory;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (Collector(child), lines)
}

/// The output up to the line that has all of this in it.
fn until(lines: &std::sync::mpsc::Receiver<String>, text: &str, output: &mut String) {
    let deadline = Instant::now() + PATIENCE;
    while !output.contains(text) {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                output.push_str(line.trim_start());
                output.push('\n');
            }
            Err(_) => panic!("no {text:?} in the collector's output:\n{output}"),
        }
    }
}

/// Runs by hand: CONTRIBUTING.md has the commands that build a collector and run this.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenTelemetry Collector: TRACER_OTELCOL=PATH"]
async fn the_opentelemetry_collector_reads_findings_failures_and_metrics() {
    let program = std::env::var("TRACER_OTELCOL").expect("TRACER_OTELCOL names a collector");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let mut config = config(
        format!("http://{address}"),
        &[EventClass::Findings, EventClass::Failed],
    );
    config.metrics_every = Some(Duration::from_secs(1));
    let (otlp, logs, periodic) = new(&config, &origin()).expect("a valid target");
    let build = Build {
        version: "1.2.3".to_owned(),
        commit: "c0ffee".to_owned(),
    };
    let all = Metrics::new(false, &build, jiff::Timestamp::now());
    for (_, event) in gallery::all() {
        otlp.offer(&event, event.time, &gallery::clock());
        all.observe(&event);
    }
    // The export begins before the collector listens.
    let logs = tokio::spawn(logs.run());
    tokio::spawn(periodic.expect("metrics").run(Arc::new(all)));
    let (_collector, lines) = start(&program, address);
    let counters = Arc::clone(&otlp.counters);
    let mut output = String::new();
    until(&lines, "EventName: nxdomain-other-namespace\n", &mut output);
    until(
        &lines,
        "-> tracer.finding.evidence: Slice([\"4 candidates, 4 NXDOMAIN\"])\n",
        &mut output,
    );
    until(&lines, "Name: tracer_dns_latency_seconds\n", &mut output);
    until(&lines, "Value: 1.000000\n", &mut output);
    for expected in [
        "-> service.name: Str(tracer)\n",
        "-> k8s.node.name: Str(worker-1)\n",
        "SeverityText: ERROR\n",
        "SeverityNumber: Error(17)\n",
        "SeverityNumber: Warn(13)\n",
        "Body: Str(default/deb-ubuntu can't resolve \"clusterip-apache2-ds-myns\": the Service is in namespace \
         myns; use clusterip-apache2-ds-myns.myns)\n",
        "-> k8s.pod.name: Str(deb-ubuntu)\n",
        "-> dns.question.name: Str(",
        "-> server.port: Int(53)\n",
        "EventName: lookup\n",
        "EventName: tcp\n",
        "Name: tracer_dns_exchanges_total\n",
        "DataType: Histogram\n",
        "IsMonotonic: true\n",
        "AggregationTemporality: Cumulative\n",
        "Timestamp: 2026-03-01 12:01:03.126 +0000 UTC\n",
    ] {
        until(&lines, expected, &mut output);
    }
    drop(otlp);
    logs.await.expect("no panic");
    let totals = counters.totals();
    assert_eq!(totals.failed + totals.rejected + totals.dropped, 0);
    assert!(totals.sent > 20 && totals.metrics_sent > 0, "{totals:?}");
}
