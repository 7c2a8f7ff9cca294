//! Events of a pod from agents: those of the last minutes, and with `--watch` those that follow.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep_until};

use super::{Collected, Collecting, Keeper, SETTLE, node_of, wall, wall_now};
use crate::client::feed::{Feed, Query, Update};
use crate::client::{ClientError, Options, paths};
use crate::run::session;
use crate::run::signals::Signals;
use crate::stream::paths::Asked;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::loss::Losses;
use tracer_core::model::path::Path;
use tracer_core::model::time::Timestamp;
use tracer_core::model::units::count;
use tracer_core::view::filter::{EventType, FilterConfig};

/// Agents report losses this long after they happened at most; before that nothing follows from absence.
const REPORTED: Duration = Duration::from_secs(12);

impl Collected {
    /// Asks agents for events that were decided within `span` before now. Where the user may see findings
    /// alone, for these.
    pub fn from_agents(
        agents: &Options,
        filter: &FilterConfig,
        span: Duration,
        collecting: &Collecting,
        on_wait: &dyn Fn(),
    ) -> Result<Collected> {
        session::block_on(async {
            let asked = Asking {
                agents,
                span,
                collecting,
                on_wait,
            };
            match asked.collect(filter).await {
                Err(Failure::Client(ClientError::Forbidden { reason, .. })) => {
                    let findings = FilterConfig {
                        types: vec![EventType::Finding],
                        ..filter.clone()
                    };
                    let mut collected = asked.once(&findings).await?;
                    collected.complete = false;
                    collected
                        .unknown
                        .push(format!("what the pod tried: {reason}"));
                    Ok(collected)
                }
                Err(Failure::Client(error)) => Ok(failed(&error)),
                Err(Failure::Other(error)) => Err(error),
                Ok(collected) => Ok(collected),
            }
        })
    }
}

/// No agent answered: what the objects show can still be explained.
fn failed(error: &ClientError) -> Collected {
    let mut collected = Collected::none();
    collected
        .unknown
        .push(format!("what the pod tried: {error}"));
    collected
}

enum Failure {
    Client(ClientError),
    Other(anyhow::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

struct Asking<'a> {
    agents: &'a Options,
    span: Duration,
    collecting: &'a Collecting,
    on_wait: &'a dyn Fn(),
}

impl Asking<'_> {
    /// Without waiting for an attempt, which findings do not show.
    async fn once(&self, filter: &FilterConfig) -> Result<Collected> {
        let asked = Asking {
            collecting: &Collecting {
                awaited: None,
                ..self.collecting.clone()
            },
            ..*self
        };
        match asked.collect(filter).await {
            Ok(collected) => Ok(collected),
            Err(Failure::Client(error)) => Ok(failed(&error)),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    async fn collect(&self, filter: &FilterConfig) -> Result<Collected, Failure> {
        let watch = self.collecting.awaited.is_some();
        let query = Query {
            filter: filter.clone(),
            follow: watch,
            history: true,
            // By the time of the decision, which the query does not know: a long connection breaks late.
            since: None,
            last: None,
        };
        let mut feed = Feed::start(self.agents.clone(), query).await?;
        let mut signals = Signals::listen().map_err(Failure::Other)?;
        let keeper = Keeper::new(self.collecting);
        let mut losses = Losses::default();
        let mut unknown = Vec::new();
        let since = Timestamp(wall_now().0.saturating_sub(Timestamp(0).after(self.span).0));
        let mut deadline: Option<Instant> = None;
        loop {
            let update = tokio::select! {
                update = feed.next() => update?,
                _ = signals.next() => break,
                () = sleep_until(deadline.unwrap_or_else(far)), if deadline.is_some() => break,
            };
            match update {
                None => break,
                Some(Update::HistoryEnded) if !watch => break,
                Some(Update::HistoryEnded) => {
                    if !keeper.has_seen() {
                        (self.on_wait)();
                    }
                }
                Some(Update::Event(_, event, decided)) => match &event.body {
                    Body::Lost(loss) => losses.add(loss.stage, loss.reason, loss.count),
                    _ if decided >= since || is_open_finding(&event) => {
                        keeper.keep(decided, &event);
                    }
                    _ => {}
                },
                Some(Update::Warning(sentence) | Update::Unmatched(sentence)) => {
                    unknown.push(sentence);
                }
                Some(Update::Note(_)) => {}
            }
            if deadline.is_none() && keeper.has_seen() {
                deadline = Some(Instant::now() + SETTLE);
            }
        }
        if losses.total() > 0 {
            let lost = count(losses.total(), "record or event");
            unknown.push(format!(
                "what {lost} would have shown: the agents lost them"
            ));
        }
        let reached = feed.agents().iter().any(|agent| agent.reached);
        let collected = keeper.collected(Box::new(wall), unknown);
        let agents = self.agents.clone();
        Ok(Collected {
            now: wall_now(),
            complete: reached,
            follow: Some(Box::new(move |event| follow(&agents, event))),
            ..collected
        })
    }
}

/// Asks the agents of both nodes about an attempt.
fn follow(agents: &Options, event: &Event) -> Result<Option<Path>, String> {
    let asked = node_of(event).and_then(|node| Asked::about_attempt(&node, event));
    let Some(asked) = asked else { return Ok(None) };
    let settled = event.time.after(REPORTED);
    let wait = settled.since(wall_now());
    let answers = session::block_on(async {
        tokio::time::sleep(wait).await;
        Ok(paths::ask(agents, &[asked]).await)
    });
    let answers = answers.map_err(|error| error.to_string())?;
    match (answers.paths.into_iter().next(), answers.failure) {
        (Some((_, path)), _) => Ok(Some(path)),
        (None, Some(reason)) => Err(reason),
        (None, None) if answers.unasked > 0 => Err("no answer in time".to_owned()),
        (None, None) => Ok(None),
    }
}

/// A finding stays true until it is resolved, however long ago it was emitted.
fn is_open_finding(event: &Event) -> bool {
    matches!(&event.body, Body::Finding(finding) if !finding.is_resolved())
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}
