//! The status of every agent. All agents are asked at the same time.

use std::time::Duration;

use futures::future::join_all;

use super::agent_stream::status_text;
use super::cluster::Cluster;
use super::skew::clock_offset_ns;
use super::target::Target;
use super::{ClientError, Options};
use crate::stream::event::unix_ns;
use crate::stream::proto;
use crate::stream::proto::tracer_client::TracerClient;

/// How long an agent may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An agent's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Where the agent was asked.
    pub target: String,
    /// The node, if the agent answered or its pod shows it.
    pub node: Option<String>,
    /// Its status, or the reason why there is none.
    pub status: Result<proto::StatusResponse, String>,
    /// How far its clock is ahead of this machine's, at least; negative if it is behind.
    pub clock_offset_ns: i64,
}

/// The status of all agents.
#[derive(Clone, Debug, PartialEq)]
pub struct Statuses {
    /// The answers, by node.
    pub agents: Vec<Answer>,
    /// Sentences about agents that do not run.
    pub notices: Vec<String>,
}

/// Asks every agent.
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
    let picked = targets
        .into_iter()
        .filter(|target| target.node().is_none_or(|node| options.picks(node)));
    let mut agents: Vec<Answer> = join_all(picked.map(ask_one))
        .await
        .into_iter()
        .filter(|answer| answer.node.as_ref().is_none_or(|node| options.picks(node)))
        .collect();
    agents.sort_by(|one, other| (&one.node, &one.target).cmp(&(&other.node, &other.target)));
    Ok(Statuses { agents, notices })
}

async fn ask_one(target: Target) -> Answer {
    let ask = async {
        let channel = target.connect().await.map_err(|error| error.0)?;
        let asked = unix_ns(jiff::Timestamp::now());
        let status = TracerClient::new(channel)
            .status(proto::StatusRequest {})
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| status_text(&status))?;
        let answered = unix_ns(jiff::Timestamp::now());
        let node = status.node.as_ref();
        let offset_ns = node.map_or(0, |node| clock_offset_ns(asked, node.now_unix_ns, answered));
        Ok((status, offset_ns))
    };
    let status = tokio::time::timeout(ANSWER_WITHIN, ask)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())));
    let (status, clock_offset_ns) = match status {
        Ok((status, offset_ns)) => (Ok(status), offset_ns),
        Err(reason) => (Err(reason), 0),
    };
    let own_name = status
        .as_ref()
        .ok()
        .and_then(|status| Some(status.node.as_ref()?.node.clone()));
    Answer {
        node: own_name.or_else(|| target.node().map(str::to_owned)),
        target: target.to_string(),
        status,
        clock_offset_ns,
    }
}
