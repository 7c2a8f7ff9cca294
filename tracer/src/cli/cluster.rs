//! Which cluster says who is who.

use std::path::PathBuf;

use anyhow::bail;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use crate::cluster::{ClusterSource, RemoteIdentity};
use crate::config::ClusterConfig;

/// Which cluster, as kubectl is told.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct KubeArgs {
    /// The cluster that this kubeconfig leads to: its agents are asked or, with --local, its API server for names, kept up to
    /// date, instead of --inventory
    #[arg(long, env = "TRACER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig ($KUBECONFIG or ~/.kube/config unless given); its current one unless given
    #[arg(long, env = "TRACER_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

/// Options for the cluster that names come from.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    #[command(flatten)]
    pub kube: KubeArgs,

    /// Names from the cluster that this runs in, by the pod's service account
    #[arg(
        long,
        env = "TRACER_IN_CLUSTER",
        value_parser = BoolishValueParser::new(),
        conflicts_with_all = ["kubeconfig", "context"]
    )]
    in_cluster: bool,

    /// How the pods of other nodes are known: cluster watches all pods; endpoints takes their names from EndpointSlices;
    /// none knows Services and this node's pods only. The latter are for very large clusters
    #[arg(long, env = "TRACER_REMOTE_IDENTITY", value_name = "HOW", value_enum, default_value_t = RemoteArg::Cluster,
        hide_short_help = true)]
    remote_identity: RemoteArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RemoteArg {
    Cluster,
    Endpoints,
    None,
}

impl ClusterArgs {
    /// The cluster that names come from, where one is named, beside a file or a capture that may be.
    pub(super) fn resolve(
        &self,
        inventory: bool,
        replay: bool,
    ) -> anyhow::Result<Option<ClusterConfig>> {
        let Some(source) = self.source() else {
            return Ok(None);
        };
        if inventory {
            bail!(
                "names come from a cluster (--kubeconfig, --context, --in-cluster) or from a file (--inventory); leave one out"
            );
        }
        if replay {
            bail!(
                "a capture is from the past, and a cluster tells who is who now; write down who is who with `kubectl get \
                 nodes,ns,pods,svc,endpointslices -A -o yaml`, and give the file with --inventory"
            );
        }
        let remote = match self.remote_identity {
            RemoteArg::Cluster => RemoteIdentity::Cluster,
            RemoteArg::Endpoints => RemoteIdentity::Endpoints,
            RemoteArg::None => RemoteIdentity::None,
        };
        Ok(Some(ClusterConfig { source, remote }))
    }

    /// The same for an agent: in a pod it is the cluster that it runs in unless something else is said.
    pub(super) fn resolve_for_agent(
        &self,
        inventory: bool,
    ) -> anyhow::Result<Option<ClusterConfig>> {
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if in_pod && !inventory && self.source().is_none() {
            let in_cluster = ClusterArgs {
                in_cluster: true,
                ..self.clone()
            };
            return in_cluster.resolve(false, false);
        }
        self.resolve(inventory, false)
    }

    fn source(&self) -> Option<ClusterSource> {
        if self.in_cluster {
            return Some(ClusterSource::InCluster);
        }
        let KubeArgs {
            kubeconfig,
            context,
        } = &self.kube;
        (kubeconfig.is_some() || context.is_some()).then(|| ClusterSource::Kubeconfig {
            file: kubeconfig.clone(),
            context: context.clone(),
        })
    }
}
