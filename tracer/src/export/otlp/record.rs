//! An event as a log record: its time, severity, name, body and attributes.
//!
//! The names of attributes are OpenTelemetry's semantic conventions where those have one, else `tracer.…`.
//! A test compares them with docs/export.md.

use std::net::IpAddr;

use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_semantic_conventions::attribute as semconv;

use super::attributes::{self, Attributes};
use super::nanoseconds;
use tracer_core::model::connection::{TcpConnection, UdpFlow};
use tracer_core::model::dns::{rcode_mnemonic, type_mnemonic};
use tracer_core::model::echo::Echo;
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::exchange::Exchange;
use tracer_core::model::finding::{Finding, Severity};
use tracer_core::model::flow::{Protocol, Role};
use tracer_core::model::identity::{PeerEnd, PodIdentity};
use tracer_core::model::lookup::Lookup;
use tracer_core::model::loss::Loss;
use tracer_core::model::observation::IcmpError;
use tracer_core::model::printable::safe;
use tracer_core::model::sentence::Sentence;
use tracer_core::model::signal::PacketDrop;
use tracer_core::model::time::Timestamp;
use tracer_core::view::text::one_line;
use tracer_core::view::{WallClock, filter, words};

/// The record of an event that was emitted at this time. `sample` is the share of events like it that are
/// exported.
pub(super) fn record(
    event: &Event,
    emitted: Timestamp,
    clock: &dyn WallClock,
    sample: Option<f64>,
) -> LogRecord {
    let (severity, severity_text) = severity(&event.body);
    let mut attributes = Attributes::default();
    if let Some(ends) = &event.ends {
        both_ends(&mut attributes, ends);
    }
    attributes.flag("tracer.incomplete", event.incomplete);
    if let Some(share) = sample {
        attributes.float("tracer.sample", share);
    }
    let failed = filter::failed(&event.body);
    if let Some(outcome) = words::outcome(&event.body) {
        attributes.text("tracer.outcome", outcome);
        if failed && !matches!(event.body, Body::Finding(_)) {
            attributes.text(semconv::ERROR_TYPE, outcome);
        }
    }
    if let Some(took) = filter::took(&event.body) {
        attributes.float("tracer.duration", took.as_secs_f64());
    }
    let mut time = event.time;
    let mut body = None;
    let mut name = words::kind(&event.body);
    match &event.body {
        Body::Dns(exchange, _) => dns(&mut attributes, exchange),
        Body::Lookup(lookup) => resolver_call(&mut attributes, lookup),
        Body::Tcp(connection) => tcp(&mut attributes, connection),
        Body::Udp(flow) => udp(&mut attributes, flow),
        Body::Echo(run) => echo(&mut attributes, run),
        Body::IcmpError(error) => icmp_error(&mut attributes, error),
        Body::Drop(drop) => dropped(&mut attributes, drop),
        Body::Finding(finding) => {
            time = finding.last;
            name = finding.rule;
            body = Some(safe(&finding.headline.to_string()).into_owned());
            let first = clock.wall(finding.first).to_string();
            attributes.text("tracer.finding.first", first);
            conclusion(&mut attributes, finding);
        }
        Body::Lost(loss) => lost(&mut attributes, loss),
    }
    LogRecord {
        time_unix_nano: nanoseconds(clock.wall(time)),
        observed_time_unix_nano: nanoseconds(clock.wall(emitted)),
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        body: Some(attributes::text(body.unwrap_or_else(|| one_line(event)))),
        attributes: attributes.into_list(),
        event_name: name.to_owned(),
        ..LogRecord::default()
    }
}

/// Findings keep their severity until they are resolved. A failure alone is a warning: only a finding says
/// that something does not work.
fn severity(body: &Body) -> (SeverityNumber, &'static str) {
    const INFO: (SeverityNumber, &str) = (SeverityNumber::Info, "INFO");
    const WARN: (SeverityNumber, &str) = (SeverityNumber::Warn, "WARN");
    const ERROR: (SeverityNumber, &str) = (SeverityNumber::Error, "ERROR");
    match body {
        Body::Finding(finding) if finding.is_resolved() => INFO,
        Body::Finding(finding) => match finding.severity {
            Severity::Info => INFO,
            Severity::Warning => WARN,
            Severity::Error => ERROR,
        },
        body if filter::failed(body) => WARN,
        _ => INFO,
    }
}

