//! `traces`: list and watch, from the agents that have such pods.
//!
//! A list has the latest events, up to its limit, and does not continue: there is always a newer one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::events::Term;
use super::form::Form;
use super::kinds::{self, GROUP_VERSION};
use super::render::{ListHead, Rendered, Renderer, rfc3339};
use super::request::Asked;
use super::status::Failure;
use super::streams::{Sources, Wanted, relay};
use super::version::Versions;
use super::{native, options};
use crate::relay::findings::now_us;
use crate::stream::event::{from_wire, loss_from_wire, timestamp, unix_clock, unix_ns};
use crate::stream::proto::observe_response::Message;
use crate::stream::proto::relayed_response::Message as Relayed;
use crate::stream::proto::{self, RelayedResponse};
use tracer_core::model::event::{Body as EventBody, Event};
use tracer_core::view::json::Json;
use tracer_core::view::text::{Text, TextSettings};
use tracer_core::view::{Encode as _, words};

/// Events of a list without a limit.
const DEFAULT_LIMIT: u64 = 20;
/// Events of a list, at most.
const MAX_LIMIT: u64 = 1000;
/// Events from before a watch that are looked through for those after its version.
const RESUMED: u32 = 200;
/// How long agents may take for the events of a list.
const LIST_WITHIN: Duration = Duration::from_secs(25);

/// What a list could not do, for the header Warning.
pub type Warnings = Vec<String>;

/// Answers a list.
pub async fn list(
    sources: Sources,
    versions: Versions,
    asked: &Asked,
) -> Result<(Body, Warnings), Failure> {
    let mut wanted = options::wanted(asked)?;
    if asked.form == Form::Native {
        wanted.request.history = true;
        return Ok((native::body(relay(sources, wanted)), Vec::new()));
    }
    let renderer = renderer(asked);
    let limit = match asked.query.number("limit")? {
        None | Some(0) => DEFAULT_LIMIT,
        Some(limit) => limit,
    };
    let mut warnings = Vec::new();
    if limit > MAX_LIMIT {
        warnings.push(format!("only the latest {MAX_LIMIT} events are listed"));
    }
    if asked.query.get("continue").is_some() {
        return Err(Failure::expired(
            "lists of traces do not continue: ask for more with a higher limit, or watch",
        ));
    }
    let limit = limit.min(MAX_LIMIT);
    wanted.request.history = true;
    wanted.request.last = u32::try_from(limit).ok();
    let version = versions.text(now_us());
    let mut latest = Latest::new(usize::try_from(limit).unwrap_or(usize::MAX));
    let collecting = collect(relay(sources, wanted), &mut latest, &mut warnings);
    if tokio::time::timeout(LIST_WITHIN, collecting).await.is_err() {
        warnings.push("some agents did not answer in time".to_owned());
    }
    let items = latest.in_order().into_iter();
    let items = items.filter_map(move |traced| render(&traced, versions, None));
    let head = ListHead {
        version,
        ..ListHead::default()
    };
    Ok((renderer.list(&head, items), warnings))
}

async fn collect(
    messages: impl Stream<Item = RelayedResponse>,
    latest: &mut Latest,
    warnings: &mut Warnings,
) {
    let mut messages = std::pin::pin!(messages);
    let mut lost: u64 = 0;
    while let Some(message) = messages.next().await {
        if let Some(Relayed::Interrupted(why)) = &message.message {
            warnings.push(format!("{}: {why}", message.node));
        }
        if let Some(traced) = traced(message) {
            match traced.event.body {
                // Of a stream's losses no time is known: they would all be the latest events.
                EventBody::Lost(loss) => lost = lost.saturating_add(loss.count),
                _ => latest.push(traced),
            }
        }
    }
    if lost > 0 {
        warnings.push(format!("agents have lost {lost} events or records"));
    }
}

fn renderer(asked: &Asked) -> Renderer {
    Renderer {
        kind: &kinds::TRACES,
        form: asked.form,
    }
}

/// An event of an agent.
#[derive(Clone, Debug)]
struct Traced {
    node: Arc<str>,
    emitted_unix_ns: i64,
    sequence: u64,
    event: Event,
}

