//! Running pings are told again and again with their totals so far; here is what came on top.

use std::num::NonZeroUsize;

use lru::LruCache;

use tracer_core::model::echo::{Echo, EchoState};
use tracer_core::model::flow::Flow;

/// Twice what the pipeline follows at a time: who is pushed out ended long ago without a word.
const RUNS: usize = 8_192;

/// What a run's event adds to what was counted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct New {
    pub sent: u64,
    pub received: u64,
    pub over: bool,
}

/// The totals of each run when it was told last.
#[derive(Debug)]
pub(super) struct EchoRuns(LruCache<(Flow, u16), (u64, u64)>);

impl Default for EchoRuns {
    fn default() -> EchoRuns {
        EchoRuns(LruCache::new(
            NonZeroUsize::new(RUNS).unwrap_or(NonZeroUsize::MIN),
        ))
    }
}

impl EchoRuns {
    pub fn told(&mut self, echo: &Echo) -> New {
        let key = (echo.flow, echo.id);
        let over = echo.state == EchoState::Done;
        let known = if over {
            self.0.pop(&key)
        } else {
            self.0.put(key, (echo.sent, echo.received))
        };
        // Fewer than before: another run of the same identifier, whose predecessor ended without a word.
        let (sent, received) = known
            .filter(|(sent, received)| *sent <= echo.sent && *received <= echo.received)
            .unwrap_or_default();
        New {
            sent: echo.sent - sent,
            received: echo.received - received,
            over,
        }
    }
}
