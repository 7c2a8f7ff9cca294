//! One agent and the connection to it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, AttachedProcess};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tracer_core::model::error_chain::{error_chain, one_line};

use super::cluster::AgentPod;
use super::unix_socket;

/// Interval of HTTP/2 pings, and how long an answer may take before the agent counts as gone. Without pings,
/// an API server or a proxy in between would cut a quiet connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes kept of a relay's standard error.
const MAX_COMPLAINT: u64 = 2048;

/// PEM files for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that may have issued the agent's certificate.
    pub authorities: Option<PathBuf>,
    /// The client's certificate.
    pub certificate: Option<PathBuf>,
    /// The key of the client's certificate.
    pub key: Option<PathBuf>,
    /// The name in the agent's certificate, if it differs from the host in the address.
    pub name: Option<String>,
}

/// One agent.
#[derive(Clone)]
pub enum Target {
    /// A unix socket on this machine.
    Unix(PathBuf),
    /// An address with TLS.
    Tls {
        /// `https://host:port`.
        url: String,
        /// The certificates.
        files: TlsFiles,
    },
    /// A pod, through the API server.
    Pod {
        /// The client for the API server.
        client: kube::Client,
        /// The pod.
        pod: AgentPod,
    },
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Unix(one), Target::Unix(other)) => one == other,
            (
                Target::Tls { url, files },
                Target::Tls {
                    url: other_url,
                    files: other_files,
                },
            ) => url == other_url && files == other_files,
            (Target::Pod { pod, .. }, Target::Pod { pod: other, .. }) => pod == other,
            _ => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Tls { url, .. } => f.write_str(url),
            Target::Pod { pod, .. } => write!(f, "pod {}/{}", pod.namespace, pod.name),
        }
    }
}

/// Why an agent cannot be reached, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

impl Target {
    /// Parses `unix:PATH`, a path, or `https://HOST:PORT`.
    pub fn parse(written: &str, files: &TlsFiles) -> Result<Target, Unreachable> {
        if let Some(path) = written.strip_prefix("unix:") {
            // Other programs write unix:///run/x.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(Unreachable("unix: needs the path of a socket".to_owned())),
                path => Ok(Target::Unix(path.into())),
            };
        }
        if written.starts_with('/') || written.starts_with("./") {
            return Ok(Target::Unix(written.into()));
        }
        let has_host = |url: &str| {
            url.parse::<Uri>()
                .is_ok_and(|uri| uri.host().is_some() && uri.port().is_some())
        };
        match written.split_once("://") {
            Some(("https", _)) if has_host(written) => Ok(Target::Tls {
                url: written.to_owned(),
                files: files.clone(),
            }),
            Some(("http", _)) => Err(Unreachable(
                "an agent serves addresses only with TLS: use https://HOST:PORT".to_owned(),
            )),
            _ => Err(Unreachable(
                "the address of an agent is unix:PATH or https://HOST:PORT".to_owned(),
            )),
        }
    }

    /// The node, where it is known before the agent answers.
    pub fn node(&self) -> Option<&str> {
        match self {
            Target::Pod { pod, .. } => Some(&pod.node),
            Target::Unix(_) | Target::Tls { .. } => None,
        }
    }

    /// Connects to the agent.
    pub async fn connect(&self) -> Result<Channel, Unreachable> {
        match self {
            Target::Unix(path) => {
                let socket = unix_socket::connect(path).await?;
                grpc_over(TokioIo::new(socket)).await
            }
            Target::Tls { url, files } => {
                let endpoint = Endpoint::from_shared(url.clone())
                    .and_then(|endpoint| {
                        let tls = client_tls(files).map_err(TlsError::File);
                        match tls {
                            Ok(tls) => endpoint.tls_config(tls).map(Ok),
                            Err(error) => Ok(Err(error)),
                        }
                    })
                    .map_err(|error| Unreachable(error_chain(&error)))?
                    .map_err(|TlsError::File(error)| error)?;
                with_keep_alive(endpoint)
                    .connect()
                    .await
                    .map_err(|error| Unreachable(error_chain(&error)))
            }
            Target::Pod { client, pod } => {
                let pods: kube::Api<Pod> = kube::Api::namespaced(client.clone(), &pod.namespace);
                let parameters = AttachParams::default()
                    .container(&pod.container)
                    .stdin(true)
                    .stdout(true)
                    .stderr(true);
                let process = pods
                    .exec(&pod.name, ["tracer", "relay"], &parameters)
                    .await
                    .map_err(|error| Unreachable(no_exec(&error)))?;
                let (relay, complaint) = Relay::new(process)?;
                grpc_over(TokioIo::new(relay)).await.map_err(|error| {
                    match complaint.lock().trim() {
                        "" => error,
                        complaint => Unreachable(one_line(complaint)),
                    }
                })
            }
        }
    }
}

