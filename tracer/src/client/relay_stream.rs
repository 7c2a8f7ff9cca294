//! The streams of all agents of one cluster, through its relays.
//!
//! One request brings the events of every agent, each message with its node. When the stream breaks, a new one
//! continues each node where it was: another relay sends the same events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracer_core::model::error_chain::error_chain;

use super::agent_stream::{FIRST_WAIT, MAX_WAIT, StreamMessage, WINDOW};
use super::cluster::{Cluster, Refusal, Resource};
use super::feed::{FeedMessage, RelayId};
use super::skew::clock_offset_ns;
use crate::stream::event::unix_ns;
use crate::stream::proto::observe_response::Message;
use crate::stream::proto::relayed_response::Message as Relayed;
use crate::stream::proto::{NodePosition, ObserveRequest, Position, RelayedResponse};

/// How long the API server and the relay may take until the stream begins.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Agents mark their progress once in this time.
const MARK_INTERVAL: Duration = Duration::from_secs(1);
/// A stream without a message for this long has broken: every agent marks its progress.
const SILENT: Duration = Duration::from_secs(30);

/// What the task of one relay's stream reports about the stream itself.
#[derive(Debug)]
pub(super) enum RelayMessage {
    /// The stream has begun.
    Connected,
    /// All agents that were connected have sent their histories.
    HistoryEnded,
    /// The stream broke or could not begin; another attempt follows.
    Interrupted(String),
    /// There is no stream, and there will be none.
    Refused(Refusal),
    /// Everything has been sent.
    Over,
}

/// The stream of one cluster's relays.
pub(super) struct RelayStream {
    pub(super) id: RelayId,
    pub(super) cluster: Cluster,
    pub(super) resource: Resource,
    pub(super) namespace: Option<String>,
    /// Globs of node names, separated by commas; empty for all.
    pub(super) nodes: String,
    pub(super) request: ObserveRequest,
    pub(super) sender: mpsc::Sender<FeedMessage>,
}

/// How one stream ended.
enum End {
    Over,
    Interrupted(String),
    Refused(Refusal),
    Closed,
}

/// The feed is gone.
struct Closed;

/// What is known of the nodes, over all streams.
#[derive(Default)]
struct Nodes {
    instances: HashMap<String, String>,
    positions: HashMap<String, Position>,
}

impl RelayStream {
    /// Reads until everything has been sent or the feed is gone.
    pub(super) async fn run(mut self) {
        let room = Arc::new(Semaphore::new(WINDOW));
        let mut nodes = Nodes::default();
        let mut wait = FIRST_WAIT;
        self.request.mark_interval_ms =
            u32::try_from(MARK_INTERVAL.as_millis()).unwrap_or_default();
        loop {
            let mut connected = false;
            let message = match self.once(&room, &mut nodes, &mut connected).await {
                End::Closed => return,
                End::Over => RelayMessage::Over,
                End::Refused(refusal) => RelayMessage::Refused(refusal),
                End::Interrupted(reason) if self.request.follow => {
                    let interrupted = RelayMessage::Interrupted(reason);
                    if self.report(interrupted).await.is_err() {
                        return;
                    }
                    if connected {
                        wait = FIRST_WAIT;
                    }
                    // Spreads the clients when a relay returns.
                    let share = rand::rng().random_range(0.5..1.0);
                    tokio::time::sleep(wait.mul_f64(share)).await;
                    wait = (wait * 2).min(MAX_WAIT);
                    continue;
                }
                End::Interrupted(reason) => RelayMessage::Refused(Refusal::Failed(reason)),
            };
            let _: Result<(), Closed> = self.report(message).await;
            return;
        }
    }

