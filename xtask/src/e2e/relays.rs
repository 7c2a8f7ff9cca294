//! What the relays serve through the API server: findings for those who may see them, streams that outlive a relay and an
//! agent, and a cluster that works when no relay is left.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use testbed::watch::{Events, listed};

use super::scene::{self, API_SERVICE, LABEL, Scene};
use super::target::Target;
use super::watches;

/// How long a replaced pod may take, with its image on the node.
const PATIENCE: Duration = Duration::from_secs(120);
/// Users that exist nowhere: kubectl impersonates them.
pub(super) const VIEWER: &str = "e2e-viewer";
const STRANGER: &str = "e2e-stranger";

/// `kubectl get findings` has the scenario's findings for a user with the role view in that namespace, and for no other.
pub(super) fn findings(target: &Target) -> Result<String> {
    let user = format!("--user={VIEWER}");
    target.kubectl(&[
        "-n",
        "default",
        "create",
        "rolebinding",
        VIEWER,
        "--clusterrole=view",
        &user,
    ])?;
    target.kubectl(&["-n", "default", "label", "rolebinding", VIEWER, LABEL])?;
    let viewer = format!("--as={VIEWER}");
    let listing = ["-n", "default", "get", "findings", &viewer];
    let table = until(PATIENCE, || {
        let table = target.kubectl(&listing)?;
        for words in [
            "clusterip-apache2-ds-myns.myns",
            "90/TCP",
            "SEVERITY",
            "HEADLINE",
        ] {
            ensure!(
                table.contains(words),
                "kubectl get findings does not say {words:?}:\n{table}"
            );
        }
        Ok(table)
    })?;
    let objects = target.get(&["-n", "default", "findings", &viewer])?;
    let items = objects["items"].as_array().context("a list of findings")?;
    for rule in ["nxdomain-other-namespace", "ping-clusterip"] {
        let finding = items.iter().find(|finding| finding["spec"]["rule"] == rule);
        let finding = finding.with_context(|| format!("no object of rule {rule}"))?;
        let name = finding["metadata"]["name"].as_str().context("a name")?;
        let described = target.kubectl(&["-n", "default", "describe", "finding", name, &viewer])?;
        ensure!(
            described.contains(rule),
            "kubectl describe finding says:\n{described}"
        );
    }
    let selector = [
        "-n",
        "default",
        "get",
        "findings",
        "-l",
        "tracer.internal/rule=ping-clusterip",
        "-o",
        "name",
    ];
    let selected = target.kubectl(&selector)?;
    ensure!(
        selected.lines().count() == 1,
        "the label selects {selected}"
    );

    let may = |user: &str, verb: &str, what: &str| {
        let user = format!("--as={user}");
        let asked = target.kubectl(&["-n", "default", "auth", "can-i", verb, what, &user]);
        // `no` has exit code 1.
        asked.is_ok_and(|answer| answer.trim() == "yes")
    };
    ensure!(
        may(VIEWER, "list", "findings.tracer.internal"),
        "the role view does not list findings"
    );
    ensure!(
        !may(VIEWER, "list", "traces.tracer.internal"),
        "the role view lists traces"
    );
    let stranger = format!("--as={STRANGER}");
    for arguments in [
        &["-n", "default", "get", "findings", &stranger][..],
        &["-n", "myns", "get", "findings", &viewer],
        &["get", "findings", "-A", &viewer],
        &["-n", "default", "get", "traces", &viewer],
        &["get", "tracernodes", &stranger],
    ] {
        match target.kubectl(arguments) {
            Ok(text) => bail!("kubectl {} is allowed:\n{text}", arguments.join(" ")),
            Err(error) => {
                let error = format!("{error:#}");
                ensure!(
                    error.contains("orbidden"),
                    "kubectl {}: {error}",
                    arguments.join(" ")
                );
            }
        }
    }
    let nodes = target.kubectl(&["get", "tracernodes"])?;
    let traces = target.kubectl(&["-n", "default", "get", "traces"])?;
    ensure!(
        traces.lines().count() > 1,
        "kubectl get traces shows:\n{traces}"
    );
    for line in table.lines().chain(nodes.lines()) {
        eprintln!("     kubectl: {line}");
    }
    Ok("kubectl get findings has both findings for a user with the role view there, and Forbidden for others".to_owned())
}

