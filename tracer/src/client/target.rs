//! One agent and the connection to it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tracer_core::model::error_chain::error_chain;

use super::unix_socket;

/// Interval of HTTP/2 pings, and how long an answer may take before the agent counts as gone. Without pings,
/// an API server or a proxy in between would cut a quiet connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Tls { url, .. } => f.write_str(url),
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
        }
    }
}

enum TlsError {
    File(Unreachable),
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
