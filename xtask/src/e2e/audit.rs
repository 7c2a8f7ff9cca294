//! Compares the API server's audit log of the agents' requests with the role that deploy/ grants them:
//! the role must allow all of them, and nothing was refused. Only a cluster of `cargo xtask cluster up` makes
//! its audit log accessible.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::target::Target;

/// The agents, as the API server calls them.
const AGENT: &str = "system:serviceaccount:tracer:tracer-agent";

/// Compares, and describes the result. `None` without an audit log.
pub(super) fn check(target: &Target) -> Result<Option<String>> {
    let Target::Local(cluster) = target else {
        return Ok(None);
    };
    let file = cluster.audit_log();
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let requests = requests(&text)?;
    if let Some(refused) = requests.iter().find(|request| request.refused) {
        bail!("the API server refused the agent {refused:?}: the role lacks it");
    }
    let rights: BTreeSet<String> = requests.iter().map(Request::right).collect();
    Ok(Some(format!(
        "the API server refused the agents nothing; they asked to {}",
        rights.into_iter().collect::<Vec<_>>().join(", ")
    )))
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    verb: String,
    group: String,
    resource: String,
    refused: bool,
}

impl Request {
    fn right(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{} {}{dot}{}", self.verb, self.resource, self.group)
    }
}

/// The agents' requests for objects, each kind once. Discovery and the server's version need no right.
fn requests(log: &str) -> Result<BTreeSet<Request>> {
    let mut requests = BTreeSet::new();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).context("the audit log")?;
        if entry["user"]["username"] != AGENT || entry["objectRef"]["resource"].is_null() {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        requests.insert(Request {
            verb: text(&entry["verb"]),
            group: text(&entry["objectRef"]["apiGroup"]),
            resource: text(&entry["objectRef"]["resource"]),
            refused: entry["responseStatus"]["code"] == 403,
        });
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agents_requests_count_and_a_refusal_is_seen() {
        let log = concat!(
            r#"{"user":{"username":"system:serviceaccount:tracer:tracer-agent"},"verb":"watch","#,
            r#""objectRef":{"resource":"pods","apiVersion":"v1"},"responseStatus":{"code":200}}"#,
            "\n",
            r#"{"user":{"username":"system:serviceaccount:tracer:tracer-agent"},"verb":"list","#,
            r#""objectRef":{"resource":"endpointslices","apiGroup":"discovery.k8s.io"},"responseStatus":{"code":403}}"#,
            "\n",
            r#"{"user":{"username":"kubernetes-admin"},"verb":"delete","objectRef":{"resource":"pods"}}"#,
            "\n",
            r#"{"user":{"username":"system:serviceaccount:tracer:tracer-agent"},"verb":"get","requestURI":"/version"}"#,
        );
        let requests = requests(log).expect("JSON lines");
        let reported: Vec<(String, bool)> =
            requests.iter().map(|r| (r.right(), r.refused)).collect();
        assert_eq!(
            reported,
            [
                ("list endpointslices.discovery.k8s.io".to_owned(), true),
                ("watch pods".to_owned(), false)
            ]
        );
    }
}
