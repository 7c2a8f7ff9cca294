//! The agent's health: set by the agent, read by the kubelet's probes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The pipeline advances several times a second even without traffic. After this long without progress it
/// hangs.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Facts {
    advanced: Instant,
    /// What is missing, by the part that reports it.
    missing: BTreeMap<&'static str, Vec<String>>,
}

/// Whether the agent works. A new agent is alive and not ready.
#[derive(Debug)]
pub struct Health(Mutex<Facts>);

impl Health {
    /// The health of an agent that starts at `now`.
    pub fn new(now: Instant) -> Health {
        Health(Mutex::new(Facts {
            advanced: now,
            missing: BTreeMap::from([(
                "start",
                vec!["the agent is starting and has not searched for interfaces yet".to_owned()],
            )]),
        }))
    }

    /// Reports that the pipeline took an input, if only a tick.
    pub fn advanced(&self, now: Instant) {
        self.0.lock().advanced = now;
    }

    /// Reports that the start is complete: from now on only [`Health::set_missing`] makes the agent unready.
    pub fn started(&self) {
        self.0.lock().missing.remove("start");
    }

    /// Sets what `part` (the capture, the index) still misses, a sentence each. Without a sentence the part
    /// is ready.
    pub fn set_missing(&self, part: &'static str, missing: Vec<String>) {
        let mut facts = self.0.lock();
        if missing.is_empty() {
            facts.missing.remove(part);
        } else {
            facts.missing.insert(part, missing);
        }
    }

    /// The time since the pipeline last advanced, if it hangs.
    pub fn stalled(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.0.lock().advanced);
        (since >= STALLED_AFTER).then_some(since)
    }

    /// Everything that is missing, a sentence each.
    pub fn missing(&self) -> Vec<String> {
        let facts = self.0.lock();
        facts
            .missing
            .iter()
            .flat_map(|(part, missing)| missing.iter().map(move |line| format!("{part}: {line}")))
            .collect()
    }
}
