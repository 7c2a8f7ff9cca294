//! Names from a cluster's API server, as options of every command that traces.

use std::env;

use anyhow::bail;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::cluster::KubeArgs;
use crate::cluster::{ClusterSource, RemoteIdentity};
use crate::config::ClusterConfig;

/// How names come from a cluster.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct NameArgs {
    /// Take names from the cluster that this pod runs in, with the pod's service account
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
    pub in_cluster: bool,

    /// How pods of other nodes are identified: cluster watches all pods, endpoints takes their names from
    /// EndpointSlices, none identifies only Services and this node's pods. The last two are for very large
    /// clusters
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value_t,
        hide_short_help = true
    )]
    pub remote_identity: RemoteIdentity,
}

impl ValueEnum for RemoteIdentity {
    fn value_variants<'a>() -> &'a [RemoteIdentity] {
        &[
            RemoteIdentity::Cluster,
            RemoteIdentity::Endpoints,
            RemoteIdentity::None,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            RemoteIdentity::Cluster => "cluster",
            RemoteIdentity::Endpoints => "endpoints",
            RemoteIdentity::None => "none",
        }))
    }
}

impl NameArgs {
    /// The cluster that names come from, if the options select one.
    pub(super) fn resolve(
        &self,
        kube: &KubeArgs,
        inventory: bool,
    ) -> anyhow::Result<Option<ClusterConfig>> {
        let source = self.source(kube)?;
        if source.is_some() && inventory {
            bail!(
                "names come either from a cluster (--kubeconfig, --context, --in-cluster) or from a file (--inventory); \
                 leave one out"
            );
        }
        Ok(source.map(|source| self.config(source)))
    }

    /// The same for an agent. In a pod the default is the cluster that it runs in.
    pub(super) fn resolve_for_agent(
        &self,
        kube: &KubeArgs,
        inventory: bool,
    ) -> anyhow::Result<Option<ClusterConfig>> {
        let cluster = self.resolve(kube, inventory)?;
        let in_pod = env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if cluster.is_none() && in_pod && !inventory {
            return Ok(Some(self.config(ClusterSource::InCluster)));
        }
        Ok(cluster)
    }

    fn config(&self, source: ClusterSource) -> ClusterConfig {
        ClusterConfig {
            source,
            remote: self.remote_identity,
        }
    }

    fn source(&self, kube: &KubeArgs) -> anyhow::Result<Option<ClusterSource>> {
        // clap refuses this on the command line; here one of the two comes from the configuration file.
        if self.in_cluster && kube.is_given() {
            bail!("--in-cluster cannot be used with --kubeconfig or --context");
        }
        if self.in_cluster {
            return Ok(Some(ClusterSource::InCluster));
        }
        Ok(kube.is_given().then(|| ClusterSource::Kubeconfig {
            file: kube.kubeconfig.clone(),
            context: kube.context.clone(),
        }))
    }
}