enum TlsError {
    File(Unreachable),
}

fn no_exec(error: &kube::Error) -> String {
    let reason = error_chain(error);
    if reason.contains("403") || reason.contains("orbidden") {
        format!(
            "exec is not allowed ({reason}): it needs get and create on pods/exec in the agent's namespace, as in the Role \
             tracer-stream in deploy/"
        )
    } else {
        reason
    }
}

fn with_keep_alive(endpoint: Endpoint) -> Endpoint {
    endpoint
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

/// Speaks gRPC over an open connection.
async fn grpc_over<T>(connected: TokioIo<T>) -> Result<Channel, Unreachable>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut connected = Some(connected);
    // The address is unused, because there is only this connection. To reconnect, call `Target::connect`
    // again.
    with_keep_alive(Endpoint::from_static("http://agent.invalid"))
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let connected = connected.take();
            async move {
                connected.ok_or_else(|| io::Error::other("the connection to the agent is closed"))
            }
        }))
        .await
        .map_err(|error| Unreachable(error_chain(&error)))
}

fn client_tls(files: &TlsFiles) -> Result<ClientTlsConfig, Unreachable> {
    let read = |option: &str, path: &PathBuf| {
        std::fs::read(path).map_err(|error| {
            Unreachable(format!(
                "cannot read {} ({option}): {error}",
                path.display()
            ))
        })
    };
    let Some(authorities) = &files.authorities else {
        return Err(Unreachable(
            "use --tls-ca FILE to name the authority that issued the agent's certificate"
                .to_owned(),
        ));
    };
    let mut config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("--tls-ca", authorities)?));
    if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
        config = config.identity(Identity::from_pem(
            read("--tls-cert", certificate)?,
            read("--tls-key", key)?,
        ));
    }
    if let Some(name) = &files.name {
        config = config.domain_name(name.clone());
    }
    Ok(config)
}

/// Standard input and output of `tracer relay` in the agent's pod. Dropping it ends the process.
struct Relay<R, W> {
    reader: R,
    writer: W,
    _process: AttachedProcess,
}

type Complaint = Arc<Mutex<String>>;

impl Relay<(), ()> {
    fn new(
        mut process: AttachedProcess,
    ) -> Result<
        (
            Relay<impl AsyncRead + Send + Unpin, impl AsyncWrite + Send + Unpin>,
            Complaint,
        ),
        Unreachable,
    > {
        let (Some(reader), Some(writer)) = (process.stdout(), process.stdin()) else {
            return Err(Unreachable(
                "the API server opened no standard input and output".to_owned(),
            ));
        };
        let complaint = Complaint::default();
        if let Some(stderr) = process.stderr() {
            let sink = Arc::clone(&complaint);
            tokio::spawn(async move {
                let mut stderr = stderr.take(MAX_COMPLAINT);
                let mut bytes = [0; 256];
                while let Ok(read @ 1..) = stderr.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..read]);
                    sink.lock().push_str(&text);
                }
                // Discards the rest: a full pipe would block the relay.
                let _ = tokio::io::copy(stderr.get_mut(), &mut tokio::io::sink()).await;
            });
        }
        let relay = Relay {
            reader,
            writer,
            _process: process,
        };
        Ok((relay, complaint))
    }
}

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for Relay<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for Relay<R, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_a_socket_or_an_address_with_tls() {
        let parse = |written: &str| Target::parse(written, &TlsFiles::default());
        for (written, shown) in [
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("/run/a.sock", "unix:/run/a.sock"),
            ("./a.sock", "unix:./a.sock"),
            ("https://node:4245", "https://node:4245"),
            ("https://[fd00::1]:4245", "https://[fd00::1]:4245"),
        ] {
            assert_eq!(parse(written).expect(written).to_string(), shown);
        }
        for (written, expected) in [
            ("http://node:4245", "TLS"),
            ("https://node", "https://HOST:PORT"),
            ("node:4245", "unix:PATH"),
            ("unix:", "path"),
            ("", "unix:PATH"),
        ] {
            let error = parse(written).expect_err(written).to_string();
            assert!(error.contains(expected), "{written}: {error}");
        }
    }
}
