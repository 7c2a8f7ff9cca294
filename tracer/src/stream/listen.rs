//! Where an agent listens: on a unix socket, and with TLS on an address if one is configured.
//!
//! Owns the socket file: only its owner may connect, and it replaces the socket of an agent that has ended,
//! never that of a running one. Owns the certificate files too: an agent never listens on an address without
//! TLS.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use super::hub::Hub;
use super::proto::tracer_server::TracerServer;
use super::service::Service;
use crate::connections::{Connections, Limits};

/// Interval of HTTP/2 pings, and how long an answer may take. A client whose machine is gone is detected
/// after twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The limits of the TLS listener. A client needs one connection, and a few behind one address are usual.
pub const LIMITS: Limits = Limits {
    total: 128,
    per_peer: 48,
    first_request: Duration::from_secs(10),
    unread: Duration::from_secs(10),
};
/// Time for a whole request, and for its answer or the start of its stream.
const WHOLE_REQUEST: Duration = Duration::from_secs(30);
/// Size limit of a request: a filter with a few thousand names.
const REQUEST_BYTES: usize = 256 * 1024;
/// How long streams may take to send what is left when the agent ends.
const LAST_SEND: Duration = Duration::from_secs(2);

/// Why an agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another agent listens on the socket.
    #[error(
        "another agent listens on {}: stop it, or use another --socket (and --instance) for this one",
        path.display()
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// The path is taken by something else.
    #[error("{} exists and is not a socket: use another path for --socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be created.
    #[error("cannot {operation} {}", path.display())]
    Socket {
        /// The operation that failed.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// The file of a certificate or key cannot be read.
    #[error("cannot read {} (option {option})", path.display())]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// The certificates do not fit together.
    #[error("--tls-cert, --tls-key and --tls-client-ca do not fit together")]
    Tls {
        /// The error.
        #[source]
        source: tonic::transport::Error,
    },
}

/// An address with TLS to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsListen {
    /// The address.
    pub address: SocketAddr,
    /// The agent's certificate, PEM.
    pub certificate: PathBuf,
    /// The key of the certificate, PEM.
    pub key: PathBuf,
    /// The limits of its connections.
    pub limits: Limits,
    /// Authorities that must have issued a client's certificate, PEM; `None` if any client may connect.
    pub client_authorities: Option<PathBuf>,
}

/// A bound socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and inode of the file, so that another agent's file is never removed.
    file: (u64, u64),
}

