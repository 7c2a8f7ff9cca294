//! Watches and streams: what all of them have in common.
//!
//! A watch has a place among its user's, and ends within an hour, with the relay, or when its user's permission is
//! withdrawn: then with a Status, so that a client knows why.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::CONTENT_TYPE;
use rand::Rng as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::events::Term;
use super::form::Form;
use super::permission::withdrawn;
use super::render::error_event;
use super::request::Asked;
use super::status::Failure;
use super::{Server, findings, json, native_findings, nodes, traces};
use crate::relay::access::User;

/// A watch ends after a random part of this, at least half, as the API server's own do.
const WATCH_SECONDS: u64 = 3600;

impl Server {
    /// Answers a watch.
    pub(super) fn watch(&self, asked: &Asked, user: &User) -> Result<Response, Failure> {
        for option in ["sendInitialEvents", "resourceVersionMatch"] {
            if asked.query.get(option).is_some() {
                return Err(Failure::invalid(
                    option,
                    "this server sends no initial events: list, then watch from the list's resourceVersion",
                ));
            }
        }
        let form = match asked.form {
            Form::Native => "stream",
            _ => "objects",
        };
        let events = self.events(asked, user)?.into_data_stream();
        let open = self.metrics.open_watch(asked.objects.kind.plural, form);
        let events = events.map(move |event| {
            let _ = &open;
            event
        });
        let reviewer = Arc::clone(&self.reviewer);
        let withdrawn = withdrawn(reviewer, user.clone(), asked.clone(), self.review_every);
        let mut ending = self.ending.subscribe();
        let ended = async move {
            let _ = ending.wait_for(|ending| *ending).await;
        };
        let events = until(events, withdrawn, asked.form).take_until(Box::pin(ended));
        let mut response = json(Body::from_stream(events));
        let content_type = asked.form.content_type();
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        Ok(response)
    }

    fn events(&self, asked: &Asked, user: &User) -> Result<Body, Failure> {
        let seconds = match asked.query.number("timeoutSeconds")? {
            None | Some(0) => rand::rng().random_range(WATCH_SECONDS / 2..=WATCH_SECONDS),
            Some(seconds) => seconds.min(WATCH_SECONDS),
        };
        let term = Term {
            until: Instant::now() + Duration::from_secs(seconds),
            place: self.watches.take(&user.name)?,
            sent: self.metrics.sent(asked.objects.kind.plural),
        };
        let versions = self.versions;
        match asked.objects.kind.kind {
            "Finding" if asked.form == Form::Native => {
                let wanted = native_findings::wanted(asked)?;
                Ok(traces::stream(self.sources.clone(), wanted, term))
            }
            "Finding" => findings::watch(&self.findings, versions, asked, term),
            "TracerNode" if asked.form == Form::Native => Err(Failure::new(
                406,
                "NotAcceptable",
                "tracernodes are watched as JSON only",
            )),
            "TracerNode" => {
                let (nodes, sources) = (Arc::clone(&self.nodes), self.sources.clone());
                nodes::watch(nodes, sources, versions, asked, term)
            }
            _ => traces::watch(self.sources.clone(), versions, asked, term),
        }
    }
}

/// The events until there is a failure, which ends them. In the relay's own form there is no event for it; a client
/// that asks again gets it as the answer.
fn until<E: Send>(
    events: impl Stream<Item = Result<Bytes, E>> + Send,
    failure: impl Future<Output = Failure> + Send + 'static,
    form: Form,
) -> impl Stream<Item = Result<Bytes, E>> + Send {
    // A task: a client that does not read must not delay it. It ends with the stream.
    let mut waiting = JoinSet::new();
    waiting.spawn(failure);
    let state = Some((Box::pin(events), waiting));
    futures::stream::unfold(state, move |state| async move {
        let (mut events, mut waiting) = state?;
        tokio::select! {
            biased;
            Some(failure) = waiting.join_next() => {
                let failure = failure.ok()?;
                tracing::debug!("a watch ends: {}", failure.message);
                (form != Form::Native).then(|| (Ok(error_event(&failure)), None))
            }
            event = events.next() => event.map(|event| (event, Some((events, waiting)))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_ends_with_the_status_of_its_failure() {
        for (form, last) in [(Form::Objects, Some("\"Forbidden\"")), (Form::Native, None)] {
            let event = Ok::<_, ()>(Bytes::from_static(b"an event"));
            let events = futures::stream::iter([event]).chain(futures::stream::pending());
            let (fail, failed) = tokio::sync::oneshot::channel();
            let failure = async { failed.await.expect("it fails") };
            let mut all = Box::pin(until(events, failure, form));
            assert_eq!(all.next().await, Some(Ok(Bytes::from_static(b"an event"))));
            fail.send(Failure::new(403, "Forbidden", "no more"))
                .expect("it waits");
            let status = all.next().await.map(|event| event.expect("bytes"));
            match last {
                None => assert_eq!(status, None),
                Some(reason) => {
                    let status = String::from_utf8(status.expect("a status").to_vec());
                    let status = status.expect("JSON");
                    assert!(status.starts_with("{\"type\":\"ERROR\"") && status.contains(reason));
                    assert_eq!(all.next().await, None);
                }
            }
        }
    }
}
