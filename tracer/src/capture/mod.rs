//! Edge: packets of this machine. [`live`] attaches the probes; [`Options`] configures them.
//!
//! [`tracer_core::files::capture`] reads and writes capture files.

#[cfg(agent)]
pub mod live;
mod options;

pub use options::{HookChoice, Options};
