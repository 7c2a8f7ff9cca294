//! The gRPC service: streams of events, and the status.
//!
//! Each stream is a task that reads the history, filters and sends. It waits for its client, and nothing
//! waits for it. The stream of a client that falls behind the history reports how many events it missed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::Stream;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::event::{from_wire, loss_to_wire, unix_clock, unix_ns};
use super::history::Entry;
use super::hub::{Hub, Progress};
use super::proto::observe_response::Message;
use super::proto::tracer_server::Tracer;
use super::{filter, proto};
use crate::connections::{Activity, Answering};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::loss::{Loss, Stage};
use tracer_core::view::filter::Filter;

/// Events read from the history at a time.
const PAGE: usize = 256;
/// Messages queued for a client, beside those in the buffers of its connection.
const QUEUE: usize = 64;
/// How long to wait for the pipeline's task to check a filter.
const CHECK_WITHIN: Duration = Duration::from_secs(1);

/// Reasons of losses in a stream. The count is from before the client's filter.
const TOO_SLOW: &str = "events that this client did not read in time, before its filters";
const DROPPED: &str = "events that the history no longer held, before filters";

/// The service of one agent.
#[derive(Clone, Debug)]
pub struct Service {
    hub: Arc<Hub>,
    clients: Arc<Semaphore>,
    max_clients: usize,
}

impl Service {
    /// Serves at most `max_clients` streams at a time.
    pub fn new(hub: Arc<Hub>, max_clients: usize) -> Service {
        Service {
            hub,
            clients: Arc::new(Semaphore::new(max_clients)),
            max_clients,
        }
    }

    fn node(&self, filter_warnings: Vec<String>) -> proto::NodeInfo {
        let identity = self.hub.identity();
        proto::NodeInfo {
            node: identity.node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: identity.instance.clone(),
            started_unix_ns: identity.started_unix_ns,
            now_unix_ns: unix_ns(jiff::Timestamp::now()),
            filter_warnings,
        }
    }
}

#[tonic::async_trait]
impl Tracer for Service {
    type ObserveStream =
        Pin<Box<dyn Stream<Item = Result<proto::ObserveResponse, Status>> + Send + 'static>>;

