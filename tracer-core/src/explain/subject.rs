//! The pod that is explained: found by its name in the inventory, or known by its name alone.

use crate::identity::{Index, Presence};
use crate::model::cluster::{Kind, Phase, Pod};
use crate::model::identity::PodIdentity;

use super::Coverage;

/// The pod that is explained.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The object; `None` if pods could not be listed.
    pub pod: Option<Pod>,
    /// How it was chosen, where a workload was named: `one of 3 pods of deploy/web`.
    pub chosen: Option<String>,
}

/// Why there is no such pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectError {
    /// The inventory has no pod with this name in this namespace.
    NoPod {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// Where pods with this name are.
        elsewhere: Vec<String>,
        /// The names of the namespace's pods.
        pods: Vec<String>,
    },
    /// The workload has no pod.
    NoPodOf {
        /// The workload as written.
        workload: String,
        /// The namespace.
        namespace: String,
        /// The workloads of the namespace, as `deploy/web`.
        workloads: Vec<String>,
    },
    /// A kind that is neither a pod nor a workload.
    Kind(String),
}

/// Kinds of workloads, as kubectl writes them: short form, long form, kind.
const WORKLOADS: [(&str, &str, &str); 6] = [
    ("deploy", "deployment", "Deployment"),
    ("sts", "statefulset", "StatefulSet"),
    ("ds", "daemonset", "DaemonSet"),
    ("rs", "replicaset", "ReplicaSet"),
    ("job", "job", "Job"),
    ("cj", "cronjob", "CronJob"),
];

impl Subject {
    /// Finds NAME, NAMESPACE/NAME, pod/NAME or a workload (deploy/NAME), in `namespace` unless it names one.
    pub fn find(
        written: &str,
        namespace: Option<&str>,
        index: &Index,
        coverage: &Coverage,
    ) -> Result<Subject, SubjectError> {
        let own = namespace.unwrap_or("default");
        let Some((first, name)) = written.split_once('/') else {
            return Subject::named(own, written, index, coverage);
        };
        if let "pod" | "pods" | "po" = first {
            return Subject::named(own, name, index, coverage);
        }
        let plural = first.strip_suffix('s').filter(|first| first.len() > 2);
        let workload = WORKLOADS.iter().find(|(short, long, _)| {
            [Some(first), plural]
                .iter()
                .flatten()
                .any(|word| word == short || word == long)
        });
        match workload {
            Some((short, _, kind)) => Subject::of_workload(short, kind, name, own, index),
            None if name.contains('/') => Err(SubjectError::Kind(written.to_owned())),
            None => Subject::named(first, name, index, coverage),
        }
    }

    fn named(
        namespace: &str,
        name: &str,
        index: &Index,
        coverage: &Coverage,
    ) -> Result<Subject, SubjectError> {
        let pod = index.pod_named(namespace, name).cloned();
        let known = coverage.has(index, Kind::Pod, Some(namespace));
        if pod.is_none() && known && index.has_pod(namespace, name) == Presence::No {
            let elsewhere = index.pods_named(name);
            let mut pods: Vec<String> = index
                .pods()
                .filter(|pod| *pod.namespace == *namespace)
                .map(|pod| pod.name.to_string())
                .collect();
            pods.sort();
            return Err(SubjectError::NoPod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                elsewhere: elsewhere
                    .map(|pod| format!("{}/{}", pod.namespace, pod.name))
                    .collect(),
                pods,
            });
        }
        Ok(Subject {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pod,
            chosen: None,
        })
    }

    /// A pod of a workload: a running one that is not ready before the others, as it has more to explain.
    fn of_workload(
        short: &str,
        kind: &str,
        name: &str,
        namespace: &str,
        index: &Index,
    ) -> Result<Subject, SubjectError> {
        let in_namespace = || index.pods().filter(|pod| *pod.namespace == *namespace);
        let mut pods: Vec<&Pod> = in_namespace()
            .filter(|pod| {
                let workload = pod.workload.as_ref();
                workload.is_some_and(|one| *one.kind == *kind && *one.name == *name)
            })
            .collect();
        pods.sort_by_key(|pod| {
            let runs = pod.phase == Phase::Running && !pod.terminating;
            (!runs, pod.ready == Some(true), pod.name.clone())
        });
        let Some(pod) = pods.first() else {
            let of_kind = in_namespace().filter_map(|pod| pod.workload.as_ref());
            let mut workloads: Vec<String> = of_kind
                .filter_map(|one| {
                    let (short, ..) = WORKLOADS.iter().find(|(.., kind)| *kind == &*one.kind)?;
                    Some(format!("{short}/{}", one.name))
                })
                .collect();
            workloads.sort();
            workloads.dedup();
            return Err(SubjectError::NoPodOf {
                workload: format!("{short}/{name}"),
                namespace: namespace.to_owned(),
                workloads,
            });
        };
        Ok(Subject {
            namespace: namespace.to_owned(),
            name: pod.name.to_string(),
            pod: Some((*pod).clone()),
            chosen: (pods.len() > 1)
                .then(|| format!("one of {} pods of {short}/{name}", pods.len())),
        })
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The identity of the pod in the index.
    pub(super) fn identity(&self) -> PodIdentity {
        let pod = self.pod.as_ref();
        PodIdentity {
            namespace: self.namespace.as_str().into(),
            name: self.name.as_str().into(),
            uid: pod.map(|pod| pod.uid.clone()).unwrap_or_default(),
            workload: pod.and_then(|pod| pod.workload.clone()),
            node: pod.and_then(|pod| pod.node.clone()),
        }
    }

    /// Whether this identity is the pod's. A pod recreated under the same name is another one.
    pub(super) fn is(&self, pod: &PodIdentity) -> bool {
        let same_uid = match &self.pod {
            Some(known) => known.uid.is_empty() || pod.uid.is_empty() || known.uid == pod.uid,
            None => true,
        };
        *pod.namespace == *self.namespace && *pod.name == *self.name && same_uid
    }
}
