//! The signals that end a run: Ctrl-C (SIGINT) and SIGTERM.
//!
//! Owns listening for them. A run listens before it says that it works: one that comes right after that must end it with
//! its summary, and where the parent ignores SIGINT (`nohup`, a shell's background) it would not end it at all otherwise.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What came is kept until it is asked for.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) interrupt: Signal,
    pub(super) terminate: Signal,
}

impl Signals {
    /// From now on; within a tokio runtime.
    pub(super) fn listen() -> Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }
}