    async fn observe(
        &self,
        request: Request<proto::ObserveRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let answering = answering(&request);
        let request = request.into_inner();
        let node = &self.hub.identity().node;
        let Ok(permit) = Arc::clone(&self.clients).try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!(
                "the agent of {node} already serves {} streams, its maximum (--max-clients)",
                self.max_clients
            )));
        };
        let config = filter::from_wire(request.filter.clone().unwrap_or_default())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let filter = Filter::from(config);
        let progress = self.hub.progress();
        tracing::info!(client = request.client_version, "stream started");
        // If the pipeline's task is busy, the stream starts without warnings.
        let warnings = tokio::time::timeout(CHECK_WITHIN, self.hub.check(filter.clone()))
            .await
            .unwrap_or_default();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let stream = ClientStream {
            hub: Arc::clone(&self.hub),
            filter,
            since: request.since_unix_ns,
            sender,
            _permit: permit,
            _answering: answering,
        };
        let node = self.node(warnings);
        tokio::spawn(async move {
            // If the client is gone, there is nothing left to do.
            let _: Result<(), Gone> = stream.run(request, node, progress).await;
            tracing::info!("stream ended");
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn status(
        &self,
        request: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusResponse>, Status> {
        let _answering = answering(&request);
        let mut status = self.hub.status();
        status.node = Some(self.node(Vec::new()));
        let open = self.max_clients - self.clients.available_permits();
        status.clients = u32::try_from(open).unwrap_or(u32::MAX);
        status.max_clients = u32::try_from(self.max_clients).unwrap_or(u32::MAX);
        Ok(Response::new(status))
    }
}

/// Marks the connection as in use; `None` on the unix socket, whose connections have no limit.
fn answering<T>(request: &Request<T>) -> Option<Answering> {
    request.extensions().get::<Activity>().map(Activity::answer)
}

/// The client is gone.
struct Gone;

/// One stream to a client.
struct ClientStream {
    hub: Arc<Hub>,
    filter: Filter,
    since: Option<i64>,
    sender: mpsc::Sender<Result<proto::ObserveResponse, Status>>,
    _permit: OwnedSemaphorePermit,
    _answering: Option<Answering>,
}

impl ClientStream {
    async fn run(
        self,
        request: proto::ObserveRequest,
        node: proto::NodeInfo,
        mut progress: tokio::sync::watch::Receiver<Progress>,
    ) -> Result<(), Gone> {
        let instance = node.instance.clone();
        self.send(Message::Node(node)).await?;
        let mut until = *progress.borrow_and_update();
        let (mut next, reason) = match &request.after {
            Some(after) if after.instance == instance => (after.next, DROPPED),
            // The position is from another instance, so all of this history is new to the client.
            Some(_) => (0, DROPPED),
            None if request.history => (self.oldest(), DROPPED),
            None => (until.next, TOO_SLOW),
        };
        match request.last {
            Some(last) if request.after.is_none() => {
                next = self.tail(next, until.next, last as usize).await?;
            }
            _ => next = self.read(next, until.next, reason).await?,
        }
        self.mark(next, until, &instance, true).await?;
        if !request.follow {
            return Ok(());
        }
        let interval = Duration::from_millis(request.mark_interval_ms.into());
        let mut marked = Instant::now();
        loop {
            if !until.open {
                let node = &self.hub.identity().node;
                let ended = Status::unavailable(format!("the agent of {node} is ending"));
                return self.sender.send(Err(ended)).await.map_err(|_| Gone);
            }
            if progress.changed().await.is_err() {
                return Ok(());
            }
            until = *progress.borrow_and_update();
            next = self.read(next, until.next, TOO_SLOW).await?;
            if marked.elapsed() >= interval {
                self.mark(next, until, &instance, false).await?;
                marked = Instant::now();
            }
        }
    }

    fn oldest(&self) -> u64 {
        self.hub.page(0, 0).first
    }

    /// Sends those of the events `from..until` that match.
    async fn read(&self, mut from: u64, until: u64, reason: &'static str) -> Result<u64, Gone> {
        while from < until {
            let limit = usize::try_from(until - from).unwrap_or(PAGE).min(PAGE);
            let page = self.hub.page(from, limit);
            self.report_missed(page.missed, reason).await?;
            from = page.first;
            for entry in &page.entries {
                if let Some(event) = self.matching(from, entry) {
                    self.send(Message::Event(event)).await?;
                }
                from += 1;
            }
            if page.entries.is_empty() {
                break;
            }
            // Without this, a filter that matches nothing would block the other tasks of this thread.
            tokio::task::yield_now().await;
        }
        Ok(from)
    }

    /// Sends the last `last` events of `from..until` that match.
    async fn tail(&self, mut from: u64, until: u64, last: usize) -> Result<u64, Gone> {
        let mut kept: VecDeque<(u64, Entry)> = VecDeque::new();
        while from < until {
            let limit = usize::try_from(until - from).unwrap_or(PAGE).min(PAGE);
            let page = self.hub.page(from, limit);
            from = page.first;
            if page.entries.is_empty() {
                break;
            }
            for entry in page.entries {
                if self.matching(from, &entry).is_some() {
                    kept.push_back((from, entry));
                    if kept.len() > last {
                        kept.pop_front();
                    }
                }
                from += 1;
            }
            tokio::task::yield_now().await;
        }
        for (number, entry) in kept {
            if let Some(event) = self.matching(number, &entry) {
                self.send(Message::Event(event)).await?;
            }
        }
        Ok(from)
    }

    /// The event, if it matches the filter.
    fn matching(&self, sequence: u64, entry: &Entry) -> Option<proto::EmittedEvent> {
        // An event begins before it is emitted, so this one is too old, and need not be decoded.
        if (self.since).is_some_and(|since| entry.emitted_unix_ns < since) {
            return None;
        }
        // Decoding cannot fail: this program encoded the history.
        let wire = proto::Event::decode(&*entry.event).ok()?;
        let event = from_wire(wire.clone()).ok()?;
        (self.is_recent(&event) && self.filter.matches(&event)).then_some(proto::EmittedEvent {
            event: Some(wire),
            emitted_unix_ns: entry.emitted_unix_ns,
            sequence,
        })
    }

    fn is_recent(&self, event: &Event) -> bool {
        matches!(event.body, Body::Lost(_))
            || self
                .since
                .is_none_or(|since| unix_ns(unix_clock(event.time)) >= since)
    }

    async fn report_missed(&self, count: u64, reason: &'static str) -> Result<(), Gone> {
        if count == 0 {
            return Ok(());
        }
        let loss = Loss {
            stage: Stage::Stream,
            reason,
            count,
        };
        self.send(Message::Lost(loss_to_wire(&loss))).await
    }

    async fn mark(
        &self,
        next: u64,
        progress: Progress,
        instance: &str,
        history_ended: bool,
    ) -> Result<(), Gone> {
        self.send(Message::Mark(proto::Mark {
            reached_unix_ns: progress.reached_unix_ns,
            position: Some(proto::Position {
                instance: instance.to_owned(),
                next,
            }),
            history_ended,
        }))
        .await
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        let response = proto::ObserveResponse {
            message: Some(message),
        };
        self.sender.send(Ok(response)).await.map_err(|_| Gone)
    }
}
