//! Composition root: wires the edges to the pipeline, sizes the queues, owns shutdown.
//!
//! One task owns the pipeline and everything reaches it through channels, whatever the source: the probes of this machine
//! ([`observe_local`]) or a capture file ([`observe_replay`]). What follows the pipeline is the same for both ([`output`]). An
//! agent ([`agent()`]) is the first of them with clients behind it instead of a terminal.

use anyhow::Result;

use crate::config::{ObserveConfig, Source};
use tracer_core::view::summary::Summary;

mod agent;
mod agents;
mod exports;
mod inventory;
mod local;
mod notes;
mod notice;
mod output;
mod recorder;
mod relay;
mod replay;
mod settings;
mod signals;
mod stdout;

pub use self::agent::agent;
pub use self::agents::{observe_agents, statuses};
pub use self::local::observe_local;
pub use self::relay::relay;
pub use self::replay::observe_replay;

/// `tracer observe`: shows events until the source ends, or Ctrl-C, `--duration`, `--count` or a closed output end it.
pub fn observe(config: &ObserveConfig) -> Result<Summary> {
    match &config.source {
        Source::Local { record } => observe_local(config, record.as_deref()),
        Source::Replay(file) => observe_replay(config, file),
        Source::Agents {
            agents,
            follow,
            history,
        } => observe_agents(config, agents, *follow, *history),
    }
}