    async fn once(&self, room: &Arc<Semaphore>, nodes: &mut Nodes, connected: &mut bool) -> End {
        let mut request = self.request.clone();
        let position = |(node, position): (&String, &Position)| NodePosition {
            node: node.clone(),
            position: Some(position.clone()),
        };
        request.positions = nodes.positions.iter().map(position).collect();
        let asked = jiff::Timestamp::now();
        let namespace = self.namespace.as_deref();
        let starting = self
            .cluster
            .observe(self.resource, namespace, &self.nodes, &request);
        let mut frames = match tokio::time::timeout(CONNECT_WITHIN, starting).await {
            Ok(Ok(frames)) => frames,
            // It was there before: the relays are being replaced.
            Ok(Err(Refusal::Absent)) if !nodes.instances.is_empty() => {
                return End::Interrupted("no relay serves the API".to_owned());
            }
            Ok(Err(Refusal::Failed(reason))) => return End::Interrupted(reason),
            Ok(Err(refusal)) => return End::Refused(refusal),
            Err(_) => {
                let seconds = CONNECT_WITHIN.as_secs();
                return End::Interrupted(format!("no answer within {seconds} s"));
            }
        };
        *connected = true;
        if self.report(RelayMessage::Connected).await.is_err() {
            return End::Closed;
        }
        loop {
            // Without an agent nothing comes. A message that was read in part is never given up and then continued.
            let silent = match nodes.instances.is_empty() {
                true => Duration::MAX,
                false => SILENT,
            };
            let next = tokio::time::timeout(silent, frames.next::<RelayedResponse>());
            let message = match next.await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) if self.request.follow => {
                    return End::Interrupted("the relay ended the stream".to_owned());
                }
                Ok(Ok(None)) => return End::Over,
                Ok(Err(error)) => return End::Interrupted(error_chain(&error)),
                Err(_) => {
                    return End::Interrupted(format!("nothing came for {} s", SILENT.as_secs()));
                }
            };
            if self.receive(message, asked, room, nodes).await.is_err() {
                return End::Closed;
            }
        }
    }

    async fn receive(
        &self,
        message: RelayedResponse,
        asked: jiff::Timestamp,
        room: &Arc<Semaphore>,
        nodes: &mut Nodes,
    ) -> Result<(), Closed> {
        let node = message.node;
        let message = match message.message {
            Some(Relayed::Ended(_)) if node.is_empty() => {
                return self.report(RelayMessage::HistoryEnded).await;
            }
            Some(Relayed::Ended(_)) => StreamMessage::Over,
            Some(Relayed::Interrupted(reason)) => StreamMessage::Failed {
                reason,
                retry: true,
            },
            Some(Relayed::Response(response)) => match response.message {
                Some(Message::Node(info)) => {
                    let now = unix_ns(jiff::Timestamp::now());
                    let offset_ns = clock_offset_ns(unix_ns(asked), info.now_unix_ns, now);
                    nodes.instances.insert(node.clone(), info.instance.clone());
                    StreamMessage::Connected(info, offset_ns)
                }
                Some(Message::Event(event)) => {
                    let Some(permit) = self.place(room).await else {
                        return Err(Closed);
                    };
                    if let Some(instance) = nodes.instances.get(&node) {
                        let position = Position {
                            instance: instance.clone(),
                            next: event.sequence.saturating_add(1),
                        };
                        nodes.positions.insert(node.clone(), position);
                    }
                    StreamMessage::Event(Box::new(event), permit)
                }
                Some(Message::Lost(lost)) => StreamMessage::Lost(lost),
                Some(Message::Mark(mark)) => {
                    if let Some(position) = &mark.position {
                        nodes.positions.insert(node.clone(), position.clone());
                    }
                    StreamMessage::Mark(mark)
                }
                None => return Ok(()),
            },
            // A message of a newer version.
            None => return Ok(()),
        };
        let sent = self
            .sender
            .send(FeedMessage::Node(self.id, node, message))
            .await;
        sent.map_err(|_| Closed)
    }

    async fn place(&self, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        Arc::clone(room).acquire_owned().await.ok()
    }

    async fn report(&self, message: RelayMessage) -> Result<(), Closed> {
        let sent = self.sender.send(FeedMessage::Relay(self.id, message)).await;
        sent.map_err(|_| Closed)
    }
}
