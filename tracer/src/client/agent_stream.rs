//! The stream of one agent: connects, reads, and reconnects when the connection is lost.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Code;
use tracer_core::model::error_chain::{error_chain, one_line};

use super::Options;
use super::feed::FeedMessage;
use super::merge::StreamId;
use super::skew::clock_offset_ns;
use super::target::Target;
use crate::stream::event::unix_ns;
use crate::stream::proto::observe_response::Message;
use crate::stream::proto::tracer_client::TracerClient;
use crate::stream::proto::{self, Position};

/// How long an agent may take to answer with its identity.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The wait before a new attempt. It doubles each time.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(250);
pub(super) const MAX_WAIT: Duration = Duration::from_secs(10);
/// Events of one agent that may wait to be shown. Reading pauses at this number.
pub(super) const WINDOW: usize = 4096;

/// What the task of one stream sends to the feed.
#[derive(Debug)]
pub(super) enum StreamMessage {
    /// The agent is connected. Its clock differs from this machine's by this many nanoseconds.
    Connected(proto::NodeInfo, i64),
    /// An event, and its place in the window.
    Event(Box<proto::EmittedEvent>, OwnedSemaphorePermit),
    /// The agent reports a loss in this stream.
    Lost(proto::Lost),
    /// All events from before this time have been sent.
    Mark(proto::Mark),
    /// The connection was lost or could not be made.
    Failed {
        /// Why.
        reason: String,
        /// Another attempt follows.
        retry: bool,
    },
    /// The agent runs on this node, which was not asked for.
    OtherNode(String),
    /// The agent has sent everything.
    Over,
}

/// The position in a stream. It outlives the task that reads the stream.
pub(super) type SharedPosition = Arc<Mutex<Option<Position>>>;

/// One agent's stream.
pub(super) struct AgentStream {
    pub(super) id: StreamId,
    pub(super) target: Target,
    pub(super) options: Arc<Options>,
    pub(super) request: proto::ObserveRequest,
    pub(super) position: SharedPosition,
    pub(super) sender: mpsc::Sender<FeedMessage>,
}

/// How one connection ended.
enum End {
    /// The agent has sent everything.
    Over,
    /// The agent runs on this node, which was not asked for.
    OtherNode(String),
    /// Another attempt may succeed.
    Failed(String),
    /// Another attempt cannot succeed.
    Refused(String),
    /// The feed is gone.
    Closed,
}

/// The feed is gone.
struct Closed;

impl AgentStream {
    /// Reads until the stream ends or the feed is gone.
    pub(super) async fn run(self) {
        let room = Arc::new(Semaphore::new(WINDOW));
        let mut wait = FIRST_WAIT;
        loop {
            let mut connected = false;
            let last = match self.once(&room, &mut connected).await {
                End::Over => StreamMessage::Over,
                End::OtherNode(node) => StreamMessage::OtherNode(node),
                End::Closed => return,
                End::Failed(reason) if self.request.follow => {
                    let retry = true;
                    let failed = StreamMessage::Failed { reason, retry };
                    if self.send(failed).await.is_err() {
                        return;
                    }
                    if connected {
                        wait = FIRST_WAIT;
                    }
                    // Spreads the clients when an API server returns.
                    let share = rand::rng().random_range(0.5..1.0);
                    tokio::time::sleep(wait.mul_f64(share)).await;
                    wait = (wait * 2).min(MAX_WAIT);
                    continue;
                }
                End::Failed(reason) | End::Refused(reason) => StreamMessage::Failed {
                    reason,
                    retry: false,
                },
            };
            let _: Result<(), Closed> = self.send(last).await;
            return;
        }
    }

    async fn once(&self, room: &Arc<Semaphore>, connected: &mut bool) -> End {
        let mut request = self.request.clone();
        request.after = self.position.lock().clone();
        let connect = async {
            let channel = self.target.connect().await.map_err(|error| error.0)?;
            let mut client = TracerClient::new(channel);
            let asked = jiff::Timestamp::now();
            let mut stream = client
                .observe(request)
                .await
                .map_err(|status| status_text(&status))?
                .into_inner();
            let first = stream
                .message()
                .await
                .map_err(|status| status_text(&status))?;
            Ok::<_, String>((first, stream, asked, jiff::Timestamp::now()))
        };
        let (first, mut stream, asked, answered) =
            match tokio::time::timeout(CONNECT_WITHIN, connect).await {
                Ok(Ok(connected)) => connected,
                Ok(Err(reason)) => return End::Failed(reason),
                Err(_) => {
                    return End::Failed(format!("no answer within {} s", CONNECT_WITHIN.as_secs()));
                }
            };
        let Some(Message::Node(info)) = first.and_then(|first| first.message) else {
            return End::Failed("the server does not speak tracer.v1".to_owned());
        };
        if !self.options.picks(&info.node) {
            return End::OtherNode(info.node);
        }
        *connected = true;
        let instance = info.instance.clone();
        let offset_ns = clock_offset_ns(unix_ns(asked), info.now_unix_ns, unix_ns(answered));
        if self
            .send(StreamMessage::Connected(info, offset_ns))
            .await
            .is_err()
        {
            return End::Closed;
        }
        loop {
            let message = match stream.message().await {
                Ok(Some(response)) => response.message,
                Ok(None) if self.request.follow => {
                    return End::Failed("the agent ended the stream".to_owned());
                }
                Ok(None) => return End::Over,
                Err(status) if status.code() == Code::InvalidArgument => {
                    return End::Refused(status_text(&status));
                }
                Err(status) => return End::Failed(status_text(&status)),
            };
            let sent = match message {
                Some(Message::Event(event)) => {
                    let Ok(permit) = Arc::clone(room).acquire_owned().await else {
                        return End::Closed;
                    };
                    *self.position.lock() = Some(Position {
                        instance: instance.clone(),
                        next: event.sequence.saturating_add(1),
                    });
                    self.send(StreamMessage::Event(Box::new(event), permit))
                        .await
                }
                Some(Message::Lost(lost)) => self.send(StreamMessage::Lost(lost)).await,
                Some(Message::Mark(mark)) => {
                    self.position.lock().clone_from(&mark.position);
                    self.send(StreamMessage::Mark(mark)).await
                }
                // A repeated identity, or a message of a newer version.
                Some(Message::Node(_)) | None => Ok(()),
            };
            if sent.is_err() {
                return End::Closed;
            }
        }
    }

    async fn send(&self, message: StreamMessage) -> Result<(), Closed> {
        let sent = self.sender.send(FeedMessage::Agent(self.id, message)).await;
        sent.map_err(|_| Closed)
    }
}

/// A status and its causes as one line.
pub(super) fn status_text(status: &tonic::Status) -> String {
    let mut text = one_line(status.message());
    if let Some(cause) = std::error::Error::source(status) {
        let cause = error_chain(cause);
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    if text.is_empty() {
        status.code().to_string()
    } else {
        text
    }
}
