//! Connects to the API server with a kubeconfig or the pod's service account.
//!
//! Reads the credentials, again each time the server rejects them, so a token that was renewed on disk takes
//! effect.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};

use super::observed::ObservedLayer;
use super::sync::ClusterSync;
use crate::cluster::ClusterSource;
use crate::cluster::kubeconfig::{self, KubeconfigProblem, explain};
use tracer_core::model::error_chain::error_chain;

/// Timeout for connecting to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the cluster cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is missing or invalid.
    #[error("cannot use the kubeconfig: {}", error_chain(.0))]
    Kubeconfig(KubeconfigProblem),
    /// This process does not run in a pod, or the pod has no service account token.
    #[error(
        "cannot use the pod's service account: {0}. This works only in a pod that mounts its token; elsewhere give --kubeconfig \
         FILE"
    )]
    InCluster(kube::config::InClusterError),
    /// The credentials or the server's address are invalid.
    #[error(
        "cannot set up the connection to the API server {server}: {}",
        explain(source)
    )]
    Client {
        /// The server's address.
        server: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// The thread or its runtime does not start.
    #[error("cannot start the watches of the cluster: {0}")]
    Start(std::io::Error),
}

/// A client and its server.
pub(super) struct Connection {
    pub client: Client,
    /// The API server's address, for people.
    pub server: String,
}

impl ClusterSource {
    /// Reads the credentials and makes a client whose answers `sync` observes. Sends no request, but runs a
    /// credential plugin if the kubeconfig names one.
    pub(super) async fn connect(&self, sync: &ClusterSync) -> Result<Connection, ConnectError> {
        let (config, server) = self.client_config().await?;
        let builder = ClientBuilder::try_from(config).map_err(|source| ConnectError::Client {
            server: server.clone(),
            source: Box::new(source),
        })?;
        let client = builder
            .with_layer(&ObservedLayer::new(sync.clone()))
            .build();
        Ok(Connection { client, server })
    }

    /// A client for other requests than watches. Sends no request itself.
    pub async fn client(&self) -> Result<Client, ConnectError> {
        let (config, server) = self.client_config().await?;
        Client::try_from(config).map_err(|source| ConnectError::Client {
            server,
            source: Box::new(source),
        })
    }

    /// The client's configuration, and the server's address for people.
    async fn client_config(&self) -> Result<(Config, String), ConnectError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // kube would silently retry a rejected request for minutes. The callers retry themselves, and report
        // it.
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        Ok((config, server))
    }

    async fn config(&self) -> Result<Config, ConnectError> {
        let ClusterSource::Kubeconfig { file, context } = self else {
            return Config::incluster().map_err(ConnectError::InCluster);
        };
        kubeconfig::config(file.as_deref(), context.as_deref())
            .await
            .map_err(ConnectError::Kubeconfig)
    }
}
