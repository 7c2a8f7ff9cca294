//! Whether the agent works, and what it still waits for: kept by the agent, read by the probes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pipeline advances several times a second, traffic or none. One that has not for so long never will.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Facts {
    advanced: Instant,
    /// What is missing, by who says so.
    missing: BTreeMap<&'static str, Vec<String>>,
}

/// Whether the agent works. Before anything was told it is alive and not ready.
#[derive(Debug)]
pub struct Health(Mutex<Facts>);

impl Health {
    /// Of an agent that starts at `now`.
    pub fn new(now: Instant) -> Health {
        Health(Mutex::new(Facts {
            advanced: now,
            missing: BTreeMap::from([(
                "start",
                vec!["it is starting: no interface was looked at yet".to_owned()],
            )]),
        }))
    }

    /// The pipeline took something in, if only the time.
    pub fn advanced(&self, now: Instant) {
        self.facts().advanced = now;
    }

    /// The start is over: from now on what is missing is what [`Health::wants`] says.
    pub fn started(&self) {
        self.facts().missing.remove("start");
    }

    /// What `part` (the capture, the index) still misses, a sentence each; nothing: it is ready.
    pub fn wants(&self, part: &'static str, missing: Vec<String>) {
        let mut facts = self.facts();
        if missing.is_empty() {
            facts.missing.remove(part);
        } else {
            facts.missing.insert(part, missing);
        }
    }

    /// How long ago the pipeline advanced, if that is too long.
    pub fn stalled(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.facts().advanced);
        (since >= STALLED_AFTER).then_some(since)
    }

    /// Everything that is missing, a sentence each.
    pub fn missing(&self) -> Vec<String> {
        let facts = self.facts();
        facts
            .missing
            .iter()
            .flat_map(|(part, missing)| missing.iter().map(move |line| format!("{part}: {line}")))
            .collect()
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
