//! The status of every agent. All agents are asked at the same time.

use std::time::Duration;

use futures::future::join_all;

use super::agent_stream::status_text;
use super::cluster::{Cluster, Refusal};
use super::skew::clock_offset_ns;
use super::target::Target;
use super::{ClientError, Options};
use crate::stream::event::unix_ns;
use crate::stream::proto;
use crate::stream::proto::node_status::Answer as Relayed;
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
}

/// Asks every agent, or the relays that have asked theirs.
pub async fn ask(options: &Options) -> Result<Statuses, ClientError> {
    let mut agents = match &*options.servers {
        [] => ask_relays(options).await?,
        servers => join_all(servers.iter().cloned().map(ask_one)).await,
    };
    agents.retain(|answer| answer.node.as_ref().is_none_or(|node| options.picks(node)));
    agents.sort_by(|one, other| (&one.node, &one.target).cmp(&(&other.node, &other.target)));
    Ok(Statuses { agents })
}

/// The relays of each cluster have asked their agents.
async fn ask_relays(options: &Options) -> Result<Vec<Answer>, ClientError> {
    let mut answers = Vec::new();
    for cluster in Cluster::find_all(options).await? {
        let asked = unix_ns(jiff::Timestamp::now());
        let statuses = tokio::time::timeout(ANSWER_WITHIN, cluster.statuses())
            .await
            .unwrap_or_else(|_| Err(Refusal::Failed(no_answer())))
            .map_err(|refusal| refusal.into_error("traces"))?;
        let answered = unix_ns(jiff::Timestamp::now());
        answers.extend(statuses.nodes.into_iter().map(|node| {
            let status = match node.answer {
                Some(Relayed::Status(status)) => Ok(status),
                Some(Relayed::Failure(why)) => Err(why),
                None => Err("the relay did not say".to_owned()),
            };
            let info = status.as_ref().ok().and_then(|status| status.node.as_ref());
            let clock_offset_ns =
                info.map_or(0, |info| clock_offset_ns(asked, info.now_unix_ns, answered));
            Answer {
                target: cluster.relay(),
                node: Some(match &cluster.context {
                    Some(context) if options.contexts.len() > 1 => {
                        format!("{context}/{}", node.node)
                    }
                    _ => node.node,
                }),
                status,
                clock_offset_ns,
            }
        }));
    }
    if answers.is_empty() {
        return Err(ClientError::NoneReached {
            reasons: vec![
                "no agent is connected to the relay: see `kubectl -n tracer get pods` and the agents' logs".to_owned(),
            ],
        });
    }
    Ok(answers)
}

fn no_answer() -> String {
    format!("no answer within {} s", ANSWER_WITHIN.as_secs())
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
        .unwrap_or_else(|_| Err(no_answer()));
    let (status, clock_offset_ns) = match status {
        Ok((status, offset_ns)) => (Ok(status), offset_ns),
        Err(reason) => (Err(reason), 0),
    };
    let own_name = status
        .as_ref()
        .ok()
        .and_then(|status| Some(status.node.as_ref()?.node.clone()));
    Answer {
        node: own_name,
        target: target.to_string(),
        status,
        clock_offset_ns,
    }
}
