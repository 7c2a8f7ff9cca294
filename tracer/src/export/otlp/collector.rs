//! The connection to the collector: TLS, headers, requests, and what their failures mean.

use std::error::Error as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use tracer_core::model::error_chain::{error_chain, root_cause};
use tracer_core::model::printable::safe_prefix;

/// Time limit of a request: the default of the OTLP exporters of all languages.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of a connection attempt.
const CONNECT: Duration = Duration::from_secs(5);
/// What a log line quotes of a message from outside.
const MAX_MESSAGE: usize = 300;
/// The size of the headers' file that is not a mistake.
const MAX_HEADERS: u64 = 64 << 10;

/// Where the collector is and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its URL: `http://` or `https://`, a host and a port.
    pub url: String,
    /// A file with the authorities that sign its certificate; without one, those of the system.
    pub ca: Option<PathBuf>,
    /// A file of headers for each request, `name: value` lines.
    pub headers: Option<PathBuf>,
}

/// Why the options of OTLP cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A file cannot be read.
    #[error("cannot read {}, which {option} names: {source}", path.display())]
    Read {
        /// The option.
        option: &'static str,
        /// Its value.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of the headers' file is none.
    #[error("{}: line {line}: expected `name: value`, an HTTP header", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The line's number.
        line: usize,
    },
    /// The file of headers is too large.
    #[error("{}: larger than {MAX_HEADERS} bytes; --otlp-headers expects a few `name: value` lines", path.display())]
    HeadersSize {
        /// The file.
        path: PathBuf,
    },
    /// The URL or the certificates are not usable.
    #[error("cannot export to {url}: {why}")]
    Unusable {
        /// The URL.
        url: String,
        /// Why.
        why: String,
    },
}

/// A collector. Connects with the first request, and again after a failure.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    channel: Channel,
    headers: MetadataMap,
}

/// What the collector did with the items of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Items that it refused for good.
    pub rejected: u64,
    /// The reason, if it gave one.
    pub message: String,
}

impl Collector {
    /// Reads the files of a target. Needs a tokio runtime.
    pub fn new(target: &Target) -> Result<Collector, TargetError> {
        let unusable = |error: tonic::transport::Error| TargetError::Unusable {
            url: target.url.clone(),
            why: error_chain(&error),
        };
        let mut endpoint = Endpoint::from_shared(target.url.clone())
            .map_err(unusable)?
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT)
            .user_agent(concat!("tracer/", env!("CARGO_PKG_VERSION")))
            .map_err(unusable)?;
        if target.url.starts_with("https:") {
            let mut tls = ClientTlsConfig::new();
            tls = match &target.ca {
                None => tls.with_native_roots(),
                Some(path) => {
                    let pem = fs::read(path).map_err(|source| TargetError::Read {
                        option: "--otlp-ca",
                        path: path.clone(),
                        source,
                    })?;
                    tls.ca_certificate(Certificate::from_pem(pem))
                }
            };
            endpoint = endpoint.tls_config(tls).map_err(unusable)?;
        }
        Ok(Collector {
            channel: endpoint.connect_lazy(),
            headers: read_headers(target.headers.as_ref())?,
        })
    }

    // grpc-go compresses its answer as the request was, whether or not the client says that it accepts that.

    /// Sends log records.
    pub async fn send_logs(&self, logs: ExportLogsServiceRequest) -> Result<Answer, Status> {
        let mut client = LogsServiceClient::new(self.channel.clone())
            .send_compressed(Gzip)
            .accept_compressed(Gzip);
        let response = client.export(self.request(logs)).await?.into_inner();
        let partial = response.partial_success.unwrap_or_default();
        Ok(answer(partial.rejected_log_records, &partial.error_message))
    }

    /// Sends metrics.
    pub async fn send_metrics(
        &self,
        metrics: ExportMetricsServiceRequest,
    ) -> Result<Answer, Status> {
        let mut client = MetricsServiceClient::new(self.channel.clone())
            .send_compressed(Gzip)
            .accept_compressed(Gzip);
        let response = client.export(self.request(metrics)).await?.into_inner();
        let partial = response.partial_success.unwrap_or_default();
        Ok(answer(partial.rejected_data_points, &partial.error_message))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().clone_from(&self.headers);
        request
    }
}

fn answer(rejected: i64, message: &str) -> Answer {
    Answer {
        rejected: u64::try_from(rejected).unwrap_or_default(),
        message: safe_prefix(message, MAX_MESSAGE),
    }
}

fn read_headers(path: Option<&PathBuf>) -> Result<MetadataMap, TargetError> {
    let mut headers = MetadataMap::new();
    let Some(path) = path else {
        return Ok(headers);
    };
    let failed = |source| TargetError::Read {
        option: "--otlp-headers",
        path: path.clone(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_HEADERS {
        return Err(TargetError::HeadersSize { path: path.clone() });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The error never quotes the line: it may hold a token.
        let (name, mut value) = parse_header(line).ok_or_else(|| TargetError::Header {
            path: path.clone(),
            line: number + 1,
        })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn parse_header(line: &str) -> Option<(AsciiMetadataKey, AsciiMetadataValue)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim().to_ascii_lowercase();
    Some((name.parse().ok()?, value.trim().parse().ok()?))
}

/// Whether the same request may succeed later (OTLP specification, "Failures"). A request without an answer
/// counts: tonic reports some broken connections as `Unknown`.
pub(super) fn is_temporary(status: &Status) -> bool {
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Unknown => status.source().is_some(),
        _ => false,
    }
}

/// What failed and what to do about it.
pub(super) fn explain(status: &Status, url: &str, signal: &str) -> String {
    let mut why = status.message().to_owned();
    let mut chain = why.clone();
    if let Some(source) = status.source() {
        chain.push_str(&error_chain(source));
        // What lies between repeats the message.
        let cause = root_cause(source);
        if !why.contains(&cause) {
            let separator = if why.is_empty() { "" } else { ": " };
            why = format!("{why}{separator}{cause}");
        }
    }
    if why.is_empty() {
        why = status.code().description().to_owned();
    }
    let why = safe_prefix(&why, MAX_MESSAGE);
    let what_to_do = match status.code() {
        // Pods with hostNetwork use the node's resolver, unless their dnsPolicy says otherwise.
        _ if chain.contains("dns error") => {
            "The name cannot be resolved. An agent's pod uses the node's resolver, which knows no Services: set \
             dnsPolicy: ClusterFirstWithHostNet, or export to a collector on the node"
        }
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown => {
            "Check that a collector with an OTLP/gRPC receiver (port 4317 by default, not 4318) listens there \
             and that no network policy keeps the agent from it"
        }
        Code::Unauthenticated | Code::PermissionDenied => {
            "Check the credentials in the file of --otlp-headers"
        }
        Code::Unimplemented => match signal {
            "metrics" => {
                "Add the OTLP receiver to a metrics pipeline of the collector, or leave out --otlp-metrics"
            }
            _ => "Add the OTLP receiver to a logs pipeline of the collector",
        },
        Code::ResourceExhausted => {
            "The collector has too much to do, or a request is too large for it"
        }
        _ => "The collector's log may have the reason",
    };
    format!("cannot export {signal} to {url}: {why}. {what_to_do}")
}
