//! Where the cluster is and who asks it: kubeconfig or the pod's own account.
//!
//! Owns reading the credentials, again whenever they are refused: a token that was renewed on disk is found so.

use std::path::PathBuf;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::observed::ObservedLayer;
use super::sync::ClusterSync;
use crate::cluster::ClusterSource;

/// A server that does not take a connection for so long is away.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Why nothing can be asked of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is missing or wrong.
    #[error("cannot use the kubeconfig{}: {source}", named(.file))]
    Kubeconfig {
        /// The file, where one was named.
        file: Option<PathBuf>,
        /// What is wrong.
        source: Box<KubeconfigError>,
    },
    /// This is no pod, or one without a service account's token.
    #[error(
        "cannot use the pod's service account: {0}. It works in a pod that mounts its token; elsewhere give --kubeconfig FILE"
    )]
    InCluster(kube::config::InClusterError),
    /// The credentials or the server's address cannot be used.
    #[error("cannot set up the connection to the API server {server}: {source}")]
    Client {
        /// Its address.
        server: String,
        /// What is wrong.
        source: Box<kube::Error>,
    },
    /// The thread or its runtime cannot be had.
    #[error("cannot start the watches of the cluster: {0}")]
    Start(std::io::Error),
}

fn named(file: &Option<PathBuf>) -> String {
    match file {
        Some(file) => format!(" {}", file.display()),
        None => String::new(),
    }
}

/// A client, and what it talks to.
pub(super) struct Connection {
    pub client: Client,
    /// The API server's address, for people.
    pub server: String,
}

impl ClusterSource {
    /// Reads the credentials. Sends nothing yet, but for a credential plugin that does.
    pub(super) async fn connect(&self, sync: &ClusterSync) -> Result<Connection, ConnectError> {
        let (config, server) = self.settled().await?;
        let builder = ClientBuilder::try_from(config).map_err(|source| ConnectError::Client {
            server: server.clone(),
            source: Box::new(source),
        })?;
        let client = builder
            .with_layer(&ObservedLayer::new(sync.clone()))
            .build();
        Ok(Connection { client, server })
    }

    /// A client for what is no watch. Sends nothing yet, but for a credential plugin that does.
    pub async fn client(&self) -> Result<Client, ConnectError> {
        let (config, server) = self.settled().await?;
        Client::try_from(config).map_err(|source| ConnectError::Client {
            server,
            source: Box::new(source),
        })
    }

    /// How to connect, and the server's address for people.
    async fn settled(&self) -> Result<(Config, String), ConnectError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_WITHIN);
        // It would repeat a refused request without a word for minutes. Who asks tries again, and says so.
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        Ok((config, server))
    }

    async fn config(&self) -> Result<Config, ConnectError> {
        let ClusterSource::Kubeconfig { file, context } = self else {
            return Config::incluster().map_err(ConnectError::InCluster);
        };
        let wrong = |source| ConnectError::Kubeconfig {
            file: file.clone(),
            source: Box::new(source),
        };
        let read = match file {
            Some(file) => Kubeconfig::read_from(file),
            None => Kubeconfig::read(),
        };
        let options = KubeConfigOptions {
            context: context.clone(),
            ..KubeConfigOptions::default()
        };
        Config::from_custom_kubeconfig(read.map_err(wrong)?, &options)
            .await
            .map_err(wrong)
    }
}
