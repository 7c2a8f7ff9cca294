//! Edge: packets of this machine. [`live`] has the probes, [`Options`] what they can be configured to do.
//!
//! Capture files are read and written by [`tracer_core::files::capture`].

#[cfg(agent)]
pub mod live;
mod options;

pub use options::{DEFAULT_RECORD_BURST, DEFAULT_RECORDS_PER_SECOND, HookChoice, Options};
