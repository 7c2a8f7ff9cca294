//! What the agents export beside their streams: findings as Events on the pod, and metrics.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use testbed::lab::shell;
use testbed::watch::Watch;

use crate::chart;

use super::scene::Scene;
use super::target::Target;

/// Events go through a rate limit and the API server.
const PATIENCE: Duration = Duration::from_secs(30);

/// The findings of the scenario are Events of the client, and `kubectl describe pod` reports them.
pub(super) fn events(target: &Target) -> Result<String> {
    // The rules of steps 2 and 4, as Events write reasons.
    let wanted = ["NxdomainOtherNamespace", "PingClusterip"];
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = target.get(&["-n", "default", "events.events.k8s.io"])?;
        let reasons = reasons(&listed);
        if let Some(missing) = wanted.iter().find(|wanted| !reasons.contains(*wanted)) {
            ensure!(
                Instant::now() < deadline,
                "no Event {missing} on the client; there are {reasons:?}"
            );
            sleep(Duration::from_millis(500));
            continue;
        }
        let described = target.kubectl(&["-n", "default", "describe", "pod", "deb-ubuntu"])?;
        ensure!(
            described.contains("clusterip-apache2-ds-myns.myns"),
            "kubectl describe pod does not say which name works:\n{described}"
        );
        return Ok(format!("the client's Events: {}", wanted.join(", ")));
    }
}

/// The reasons of the agents' Events on the client.
fn reasons(events: &Value) -> Vec<&str> {
    let items = events["items"].as_array().into_iter().flatten();
    let of_client = items.filter(|event| {
        event["reportingController"] == "tracer-agent"
            && event["regarding"]["kind"] == "Pod"
            && event["regarding"]["name"] == "deb-ubuntu"
    });
    of_client
        .filter_map(|event| event["reason"].as_str())
        .collect()
}

/// The metrics of the client's agent, by way of the API server: the port is open on the node's loopback
/// alone.
pub(super) fn metrics(target: &Target, scene: &Scene) -> Result<String> {
    let field = format!("spec.nodeName={}", scene.client.node);
    let selector = [
        "-l",
        "app.kubernetes.io/component=agent",
        "--field-selector",
        &field,
    ];
    let agents = target.get(&[&["-n", "tracer", "pods"], selector.as_slice()].concat())?;
    let agent = agents["items"][0]["metadata"]["name"].as_str();
    let agent = format!("pod/{}", agent.context("no agent on the client's node")?);
    let forward = ["kubectl", "-n", "tracer", "port-forward", &agent, ":9095"];
    let mut forward = Watch::spawn(target.command(&forward)?)?;
    let line = forward
        .line(PATIENCE)?
        .context("kubectl port-forward says nothing")?;
    let port = forwarded(&line).with_context(|| format!("no port in {line:?}"))?;
    let get = |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        shell::run(&mut target.command(&["curl", "-sSf", "--max-time", "10", &url])?)
    };
    get("/livez")?;
    get("/readyz")?;
    let text = get("/metrics")?;
    let found = |name: &str, labels: &[&str]| sample(&text, name, labels);
    let unknown = found(
        "tracer_dns_exchanges_total",
        &[
            "outcome=\"nxdomain\"",
            "qtype=\"A\"",
            "namespace=\"default\"",
        ],
    );
    // Step 2 asks for four names that do not exist, step 3 for one.
    ensure!(
        unknown >= 5.0,
        "{unknown} names unknown to DNS; five were asked for"
    );
    let connected = found(
        "tracer_tcp_connections_total",
        &[
            "outcome=\"established\"",
            "direction=\"client\"",
            "namespace=\"default\"",
        ],
    );
    ensure!(connected >= 2.0, "{connected} connections; curl made two");
    Ok(format!(
        "/livez, /readyz and /metrics answer: {unknown} unknown names and {connected} connections of namespace default"
    ))
}

/// promtool evaluates the alerts on their test series.
pub(super) fn alerts() -> Result<String> {
    shell::run(&mut chart::check(&["alerts"]))?;
    Ok("promtool: the alerts fire and stay silent as deploy/alerts/tests.yaml says".to_owned())
}

/// The port of `Forwarding from 127.0.0.1:41234 -> 9095`.
pub(super) fn forwarded(line: &str) -> Option<u16> {
    let address = line.strip_prefix("Forwarding from ")?.split(' ').next()?;
    address.rsplit_once(':')?.1.parse().ok()
}

/// The sum of a metric's samples that have these labels.
fn sample(text: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix('{')?;
        let (set, value) = rest.rsplit_once("} ")?;
        labels
            .iter()
            .all(|label| set.split(',').any(|own| own == *label))
            .then_some(value)
    });
    samples
        .filter_map(|value| value.split(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_labels_that_are_not_asked_for() {
        let text = "# TYPE x counter\nx_total{a=\"1\",b=\"y\"} 2\nx_total{a=\"2\",b=\"y\"} 3.0\nx_total{a=\"1\",b=\"z\"} 9\n\
                    x_total_more{b=\"y\"} 7\n";
        assert_eq!(sample(text, "x_total", &["b=\"y\""]), 5.0);
        assert_eq!(sample(text, "x_total", &["a=\"1\"", "b=\"y\""]), 2.0);
        assert_eq!(sample(text, "y_total", &[]), 0.0);
    }

    #[test]
    fn the_port_is_read_from_what_kubectl_says() {
        assert_eq!(
            forwarded("Forwarding from 127.0.0.1:41234 -> 9095"),
            Some(41234)
        );
        assert_eq!(forwarded("error: lost connection to pod"), None);
    }
}
