//! One agent and the way to it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use super::causes;
use super::cluster::AgentPod;

/// Without an answer to a ping for so long the agent is gone. What lies between (an API server, a proxy) would otherwise
/// cut a quiet connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// What a relay says on standard error, as far as it is kept.
const COMPLAINT: u64 = 2048;

/// Files for TLS, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whose certificates the agent's must come from.
    pub authorities: Option<PathBuf>,
    /// The client's certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name that the agent's certificate is for, if it is not the address's.
    pub name: Option<String>,
}

/// One agent.
#[derive(Clone)]
pub enum Target {
    /// On this machine.
    Unix(PathBuf),
    /// At an address.
    Tls {
        /// `https://host:port`.
        url: String,
        /// Certificates.
        files: TlsFiles,
    },
    /// In a pod, through the API server.
    Pod {
        /// The way to the API server.
        client: kube::Client,
        /// Which.
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

/// What was wrong with the way to an agent, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

impl Target {
    /// `unix:PATH`, a path, or `https://HOST:PORT`.
    pub fn parse(written: &str, files: &TlsFiles) -> Result<Target, Unreachable> {
        if let Some(path) = written.strip_prefix("unix:") {
            // unix:///run/x, as other programs write it.
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
                "an agent serves on an address with TLS only: write https://HOST:PORT".to_owned(),
            )),
            _ => Err(Unreachable(
                "an agent is unix:PATH or https://HOST:PORT".to_owned(),
            )),
        }
    }

    /// The node, where it is known before the agent says it.
    pub fn node(&self) -> Option<&str> {
        match self {
            Target::Pod { pod, .. } => Some(&pod.node),
            Target::Unix(_) | Target::Tls { .. } => None,
        }
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Channel, Unreachable> {
        match self {
            Target::Unix(path) => {
                let socket = tokio::net::UnixStream::connect(path)
                    .await
                    .map_err(|error| Unreachable(no_socket(&error)))?;
                over(TokioIo::new(socket)).await
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
                    .map_err(|error| Unreachable(causes(&error)))?
                    .map_err(|TlsError::File(error)| error)?;
                alive(endpoint)
                    .connect()
                    .await
                    .map_err(|error| Unreachable(causes(&error)))
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
                over(TokioIo::new(relay)).await.map_err(|error| {
                    let complaint = complaint.lock().unwrap_or_else(PoisonError::into_inner);
                    match complaint.trim() {
                        "" => error,
                        said => Unreachable(super::one_line(said)),
                    }
                })
            }
        }
    }
}

enum TlsError {
    File(Unreachable),
}

fn no_socket(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket: does `tracer agent` run?".to_owned(),
        io::ErrorKind::ConnectionRefused => {
            "nobody listens on the socket: `tracer agent` has ended".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "the socket is for the user that the agent runs as, mostly root".to_owned()
        }
        _ => error.to_string(),
    }
}

fn no_exec(error: &kube::Error) -> String {
    let said = causes(error);
    if said.contains("403") || said.contains("orbidden") {
        format!(
            "exec is not allowed ({said}): it needs get and create on pods/exec in the agent's namespace, as in the Role \
             tracer-stream of deploy/"
        )
    } else {
        said
    }
}

fn alive(endpoint: Endpoint) -> Endpoint {
    endpoint
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

/// gRPC over what is connected already.
async fn over<T>(connected: TokioIo<T>) -> Result<Channel, Unreachable>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut connected = Some(connected);
    // The address is not used: there is one connection, and a second one is made by whoever owns the target.
    alive(Endpoint::from_static("http://agent.invalid"))
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let connected = connected.take();
            async move {
                connected.ok_or_else(|| io::Error::other("the connection to the agent is gone"))
            }
        }))
        .await
        .map_err(|error| Unreachable(causes(&error)))
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
            "give --tls-ca FILE: the authority that the agent's certificate comes from".to_owned(),
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

/// Standard input and output of `tracer relay` in the agent's pod. The process ends with it.
struct Relay<R, W> {
    from: R,
    to: W,
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
        let (Some(from), Some(to)) = (process.stdout(), process.stdin()) else {
            return Err(Unreachable(
                "the API server gave no standard input and output".to_owned(),
            ));
        };
        let complaint = Complaint::default();
        if let Some(stderr) = process.stderr() {
            let said = Arc::clone(&complaint);
            tokio::spawn(async move {
                let mut stderr = stderr.take(COMPLAINT);
                let mut bytes = [0; 256];
                while let Ok(read @ 1..) = stderr.read(&mut bytes).await {
                    said.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push_str(&String::from_utf8_lossy(&bytes[..read]));
                }
                // The rest is read and forgotten: a full pipe would stop the relay.
                let _ = tokio::io::copy(stderr.get_mut(), &mut tokio::io::sink()).await;
            });
        }
        let relay = Relay {
            from,
            to,
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
        Pin::new(&mut self.from).poll_read(context, buffer)
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for Relay<R, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(context)
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
        for (written, says) in [
            ("http://node:4245", "TLS"),
            ("https://node", "https://HOST:PORT"),
            ("node:4245", "unix:PATH"),
            ("unix:", "path"),
            ("", "unix:PATH"),
        ] {
            let error = parse(written).expect_err(written).to_string();
            assert!(error.contains(says), "{written}: {error}");
        }
    }
}
