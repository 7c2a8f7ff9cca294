//! A running ping has several events, each with its totals so far; this is the growth since the previous one.

use std::num::NonZeroUsize;

use lru::LruCache;

use tracer_core::model::echo::{Echo, EchoState};
use tracer_core::model::flow::Flow;

/// Twice what the pipeline follows at a time: an evicted run ended long ago without a last event.
const MAX_RUNS: usize = 8_192;

/// The growth since a run's previous event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growth {
    pub sent: u64,
    pub received: u64,
    pub over: bool,
}

/// The totals in each run's latest event.
#[derive(Debug)]
pub(super) struct EchoRuns(LruCache<(Flow, u16), (u64, u64)>);

impl Default for EchoRuns {
    fn default() -> EchoRuns {
        EchoRuns(LruCache::new(
            NonZeroUsize::new(MAX_RUNS).unwrap_or(NonZeroUsize::MIN),
        ))
    }
}

impl EchoRuns {
    pub fn growth(&mut self, echo: &Echo) -> Growth {
        let key = (echo.flow, echo.id);
        let over = echo.state == EchoState::Done;
        let known = if over {
            self.0.pop(&key)
        } else {
            self.0.put(key, (echo.sent, echo.received))
        };
        // Smaller totals belong to a new run with the same identifier, whose predecessor had no last event.
        let (sent, received) = known
            .filter(|(sent, received)| *sent <= echo.sent && *received <= echo.received)
            .unwrap_or_default();
        Growth {
            sent: echo.sent - sent,
            received: echo.received - received,
            over,
        }
    }
}
