//! Configuration of `tracer relay`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cluster::ClusterSource;

/// Configuration of `tracer relay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// The address of the Kubernetes API.
    pub listen: SocketAddr,
    /// The address for agents.
    pub agents: SocketAddr,
    /// The address of metrics; `None` for none.
    pub http: Option<SocketAddr>,
    /// The relays' Service.
    pub service: String,
    /// The agents' service account.
    pub agent_account: String,
    /// The namespace of relays and agents; `None` for the credentials' own.
    pub namespace: Option<String>,
    /// The certificate to use; `None` to make one.
    pub tls: Option<TlsPair>,
    /// The credentials for the API server.
    pub source: ClusterSource,
}

/// Files of a certificate, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPair {
    /// The certificate and its intermediates.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that issued it.
    pub authorities: PathBuf,
}
