//! Time inside the pipeline.

use std::time::Duration;

/// Nanoseconds on the pipeline's clock, which never steps: the kernel's `CLOCK_MONOTONIC` when live, the
/// capture's time stamps in replay. Only the edges map it to wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Time since `earlier`; zero if that is later, because two CPUs' records can overtake each other
    /// slightly.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time `delay` later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}
