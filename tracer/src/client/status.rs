//! The status of every agent, asked at the same time.

use std::time::Duration;

use futures::future::join_all;

use super::cluster::Cluster;
use super::skew::clock_off_ns;
use super::source::said;
use super::target::Target;
use super::{ClientError, Options};
use crate::stream::event::unix_ns;
use crate::stream::proto;
use crate::stream::proto::tracer_client::TracerClient;

/// An agent that does not answer is told after so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an agent answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The way to it.
    pub target: String,
    /// The node; of an agent that did not answer only where it is known beforehand.
    pub node: Option<String>,
    /// Its status, or why there is none.
    pub status: Result<proto::StatusResponse, String>,
    /// So far its clock is off this machine's.
    pub clock_off_ns: i64,
}

/// All that is known of the agents.
#[derive(Clone, Debug, PartialEq)]
pub struct Statuses {
    /// By node.
    pub agents: Vec<Answer>,
    /// What else is to be said, a sentence each.
    pub notices: Vec<String>,
}

/// Asks all of them.
pub async fn ask(options: &Options) -> Result<Statuses, ClientError> {
    let mut notices = Vec::new();
    let targets = if options.servers.is_empty() {
        let mut cluster = Cluster::find(options).await?;
        let (pods, others) = cluster.list().await?;
        notices = others;
        if pods.is_empty() && notices.is_empty() {
            return Err(ClientError::NoAgents {
                scope: cluster.scope().to_owned(),
            });
        }
        let client = cluster.client;
        pods.into_iter()
            .map(|pod| Target::Pod {
                client: client.clone(),
                pod,
            })
            .collect()
    } else {
        options.servers.clone()
    };
    let asked = targets
        .into_iter()
        .filter(|target| target.node().is_none_or(|node| options.picks(node)));
    let mut agents: Vec<Answer> = join_all(asked.map(one))
        .await
        .into_iter()
        .filter(|answer| answer.node.as_ref().is_none_or(|node| options.picks(node)))
        .collect();
    agents.sort_by(|one, other| (&one.node, &one.target).cmp(&(&other.node, &other.target)));
    Ok(Statuses { agents, notices })
}

async fn one(target: Target) -> Answer {
    let ask = async {
        let channel = target.connect().await.map_err(|error| error.0)?;
        let asked = unix_ns(jiff::Timestamp::now());
        let status = TracerClient::new(channel)
            .status(proto::StatusRequest {})
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| said(&status))?;
        let heard = unix_ns(jiff::Timestamp::now());
        let node = status.node.as_ref();
        let off_ns = node.map_or(0, |node| clock_off_ns(asked, node.now_unix_ns, heard));
        Ok((status, off_ns))
    };
    let status = tokio::time::timeout(PATIENCE, ask)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
    let (status, clock_off_ns) = match status {
        Ok((status, off_ns)) => (Ok(status), off_ns),
        Err(why) => (Err(why), 0),
    };
    let told = status
        .as_ref()
        .ok()
        .and_then(|status| Some(status.node.as_ref()?.node.clone()));
    Answer {
        node: told.or_else(|| target.node().map(str::to_owned)),
        target: target.to_string(),
        status,
        clock_off_ns,
    }
}