fn both_ends(attributes: &mut Attributes, ends: &Ends) {
    let Ends {
        role, pod, peer, ..
    } = ends;
    if let Ok(identity) = &pod.identity {
        pod_identity(attributes, identity);
    }
    attributes.text("tracer.direction", words::direction(*role));
    let peer_address = peer_address(peer);
    let pod_address = pod.ip.to_string();
    let (client, client_port, server, server_port) = match role {
        Role::Client => (pod_address, pod.port, peer_address, peer.port),
        Role::Server => (peer_address, peer.port, pod_address, pod.port),
    };
    attributes.text(semconv::CLIENT_ADDRESS, client);
    attributes.text(semconv::SERVER_ADDRESS, server);
    for (key, port) in [
        (semconv::CLIENT_PORT, client_port),
        (semconv::SERVER_PORT, server_port),
        (semconv::NETWORK_PEER_PORT, peer.port),
    ] {
        if let Some(port) = port {
            attributes.number(key, port);
        }
    }
    attributes.text(semconv::NETWORK_PEER_ADDRESS, peer.ip.to_string());
    let family = match peer.ip {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    };
    attributes.text(semconv::NETWORK_TYPE, family);
    if let Some(pod) = peer.any_pod() {
        attributes.text("tracer.peer.pod.namespace", &*pod.namespace);
        attributes.text("tracer.peer.pod.name", &*pod.name);
    }
    if let Some(service) = &peer.service {
        attributes.text("tracer.peer.service.namespace", &*service.namespace);
        attributes.text("tracer.peer.service.name", &*service.name);
    }
    if let Some(node) = &peer.node {
        attributes.text("tracer.peer.node.name", &**node);
    }
}

/// The name that the pod resolved to the address, as the conventions ask for; else the address.
fn peer_address(peer: &PeerEnd) -> String {
    match peer.names.first() {
        Some(name) => name.relative().to_owned(),
        None => peer.ip.to_string(),
    }
}

fn pod_identity(attributes: &mut Attributes, pod: &PodIdentity) {
    attributes.text(semconv::K8S_NAMESPACE_NAME, &*pod.namespace);
    attributes.text(semconv::K8S_POD_NAME, &*pod.name);
    attributes.text(semconv::K8S_POD_UID, &*pod.uid);
    let Some(workload) = &pod.workload else {
        return;
    };
    let convention = match &*workload.kind {
        "CronJob" => Some(semconv::K8S_CRONJOB_NAME),
        "DaemonSet" => Some(semconv::K8S_DAEMONSET_NAME),
        "Deployment" => Some(semconv::K8S_DEPLOYMENT_NAME),
        "Job" => Some(semconv::K8S_JOB_NAME),
        "ReplicaSet" => Some(semconv::K8S_REPLICASET_NAME),
        "StatefulSet" => Some(semconv::K8S_STATEFULSET_NAME),
        _ => None,
    };
    if let Some(key) = convention {
        attributes.text(key, &*workload.name);
    }
    attributes.text("tracer.workload.kind", &*workload.kind);
    attributes.text("tracer.workload.name", &*workload.name);
}

fn dns(attributes: &mut Attributes, exchange: &Exchange) {
    attributes.text(semconv::NETWORK_PROTOCOL_NAME, "dns");
    attributes.text(semconv::NETWORK_TRANSPORT, exchange.transport.as_str());
    if let Some(question) = &exchange.question {
        attributes.text(semconv::DNS_QUESTION_NAME, question.name.relative());
        let qtype = type_mnemonic(question.qtype).into_owned();
        attributes.texts("tracer.dns.question.types", [qtype]);
    }
    if let Some(rcode) = exchange.rcode {
        attributes.text("tracer.dns.rcode", rcode_mnemonic(rcode));
    }
    let answers = exchange.answers.iter().map(|answer| answer.data.clone());
    attributes.texts(semconv::DNS_ANSWERS, answers);
    attributes.number("tracer.dns.queries", exchange.attempts);
    attributes.flag("tracer.dns.late", exchange.late);
}

