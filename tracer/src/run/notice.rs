//! What a run says to people: lines on standard error of a command that somebody typed, lines of the log of an agent.
//!
//! Never data: events go to outlets.

use std::sync::atomic::{AtomicBool, Ordering};

use tracer_core::view::text::safe_lines;

/// Whether this process is an agent.
static LOGGED: AtomicBool = AtomicBool::new(false);

/// From now on notices are lines of the log.
pub(super) fn log() {
    LOGGED.store(true, Ordering::Relaxed);
}

/// Says how it goes.
pub(super) fn say(text: &str) {
    if LOGGED.load(Ordering::Relaxed) {
        tracing::info!("{text}");
    } else {
        eprintln!("{}", safe_lines(text));
    }
}

/// Says what goes wrong.
pub(super) fn warn(text: &str) {
    if LOGGED.load(Ordering::Relaxed) {
        tracing::warn!("{text}");
    } else {
        eprintln!("warning: {}", safe_lines(text));
    }
}
