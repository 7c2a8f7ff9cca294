//! Errors about a pod or a target that does not exist, with what may be meant.

use anyhow::anyhow;

use crate::cli::suggest;
use tracer_core::explain::{SubjectError, TargetError};

/// There is no such pod.
pub(super) fn pod(error: &SubjectError) -> anyhow::Error {
    match error {
        SubjectError::NoPod {
            namespace,
            name,
            elsewhere,
            pods,
        } => {
            let hint = match elsewhere.is_empty() {
                false => format!(": it is {}", elsewhere.join(" or ")),
                true => meant(name, pods),
            };
            anyhow!("there is no pod {name} in namespace {namespace}{hint}")
        }
        SubjectError::NoPodOf {
            workload,
            namespace,
            workloads,
        } => anyhow!(
            "no pod in namespace {namespace} belongs to {workload}{}",
            meant(workload, workloads)
        ),
        SubjectError::Kind(written) => anyhow!(
            "{written}: a pod is NAME or NAMESPACE/NAME, a workload deploy/NAME, sts/NAME, ds/NAME or job/NAME with -n"
        ),
    }
}

/// There is no such target.
pub(super) fn target(error: &TargetError) -> anyhow::Error {
    match error {
        TargetError::Form(written) => anyhow!(
            "--to {written}: use a name, NAMESPACE/NAME of a Service or pod, svc/NAME, pod/NAME, an address or a URL, with \
             :PORT or :PORT/udp if wanted"
        ),
        TargetError::Missing {
            what,
            namespace,
            name,
            no_namespace,
            known,
        } => {
            let place = match no_namespace {
                true => format!(": there is no namespace {namespace}"),
                false => String::new(),
            };
            let full = format!("{namespace}/{name}");
            let elsewhere: Vec<&str> = known
                .iter()
                .map(String::as_str)
                .filter(|known| {
                    known
                        .split_once('/')
                        .is_some_and(|(_, other)| other == name)
                })
                .collect();
            let hint = match elsewhere.is_empty() {
                false => format!("; there is {}", elsewhere.join(" and ")),
                true => meant(&full, known).replacen(':', ";", 1),
            };
            anyhow!("--to {full}: there is no such {what}{place}{hint}")
        }
    }
}

fn meant(written: &str, known: &[String]) -> String {
    let meant = suggest::did_you_mean(written, known.iter().map(String::as_str));
    meant.map_or_else(String::new, |meant| format!(": did you mean {meant}?"))
}