impl Socket {
    /// Binds a socket at this path.
    pub fn bind(path: &Path) -> Result<Socket, ListenError> {
        let failed = |operation| {
            let path = path.to_path_buf();
            move |source| ListenError::Socket {
                operation,
                path,
                source,
            }
        };
        if let Some(directory) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(failed("create the directory of"))?;
        }
        if let Ok(metadata) = fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                let path = path.to_path_buf();
                return Err(ListenError::NotASocket { path });
            }
            if UnixStream::connect(path).is_ok() {
                let path = path.to_path_buf();
                return Err(ListenError::Taken { path });
            }
        }
        // Created under another name and moved: the socket is never open to other users, and it replaces an
        // old one.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        // Left over from an earlier process with the same id.
        let _ = fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished).map_err(failed("create the socket"))?;
        let created = fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))
            .and_then(|()| listener.set_nonblocking(true))
            .and_then(|()| fs::rename(&unfinished, path))
            .and_then(|()| fs::symlink_metadata(path));
        match created {
            Ok(metadata) => Ok(Socket {
                listener: Some(listener),
                path: path.to_path_buf(),
                file: (metadata.dev(), metadata.ino()),
            }),
            Err(source) => {
                let _ = fs::remove_file(&unfinished);
                Err(failed("create the socket")(source))
            }
        }
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let own = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if own {
            // If this fails, the next agent replaces the stale socket.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connections of the TLS address.
#[derive(Debug)]
struct Incoming {
    listener: tokio::net::TcpListener,
    connections: Connections,
}

/// The bound socket and address, before they are served.
#[derive(Debug)]
pub struct Listeners {
    socket: Socket,
    tls: Option<(Incoming, Server)>,
}

impl Listeners {
    /// Binds the socket and the address. Needs the tokio runtime that will run [`Listeners::serve`].
    pub fn bind(socket: &Path, tls: Option<&TlsListen>) -> Result<Listeners, ListenError> {
        let tls = match tls {
            None => None,
            Some(listen) => {
                let server = server()
                    .tls_config(server_tls(listen)?)
                    .map_err(|source| ListenError::Tls { source })?;
                let address = listen.address;
                let listener = std::net::TcpListener::bind(address)
                    .and_then(|listener| {
                        listener.set_nonblocking(true)?;
                        tokio::net::TcpListener::from_std(listener)
                    })
                    .map_err(|source| ListenError::Address { address, source })?;
                let connections = Connections::new(listen.limits);
                let incoming = Incoming {
                    listener,
                    connections,
                };
                Some((incoming, server))
            }
        };
        Ok(Listeners {
            socket: Socket::bind(socket)?,
            tls,
        })
    }

    /// Serves until the hub is closed and streams have sent what is left, within a fixed time.
    pub async fn serve(mut self, hub: Arc<Hub>, max_clients: usize) -> Result<(), ListenError> {
        let service = TracerServer::new(Service::new(Arc::clone(&hub), max_clients))
            .max_decoding_message_size(REQUEST_BYTES);
        let end = hub.closed();
        let mut servers = Vec::new();
        if let Some((incoming, mut server)) = self.tls.take() {
            let incoming = incoming.connections.accept(incoming.listener);
            let router = server.add_service(service.clone());
            let ended = closed(end.clone());
            let serving = router.serve_with_incoming_shutdown(incoming, ended);
            servers.push(tokio::spawn(logged("the address of --listen", serving)));
        }
        if let Some(listener) = self.socket.listener.take() {
            let path = self.socket.path.clone();
            let listener = tokio::net::UnixListener::from_std(listener).map_err(|source| {
                ListenError::Socket {
                    operation: "listen on",
                    path,
                    source,
                }
            })?;
            let router = server().add_service(service);
            let incoming = UnixListenerStream::new(listener);
            let ended = closed(end.clone());
            let serving = router.serve_with_incoming_shutdown(incoming, ended);
            servers.push(tokio::spawn(logged("the socket", serving)));
        }
        closed(end).await;
        // A client that does not read must not keep the agent from ending.
        let all = futures::future::join_all(servers);
        let _ = tokio::time::timeout(LAST_SEND, all).await;
        Ok(())
    }
}

/// Logs when a server ends by itself: the agent continues to trace, but clients get no answer.
async fn logged(place: &str, serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        let error: &dyn std::error::Error = &error;
        tracing::error!(
            error,
            "the server on {place} ended and clients cannot connect: restart the agent"
        );
    }
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(Some(64))
        .timeout(WHOLE_REQUEST)
}

async fn closed(mut end: watch::Receiver<bool>) {
    // An error means that the hub is gone.
    let _ = end.wait_for(|closed| *closed).await;
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, ListenError> {
    fs::read(path).map_err(|source| ListenError::File {
        option,
        path: path.to_path_buf(),
        source,
    })
}

fn server_tls(listen: &TlsListen) -> Result<ServerTlsConfig, ListenError> {
    let identity = Identity::from_pem(
        read("--tls-cert", &listen.certificate)?,
        read("--tls-key", &listen.key)?,
    );
    let config = ServerTlsConfig::new().identity(identity);
    Ok(match &listen.client_authorities {
        Some(authorities) => {
            config.client_ca_root(Certificate::from_pem(read("--tls-client-ca", authorities)?))
        }
        None => config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_connect_and_the_file_is_removed_at_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run/agent.sock");
        let socket = Socket::bind(&path).expect("bound");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a parent")), 0o700);
        UnixStream::connect(&path).expect("it listens");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_of_a_dead_agent_is_replaced_and_that_of_a_running_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agent.sock");
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        let first = Socket::bind(&path).expect("the stale one is replaced");
        let error = Socket::bind(&path).expect_err("it is taken");
        assert!(matches!(error, ListenError::Taken { .. }), "{error}");
        UnixStream::connect(&path).expect("the first one still listens");
        drop(first);
        Socket::bind(&path).expect("free again");
    }

    #[test]
    fn a_file_that_is_not_a_socket_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agent.sock");
        fs::write(&path, "precious").expect("written");
        let error = Socket::bind(&path).expect_err("refused");
        assert!(matches!(error, ListenError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("there"), "precious");
    }
}
