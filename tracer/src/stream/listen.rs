//! Where clients reach an agent: a unix socket, and an address with TLS if one is given.
//!
//! Owns the socket's file: nobody but its owner may connect, the socket of an agent that is gone is replaced, that of a
//! running one never. And the certificates' files: who listens on an address without TLS does not start.

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
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use super::hub::Hub;
use super::proto::tracer_server::TracerServer;
use super::service::Service;

/// A client whose machine is gone is noticed after twice that.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// At the end streams have so long to say what is left.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why an agent cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another agent answers on the socket.
    #[error(
        "another agent serves on {}: end it, or give this one a socket of its own with --socket (and --instance)",
        path.display()
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else of that name.
    #[error("{} is there and is no socket: choose another path with --socket", path.display())]
    NoSocket {
        /// What is there.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot {operation} {}", path.display())]
    Socket {
        /// What failed.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate's or key's file cannot be read.
    #[error("cannot read {} (option {option})", path.display())]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificates do not work.
    #[error("the files of --tls-cert, --tls-key and --tls-client-ca do not work together")]
    Tls {
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Listening on an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsListen {
    /// The address.
    pub address: SocketAddr,
    /// The agent's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Clients must have a certificate of one of these authorities, PEM; `None`: anybody may connect.
    pub client_authorities: Option<PathBuf>,
}

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and number of the file, so that another agent's is never removed.
    file: (u64, u64),
}

impl Socket {
    /// Binds it.
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
                .map_err(failed("make the directory of"))?;
        }
        if let Ok(there) = fs::symlink_metadata(path) {
            if !there.file_type().is_socket() {
                let path = path.to_path_buf();
                return Err(ListenError::NoSocket { path });
            }
            if UnixStream::connect(path).is_ok() {
                let path = path.to_path_buf();
                return Err(ListenError::Taken { path });
            }
        }
        // Made under another name and moved there: at no moment can somebody else connect, and an old one is replaced.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        // Of a process of that number that did not get further.
        let _ = fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished).map_err(failed("make the socket"))?;
        let made = fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600))
            .and_then(|()| listener.set_nonblocking(true))
            .and_then(|()| fs::rename(&unfinished, path))
            .and_then(|()| fs::symlink_metadata(path));
        match made {
            Ok(made) => Ok(Socket {
                listener: Some(listener),
                path: path.to_path_buf(),
                file: (made.dev(), made.ino()),
            }),
            Err(source) => {
                let _ = fs::remove_file(&unfinished);
                Err(failed("make the socket")(source))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let own = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == self.file);
        if own {
            // It is a stale socket otherwise, which the next agent replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What is bound, and not served yet.
#[derive(Debug)]
pub struct Listeners {
    socket: Socket,
    tls: Option<(TcpIncoming, Server)>,
}

impl Listeners {
    /// Binds them; within a tokio runtime, that of [`Listeners::serve`].
    pub fn bind(socket: &Path, tls: Option<&TlsListen>) -> Result<Listeners, ListenError> {
        let tls = match tls {
            None => None,
            Some(listen) => {
                let server = server()
                    .tls_config(server_tls(listen)?)
                    .map_err(|source| ListenError::Tls { source })?;
                let address = listen.address;
                let incoming = TcpIncoming::bind(address)
                    .map_err(|source| ListenError::Address { address, source })?;
                Some((incoming, server))
            }
        };
        Ok(Listeners {
            socket: Socket::bind(socket)?,
            tls,
        })
    }

    /// Serves until the hub is closed and streams have had a moment to say what is left.
    pub async fn serve(mut self, hub: Arc<Hub>, max_clients: usize) -> Result<(), ListenError> {
        let service = TracerServer::new(Service::new(Arc::clone(&hub), max_clients));
        let over = hub.progress();
        let mut served = Vec::new();
        if let Some((incoming, mut server)) = self.tls.take() {
            let router = server.add_service(service.clone());
            let ended = closed(over.clone());
            let serving = router.serve_with_incoming_shutdown(incoming, ended);
            served.push(tokio::spawn(told("the address of --listen", serving)));
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
            let ended = closed(over.clone());
            let serving = router.serve_with_incoming_shutdown(incoming, ended);
            served.push(tokio::spawn(told("the socket", serving)));
        }
        closed(over).await;
        // A client that does not read must not keep the agent.
        let all = futures::future::join_all(served);
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
        Ok(())
    }
}

/// Says where a server ends by itself: the agent traces on, and clients would not know why it does not answer.
async fn told(place: &str, serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        let error: &dyn std::error::Error = &error;
        tracing::error!(
            error,
            "nobody is served on {place} any more: restart the agent"
        );
    }
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(Some(64))
}

async fn closed(mut over: watch::Receiver<super::hub::Progress>) {
    // An error is the hub's end.
    let _ = over.wait_for(|progress| !progress.open).await;
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
    fn only_its_owner_may_connect_and_the_file_goes_with_the_agent() {
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
    fn a_dead_agent_s_socket_is_replaced_and_a_living_one_s_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agent.sock");
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        let first = Socket::bind(&path).expect("the stale one is replaced");
        let error = Socket::bind(&path).expect_err("it is taken");
        assert!(matches!(error, ListenError::Taken { .. }), "{error}");
        UnixStream::connect(&path).expect("the first one listens still");
        drop(first);
        Socket::bind(&path).expect("free again");
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agent.sock");
        fs::write(&path, "precious").expect("written");
        let error = Socket::bind(&path).expect_err("refused");
        assert!(matches!(error, ListenError::NoSocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("there"), "precious");
    }
}
