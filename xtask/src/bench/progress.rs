//! Progress on standard error, with the time left.

use std::time::{Duration, Instant};

/// The progress of a run whose parts' durations are estimated.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    planned: Duration,
    done: Duration,
}

impl Progress {
    /// A run that is planned to take this long.
    pub fn new(planned: Duration) -> Progress {
        Progress {
            begun: Instant::now(),
            planned,
            done: Duration::ZERO,
        }
    }

    /// A part begins.
    pub fn note(&self, text: &str) {
        let left = self.planned.saturating_sub(self.done);
        // Parts take longer than planned on a slow machine, in the same measure as so far.
        let factor = if self.done > Duration::from_secs(10) {
            self.begun.elapsed().as_secs_f64() / self.done.as_secs_f64()
        } else {
            1.0
        };
        let left = left.mul_f64(factor).as_secs();
        eprintln!("bench: {:02}:{:02} left  {text}", left / 60, left % 60);
    }

    /// A part that was planned to take this long is done.
    pub fn done(&mut self, planned: Duration) {
        self.done += planned;
    }
}
