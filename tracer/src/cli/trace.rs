//! Options that every command with a pipeline shares: names, probes, rules, thresholds and limits.
//!
//! Owns the order of these groups and the configuration that they resolve to. Each group has a file of its
//! own. Output and the source of packets belong to the command.

use anyhow::bail;
use clap::Args;

use super::Host;
use super::cluster::KubeArgs;
use super::limits::LimitArgs;
#[cfg(agent)]
use super::names::NameArgs;
#[cfg(agent)]
use super::probes::ProbeArgs;
use super::rules_file::RulesArgs;
use super::sources::SourceArgs;
use super::thresholds::ThresholdArgs;
use crate::capture;
use crate::config::{ClusterConfig, ObserveConfig, Source};
use tracer_core::model::emission::Emission;
use tracer_core::pipeline;
use tracer_core::view::OutputSettings;

/// The groups, in the order of the help.
#[derive(Clone, Debug, Args)]
pub(super) struct TraceArgs {
    #[command(flatten)]
    pub sources: SourceArgs,

    #[command(flatten)]
    pub rules: RulesArgs,

    #[command(flatten)]
    pub kube: KubeArgs,

    #[cfg(agent)]
    #[command(flatten)]
    pub names: NameArgs,

    #[cfg(agent)]
    #[command(flatten)]
    pub probes: ProbeArgs,

    #[command(flatten)]
    pub thresholds: ThresholdArgs,

    #[command(flatten)]
    pub limits: LimitArgs,
}

impl TraceArgs {
    /// The configuration for input from `source`, with default output and no time limit. The probes emit
    /// `emission`.
    pub(super) fn resolve(
        &self,
        host: &Host,
        source: Source,
        emission: Emission,
    ) -> anyhow::Result<ObserveConfig> {
        let cluster = self.cluster()?;
        let replay = matches!(source, Source::Replay(_) | Source::Replays(_));
        if replay && (cluster.is_some() || self.kube.is_given()) {
            bail!(
                "--replay reads the past, but a cluster knows only current names: save an inventory with `kubectl get \
                 nodes,ns,pods,svc,endpointslices -A -o yaml` and give it with --inventory"
            );
        }
        self.config(cluster, host, source, emission)
    }

    /// The configuration of an agent. It traces this machine and emits everything: its clients' filters come
    /// later.
    #[cfg(agent)]
    pub(super) fn resolve_for_agent(&self, host: &Host) -> anyhow::Result<ObserveConfig> {
        let inventory = self.sources.inventory.is_some();
        let cluster = self.names.resolve_for_agent(&self.kube, inventory)?;
        let source = Source::Local { record: None };
        self.config(cluster, host, source, Emission::default())
    }

    fn config(
        &self,
        cluster: Option<ClusterConfig>,
        host: &Host,
        source: Source,
        emission: Emission,
    ) -> anyhow::Result<ObserveConfig> {
        let pipeline = pipeline::Settings {
            // Set where the probes are: no option of theirs may leave a client out.
            all_clients: false,
            dns_ports: self.sources.dns_ports()?,
            thresholds: self.thresholds.resolve(),
            limits: self.limits.resolve(),
            index: self.sources.index(host),
            diagnosis: self.rules.resolve()?,
        };
        Ok(ObserveConfig {
            source,
            capture: self.capture(&pipeline, emission),
            conntrack: self.conntrack(),
            inventory: self.sources.inventory.clone(),
            cluster,
            node: self.sources.node(host),
            pipeline,
            output: OutputSettings::default(),
            duration: None,
        })
    }

    #[cfg(agent)]
    fn cluster(&self) -> anyhow::Result<Option<ClusterConfig>> {
        self.names
            .resolve(&self.kube, self.sources.inventory.is_some())
    }

    #[cfg(not(agent))]
    fn cluster(&self) -> anyhow::Result<Option<ClusterConfig>> {
        Ok(None)
    }

    #[cfg(agent)]
    fn conntrack(&self) -> bool {
        !self.probes.no_conntrack
    }

    #[cfg(not(agent))]
    fn conntrack(&self) -> bool {
        false
    }

    #[cfg(agent)]
    fn capture(&self, pipeline: &pipeline::Settings, emission: Emission) -> capture::Options {
        self.probes.resolve(
            pipeline.dns_ports.clone(),
            emission,
            pipeline.thresholds.flow_idle,
        )
    }

    #[cfg(not(agent))]
    fn capture(&self, pipeline: &pipeline::Settings, emission: Emission) -> capture::Options {
        capture::Options {
            dns_ports: pipeline.dns_ports.clone(),
            emission,
            ..capture::Options::default()
        }
    }
}

/// Refuses two sources at once. `agents` is the option that selects agents, if one does.
pub(super) fn one_source(
    local: bool,
    replay: bool,
    agents: Option<&'static str>,
) -> anyhow::Result<()> {
    if cfg!(not(agent)) && local {
        bail!(
            "--local: this build of tracer cannot trace. On Linux, build it with the Cargo feature `agent` (on by \
             default); on other systems, observe the agents of a cluster"
        );
    }
    if let (Some(option), true) = (agents, local || replay) {
        bail!(
            "{option} selects agents that trace already: leave it out, or leave out --local and --replay"
        );
    }
    if local && replay {
        bail!("--local and --replay: packets come from this machine or from a file; leave one out");
    }
    Ok(())
}

/// The error of a build that cannot ask agents.
#[cfg(not(feature = "client"))]
pub(super) fn no_client() -> anyhow::Error {
    anyhow::anyhow!(
        "this build of tracer cannot ask agents: give --replay FILE or --local, or build it with the Cargo feature `client` \
         (on by default)"
    )
}
