//! A watch's events: what all watches of objects do alike.
//!
//! A [`Source`] finds the next events at the pace of the client, so that a slow one costs no queue.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::limits::Place;
use super::render::{Rendered, Renderer, error_event};
use super::status::Failure;

/// How long a watch runs, the place that it takes, and where its events are counted.
#[derive(Debug)]
pub struct Term {
    /// Its end.
    pub until: Instant,
    /// Its place.
    pub place: Place,
    /// Events that were sent.
    pub sent: Counter,
}

/// Where a watch's events come from.
pub trait Source: Send + 'static {
    /// Adds the next events, or none; waits if there are none yet. Returns whether there can be more.
    fn more(&mut self, events: &mut Events) -> impl Future<Output = bool> + Send;
}

/// Events that the client gets next.
#[derive(Debug)]
pub struct Events {
    renderer: Renderer,
    ready: VecDeque<Bytes>,
    /// The next event is the first.
    head: bool,
    sent: Counter,
}

impl Events {
    /// Adds a change of an object.
    pub fn push(&mut self, change: &str, rendered: Rendered) {
        let head = std::mem::take(&mut self.head);
        self.ready
            .push_back(self.renderer.event(change, rendered, head));
        self.sent.inc();
    }

    /// Adds the event that everything up to this version has been sent.
    pub fn bookmark(&mut self, version: &str) {
        self.ready.push_back(self.renderer.bookmark(version));
    }

    /// Adds the failure that ends the watch.
    pub fn fail(&mut self, failure: &Failure) {
        self.ready.push_back(error_event(failure));
    }
}

/// The body of a watch.
pub fn body(source: impl Source, renderer: Renderer, term: Term) -> Body {
    let watch = Watch {
        source,
        events: Events {
            renderer,
            ready: VecDeque::new(),
            head: true,
            sent: term.sent,
        },
        until: term.until,
        ended: false,
        _place: term.place,
    };
    let stream = futures::stream::unfold(watch, |mut watch| async move {
        let bytes = watch.next().await?;
        Some((Ok::<_, Infallible>(bytes), watch))
    });
    Body::from_stream(stream)
}

struct Watch<S> {
    source: S,
    events: Events,
    until: Instant,
    ended: bool,
    _place: Place,
}

impl<S: Source> Watch<S> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.events.ready.pop_front() {
                return Some(bytes);
            }
            if self.ended || Instant::now() >= self.until {
                return None;
            }
            tokio::select! {
                more = self.source.more(&mut self.events) => self.ended = !more,
                () = tokio::time::sleep_until(self.until) => return None,
            }
        }
    }
}