/// The event of a message, if it has one that this version understands.
fn traced(message: RelayedResponse) -> Option<Traced> {
    let Some(Relayed::Response(response)) = message.message else {
        return None;
    };
    let node: Arc<str> = message.node.into();
    match response.message? {
        Message::Event(emitted) => Some(Traced {
            node,
            emitted_unix_ns: emitted.emitted_unix_ns,
            sequence: emitted.sequence,
            event: from_wire(emitted.event?).ok()?,
        }),
        Message::Lost(lost) => lost_event(node, &lost),
        Message::Node(_) | Message::Mark(_) => None,
    }
}

fn lost_event(node: Arc<str>, lost: &proto::Lost) -> Option<Traced> {
    let now = unix_ns(jiff::Timestamp::now());
    Some(Traced {
        node,
        emitted_unix_ns: now,
        sequence: 0,
        event: Event {
            time: timestamp(now),
            ends: None,
            incomplete: false,
            body: EventBody::Lost(loss_from_wire(lost).ok()?),
        },
    })
}

/// The latest events.
struct Latest {
    limit: usize,
    /// The earliest on top.
    events: BinaryHeap<Reverse<ByTime>>,
}

struct ByTime(Traced);

impl ByTime {
    fn key(&self) -> (i64, &str, u64) {
        (self.0.emitted_unix_ns, &self.0.node, self.0.sequence)
    }
}

