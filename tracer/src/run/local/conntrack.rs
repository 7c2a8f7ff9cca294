//! Conntrack as a source of signals: translations before each batch of records, counters every few seconds.

use std::collections::VecDeque;
use std::time::Duration;

use crate::conntrack::{CounterReader, Follower, State, Totals};
use tracer_core::model::signal::{ConntrackCounters, Signal};
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::Input;

/// Time between two reads of the counters.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// The state of conntrack, as `tracer status` reports it.
#[derive(Clone, Debug)]
pub(in crate::run) struct ConntrackStatus {
    /// Whether it is read, where it can be.
    pub enabled: bool,
    /// What is read, in words.
    pub state: String,
    /// Whether every new translation is read.
    pub following: bool,
    pub totals: Totals,
    /// The latest counters, if they can be read.
    pub counters: Option<ConntrackCounters>,
}

/// Reads conntrack, unless it is switched off.
#[derive(Debug, Default)]
pub(super) struct Conntrack {
    follower: Option<Follower>,
    reader: Option<CounterReader>,
    counters: Option<ConntrackCounters>,
    next_count: Timestamp,
    signals: Vec<(Timestamp, Signal)>,
}

impl Conntrack {
    /// Starts to read in this thread's network namespace.
    pub(super) fn start(now: Timestamp) -> Conntrack {
        let mut signals = Vec::new();
        let follower = Follower::start(now, &mut signals);
        Conntrack {
            follower: Some(follower),
            reader: CounterReader::open().ok(),
            counters: None,
            next_count: now,
            signals,
        }
    }

    /// Appends what conntrack did before `now`. Called before the records of that time are taken.
    pub(super) fn drain(&mut self, now: Timestamp, inputs: &mut VecDeque<Input>) {
        let Some(follower) = &mut self.follower else {
            return;
        };
        follower.drain(now, &mut self.signals);
        let signals = self.signals.drain(..);
        inputs.extend(signals.map(|(at, signal)| Input::Signal(at, signal)));
    }

    /// The counters, if they are due.
    pub(super) fn counters(&mut self, now: Timestamp) -> Option<Input> {
        if now < self.next_count {
            return None;
        }
        self.next_count = now.after(COUNT_EVERY);
        let counters = self.reader.as_mut()?.read();
        // The follower reports why conntrack cannot be read.
        let counters = counters
            .inspect_err(|error| tracing::debug!(%error, "conntrack"))
            .ok();
        self.counters = counters;
        // Also where nothing changed: a rise is as exact as the time of the reading before it.
        Some(Input::Signal(now, Signal::Conntrack(counters?)))
    }

    /// A sentence, where conntrack cannot be read and that is news.
    pub(super) fn notice(&mut self) -> Option<String> {
        match self.follower.as_mut()?.notice()? {
            State::Absent(why) => Some(format!(
                "conntrack cannot be read, so endpoints behind Services stay unknown: {why}"
            )),
            State::Following | State::Paused => None,
        }
    }

    pub(super) fn status(&self) -> ConntrackStatus {
        let following = |follower: &Follower| *follower.state() == State::Following;
        ConntrackStatus {
            state: match self.follower.as_ref().map(Follower::state) {
                None => "off (--no-conntrack)".to_owned(),
                Some(State::Following) => "following".to_owned(),
                Some(State::Paused) => "paused: too many new entries".to_owned(),
                Some(State::Absent(why)) => format!("absent: {why}"),
            },
            enabled: self.follower.is_some(),
            following: self.follower.as_ref().is_some_and(following),
            totals: self
                .follower
                .as_ref()
                .map(Follower::totals)
                .unwrap_or_default(),
            counters: self.counters,
        }
    }
}
