//! The stream of one agent: connects, reads, and connects again where it goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Code;

use super::merge::SourceId;
use super::skew::clock_off_ns;
use super::target::Target;
use super::{Options, one_line};
use crate::stream::event::unix_ns;
use crate::stream::proto::observe_response::Message;
use crate::stream::proto::tracer_client::TracerClient;
use crate::stream::proto::{self, Position};

/// Until an agent is connected and has said who it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// Waits between attempts, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Events of one agent that wait for their turn; it is not read any further until they are shown.
const WINDOW: usize = 4096;

/// What the stream of an agent says.
#[derive(Debug)]
pub(super) enum Said {
    /// It is connected to this agent, whose clock is so many nanoseconds off this machine's.
    Node(proto::NodeInfo, i64),
    /// An event, and the room that it takes.
    Event(Box<proto::Told>, OwnedSemaphorePermit),
    /// The agent says that this stream lost something.
    Lost(proto::Lost),
    /// Everything from before that time was told.
    Mark(proto::Mark),
    /// The connection could not be made, or is gone; whether it is tried again.
    Failed(String, bool),
    /// The agent is none of those that were asked for: its node.
    NotAsked(String),
    /// All was told.
    Over,
}

/// Where a stream stands; outlives the task that reads it.
pub(super) type Place = Arc<Mutex<Option<Position>>>;

/// One agent's stream.
pub(super) struct Source {
    pub(super) id: SourceId,
    pub(super) target: Target,
    pub(super) options: Arc<Options>,
    pub(super) request: proto::ObserveRequest,
    pub(super) place: Place,
    pub(super) says: mpsc::Sender<(SourceId, Said)>,
}

enum End {
    Over,
    NotAsked(String),
    /// Trying again can help.
    Failed(String),
    /// It cannot.
    Refused(String),
    /// Nobody listens any more.
    Unheard,
}

impl Source {
    /// Reads until there is no more, or for as long as somebody listens.
    pub(super) async fn run(self) {
        let room = Arc::new(Semaphore::new(WINDOW));
        let mut wait = FIRST_WAIT;
        loop {
            let mut connected = false;
            let last = match self.once(&room, &mut connected).await {
                End::Over => Said::Over,
                End::NotAsked(node) => Said::NotAsked(node),
                End::Refused(why) => Said::Failed(why, false),
                End::Failed(why) if !self.request.follow => Said::Failed(why, false),
                End::Unheard => return,
                End::Failed(why) => {
                    if self.say(Said::Failed(why, true)).await.is_err() {
                        return;
                    }
                    if connected {
                        wait = FIRST_WAIT;
                    }
                    // Not all at the same moment, where an API server came back.
                    let share = rand::rng().random_range(0.5..1.0);
                    tokio::time::sleep(wait.mul_f64(share)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    continue;
                }
            };
            let _: Result<(), ()> = self.say(last).await;
            return;
        }
    }

    async fn once(&self, room: &Arc<Semaphore>, connected: &mut bool) -> End {
        let mut request = self.request.clone();
        request.after = self.place().clone();
        let connect = async {
            let channel = self.target.connect().await.map_err(|error| error.0)?;
            let mut client = TracerClient::new(channel);
            let asked = jiff::Timestamp::now();
            let mut stream = client
                .observe(request)
                .await
                .map_err(|status| said(&status))?
                .into_inner();
            let first = stream.message().await.map_err(|status| said(&status))?;
            Ok::<_, String>((first, stream, asked, jiff::Timestamp::now()))
        };
        let (first, mut stream, asked, heard) = match tokio::time::timeout(PATIENCE, connect).await
        {
            Ok(Ok(connected)) => connected,
            Ok(Err(why)) => return End::Failed(why),
            Err(_) => return End::Failed(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let Some(Message::Node(info)) = first.and_then(|first| first.message) else {
            return End::Failed("it does not speak tracer.v1".to_owned());
        };
        if !self.options.picks(&info.node) {
            return End::NotAsked(info.node);
        }
        *connected = true;
        let instance = info.instance.clone();
        let off_ns = clock_off_ns(unix_ns(asked), info.now_unix_ns, unix_ns(heard));
        if self.say(Said::Node(info, off_ns)).await.is_err() {
            return End::Unheard;
        }
        loop {
            let message = match stream.message().await {
                Ok(Some(response)) => response.message,
                Ok(None) if self.request.follow => {
                    return End::Failed("the agent ended the stream".to_owned());
                }
                Ok(None) => return End::Over,
                Err(status) if status.code() == Code::InvalidArgument => {
                    return End::Refused(said(&status));
                }
                Err(status) => return End::Failed(said(&status)),
            };
            let heard = match message {
                Some(Message::Event(told)) => {
                    let Ok(permit) = Arc::clone(room).acquire_owned().await else {
                        return End::Unheard;
                    };
                    *self.place() = Some(Position {
                        instance: instance.clone(),
                        next: told.sequence.saturating_add(1),
                    });
                    self.say(Said::Event(Box::new(told), permit)).await
                }
                Some(Message::Lost(lost)) => self.say(Said::Lost(lost)).await,
                Some(Message::Mark(mark)) => {
                    self.place().clone_from(&mark.position);
                    self.say(Said::Mark(mark)).await
                }
                // Said once, or of a newer agent.
                Some(Message::Node(_)) | None => Ok(()),
            };
            if heard.is_err() {
                return End::Unheard;
            }
        }
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Option<Position>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(&self, said: Said) -> Result<(), ()> {
        self.says.send((self.id, said)).await.map_err(|_| ())
    }
}

/// A status in words.
pub(super) fn said(status: &tonic::Status) -> String {
    let mut said = one_line(status.message());
    if let Some(cause) = std::error::Error::source(status) {
        let cause = super::causes(cause);
        if !said.contains(&cause) {
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&cause);
        }
    }
    if said.is_empty() {
        status.code().to_string()
    } else {
        said
    }
}
