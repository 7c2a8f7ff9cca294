//! The one notion of time inside the pipeline.

use std::time::Duration;

/// Nanoseconds on the pipeline's clock, which never steps: the kernel's `CLOCK_MONOTONIC` when live, the capture's own
/// stamps in replay. The edges know how it maps to wall time; logic never asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long after `earlier` this is; zero if it is before (two CPUs' records can overtake each other by a little).
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This much later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}
