//! A relay with one agent, and what the agent emits.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;
use tracer::export::metrics::{Build, RelayMetrics};
use tracer::relay::agents::Agents;
use tracer::relay::api::{Server, Settings};
use tracer::stream::event::unix_clock;
use tracer::stream::hub::{AgentIdentity, Hub};
use tracer::stream::proto::tracer_server::TracerServer;
use tracer::stream::service::Service;
use tracer_core::model::connection::{RefusedBy, TcpState};
use tracer_core::model::dns::DnsName;
use tracer_core::model::event::{Body, Ends, Event};
use tracer_core::model::finding::{Severity, State};
use tracer_core::model::flow::Role;
use tracer_core::model::time::Timestamp;
use tracer_core::view::gallery;

use super::client::Client;
use super::double::Double;

/// No step takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens in time")
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

type Issued = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        Authority {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["relay.test".to_owned()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        (certificate.der().clone(), key)
    }
}

#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The agent's connection.
struct Uplink {
    number: u64,
    way: JoinHandle<()>,
}

/// A relay with the agent of node-a.
pub struct Relay {
    server: Arc<Server>,
    metrics: Arc<RelayMetrics>,
    served: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    double: Arc<Double>,
    agents: Arc<Agents>,
    hub: Arc<Hub>,
    uplink: Mutex<Option<Uplink>>,
    clock: AtomicI64,
    address: std::net::SocketAddr,
    serving: Authority,
    proxies: Authority,
}

