//! The connected agents: who is there, and requests to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::stream::proto;
use crate::stream::proto::tracer_client::TracerClient;

/// One connected agent.
#[derive(Clone, Debug)]
struct Agent {
    /// Distinguishes the connections of one node, of which the latest counts.
    connection: u64,
    channel: Channel,
}

/// The connected agents, by node.
#[derive(Debug)]
pub struct Agents {
    connected: Mutex<BTreeMap<Arc<str>, Agent>>,
    /// Changes with every agent that connects or leaves.
    changes: watch::Sender<u64>,
}

impl Default for Agents {
    fn default() -> Agents {
        Agents {
            connected: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Agents {
    /// Adds the agent of a node, in place of an earlier connection. Returns the number of the connection.
    pub fn connected(&self, node: Arc<str>, channel: Channel) -> u64 {
        let mut connection = 0;
        self.changes.send_modify(|changes| {
            *changes += 1;
            connection = *changes;
            let agent = Agent {
                connection,
                channel,
            };
            self.connected.lock().insert(node, agent);
        });
        connection
    }

    /// Removes the agent of a node, unless it has connected again since.
    pub fn disconnected(&self, node: &str, connection: u64) {
        self.changes.send_modify(|changes| {
            let mut connected = self.connected.lock();
            if connected
                .get(node)
                .is_some_and(|agent| agent.connection == connection)
            {
                connected.remove(node);
                *changes += 1;
            }
        });
    }

    /// The nodes whose agents are connected.
    pub fn nodes(&self) -> Vec<Arc<str>> {
        self.connected.lock().keys().cloned().collect()
    }

    /// Changes whenever an agent connects or leaves.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The events of one agent.
    ///
    /// # Errors
    /// What the agent answers; `unavailable` if it is not connected.
    pub async fn observe(
        &self,
        node: &str,
        request: proto::ObserveRequest,
    ) -> Result<Streaming<proto::ObserveResponse>, Status> {
        let answer = self.client(node)?.observe(request).await?;
        Ok(answer.into_inner())
    }

    /// The status of one agent.
    ///
    /// # Errors
    /// What the agent answers; `unavailable` if it is not connected.
    pub async fn status(&self, node: &str) -> Result<proto::StatusResponse, Status> {
        let answer = self.client(node)?.status(proto::StatusRequest {}).await?;
        Ok(answer.into_inner())
    }

    fn client(&self, node: &str) -> Result<TracerClient<Channel>, Status> {
        let connected = self.connected.lock();
        let agent = connected.get(node).ok_or_else(|| {
            Status::unavailable(format!(
                "the agent of {node} is not connected to this relay"
            ))
        })?;
        Ok(TracerClient::new(agent.channel.clone()))
    }
}
