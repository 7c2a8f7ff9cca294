//! Which cluster to watch and how much of it. Plain values: the command line fills them in.

use std::path::PathBuf;

use tracer_core::model::cluster::{Kind, PodScope};

/// Where the credentials for the API server come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterSource {
    /// The service account of the pod that this process runs in.
    InCluster,
    /// A kubeconfig file.
    Kubeconfig {
        /// The file; `None` for those that KUBECONFIG names, or ~/.kube/config.
        file: Option<PathBuf>,
        /// The context in it; `None` for its current context.
        context: Option<String>,
    },
}

/// How pods of other nodes are identified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemoteIdentity {
    /// The agent watches all pods of the cluster.
    #[default]
    Cluster,
    /// The agent watches only this node's pods, and takes the names of other pods from EndpointSlices.
    Endpoints,
    /// The agent watches only this node's pods, and identifies Services by their own addresses.
    None,
}

impl RemoteIdentity {
    /// The kinds of object to watch.
    pub fn kinds(self) -> Vec<Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(|kind| self != RemoteIdentity::None || *kind != Kind::EndpointSlice)
            .collect()
    }

    /// The pods to watch.
    pub fn pods(self) -> PodScope {
        match self {
            RemoteIdentity::Cluster => PodScope::Cluster,
            RemoteIdentity::Endpoints | RemoteIdentity::None => PodScope::Node,
        }
    }
}
