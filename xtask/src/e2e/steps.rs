//! The five steps of the scenario with this cluster's addresses, and what must be reported about each.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use testbed::scenario::{
    CLIENT, CURL_FORMAT, Output, Ping, connected, echo, found, is, not_found, same,
};
use testbed::watch::listed;

use super::scene::{Pod, Scene};

type Check = fn(&[Output], &[Value], &Scene) -> Result<()>;

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) title: &'static str,
    /// The commands in the client pod.
    pub(super) commands: Vec<Vec<String>>,
    check: Check,
}

impl Step {
    fn new(title: &'static str, commands: &[&[&str]], check: Check) -> Step {
        let words = |command: &&[&str]| command.iter().map(|word| (*word).to_owned()).collect();
        Step {
            title,
            commands: commands.iter().map(words).collect(),
            check,
        }
    }

    /// Checks that the events agree with the tools.
    pub(super) fn check(&self, outputs: &[Output], events: &[Value], scene: &Scene) -> Result<()> {
        (self.check)(outputs, events, scene).with_context(|| format!("reported:{}", listed(events)))
    }
}

/// The pods that are pinged: one on the client's node, one on another, as far as there are such.
fn pinged(scene: &Scene) -> Vec<&Pod> {
    let here = scene
        .apaches
        .iter()
        .find(|pod| pod.node == scene.client.node);
    let there = scene
        .apaches
        .iter()
        .find(|pod| pod.node != scene.client.node);
    here.into_iter().chain(there).collect()
}

/// All steps, in order.
pub(super) fn all(scene: &Scene) -> Vec<Step> {
    let curl = |url| ["curl", "-sS", "-o", "/dev/null", "-w", CURL_FORMAT, url];
    let ping: Vec<[&str; 7]> = pinged(scene)
        .into_iter()
        .map(|pod| ["ping", "-n", "-c", "5", "-i", "0.2", &pod.ip])
        .collect();
    let ping: Vec<&[&str]> = ping.iter().map(<[&str; 7]>::as_slice).collect();
    vec![
        Step::new(
            "a Service of the pod's own namespace, by its name",
            &[
                &["nslookup", "clusterip-nginx-ds"],
                &curl("http://clusterip-nginx-ds:80/"),
            ],
            |outputs, events, scene| {
                found(
                    outputs,
                    events,
                    "clusterip-nginx-ds.default.svc.cluster.local.",
                    &scene.dns,
                )?;
                connected(outputs, events, "default/clusterip-nginx-ds")
            },
        ),
        Step::new(
            "a Service of another namespace, by its bare name: NXDOMAIN, and the name that works",
            &[&["nslookup", "clusterip-apache2-ds-myns"]],
            |outputs, events, _| {
                not_found(outputs, events)?;
                let finding = finding(events, "nxdomain-other-namespace")?;
                let tries = finding["try"].to_string();
                ensure!(
                    tries.contains("clusterip-apache2-ds-myns.myns"),
                    "it advises {tries}"
                );
                Ok(())
            },
        ),
        Step::new(
            "the same Service as name.namespace: found",
            &[
                &["nslookup", "clusterip-apache2-ds-myns.myns"],
                &curl("http://clusterip-apache2-ds-myns.myns:90/"),
            ],
            |outputs, events, scene| {
                found(
                    outputs,
                    events,
                    "clusterip-apache2-ds-myns.myns.svc.cluster.local.",
                    &scene.dns,
                )?;
                connected(outputs, events, "myns/clusterip-apache2-ds-myns")
            },
        ),
        Step::new(
            "a ping to that Service's ClusterIP: no reply, and why",
            &[&[
                "ping",
                "-n",
                "-c",
                "8",
                "-i",
                "0.2",
                "-W",
                "1",
                &scene.apache_ip,
            ]],
            |outputs, events, scene| {
                let ping = Ping::parse(&outputs[0].text)?;
                // In IPVS mode the node itself answers; iptables and nftables mode are what the scenario is
                // about.
                ensure!(
                    ping.received == 0 && ping.sent == 8,
                    "a ping to a ClusterIP was answered: {ping:?}"
                );
                let echo = echo(events, &scene.apache_ip)?;
                is(&echo["peer"]["service"], "myns/clusterip-apache2-ds-myns")?;
                same(echo, &ping)?;
                let finding = finding(events, "ping-clusterip")?;
                let reported = finding.to_string();
                ensure!(
                    reported.contains("90/TCP"),
                    "it does not name the port: {reported}"
                );
                for pod in &scene.apaches {
                    ensure!(
                        reported.contains(&pod.ip),
                        "it does not name the endpoint {}: {reported}",
                        pod.ip
                    );
                }
                Ok(())
            },
        ),
        Step::new(
            "pings to pods of another namespace, on this and on another node: answered",
            &ping,
            |outputs, events, scene| {
                for (output, pod) in outputs.iter().zip(pinged(scene)) {
                    let ping = Ping::parse(&output.text)?;
                    ensure!(
                        ping.received == 5 && ping.sent == 5,
                        "pings were lost: {ping:?}"
                    );
                    let echo = echo(events, &pod.ip)?;
                    is(&echo["peer"]["pod"], &pod.name)?;
                    same(echo, &ping)?;
                }
                Ok(())
            },
        ),
    ]
}

/// The client's finding of that rule.
fn finding<'a>(events: &'a [Value], rule: &str) -> Result<&'a Value> {
    let found = events.iter().find(|event| {
        event["type"] == "finding" && event["rule"] == rule && event["state"] == "active"
    });
    let found = found.with_context(|| format!("no finding {rule}"))?;
    is(&found["pod"], CLIENT)?;
    Ok(found)
}
