//! The objects that an explanation rests on: from an inventory file, or listed once from the API server.

use anyhow::bail;

use super::{ExplainArgs, Objects};
use crate::cli::Host;
use tracer_core::explain::Coverage;
use tracer_core::files::inventory;
use tracer_core::identity::Index;
use tracer_core::model::cluster::ClusterChange;
#[cfg(feature = "client")]
use tracer_core::model::cluster::Kind;
use tracer_core::model::time::Timestamp;

impl ExplainArgs {
    /// Reads the file or asks the cluster.
    pub(super) fn objects(&self, host: &Host) -> anyhow::Result<Objects> {
        let mut index = Index::new(self.trace.sources.index(host));
        if let Some(path) = &self.trace.sources.inventory {
            let loaded = inventory::load(path)?;
            let change = ClusterChange::Replace(Box::new(loaded.inventory));
            index.apply(Timestamp(0), change);
            return Ok(Objects {
                index,
                coverage: Coverage::default(),
                namespace: None,
                unknown: Vec::new(),
            });
        }
        if !self.replay.is_empty() {
            bail!(
                "--replay has no names: save an inventory with `kubectl get \
                 nodes,ns,pods,svc,endpointslices,networkpolicies -A -o yaml` and give it with --inventory"
            );
        }
        self.list(index)
    }
}

#[cfg(feature = "client")]
impl ExplainArgs {
    fn list(&self, mut index: Index) -> anyhow::Result<Objects> {
        use crate::client;
        use crate::cluster::list::list;

        let options = self.agents.resolve(&self.trace.kube)?;
        let listed = crate::run::block_on(async {
            let client = client::connect(&options).await?;
            let namespace = client.default_namespace().to_owned();
            let namespaces = self.namespaces(&namespace);
            Ok((list(&client, &namespaces).await, namespace))
        });
        let (listing, namespace) = match listed {
            Ok(listed) => listed,
            // The events of an agent alone have names too.
            Err(error) if !options.servers.is_empty() => return Ok(nothing(index, &error)),
            Err(error) => bail!("{error}. --inventory FILE takes objects from a file"),
        };
        if let Some(failure) = listing.failure {
            bail!(
                "cannot list the objects of the cluster: {failure}. --inventory FILE takes them from a file"
            );
        }
        for change in listing.changes {
            index.apply(Timestamp(0), change);
        }
        Ok(Objects {
            index,
            coverage: listing.coverage,
            namespace: Some(namespace),
            unknown: listing.warnings,
        })
    }

    /// The namespaces that matter: the pod's, and those that the target may be in.
    fn namespaces(&self, default: &str) -> Vec<String> {
        let own = match self.pod.split_once('/') {
            Some((namespace, name)) if !name.contains('/') && self.namespace.is_none() => namespace,
            _ => self.namespace.as_deref().unwrap_or(default),
        };
        let mut namespaces = vec![own.to_owned(), "kube-system".to_owned()];
        let to = self.to.as_deref().unwrap_or_default();
        let to = to.split_once("://").map_or(to, |(_, rest)| rest);
        let bare = to.split([':', '?', '#']).next().unwrap_or(to);
        let mut parts = match bare.split_once('/') {
            Some((namespace, _)) => vec![namespace],
            None => bare.split('.').skip(1).take(2).collect(),
        };
        parts.retain(|part| !part.is_empty());
        for part in parts {
            if !namespaces.iter().any(|known| known == part) {
                namespaces.push(part.to_owned());
            }
        }
        namespaces
    }
}

/// No object could be listed.
#[cfg(feature = "client")]
fn nothing(index: Index, error: &anyhow::Error) -> Objects {
    let mut coverage = Coverage::default();
    for kind in Kind::ALL {
        coverage.refuse(kind, "no cluster".to_owned());
    }
    Objects {
        index,
        coverage,
        namespace: None,
        unknown: vec![format!("objects: {error}")],
    }
}

#[cfg(not(feature = "client"))]
impl ExplainArgs {
    fn list(&self, _: Index) -> anyhow::Result<Objects> {
        bail!("this build of tracer cannot ask a cluster: give --inventory FILE")
    }
}
