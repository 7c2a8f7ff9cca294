//! The Kubernetes API of the relay: group `tracer.internal`, version `v1alpha1`, read-only.
//!
//! Owns the listener with TLS, and what happens to a request: the API server is authenticated, the user
//! authorised, limits applied, then the resource answers. Paths and parameters are read by [`request`], forms
//! of answers by [`form`]; [`findings`] answers from the store, [`traces`] and [`nodes`] from the agents, and
//! [`watching`] has what all watches have. A client that reads slowly costs a bounded queue.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::StreamExt as _;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, WARNING};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use kube::Client;
use rand::Rng as _;
use rustls::pki_types::CertificateDer;
use rustls::server::ResolvesServerCert;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::access::User;
use super::access::front_proxy::FrontProxy;
use super::access::review::Reviewer;
use super::access::tls::server_config;
use super::agents::Agents;
use super::findings::{DEFAULT_BYTES, Findings};
use super::paths;
use super::pods::Pods;
use crate::connections::{Activity, Connections, Limits};
use crate::export::metrics::{RelayMetrics, RelayState};

mod counted;
mod discovery;
mod documents;
mod events;
mod findings;
mod form;
pub mod kinds;
mod limits;
mod native;
mod native_findings;
mod nodes;
mod openapi;
mod options;
mod permission;
mod render;
mod request;
mod selector;
mod status;
mod streams;
mod traces;
mod version;
mod watching;

use self::counted::Counted;
use self::documents::Documents;
use self::form::Form;
use self::limits::Places;
use self::permission::authorize;
use self::request::{Asked, Objects, Query, Route};
use self::status::Failure;
use self::streams::Sources;
use self::version::Versions;

pub use self::form::NATIVE;

/// The limits of the listener. All requests come from a few API servers, each with a few connections.
const CONNECTIONS: Limits = Limits {
    total: 512,
    per_peer: 256,
    first_request: Duration::from_secs(10),
    unread: Duration::from_secs(30),
};
/// Requests on one connection at a time.
const MAX_STREAMS: u32 = 500;
/// Bytes of an answer that wait for the client in a stream of HTTP/2.
const SEND_BYTES: usize = 128 * 1024;
/// Bytes of a request's header: that of the API server has the user's groups and extras.
const HEADER_BYTES: u32 = 64 * 1024;
/// Interval of HTTP/2 pings, and how long an answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Time for a get or a list.
const WHOLE_REQUEST: Duration = Duration::from_secs(30);
/// How long answers may take to end when the relay ends.
const LAST_SEND: Duration = Duration::from_secs(2);

/// The API server's settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The size of the store of findings.
    pub findings_bytes: usize,
    /// Watches and streams at a time, and of one user.
    pub watches: (usize, usize),
    /// Gets and lists at a time, and of one user.
    pub reads: (usize, usize),
    /// How long a permission is remembered.
    pub allowed_for: Duration,
    /// How long a watch runs until its user's permission is checked again; up to half of it is added at random.
    pub review_every: Duration,
    /// From the report of a failure to the question about its path. An agent decides within 7 s and reports losses
    /// within 10 s.
    pub settled: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            findings_bytes: DEFAULT_BYTES,
            watches: (500, 50),
            reads: (100, 30),
            allowed_for: Duration::from_secs(10),
            review_every: Duration::from_secs(60),
            settled: Duration::from_secs(12),
        }
    }
}

/// The API server.
pub struct Server {
    sources: Sources,
    client: Client,
    findings: Arc<Findings>,
    front_proxy: FrontProxy,
    reviewer: Arc<Reviewer>,
    nodes: Arc<nodes::Nodes>,
    versions: Versions,
    watches: Places,
    reads: Places,
    documents: Documents,
    metrics: Arc<RelayMetrics>,
    review_every: Duration,
    settled: Duration,
    ending: tokio::sync::watch::Sender<bool>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server for these agents. `client` needs the relay's rights: list and watch pods, create
    /// SubjectAccessReviews, get ConfigMap kube-system/extension-apiserver-authentication.
    pub fn new(
        agents: Arc<Agents>,
        client: Client,
        settings: Settings,
        metrics: Arc<RelayMetrics>,
    ) -> Arc<Server> {
        let (watches, watches_per_user) = settings.watches;
        let (reads, reads_per_user) = settings.reads;
        Arc::new(Server {
            sources: Sources {
                agents,
                pods: Arc::default(),
                metrics: Arc::clone(&metrics),
            },
            findings: Arc::new(Findings::new(settings.findings_bytes)),
            front_proxy: FrontProxy::default(),
            reviewer: Arc::new(Reviewer::new(
                client.clone(),
                settings.allowed_for,
                Arc::clone(&metrics),
            )),
            client,
            nodes: Arc::default(),
            versions: Versions::new(rand::rng().random()),
            watches: Places::new("watches", watches, watches_per_user),
            reads: Places::new("reads", reads, reads_per_user),
            documents: Documents::new(),
            metrics,
            review_every: settings.review_every,
            settled: settings.settled,
            ending: tokio::sync::watch::Sender::new(false),
        })
    }

