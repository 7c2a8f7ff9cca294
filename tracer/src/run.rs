//! Composition root: connects the edges to the pipeline, sizes the queues and owns shutdown.
//!
//! One task owns the pipeline. A [`session`] drives it from a source: the probes of this machine
//! (`observe_local`), a capture file ([`observe_replay`]), or agents (`observe_agents`), which run pipelines
//! of their own. What follows is the same for all of them ([`output`]). An agent (`agent`) is the first of
//! these with clients instead of a terminal.

use anyhow::Result;

use crate::config::{ObserveConfig, Source};
use tracer_core::view::summary::Summary;

#[cfg(agent)]
mod agent;
#[cfg(feature = "client")]
mod agents;
mod explain;
#[cfg(agent)]
mod exports;
mod inventory;
#[cfg(agent)]
mod local;
#[cfg(agent)]
mod notes;
mod notice;
mod output;
#[cfg(agent)]
mod recorder;
#[cfg(agent)]
mod relay;
mod replay;
mod session;
#[cfg(agent)]
mod settings;
mod signals;
mod stdout;

#[cfg(agent)]
pub use self::agent::agent;
#[cfg(feature = "client")]
pub use self::agents::{observe_agents, statuses};
pub use self::explain::{Collected, Collecting, Predicate};
#[cfg(agent)]
pub use self::local::observe_local;
#[cfg(agent)]
pub use self::relay::relay;
pub use self::replay::{observe_replay, observe_replays};

/// Runs a future to its end on this thread.
#[cfg(feature = "client")]
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    session::block_on(future)
}

/// `tracer observe`: shows events until the source ends, or until Ctrl-C, `--duration`, `--count` or a closed
/// output ends it.
pub fn observe(config: &ObserveConfig) -> Result<Summary> {
    match &config.source {
        #[cfg(agent)]
        Source::Local { record } => observe_local(config, record.as_deref()),
        #[cfg(not(agent))]
        Source::Local { .. } => anyhow::bail!(
            "this build of tracer has no probes, so --local does not work: use a Linux build with the feature \
             agent, ask agents, or read a capture file with --replay"
        ),
        Source::Replay(file) => observe_replay(config, file),
        Source::Replays(captures) => observe_replays(config, captures),
        #[cfg(feature = "client")]
        Source::Agents {
            agents,
            follow,
            history,
        } => observe_agents(config, agents, *follow, *history),
    }
}
