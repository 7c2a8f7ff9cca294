//! What every command that traces, replays or asks agents is told alike: what is traced, who is who, what the rules say, how
//! long is waited and how much is kept.
//!
//! Owns that these options come together and what they resolve to; each group has a file of its own. What is shown, and
//! where packets come from, is for the command to say.

use anyhow::bail;
use clap::Args;

use super::Host;
use super::agents::AgentsArgs;
use super::cluster::{ClusterArgs, KubeArgs};
use super::limits::LimitArgs;
use super::rules_file::RulesArgs;
use super::sources::SourceArgs;
use super::thresholds::ThresholdArgs;
use crate::config::{ClusterConfig, ObserveConfig, Source};
use tracer_core::model::emission::Emission;
use tracer_core::pipeline;
use tracer_core::view::OutputSettings;

/// The groups, in the order in which the help has them.
#[derive(Clone, Debug, Args)]
pub(super) struct TraceArgs {
    #[command(flatten)]
    sources: SourceArgs,

    #[command(flatten)]
    cluster: ClusterArgs,

    #[command(flatten)]
    rules: RulesArgs,

    #[command(flatten)]
    thresholds: ThresholdArgs,

    #[command(flatten)]
    limits: LimitArgs,
}

impl TraceArgs {
    /// Which cluster, as kubectl is told.
    pub(super) fn kube(&self) -> &KubeArgs {
        &self.cluster.kube
    }

    /// Where it stands what the rules say.
    pub(super) fn rules(&self) -> &RulesArgs {
        &self.rules
    }

    /// What to do with what comes from `source`, everything looked up, but for what is shown and when it ends. The probes
    /// hand over `emission`.
    pub(super) fn resolve(
        &self,
        host: &Host,
        source: Source,
        emission: Emission,
    ) -> anyhow::Result<ObserveConfig> {
        let replay = matches!(source, Source::Replay(_));
        let cluster = self
            .cluster
            .resolve(self.sources.inventory.is_some(), replay)?;
        self.with_names_of(cluster, host, source, emission)
    }

    /// The same for an agent, which traces this machine for whoever comes.
    pub(super) fn resolve_for_agent(&self, host: &Host) -> anyhow::Result<ObserveConfig> {
        let cluster = self
            .cluster
            .resolve_for_agent(self.sources.inventory.is_some())?;
        let source = Source::Local { record: None };
        // What clients ask for is known only when they come.
        self.with_names_of(cluster, host, source, Emission::default())
    }

    fn with_names_of(
        &self,
        cluster: Option<ClusterConfig>,
        host: &Host,
        source: Source,
        emission: Emission,
    ) -> anyhow::Result<ObserveConfig> {
        let thresholds = self.thresholds.resolve();
        let capture = self.sources.capture(emission, thresholds.flow_idle)?;
        Ok(ObserveConfig {
            source,
            inventory: self.sources.inventory.clone(),
            cluster,
            node: self.sources.node(host),
            pipeline: pipeline::Settings {
                dns_ports: capture.dns_ports.clone(),
                thresholds,
                limits: self.limits.resolve(),
                index: self.sources.index(),
                diagnosis: self.rules.resolve()?,
            },
            capture,
            output: OutputSettings::default(),
            duration: None,
        })
    }
}

/// Packets come from this machine, from a file, or events from agents: refuses two of them at once.
pub(super) fn one_source(local: bool, replay: bool, agents: &AgentsArgs) -> anyhow::Result<()> {
    if let (Some(option), true) = (agents.asked_for(), local || replay) {
        bail!("{option} is for agents that trace already: leave it out, or --local and --replay");
    }
    if local && replay {
        bail!("--local and --replay: packets come from this machine or from a file; leave one out");
    }
    Ok(())
}