fn resolver_call(attributes: &mut Attributes, lookup: &Lookup) {
    attributes.text(semconv::NETWORK_PROTOCOL_NAME, "dns");
    // While only one candidate was seen, what was asked for is not known.
    let first = lookup.steps.first().map(|step| step.name.relative());
    let asked = lookup.asked.as_deref().or(first);
    attributes.text(semconv::DNS_QUESTION_NAME, asked.unwrap_or_default());
    let qtypes = lookup.qtypes.iter();
    attributes.texts(
        "tracer.dns.question.types",
        qtypes.map(|qtype| type_mnemonic(*qtype).into_owned()),
    );
    let data = lookup.steps.iter().flat_map(|step| step.data.clone());
    attributes.texts(semconv::DNS_ANSWERS, data);
    attributes.number("tracer.dns.queries", lookup.queries);
    attributes.texts("tracer.dns.candidates", candidates(lookup));
}

/// The names that were queried, each once, in their order.
fn candidates(lookup: &Lookup) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for step in &lookup.steps {
        let name = step.name.as_str();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn tcp(attributes: &mut Attributes, connection: &TcpConnection) {
    attributes.text(semconv::NETWORK_TRANSPORT, "tcp");
    attributes.number("tracer.tcp.syn_retransmits", connection.syn_retransmits);
    if let Some(segments) = connection.totals.retransmits {
        attributes.number("tracer.tcp.retransmits", segments);
    }
    attributes.number("tracer.tx.bytes", connection.totals.tx.bytes);
    attributes.number("tracer.rx.bytes", connection.totals.rx.bytes);
}

fn udp(attributes: &mut Attributes, flow: &UdpFlow) {
    attributes.text(semconv::NETWORK_TRANSPORT, "udp");
    attributes.number("tracer.tx.bytes", flow.totals.tx.bytes);
    attributes.number("tracer.rx.bytes", flow.totals.rx.bytes);
}

fn echo(attributes: &mut Attributes, echo: &Echo) {
    attributes.text(semconv::NETWORK_PROTOCOL_NAME, "icmp");
    attributes.number("tracer.ping.sent", echo.sent);
    attributes.number("tracer.ping.received", echo.received);
    attributes.number("tracer.ping.errors", echo.errors);
}

fn icmp_error(attributes: &mut Attributes, error: &IcmpError) {
    attributes.text(semconv::NETWORK_PROTOCOL_NAME, "icmp");
    attributes.number("tracer.icmp.type", error.icmp_type);
    attributes.number("tracer.icmp.code", error.icmp_code);
    let about = error.about.protocol;
    if matches!(about, Protocol::Tcp | Protocol::Udp) {
        attributes.text(semconv::NETWORK_TRANSPORT, words::protocol(about));
    }
}

fn dropped(attributes: &mut Attributes, dropped: &PacketDrop) {
    attributes.text(
        semconv::NETWORK_TRANSPORT,
        words::protocol(dropped.tuple.protocol),
    );
    attributes.text("tracer.drop.reason", safe(dropped.reason).into_owned());
    attributes.number("tracer.drop.unreported", dropped.unreported);
}

fn conclusion(attributes: &mut Attributes, finding: &Finding) {
    attributes.text("tracer.rule", finding.rule);
    attributes.text("tracer.finding.id", finding.id.as_str());
    attributes.text("tracer.finding.severity", words::severity(finding.severity));
    attributes.number("tracer.finding.count", finding.count);
    attributes.number("tracer.finding.of", finding.of);
    attributes.text("tracer.finding.summary", finding.summary.to_string());
    if let Some(fix) = &finding.fix {
        attributes.text("tracer.finding.fix", fix.to_string());
    }
    let texts = |sentences: &[Sentence]| -> Vec<String> {
        sentences.iter().map(Sentence::to_string).collect()
    };
    attributes.texts("tracer.finding.why", texts(&finding.why));
    attributes.texts("tracer.finding.try", texts(&finding.remedies));
    attributes.texts("tracer.finding.evidence", texts(&finding.evidence));
    let names = finding.names.iter().map(|name| name.to_string());
    attributes.texts("tracer.finding.names", names);
}

fn lost(attributes: &mut Attributes, loss: &Loss) {
    attributes.text("tracer.lost.stage", loss.stage.as_str());
    attributes.text("tracer.lost.reason", loss.reason);
    attributes.number("tracer.lost.count", loss.count);
}
