//! The agent's connections to the relays: it connects to each of them and serves `tracer.v1` there.
//!
//! So no port of a node is open. A relay is an endpoint of the relays' Service; the agent finds them in the
//! EndpointSlices that it watches anyway ([`Relays::set`]). It proves who it is with a service account token for
//! the relays alone, and trusts the certificates that the relays' authority issued. That authority is published in a
//! ConfigMap, and read again whenever a connection fails. After a failure the agent waits for a random time, which
//! doubles up to a limit: the agents of a large cluster do not all return at once.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use rand::Rng as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Server;
use tracer_core::identity::Index;
use tracer_core::model::error_chain::error_chain;

use super::hello;
use super::hub::Hub;
use super::proto::tracer_server::TracerServer;
use super::proto::{Hello, Welcome};
use super::service::Service;
use crate::cluster::ClusterSource;

/// The port's name in the relays' Service.
pub const PORT_NAME: &str = "agents";
/// The key of the authority's certificates in the ConfigMap.
pub const AUTHORITY_KEY: &str = "ca.crt";
/// The audience of the agents' tokens.
pub const AUDIENCE: &str = "tracer-relay";

/// How long the connection may take, until the relay has accepted the agent.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// The wait before a new attempt. It doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// A connection that lasted this long resets the wait.
const STABLE: Duration = Duration::from_secs(60);
/// The interval of HTTP/2 pings, and how long an answer may take. They are all that an idle agent sends.
pub const HEARTBEAT: Duration = Duration::from_secs(20);
/// Streams that one relay may open: one for its findings, and one for each of its clients.
const MAX_STREAMS: u32 = 256;
/// Bytes between the TLS connection and the server.
const BUFFER_BYTES: usize = 64 * 1024;
/// More relays than this are ignored: each costs a connection.
const MAX_RELAYS: usize = 8;

/// Which relays to connect to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaysConfig {
    /// The relays' Service.
    pub service: String,
    /// Its namespace; `None` for the agent's own.
    pub namespace: Option<String>,
    /// The file of the agent's token.
    pub token: PathBuf,
}

/// The relays that an agent is connected to.
#[derive(Debug)]
pub struct Relays {
    service: String,
    namespace: watch::Receiver<Option<String>>,
    addresses: watch::Sender<BTreeSet<SocketAddr>>,
    connected: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relays {
    /// Starts to connect to the relays that [`Relays::set`] will name. Needs a tokio runtime.
    pub fn start(config: RelaysConfig, source: ClusterSource, hub: Arc<Hub>) -> Relays {
        let (addresses, wanted) = watch::channel(BTreeSet::new());
        let (found_namespace, namespace) = watch::channel(config.namespace.clone());
        let connected = Arc::new(AtomicUsize::new(0));
        let service = config.service.clone();
        let counted = Arc::clone(&connected);
        let task = tokio::spawn(async move {
            let client = match source.client().await {
                Ok(client) => client,
                Err(error) => {
                    tracing::warn!("no relay gets this agent's events: {error}");
                    return;
                }
            };
            let namespace = config
                .namespace
                .clone()
                .unwrap_or_else(|| client.default_namespace().to_owned());
            let _ = found_namespace.send(Some(namespace.clone()));
            let uplink = Arc::new(Uplink {
                config,
                namespace,
                client,
                hub,
                connected: counted,
                trusted: Mutex::default(),
            });
            uplink.follow(wanted).await;
        });
        Relays {
            service,
            namespace,
            addresses,
            connected,
            task,
        }
    }

    /// The relays are the ready endpoints of their Service.
    pub fn set(&self, index: &Index) {
        let namespace = self.namespace.borrow();
        let Some(namespace) = namespace.as_deref() else {
            return;
        };
        self.connect_to(relays(index, namespace, &self.service));
    }

    /// Connects to these relays, and to no others.
    pub fn connect_to(&self, relays: BTreeSet<SocketAddr>) {
        self.addresses.send_if_modified(|addresses| {
            let changed = *addresses != relays;
            *addresses = relays;
            changed
        });
    }

    /// The number of relays, and of those that are connected.
    pub fn count(&self) -> (usize, usize) {
        let known = self.addresses.borrow().len();
        (known, self.connected.load(Ordering::Relaxed))
    }
}

fn relays(index: &Index, namespace: &str, service: &str) -> BTreeSet<SocketAddr> {
    let ready = index
        .endpoints(namespace, service)
        .into_iter()
        .filter(|endpoint| endpoint.ready && !endpoint.terminating);
    let addresses = ready.flat_map(|endpoint| {
        let ports = endpoint.ports.into_iter();
        let agents = ports.filter(|port| port.name.as_deref() == Some(PORT_NAME));
        agents.filter_map(move |port| Some(SocketAddr::new(endpoint.ip, port.port?)))
    });
    addresses.take(MAX_RELAYS).collect()
}

/// What the connections to all relays share.
struct Uplink {
    config: RelaysConfig,
    namespace: String,
    client: kube::Client,
    hub: Arc<Hub>,
    connected: Arc<AtomicUsize>,
    /// The authority's certificates, until a connection fails.
    trusted: Mutex<Option<Arc<ClientConfig>>>,
}

impl Uplink {
    /// Has one task for each relay. Ends with the hub.
    async fn follow(self: Arc<Uplink>, mut wanted: watch::Receiver<BTreeSet<SocketAddr>>) {
        // Dropping this ends all connections.
        let mut connections = JoinSet::new();
        let mut tasks: HashMap<SocketAddr, AbortHandle> = HashMap::new();
        let mut closed = self.hub.closed();
        loop {
            let relays = wanted.borrow_and_update().clone();
            tasks.retain(|relay, task| {
                let stays = relays.contains(relay);
                if !stays {
                    task.abort();
                }
                stays
            });
            for relay in relays {
                tasks
                    .entry(relay)
                    .or_insert_with(|| connections.spawn(Arc::clone(&self).stay(relay)));
            }
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { break },
                _ = closed.wait_for(|closed| *closed) => break,
            }
        }
        // The streams have the time that the agent allows to send what is left.
        while connections.join_next().await.is_some() {}
    }