impl PartialEq for ByTime {
    fn eq(&self, other: &ByTime) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ByTime {}

impl PartialOrd for ByTime {
    fn partial_cmp(&self, other: &ByTime) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByTime {
    fn cmp(&self, other: &ByTime) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Latest {
    fn new(limit: usize) -> Latest {
        Latest {
            limit,
            events: BinaryHeap::new(),
        }
    }

    fn push(&mut self, traced: Traced) {
        self.events.push(Reverse(ByTime(traced)));
        if self.events.len() > self.limit {
            self.events.pop();
        }
    }

    fn in_order(self) -> Vec<Traced> {
        // The greatest reversed value is the earliest.
        let events = self.events.into_sorted_vec().into_iter().rev();
        events.map(|Reverse(ByTime(traced))| traced).collect()
    }
}

/// The object of an event, and its row. `namespace` is that of an event without a pod.
fn render(traced: &Traced, versions: Versions, namespace: Option<&str>) -> Option<Rendered> {
    let mut line = String::new();
    let mut encoder = Json::new(Arc::clone(&traced.node));
    encoder.encode(&traced.event, &unix_clock, &mut line).ok()?;
    let event: Value = serde_json::from_str(&line).ok()?;
    let emitted = jiff::Timestamp::from_nanosecond(i128::from(traced.emitted_unix_ns));
    let emitted = emitted.unwrap_or_default();
    let at_us = u64::try_from(emitted.as_microsecond()).unwrap_or(0);
    let pod = event["pod"]["name"].as_str().unwrap_or_default();
    let name = format!(
        "{}-{}-{}",
        traced.node, traced.emitted_unix_ns, traced.sequence
    );
    let mut metadata = json!({
        "name": name,
        "resourceVersion": versions.text(at_us),
        "creationTimestamp": rfc3339(emitted),
    });
    if let Some(namespace) = event["pod"]["namespace"].as_str().or(namespace) {
        metadata["namespace"] = namespace.into();
    }
    let utc = emitted.to_zoned(TimeZone::UTC);
    let cells = vec![
        name.into(),
        utc.strftime("%H:%M:%S%.3f").to_string().into(),
        pod.into(),
        words::kind(&traced.event.body).into(),
        text(&traced.event, emitted).into(),
        (&*traced.node).into(),
    ];
    let object = json!({
        "kind": kinds::TRACES.kind,
        "apiVersion": GROUP_VERSION,
        "metadata": metadata,
        "event": event,
    });
    Some(Rendered { object, cells })
}

/// The event as `tracer observe` shows it, in one line without time and pod.
fn text(event: &Event, emitted: jiff::Timestamp) -> String {
    let mut encoder = Text::new(TextSettings {
        wide: false,
        color: false,
        width: None,
        header: false,
        time_zone: TimeZone::UTC,
    });
    encoder.set_decided(timestamp(unix_ns(emitted)));
    let mut text = String::new();
    if encoder.encode(event, &unix_clock, &mut text).is_err() {
        return String::new();
    }
    let utc = emitted.to_zoned(TimeZone::UTC);
    let time = utc.strftime("%H:%M:%S%.3f").to_string();
    // A lookup has further lines, and an unknown pod an explanation before.
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(&time));
    let line = line.unwrap_or(&text);
    let words: Vec<&str> = line.split_whitespace().collect();
    let has_pod = event.ends.is_some();
    words
        .get(usize::from(has_pod)..)
        .unwrap_or_default()
        .join(" ")
}

/// The messages of all agents, in the relay's own form.
pub fn stream(sources: Sources, wanted: Wanted, term: Term) -> Body {
    native::body(within(relay(sources, wanted), term))
}

/// Answers a watch.
pub fn watch(
    sources: Sources,
    versions: Versions,
    asked: &Asked,
    term: Term,
) -> Result<Body, Failure> {
    let mut wanted = options::wanted(asked)?;
    if asked.form == Form::Native {
        return Ok(stream(sources, wanted, term));
    }
    let from_us = versions
        .parse(asked.query.get("resourceVersion"))?
        .map_or(0, |version| version.at_us);
    if from_us > 0 {
        // What came between a list and this watch.
        wanted.request.history = true;
        wanted.request.last = Some(RESUMED);
    }
    let events = watch_events(sources, wanted, versions, renderer(asked), from_us);
    let events = events.map(Ok::<_, Infallible>);
    Ok(Body::from_stream(within(events, term)))
}

fn watch_events(
    sources: Sources,
    wanted: Wanted,
    versions: Versions,
    renderer: Renderer,
    from_us: u64,
) -> impl Stream<Item = Bytes> + Send {
    let namespace = wanted.namespace.clone();
    let from_ns = i64::try_from(from_us.saturating_mul(1000)).unwrap_or(i64::MAX);
    let mut head = true;
    relay(sources, wanted).filter_map(move |message| {
        let event = traced(message)
            .filter(|traced| traced.emitted_unix_ns >= from_ns)
            .and_then(|traced| render(&traced, versions, namespace.as_deref()))
            .map(|rendered| renderer.event("ADDED", rendered, std::mem::take(&mut head)));
        std::future::ready(event)
    })
}

/// A stream until its time is over. It keeps its place as long as it lives.
fn within<T: Send>(
    stream: impl Stream<Item = T> + Send,
    term: Term,
) -> impl Stream<Item = T> + Send {
    stream
        .take_until(tokio::time::sleep_until(term.until))
        .map(move |item| {
            let _ = &term.place;
            item
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::view::gallery;

    fn at(node: &str, emitted_unix_ns: i64, event: Event) -> Traced {
        Traced {
            node: node.into(),
            emitted_unix_ns,
            sequence: 7,
            event,
        }
    }

    #[test]
    fn the_latest_events_of_all_agents_are_kept_in_order() {
        let mut latest = Latest::new(3);
        let (_, event) = gallery::all().swap_remove(0);
        for (node, time) in [("a", 5), ("a", 9), ("b", 7), ("b", 1), ("c", 8)] {
            latest.push(at(node, time, event.clone()));
        }
        let kept = latest.in_order();
        let kept: Vec<String> = kept
            .iter()
            .map(|traced| format!("{}{}", traced.node, traced.emitted_unix_ns))
            .collect();
        assert_eq!(kept, ["b7", "c8", "a9"]);
    }

    #[test]
    fn a_trace_has_the_line_of_tracer_observe() {
        for (name, event) in gallery::all() {
            let mut line = String::new();
            let mut encoder = Json::new("a".into());
            encoder
                .encode(&event, &unix_clock, &mut line)
                .expect("a line");
            let expected: Value = serde_json::from_str(&line).expect("JSON");
            let rendered = render(
                &at("a", 1_800_000_000_123_000_000, event),
                Versions::new(5),
                None,
            );
            let rendered = rendered.expect("rendered");
            assert_eq!(rendered.object["event"], expected, "{name}");
            assert_eq!(rendered.cells.len(), kinds::TRACES.columns.len(), "{name}");
            assert_eq!(rendered.cells[1], "08:00:00.123", "{name}");
            let text = rendered.cells[4].as_str().expect("a text");
            assert!(!text.is_empty() && !text.contains('\n'), "{name}: {text}");
            assert_eq!(
                rendered.object["metadata"]["resourceVersion"],
                "1800000000123000005"
            );
        }
    }
}