    /// The findings of the cluster.
    pub fn findings(&self) -> &Arc<Findings> {
        &self.findings
    }

    /// The index of pods.
    pub fn pods(&self) -> &Arc<Pods> {
        &self.sources.pods
    }

    /// Watches and streams that are open.
    pub fn open_watches(&self) -> usize {
        self.watches.taken()
    }

    /// What a scrape reads.
    pub fn state(&self) -> RelayState {
        let (findings, bytes, dropped) = self.findings.size();
        let Findings { counts, paths, .. } = &*self.findings;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RelayState {
            ready: self.missing().is_empty(),
            agents: self.sources.agents.nodes().len() as u64,
            findings: findings as u64,
            findings_bytes: bytes as u64,
            findings_dropped: vec![
                ("limit", dropped),
                ("other-node", count(&counts.elsewhere)),
                ("unknown-pod", count(&counts.nameless)),
                ("unreadable", count(&counts.unreadable)),
                ("lost", count(&counts.lost)),
            ],
            paths: vec![
                ("whole", count(&paths.whole)),
                ("half", count(&paths.half)),
                ("none", count(&paths.none)),
                ("failed", count(&paths.failed)),
            ],
            certificate_expires: None,
        }
    }

    /// What the server still waits for, a sentence each; ready if empty.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.sources.pods.is_synced() {
            missing.push("the pods have not been listed yet".to_owned());
        }
        if !self.front_proxy.is_configured() {
            missing.push(
                "ConfigMap kube-system/extension-apiserver-authentication has not been read yet"
                    .to_owned(),
            );
        }
        missing
    }

    /// Serves on this listener with TLS, until `shutdown` is complete and answers have ended, within a fixed
    /// time. Runs the watches and the streams of findings meanwhile.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        certificate: Arc<dyn ResolvesServerCert>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let config = match server_config(certificate) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "cannot serve TLS: this program is built wrongly");
                return;
            }
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let background = async {
            tokio::join!(
                self.sources.pods.watch(self.client.clone()),
                self.front_proxy.follow(self.client.clone()),
                Arc::clone(&self.findings).follow(
                    Arc::clone(&self.sources.agents),
                    Arc::clone(&self.sources.pods)
                ),
                paths::follow(
                    Arc::clone(&self.findings),
                    Arc::clone(&self.sources.agents),
                    self.settled,
                ),
            );
        };
        let open = GracefulShutdown::new();
        tokio::select! {
            _ = background => {}
            () = self.accept(listener, acceptor, &open) => {}
            () = shutdown => {}
        }
        self.ending.send_replace(true);
        let _ = tokio::time::timeout(LAST_SEND, open.shutdown()).await;
    }

    async fn accept(
        self: &Arc<Self>,
        listener: TcpListener,
        acceptor: TlsAcceptor,
        open: &GracefulShutdown,
    ) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .max_buf_size(HEADER_BYTES as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(HEADER_BYTES)
            .max_send_buf_size(SEND_BYTES);
        let mut accepted = Connections::new(CONNECTIONS).accept(listener);
        while let Some(Ok(connection)) = accepted.next().await {
            let server = Arc::clone(self);
            let acceptor = acceptor.clone();
            let builder = builder.clone();
            let watcher = open.watcher();
            tokio::spawn(async move {
                let activity = connection.activity();
                // The connection ends at its deadline if the handshake does not.
                let stream = match acceptor.accept(connection).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::debug!(%error, "a TLS handshake failed");
                        return;
                    }
                };
                let (_, tls) = stream.get_ref();
                let chain: Arc<[CertificateDer<'static>]> =
                    tls.peer_certificates().unwrap_or_default().into();
                let service = service_fn(move |request: Request<Incoming>| {
                    let server = Arc::clone(&server);
                    let chain = Arc::clone(&chain);
                    let activity = activity.clone();
                    async move { Ok::<_, Infallible>(server.answer(request, &chain, &activity).await) }
                });
                let serving = builder.serve_connection(TokioIo::new(stream), service);
                if let Err(error) = watcher.watch(serving).await {
                    tracing::debug!(%error, "a connection of the API server failed");
                }
            });
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        chain: &[CertificateDer<'static>],
        activity: &Activity,
    ) -> Response {
        let answering = activity.answer();
        let counted = Counted::new(&request, &self.metrics);
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let mut response = match self.route(&request, chain).await {
            Ok(response) => response,
            Err(failure) => {
                tracing::debug!(%method, path, code = failure.code, "{}", failure.message);
                failure.into()
            }
        };
        counted.answered(response.status().as_u16());
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        // The connection is in use until the body has been sent.
        response.map(|body| {
            let stream = body.into_data_stream().map(move |data| {
                let _ = (&answering, &counted);
                data
            });
            Body::from_stream(stream)
        })
    }

    async fn route(
        &self,
        request: &Request<Incoming>,
        chain: &[CertificateDer<'static>],
    ) -> Result<Response, Failure> {
        let route = Route::parse(request.uri().path());
        match route {
            Some(Route::Alive) => return Ok(plain(StatusCode::OK, "ok\n".to_owned())),
            Some(Route::Ready) => return Ok(self.ready()),
            _ => {}
        }
        let user = self
            .front_proxy
            .authenticate(chain, request.headers())
            .map_err(|error| Failure::new(401, "Unauthorized", error.to_string()))?;
        let route = route.ok_or_else(Failure::no_path)?;
        if let Route::Objects(objects) = route {
            return self.objects(objects, request, &user).await;
        }
        if request.method() != Method::GET {
            return Err(Failure::method("this path can only be read"));
        }
        let accept = request.headers().get(ACCEPT);
        let accept = accept.and_then(|accept| accept.to_str().ok());
        Ok(self.documents.answer(&route, accept.unwrap_or_default()))
    }

    fn ready(&self) -> Response {
        let missing = self.missing();
        match missing.is_empty() {
            true => plain(StatusCode::OK, "ok\n".to_owned()),
            false => plain(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n"),
        }
    }

    async fn objects(
        &self,
        objects: Objects,
        request: &Request<Incoming>,
        user: &User,
    ) -> Result<Response, Failure> {
        let query = Query::parse(request.uri());
        let asked = Asked::parse(objects, request.method(), query, request.headers())?;
        authorize(&self.reviewer, user, &asked).await?;
        if asked.verb == "watch" {
            return self.watch(&asked, user);
        }
        let place = self.reads.take(&user.name)?;
        let answer = tokio::time::timeout(WHOLE_REQUEST, self.read(&asked));
        let response = answer.await.map_err(|_| {
            Failure::new(
                504,
                "Timeout",
                "the relay did not answer in time; try again",
            )
        })??;
        // Until the answer has been sent.
        Ok(response.map(|body| {
            let stream = body.into_data_stream().map(move |data| {
                let _ = &place;
                data
            });
            Body::from_stream(stream)
        }))
    }

    /// A get or a list.
    async fn read(&self, asked: &Asked) -> Result<Response, Failure> {
        let versions = self.versions;
        let mut warnings = Vec::new();
        let body: Body = match (asked.objects.kind.kind, asked.verb) {
            ("Finding", "get") => {
                let object = findings::get(&self.findings, versions, asked)?;
                render::text(&object).into()
            }
            ("Finding", _) if asked.form == Form::Native => {
                native_findings::list(&self.findings, asked)?
            }
            ("Finding", _) => findings::list(&self.findings, versions, asked)?,
            ("TracerNode", "get") => {
                let object = nodes::get(&self.nodes, &self.sources, versions, asked).await?;
                render::text(&object).into()
            }
            ("TracerNode", _) => nodes::list(&self.nodes, &self.sources, versions, asked).await?,
            _ => {
                let (body, more) = traces::list(self.sources.clone(), versions, asked).await?;
                warnings = more;
                body
            }
        };
        let mut response = json(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, asked.form.content_type());
        for warning in warnings {
            // kubectl prints them.
            let quoted = warning.replace(['"', '\\'], "'");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
                headers.append(WARNING, value);
            }
        }
        Ok(response)
    }
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    let media_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

fn plain(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
