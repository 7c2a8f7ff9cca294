//! Which cluster, as options of every command that asks agents or takes names from an API server.

use std::path::PathBuf;

use clap::Args;

/// A cluster, selected as with kubectl.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct KubeArgs {
    /// Use the cluster of this kubeconfig: ask its agents or, with --local, take names from its API server
    /// instead of
    /// --inventory and keep them up to date
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig ($KUBECONFIG or ~/.kube/config by default); to ask the agents of several
    /// clusters, several separated by commas [default: its current context]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl KubeArgs {
    /// The contexts, each a cluster; empty for the current one.
    #[cfg(feature = "client")]
    pub(super) fn contexts(&self) -> Vec<String> {
        let contexts = self.context.iter().flat_map(|names| names.split(','));
        contexts.map(|name| name.trim().to_owned()).collect()
    }

    /// Whether an option selects a cluster.
    pub(super) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }
}