/// The stream continues when a relay, and the agent of the client's node, are replaced.
pub(super) fn survive(target: &Target, events: &mut Events, scene: &Scene) -> Result<String> {
    let relays = names(target, "component=relay", None)?;
    let first = relays.first().context("no relay")?;
    target.kubectl(&["-n", "tracer", "delete", first, "--wait=false"])?;
    reported(target, events, "e2e-relay-gone.invalid.")?;
    target.kubectl(&[
        "-n",
        "tracer",
        "rollout",
        "status",
        "deployment/tracer-relay",
        "--timeout=120s",
    ])?;

    // A relay that is ready takes a moment to hear from the agents.
    until(PATIENCE, || complete(target))?;
    let agents = names(target, "component=agent", Some(&scene.client.node))?;
    let agent = agents.first().context("no agent on the client's node")?;
    target.kubectl(&["-n", "tracer", "delete", agent])?;
    target.kubectl(&[
        "-n",
        "tracer",
        "rollout",
        "status",
        "daemonset/tracer-agent",
        "--timeout=120s",
    ])?;
    reported(target, events, "e2e-agent-gone.invalid.")?;

    // Findings of the agent that ended are still there.
    let table = target.kubectl(&["-n", "default", "get", "findings"])?;
    ensure!(
        table.contains("90/TCP"),
        "findings are lost with their agent:\n{table}"
    );
    Ok(
        "a stream through the relays continues after the loss of a relay and of an agent"
            .to_owned(),
    )
}

/// Without a relay the rest of the cluster works; a namespace is deleted once the APIService is.
pub(super) fn without_any(target: &Target) -> Result<String> {
    target.kubectl(&[
        "-n",
        "tracer",
        "scale",
        "deployment/tracer-relay",
        "--replicas=0",
    ])?;
    until(PATIENCE, || {
        let left = names(target, "component=relay", None)?;
        ensure!(left.is_empty(), "relays are left: {}", left.join(", "));
        Ok(())
    })?;
    target.kubectl(&["get", "pods", "-A"])?;
    let started = Instant::now();
    let error = target.kubectl(&["get", "findings", "-A"]);
    ensure!(error.is_err(), "findings without a relay");
    ensure!(
        started.elapsed() < Duration::from_secs(40),
        "kubectl waited {:?}",
        started.elapsed()
    );
    target.kubectl(&["create", "namespace", "e2e-short-lived"])?;
    target.kubectl(&["label", "namespace", "e2e-short-lived", LABEL])?;
    target.kubectl(&["delete", "namespace", "e2e-short-lived", "--wait=false"])?;
    sleep(Duration::from_secs(15));
    let stuck = target.kubectl(&["get", "namespace", "e2e-short-lived", "--ignore-not-found"])?;
    target.kubectl(&["delete", "apiservice", API_SERVICE])?;
    target.kubectl(&[
        "wait",
        "--for=delete",
        "namespace/e2e-short-lived",
        "--timeout=120s",
    ])?;
    Ok(format!(
        "without relays other objects are served; a namespace's deletion {} until the APIService is deleted",
        if stuck.trim().is_empty() {
            "does not wait"
        } else {
            "waits"
        }
    ))
}

/// Repeats a query in the client until the stream reports it.
fn reported(target: &Target, events: &mut Events, name: &str) -> Result<()> {
    events.next_step();
    until(PATIENCE, || {
        scene::in_client(target, &["nslookup", name])?;
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            events.poll()?;
            let fits = |event: &Value| event["type"] == "dns" && event["name"] == name;
            if events.of_step().iter().any(fits) {
                return Ok(());
            }
        }
        bail!(
            "no query for {name} is reported:{}",
            listed(events.of_step())
        )
    })
}

pub(super) fn names(target: &Target, label: &str, node: Option<&str>) -> Result<Vec<String>> {
    let label = format!("app.kubernetes.io/{label}");
    let mut arguments = vec!["-n", "tracer", "get", "pods", "-l", &label, "-o", "name"];
    let field = node.map(|node| format!("--field-selector=spec.nodeName={node}"));
    arguments.extend(field.as_deref());
    let listed = target.kubectl(&arguments)?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Whether every relay has all agents, and findings.
fn complete(target: &Target) -> Result<()> {
    let agents = names(target, "component=agent", None)?.len();
    for relay in names(target, "component=relay", None)? {
        let metrics = watches::metrics(target, &relay)?;
        let gauge = |gauge: &str| {
            let lines = metrics.lines();
            let value =
                lines.filter_map(|line| line.strip_prefix(gauge)?.trim().parse::<f64>().ok());
            value.sum::<f64>()
        };
        let connected = gauge("tracer_relay_agents_connected ");
        ensure!(
            connected >= agents as f64 && gauge("tracer_relay_findings ") >= 2.0,
            "{relay} has {connected} of {agents} agents:\n{metrics}"
        );
    }
    Ok(())
}

/// Repeats it until it succeeds.
pub(super) fn until<T>(patience: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(500)),
        }
    }
}