    /// Connects to one relay, again and again.
    async fn stay(self: Arc<Uplink>, relay: SocketAddr) {
        let mut wait = FIRST_WAIT;
        let mut reported = None;
        while !*self.hub.closed().borrow() {
            let started = tokio::time::Instant::now();
            let ended = match tokio::time::timeout(CONNECT_WITHIN, self.connect(relay)).await {
                Ok(Ok(accepted)) => {
                    tracing::info!("connected to the relay {relay}");
                    reported = None;
                    let _count = Counted::new(&self.connected);
                    self.serve(accepted).await;
                    "the connection ended".to_owned()
                }
                Ok(Err(why)) => why,
                Err(_) => format!("no answer within {} s", CONNECT_WITHIN.as_secs()),
            };
            self.trusted.lock().take();
            if *self.hub.closed().borrow() {
                return;
            }
            if reported.as_ref() != Some(&ended) {
                tracing::warn!("relay {relay}: {ended}; trying again");
                reported = Some(ended);
            }
            if started.elapsed() >= STABLE {
                wait = FIRST_WAIT;
            }
            let share = rand::rng().random_range(0.1..1.0);
            tokio::time::sleep(wait.mul_f64(share)).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    /// Connects, and is accepted.
    async fn connect(&self, relay: SocketAddr) -> Result<TlsStream<TcpStream>, String> {
        let name = format!("{}.{}.svc", self.config.service, self.namespace);
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let tls = self.tls().await?;
        let tcp = TcpStream::connect(relay)
            .await
            .map_err(|error| format!("cannot connect: {error}"))?;
        // Events are small and must not wait for each other.
        let _ = tcp.set_nodelay(true);
        let mut stream = TlsConnector::from(tls)
            .connect(name, tcp)
            .await
            .map_err(|error| format!("no TLS connection: {error}"))?;
        let path = &self.config.token;
        // A few bytes in memory: kubelet mounts tokens on tmpfs.
        let token = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the token {}: {error}", path.display()))?;
        let said = Hello {
            token: token.trim().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.hub.identity().node.to_string(),
        };
        let answered = async {
            hello::write(&mut stream, &said).await?;
            hello::read::<Welcome>(&mut stream).await
        };
        let welcome = answered
            .await
            .map_err(|error: io::Error| format!("the relay did not answer: {error}"))?;
        match &*welcome.refused {
            "" => Ok(stream),
            refused => Err(format!("refused this agent: {refused}")),
        }
    }

    /// Serves the relay until either side ends the connection.
    async fn serve(&self, mut relay: TlsStream<TcpStream>) {
        let (mut near, far) = tokio::io::duplex(BUFFER_BYTES);
        let service = Service::new(Arc::clone(&self.hub), MAX_STREAMS as usize);
        let mut closed = self.hub.closed();
        let copied = async {
            let _ = tokio::io::copy_bidirectional(&mut relay, &mut near).await;
        };
        let connection = futures::stream::iter([Ok::<_, io::Error>(far)]);
        let serving = Server::builder()
            .http2_keepalive_interval(Some(HEARTBEAT))
            .http2_keepalive_timeout(Some(HEARTBEAT))
            .max_concurrent_streams(Some(MAX_STREAMS))
            .add_service(TracerServer::new(service))
            .serve_with_incoming_shutdown(
                connection.chain(futures::stream::pending()),
                async move {
                    let _ = closed.wait_for(|closed| *closed).await;
                },
            );
        // The server ends with the hub, the copying with the connection.
        tokio::select! {
            () = copied => {}
            _ = serving => {}
        }
    }

    /// The configuration that trusts the relays' authority.
    async fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(trusted) = self.trusted.lock().clone() {
            return Ok(trusted);
        }
        let name = format!("{}-ca", self.config.service);
        let maps: kube::Api<ConfigMap> =
            kube::Api::namespaced(self.client.clone(), &self.namespace);
        let place = format!("ConfigMap {}/{name}", self.namespace);
        let map = maps.get(&name).await.map_err(|error| {
            format!(
                "cannot read the relays' authority from {place}: {}",
                error_chain(&error)
            )
        })?;
        let pem = map
            .data
            .and_then(|mut data| data.remove(AUTHORITY_KEY))
            .ok_or_else(|| format!("{place} has no {AUTHORITY_KEY}"))?;
        let config = trust(pem.as_bytes())
            .map_err(|error| format!("{AUTHORITY_KEY} in {place} is no certificate: {error}"))?;
        let config = Arc::new(config);
        *self.trusted.lock() = Some(Arc::clone(&config));
        Ok(config)
    }
}

fn trust(pem: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("it is empty".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Counts a connection until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Counted<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