impl Relay {
    pub async fn start() -> Relay {
        let serving = Authority::new();
        let proxies = Authority::new();
        let (double, api) = Double::start(proxies.pem.clone()).await;
        let config = kube::Config::new(format!("http://{api}").parse().expect("a URI"));
        let client = kube::Client::try_from(config).expect("a client");
        let agents = Arc::new(Agents::default());
        let hub = new_hub("node-a", "1");
        let uplink = connect(&agents, "node-a", Arc::clone(&hub)).await;
        let build = Build::of_this_program();
        let metrics = Arc::new(RelayMetrics::new(&build, jiff::Timestamp::now()));
        let settings = Settings {
            allowed_for: Duration::from_millis(100),
            review_every: Duration::from_millis(100),
            settled: Duration::from_millis(100),
            ..Settings::default()
        };
        let server = Server::new(Arc::clone(&agents), client, settings, Arc::clone(&metrics));
        let state = Arc::clone(&server);
        metrics.read_from(move || state.state());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (certificate, key) = serving.issue("relay", ExtendedKeyUsagePurpose::ServerAuth);
        let key = ring::sign::any_supported_type(&key).expect("a key");
        let certificate = Arc::new(Fixed(Arc::new(CertifiedKey::new(vec![certificate], key))));
        let (stop, stopped) = oneshot::channel();
        let serve = Arc::clone(&server).serve(listener, certificate, async {
            let _ = stopped.await;
        });
        let served = tokio::spawn(serve);
        within(async {
            while !server.missing().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        Relay {
            server,
            metrics,
            served,
            stop,
            double,
            agents,
            hub,
            uplink: Mutex::new(Some(uplink)),
            clock: AtomicI64::new(now()),
            address,
            serving,
            proxies,
        }
    }

    /// Emits an event now.
    pub fn emit(&self, mut event: Event) {
        let at = self.clock.fetch_add(1000, Ordering::Relaxed);
        let time = tracer::stream::event::timestamp(at);
        event.time = time;
        if let Body::Finding(finding) = &mut event.body {
            // What it rests on was emitted before.
            finding.first = Timestamp(time.0 - 1_000_000_000);
            finding.last = time;
        }
        self.hub.put(at, &event, &unix_clock);
        if matches!(event.body, Body::Finding(_)) {
            self.reached();
        }
    }

    /// The agent of another node connects. It has this event, from now.
    pub async fn join(&self, node: &str, mut event: Event) {
        let hub = new_hub(node, "1");
        let at = self.clock.fetch_add(1000, Ordering::Relaxed);
        event.time = tracer::stream::event::timestamp(at);
        hub.put(at, &event, &unix_clock);
        hub.reached(self.clock.load(Ordering::Relaxed));
        connect(&self.agents, node, hub).await;
    }

    /// Lets clients see what was emitted.
    pub fn reached(&self) {
        self.hub.reached(self.clock.load(Ordering::Relaxed));
    }

    pub async fn wait_for_findings(&self, count: usize) {
        within(async {
            while self.server.findings().size().0 < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// The agent's connection breaks.
    pub fn disconnect(&self) {
        let uplink = self.uplink.lock().expect("a lock").take();
        let uplink = uplink.expect("it is connected");
        uplink.way.abort();
        self.agents.disconnected("node-a", uplink.number);
    }

    /// The agent connects again.
    pub async fn reconnect(&self) {
        let uplink = connect(&self.agents, "node-a", Arc::clone(&self.hub)).await;
        *self.uplink.lock().expect("a lock") = Some(uplink);
    }

    /// The agent is another process from now on: it has forgotten everything. It must be disconnected.
    pub fn restart(&mut self) {
        let hub = new_hub("node-a", "2");
        self.hub = hub;
    }

    /// What users wanted to do.
    pub fn reviews(&self) -> Vec<Value> {
        self.double.reviews.lock().expect("a lock").clone()
    }

    /// From now on this user may do nothing.
    pub fn withdraw(&self, user: &str) {
        let mut withdrawn = self.double.withdrawn.lock().expect("a lock");
        withdrawn.insert(user.to_owned());
    }

    /// Waits until the metrics have this line.
    pub async fn measured(&self, line: &str) {
        let has = || {
            let text = self.metrics.encode().expect("text");
            text.lines().any(|own| own == line)
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !has() {
            let text = || self.metrics.encode().expect("text");
            assert!(
                tokio::time::Instant::now() < deadline,
                "{line}:\n{}",
                text()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn client(&self, identity: Option<Issued>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.serving.certificate.clone()).expect("added");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match identity {
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .expect("fits"),
            None => builder.with_no_client_auth(),
        };
        Client {
            address: self.address,
            config: Arc::new(config),
        }
    }

    /// The API server.
    pub fn front_proxy(&self) -> Client {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.client(Some(self.proxies.issue("front-proxy-client", usage)))
    }

    /// A client without a certificate.
    pub fn anonymous(&self) -> Client {
        self.client(None)
    }

    /// A client with a certificate of that name by another authority.
    pub fn forged(&self) -> Client {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.client(Some(Authority::new().issue("front-proxy-client", usage)))
    }

    pub async fn end(self) {
        let _ = self.stop.send(());
        within(self.served).await.expect("it ends");
    }
}

fn now() -> i64 {
    tracer::stream::event::unix_ns(jiff::Timestamp::now())
}

/// The hub of an agent's process. No pipeline answers the checks of filters.
fn new_hub(node: &str, instance: &str) -> Arc<Hub> {
    let identity = AgentIdentity {
        node: node.into(),
        instance: instance.to_owned(),
        started_unix_ns: now(),
    };
    Hub::new(identity, 64 << 20).0
}

/// Connects the agent as its dial-out does, without TLS and token.
async fn connect(agents: &Agents, node: &str, hub: Arc<Hub>) -> Uplink {
    let (near, mut relays) = tokio::io::duplex(64 * 1024);
    let (mut agents_own, far) = tokio::io::duplex(64 * 1024);
    // The server keeps connections that it has accepted, so the way between the two is what breaks.
    let way = tokio::spawn(async move {
        let _ = tokio::io::copy_bidirectional(&mut relays, &mut agents_own).await;
    });
    tokio::spawn(async move {
        let incoming = futures::stream::iter([Ok::<_, std::io::Error>(far)]);
        let incoming = futures::StreamExt::chain(incoming, futures::stream::pending());
        tonic::transport::Server::builder()
            .add_service(TracerServer::new(Service::new(hub, 16)))
            .serve_with_incoming(incoming)
            .await
    });
    let mut near = Some(TokioIo::new(near));
    let endpoint = Endpoint::from_static("http://agent.invalid");
    let channel =
        endpoint.connect_with_connector(tower::service_fn(move |_: tonic::transport::Uri| {
            let near = near.take();
            async move { near.ok_or_else(|| std::io::Error::other("connected before")) }
        }));
    let channel = within(channel).await.expect("connected");
    Uplink {
        number: agents.connected(node.into(), channel),
        way,
    }
}

fn ends(namespace: &str, pod: &str) -> Ends {
    let mut ends = gallery::client("10.0.0.1", 80);
    ends.peer_traced_here = false;
    ends.pod.identity = Ok(Arc::new(identity(namespace, pod)));
    ends
}

/// A connection from shop/web on node-a to shop/elsewhere on node-b, as one of them saw it: refused by RST.
pub fn refused(role: Role) -> Event {
    let mut client = ends("shop", "web");
    let mut elsewhere = identity("shop", "elsewhere");
    elsewhere.node = Some("node-b".into());
    let (web, elsewhere) = (client.pod.clone(), Arc::new(elsewhere));
    client.peer.pod = Some(Arc::clone(&elsewhere));
    let ends = match role {
        Role::Client => client,
        Role::Server => {
            let mut server = gallery::server(elsewhere, "10.0.0.1", 80);
            server.peer.pod = web.identity.ok();
            server
        }
    };
    gallery::tcp(ends, TcpState::Refused(RefusedBy::Rst), |_| {})
}

/// The finding that the client's agent concludes from it.
pub fn refused_finding() -> Event {
    let mut event = finding("shop", "web", "refused", 1, State::Active);
    event.ends = refused(Role::Client).ends;
    if let Body::Finding(finding) = &mut event.body {
        finding.rule = "connection-refused";
    }
    event
}

fn identity(namespace: &str, pod: &str) -> tracer_core::model::identity::PodIdentity {
    tracer_core::model::identity::PodIdentity {
        namespace: namespace.into(),
        name: pod.into(),
        uid: format!("{namespace}-{pod}").into(),
        workload: None,
        node: None,
    }
}

/// A finding about a pod.
pub fn finding(namespace: &str, pod: &str, id: &str, count: u64, state: State) -> Event {
    let mut event = gallery::finding(Severity::Error, state == State::Resolved);
    event.ends = Some(ends(namespace, pod));
    if let Body::Finding(finding) = &mut event.body {
        finding.id = id.to_owned();
        finding.count = count;
        finding.of = count;
        finding.state = state;
    }
    event
}

/// An event of four kilobytes: a few thousand fill every buffer on the way.
pub fn large() -> Event {
    let name = format!("{}.", ["x".repeat(60).as_str(); 4].join("."));
    let mut event = ping("shop", "web", "bank", "vault");
    if let Some(ends) = &mut event.ends {
        ends.peer.names = vec![DnsName::new(&name); 16];
    }
    event
}

/// A ping from one pod to another.
pub fn ping(namespace: &str, pod: &str, peer_namespace: &str, peer: &str) -> Event {
    let mut ends = ends(namespace, pod);
    ends.peer.pod = Some(Arc::new(identity(peer_namespace, peer)));
    gallery::echo(ends, 1, 1, |_| {})
}
