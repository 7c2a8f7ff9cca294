//! The listener for agents: checks who they are, and adds their connections to [`Agents`].
//!
//! Any host of the cluster can connect, so an agent has a short time for TLS and its first message, and the number of
//! connections is limited. A connection ends with the agent's token; the agent returns with a new one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use rustls::server::ResolvesServerCert;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::agents::Agents;
use super::tokens::{Accepted, Refused, Tokens};
use crate::connections::{Connection, Connections, Limits};
use crate::export::metrics::RelayMetrics;
use crate::stream::hello;
use crate::stream::proto::{Hello, Welcome};
use crate::stream::relays::HEARTBEAT;

/// The limits of the listener: a cluster of two thousand nodes. Where addresses are translated, many of them are behind
/// one. A connection without an accepted agent has a short time only, and gives way to others.
pub const LIMITS: Limits = Limits {
    total: 4096,
    per_peer: 1024,
    first_request: Duration::from_secs(15),
    unread: Duration::from_secs(60),
};
/// Token reviews at a time. Any pod can connect with a token that is none, and each costs the API server a request.
const MAX_REVIEWS: usize = 32;
/// Bytes between the TLS connection and the client.
const BUFFER_BYTES: usize = 64 * 1024;

/// Accepts agents.
pub struct Uplinks {
    agents: Arc<Agents>,
    tokens: Tokens,
    tls: TlsAcceptor,
    reviews: Semaphore,
    metrics: Arc<RelayMetrics>,
}

impl std::fmt::Debug for Uplinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uplinks")
            .field("agents", &self.agents)
            .finish_non_exhaustive()
    }
}

type Peer = TlsStream<Connection<TcpStream>>;

impl Uplinks {
    /// Accepts the agents that have such tokens.
    ///
    /// # Errors
    /// If the TLS library has no TLS 1.3.
    pub fn new(
        agents: Arc<Agents>,
        tokens: Tokens,
        certificate: Arc<dyn ResolvesServerCert>,
        metrics: Arc<RelayMetrics>,
    ) -> Result<Uplinks, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        Ok(Uplinks {
            agents,
            tokens,
            tls: TlsAcceptor::from(Arc::new(config)),
            reviews: Semaphore::new(MAX_REVIEWS),
            metrics,
        })
    }

    /// Accepts agents for ever.
    pub async fn serve(self, listener: TcpListener) {
        let uplinks = Arc::new(self);
        let mut incoming = Connections::new(LIMITS).accept(listener);
        while let Some(Ok(connection)) = incoming.next().await {
            let uplinks = Arc::clone(&uplinks);
            tokio::spawn(async move {
                if let Err(error) = uplinks.serve_one(connection).await {
                    tracing::debug!(%error, "a connection to the port for agents ended");
                }
            });
        }
    }

    async fn serve_one(&self, connection: Connection<TcpStream>) -> io::Result<()> {
        let activity = connection.activity();
        let mut peer = self.tls.accept(connection).await?;
        let hello: Hello = hello::read(&mut peer).await?;
        let accepted = self.review(&hello).await;
        let welcome = Welcome {
            refused: match &accepted {
                Ok(_) => String::new(),
                Err(refused) => refused.why.clone(),
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        hello::write(&mut peer, &welcome).await?;
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(why) => {
                self.metrics.refused(why.reason);
                tracing::warn!(node = hello.node, "refused an agent: {why}");
                // Until the agent has read why.
                tokio::io::AsyncWriteExt::shutdown(&mut peer).await?;
                return Ok(());
            }
        };
        // The connection is in use from here on.
        let _in_use = activity.answer();
        self.relay(peer, accepted).await
    }

    async fn review(&self, hello: &Hello) -> Result<Accepted, Refused> {
        let accepted = {
            // The semaphore is never closed.
            let _place = self.reviews.acquire().await;
            self.tokens.review(&hello.token).await?
        };
        if *accepted.node == *hello.node {
            return Ok(accepted);
        }
        let why = format!(
            "it traces node {:?} and its token is of node {:?}: set --node-name to the node's name in Kubernetes",
            hello.node, accepted.node
        );
        Err(Refused::new("node", why))
    }

    /// Is the agent's client until the connection ends, or its token.
    async fn relay(&self, mut peer: Peer, agent: Accepted) -> io::Result<()> {
        let (mut near, far) = tokio::io::duplex(BUFFER_BYTES);
        let copying = tokio::time::timeout(
            agent.valid_for,
            tokio::io::copy_bidirectional(&mut peer, &mut near),
        );
        let connecting = async {
            let channel = channel(far).await.map_err(io::Error::other)?;
            let node = Arc::clone(&agent.node);
            let number = self.agents.connected(Arc::clone(&node), channel);
            tracing::info!(node = &*node, "an agent connected");
            // The place is given up when the copying ends and drops this.
            let _connected = Connected {
                agents: &self.agents,
                node,
                number,
            };
            std::future::pending::<io::Result<()>>().await
        };
        tokio::select! {
            copied = copying => match copied {
                Ok(ended) => ended.map(|_| ()),
                Err(_expired) => {
                    tracing::debug!(node = &*agent.node, "an agent's token expired");
                    Ok(())
                }
            },
            failed = connecting => failed,
        }
    }
}

/// The place of a connection in the registry.
struct Connected<'a> {
    agents: &'a Agents,
    node: Arc<str>,
    number: u64,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.agents.disconnected(&self.node, self.number);
        tracing::info!(node = &*self.node, "an agent left");
    }
}

/// A client over this connection alone.
async fn channel(connection: DuplexStream) -> Result<Channel, tonic::transport::Error> {
    let mut connection = Some(TokioIo::new(connection));
    Endpoint::from_static("http://agent.invalid")
        .http2_keep_alive_interval(HEARTBEAT)
        .keep_alive_timeout(HEARTBEAT)
        .keep_alive_while_idle(true)
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let connection = connection.take();
            async move { connection.ok_or_else(|| io::Error::other("the agent has left")) }
        }))
        .await
}
