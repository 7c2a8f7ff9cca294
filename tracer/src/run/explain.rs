//! Collects what `tracer explain` needs besides objects: a pod's recent events, from agents, captures or this
//! machine. With `--watch` it waits for an attempt.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
#[cfg(any(agent, feature = "client"))]
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::output::Tap;
use super::{replay, session};
use crate::config::ObserveConfig;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::loss::UNDECIDED_AT_END;
use tracer_core::model::path::Path;
use tracer_core::model::printable::safe;
use tracer_core::model::time::Timestamp;
use tracer_core::model::units::count;
use tracer_core::path::{NodeName, Question};
use tracer_core::view::WallClock;
use tracer_core::view::summary::Summary;

#[cfg(feature = "client")]
mod agents;
#[cfg(agent)]
mod local;

/// Events that are kept, the latest ones: far more than a pod makes in the time that is looked at.
const MAX_EVENTS: usize = 50_000;
/// How long to wait after the awaited attempt: its finding, and the connection after a lookup, follow.
#[cfg(any(agent, feature = "client"))]
const SETTLE: Duration = Duration::from_secs(2);

/// Decides about an event.
pub type Predicate = Rc<dyn Fn(&Event) -> bool>;

/// Finds out where an attempt ended. A path that is not known for a reason is that reason.
pub type Follow = Box<dyn Fn(&Event) -> Result<Option<Path>, String>>;

/// Which events to collect, and for how long.
#[derive(Clone)]
pub struct Collecting {
    /// Whether an event is the pod's.
    pub is_own: Predicate,
    /// Whether an event is the attempt that `--watch` waits for; `None` does not wait.
    pub awaited: Option<Predicate>,
}

/// A pod's recent events.
pub struct Collected {
    /// The events, in the order in which they were emitted.
    pub events: Vec<Event>,
    /// The time that ages are relative to.
    pub now: Timestamp,
    /// The wall time of the events' times.
    pub clock: Box<dyn WallClock>,
    /// Whether all events could be asked for, rather than findings alone or nothing.
    pub complete: bool,
    /// What is unknown, in sentences.
    pub unknown: Vec<String>,
    /// The user ended the wait before an attempt.
    pub gave_up: bool,
    /// Where both ends of a connection can be seen.
    pub follow: Option<Follow>,
}

impl Collected {
    /// Without events.
    pub fn none() -> Collected {
        Collected {
            events: Vec::new(),
            now: wall_now(),
            clock: Box::new(wall),
            complete: false,
            unknown: Vec::new(),
            gave_up: false,
            follow: None,
        }
    }

    /// Replays captures of several nodes, in the order of their times.
    pub fn from_captures_of_nodes(
        config: &ObserveConfig,
        captures: &[(Arc<str>, PathBuf)],
        collecting: &Collecting,
    ) -> Result<Collected> {
        let keeper = Keeper::new(collecting);
        let tap = Box::new(keeper.clone());
        let (summary, join) =
            session::block_on(replay::replay_several_into(config, captures, tap))?;
        let unknown = read(&summary);
        let follow: Follow = Box::new(move |event| {
            let node = node_of(event);
            Ok(node.and_then(|node| join.path(&Question::about(&node, event)?)))
        });
        Ok(Collected {
            follow: Some(follow),
            ..keeper.collected(Box::new(wall), unknown)
        })
    }

    /// Replays captures, one after the other, each with a pipeline of its own.
    pub fn from_captures(
        config: &ObserveConfig,
        files: &[PathBuf],
        collecting: &Collecting,
    ) -> Result<Collected> {
        let keeper = Keeper::new(collecting);
        let mut unknown = Vec::new();
        for file in files {
            let tap = Box::new(keeper.clone());
            let run = replay::replay_into(config, file, tap);
            let summary = session::block_on(run)?;
            unknown.extend(read(&summary));
        }
        Ok(keeper.collected(Box::new(wall), unknown))
    }
}

/// What is unknown after a capture was read. Warnings about it are printed.
fn read(summary: &Summary) -> Vec<String> {
    let mut unknown: Vec<String> = lost(summary).into_iter().collect();
    if let Some(name) = &summary.empty {
        unknown.push(format!("there is no packet in {name}"));
    }
    let warnings = summary.notes.iter();
    let is_warning = |note: &&String| note.starts_with("warning") || note.contains(": warning");
    for note in warnings.filter(is_warning) {
        eprintln!("{}", safe(note));
    }
    unknown
}

/// The node of an event's pod.
fn node_of(event: &Event) -> Option<NodeName> {
    let pod = event.ends.as_ref()?.pod.identity.as_ref().ok()?;
    pod.node.clone()
}

/// What a run lost, as far as it may concern the pod.
fn lost(summary: &Summary) -> Option<String> {
    let losses = summary.losses.iter();
    let losses = losses.filter(|loss| loss.reason != UNDECIDED_AT_END);
    let total: u64 = losses.map(|loss| loss.count).sum();
    (total > 0).then(|| {
        format!(
            "what {} would have shown, as they were lost",
            count(total, "record")
        )
    })
}

/// Keeps a pod's events.
#[derive(Clone)]
struct Keeper {
    collecting: Collecting,
    kept: Rc<RefCell<Kept>>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Event>,
    /// Events that made room for later ones.
    dropped: u64,
    latest: Timestamp,
    /// The awaited attempt was seen.
    seen: bool,
}

impl Keeper {
    fn new(collecting: &Collecting) -> Keeper {
        Keeper {
            collecting: collecting.clone(),
            kept: Rc::default(),
        }
    }

    fn keep(&self, emitted: Timestamp, event: &Event) {
        let mut kept = self.kept.borrow_mut();
        kept.latest = kept.latest.max(emitted);
        if !(self.collecting.is_own)(event) {
            return;
        }
        if kept.events.len() >= MAX_EVENTS {
            kept.events.pop_front();
            kept.dropped += 1;
        }
        let awaited = self.collecting.awaited.as_ref();
        kept.seen |= awaited.is_some_and(|awaited| awaited(event));
        kept.events.push_back(event.clone());
    }

    #[cfg(any(agent, feature = "client"))]
    fn has_seen(&self) -> bool {
        self.kept.borrow().seen
    }

    fn collected(self, clock: Box<dyn WallClock>, mut unknown: Vec<String>) -> Collected {
        let kept = self.kept.take();
        if kept.dropped > 0 {
            unknown.push(format!(
                "the pod's first {}: only the latest {MAX_EVENTS} are kept",
                count(kept.dropped, "event")
            ));
        }
        Collected {
            events: kept.events.into(),
            now: kept.latest,
            clock,
            complete: true,
            unknown,
            gave_up: self.collecting.awaited.is_some() && !kept.seen,
            follow: None,
        }
    }
}

impl Tap for Keeper {
    fn take(&mut self, emitted: Timestamp, event: &Event) {
        if !matches!(event.body, Body::Lost(_)) {
            self.keep(emitted, event);
        }
    }

    fn reached(&mut self, at: Timestamp) {
        let mut kept = self.kept.borrow_mut();
        kept.latest = kept.latest.max(at);
    }

    fn end(&mut self) {}
}

fn wall(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or(jiff::Timestamp::MAX)
}

fn wall_now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX))
}
