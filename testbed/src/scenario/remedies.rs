//! The end of the scenario: the commands that its findings suggest run as they are, and must work.
//!
//! Each remedy comes from a finding as the tracer reported it. Its result is compared with the output of the
//! tool that it runs.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{CLIENT, CURL_FORMAT, Output, Ping, Step, connected, is};
use crate::lab::Lab;
use crate::watch::listed;

/// The Service of the other namespace, and its ClusterIP.
const SERVICE: &str = "myns/clusterip-apache2-ds-myns";
const ADDRESS: &str = "10.152.183.115";

/// A finding that the scenario must lead to.
#[derive(Clone, Copy, Debug)]
pub struct Remedy {
    /// Its rule.
    pub rule: &'static str,
    commands: fn(&[&str]) -> Result<Vec<Vec<String>>>,
    check: fn(&Value, &[Output], &[Value]) -> Result<()>,
}

/// Both findings, in the order of the steps that lead to them.
pub const REMEDIES: [Remedy; 2] = [
    Remedy {
        rule: "nxdomain-other-namespace",
        commands: |tries| {
            // The name itself, and a command that looks it up.
            let name = *tries.first().context("the finding suggests no command")?;
            let url = format!("http://{name}:90/");
            let curl = ["curl", "-sS", "-o", "/dev/null", "-w", CURL_FORMAT, &url];
            Ok(vec![
                in_pod(one(tries, "getent hosts")?)?,
                curl.map(str::to_owned).to_vec(),
            ])
        },
        check: |_, outputs, events| {
            let getent = &outputs[0];
            ensure!(
                getent.code == Some(0) && getent.text.split_whitespace().next() == Some(ADDRESS),
                "getent did not find {ADDRESS}: {getent:?}"
            );
            let found = |event: &&Value| {
                event["type"] == "lookup"
                    && event["outcome"] == "answered"
                    && is(&event["pod"], CLIENT).is_ok()
            };
            events
                .iter()
                .find(found)
                .context("no lookup that found it")?;
            connected(outputs, events, SERVICE)
        },
    },
    Remedy {
        rule: "ping-clusterip",
        commands: |tries| {
            Ok(vec![
                in_pod(one(tries, "curl ")?)?,
                in_pod(one(tries, "ping ")?)?,
            ])
        },
        check: |finding, outputs, events| {
            let curl = format!("Connected to {ADDRESS}");
            ensure!(
                outputs[0].text.contains(&curl),
                "curl did not connect to {ADDRESS}: {:?}",
                outputs[0]
            );
            let connected = |event: &&Value| {
                event["type"] == "tcp"
                    && event["state"] == "established"
                    && event["peer"]["ip"] == ADDRESS
                    && is(&event["peer"]["service"], SERVICE).is_ok()
            };
            events
                .iter()
                .find(connected)
                .context("no connection to the Service")?;
            let ping = Ping::parse(&outputs[1].text)?;
            ensure!(
                ping.sent == 3 && ping.received == 3,
                "the endpoint does not answer a ping: {ping:?}"
            );
            let echo = |event: &&Value| {
                event["type"] == "icmp" && event["kind"] == "echo" && event["state"] == "done"
            };
            let echo = events.iter().find(echo).context("no finished echo run")?;
            ensure!(
                echo["received"] == ping.received,
                "received {}, ping says {}",
                echo["received"],
                ping.received
            );
            // The finding names the pod behind the address that it says to ping.
            let pod = format!(
                "{}/{}",
                echo["peer"]["pod"]["namespace"].as_str().unwrap_or("?"),
                echo["peer"]["pod"]["name"].as_str().unwrap_or("?")
            );
            let address = echo["peer"]["ip"].as_str().unwrap_or("?");
            let line = one(&tries(finding), &format!("ping -c 3 {address}"))?;
            ensure!(
                line.contains(&pod),
                "{pod} answered, the finding said: {line}"
            );
            Ok(())
        },
    },
];

impl Remedy {
    /// The finding, as it was first reported for the client pod.
    pub fn finding<'a>(&self, events: &'a [Value]) -> Result<&'a Value> {
        let fits = |event: &&Value| {
            event["type"] == "finding"
                && event["rule"] == self.rule
                && event["state"] == "active"
                && is(&event["pod"], CLIENT).is_ok()
        };
        let found = events.iter().find(fits);
        found.with_context(|| format!("no finding {} of {CLIENT}", self.rule))
    }

    /// Runs the finding's suggested commands in the pod.
    pub fn run(&self, lab: &Lab, finding: &Value) -> Result<Vec<Output>> {
        let commands = (self.commands)(&tries(finding))
            .with_context(|| format!("what {} says to try: {}", self.rule, finding["try"]))?;
        commands
            .iter()
            .map(|words| {
                let argv: Vec<&str> = words.iter().map(String::as_str).collect();
                Step::run(lab, &argv)
            })
            .collect()
    }

    /// Checks that the commands worked for the tools and the tracer, and that the finding was reported as
    /// resolved: by the command, or by an earlier step with the same effect. `events` are those since, `all`
    /// those of the whole scenario.
    pub fn check(
        &self,
        finding: &Value,
        outputs: &[Output],
        events: &[Value],
        all: &[Value],
    ) -> Result<()> {
        (self.check)(finding, outputs, events)
            .with_context(|| format!("reported:{}", listed(events)))?;
        let resolved = all.iter().any(|event| {
            event["type"] == "finding"
                && event["state"] == "resolved"
                && event["id"] == finding["id"]
        });
        ensure!(
            resolved,
            "the finding {} was not reported as resolved",
            finding["id"]
        );
        Ok(())
    }
}

fn tries(finding: &Value) -> Vec<&str> {
    let lines = finding["try"].as_array().into_iter().flatten();
    lines.filter_map(Value::as_str).collect()
}

/// The first line that says so.
fn one<'a>(tries: &[&'a str], command: &str) -> Result<&'a str> {
    let line = tries.iter().find(|line| line.contains(command));
    line.copied()
        .with_context(|| format!("nothing with {command:?} to try"))
}

/// What `kubectl exec` would run in the pod: there is no kubectl in the lab.
fn in_pod(line: &str) -> Result<Vec<String>> {
    let (namespace, pod) = CLIENT.split_once('/').unwrap_or_default();
    let prefix = format!("kubectl -n {namespace} exec {pod} -- ");
    let Some(command) = line.strip_prefix(&prefix) else {
        bail!("not a command to run in {CLIENT}: {line}");
    };
    let command = command.split(" #").next().unwrap_or_default();
    ensure!(
        !command.contains(['\'', '"', '\\', '$']),
        "a shell would read that otherwise: {command}"
    );
    Ok(command.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_run_without_kubectl_and_without_its_comment() {
        let line = "kubectl -n default exec deb-ubuntu -- ping -c 3 10.1.39.195   # myns/apache-ds-myns-d4f2h on k8s-worker03";
        assert_eq!(in_pod(line).unwrap(), ["ping", "-c", "3", "10.1.39.195"]);
        assert!(in_pod("kubectl get pods").is_err());
    }
}
