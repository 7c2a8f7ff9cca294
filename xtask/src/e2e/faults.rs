//! Faults on the way from the client to a server on another node, and the path of the packets in the findings about
//! them: dropped on either node, rejected, lost between the nodes, not accepted by a frozen server.
//!
//! Each fault has a port of its own, beside a port that works. The loss between the nodes comes first, alone: while a
//! node drops other packets of the same pods, nothing shows that it did not drop this one. nftables counts what it drops;
//! the switch between the nodes is no node, so no agent sees what it drops.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use testbed::cluster::Cluster;
use testbed::lab::shell;

use super::relays::until;
use super::scene::{self, Pod, Scene};
use super::target::Target;

/// A finding waits for 7 s of silence, and its path for the agents' reports. Connections are tried again meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
/// More than httpd's accept queue holds.
const CONNECTIONS: usize = 12;

/// A fault at one port.
struct Fault {
    port: u16,
    /// Where nftables has the rule, and its statement.
    rule: Option<(Where, &'static str)>,
    rules: &'static [&'static str],
    verdicts: &'static [&'static str],
    /// What the line of the path says.
    line: fn(&Scene) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    ClientNode,
    ServerNode,
    Switch,
}

const FAULTS: [Fault; 5] = [
    Fault {
        port: 8001,
        rule: Some((Where::ClientNode, "drop")),
        rules: &["dropped-on-node"],
        verdicts: &["dropped-on-client-node"],
        line: |scene| {
            format!(
                "✗ {} (dropped: NETFILTER_DROP in the node)",
                scene.client.node
            )
        },
    },
    Fault {
        port: 8002,
        rule: Some((Where::ServerNode, "drop")),
        rules: &["connect-timeout"],
        verdicts: &["dropped-on-server-node"],
        line: |scene| {
            format!(
                "✗ {} (dropped: NETFILTER_DROP in the node)",
                scene.server.node
            )
        },
    },
    Fault {
        port: 8003,
        rule: Some((Where::ServerNode, "reject with icmp type admin-prohibited")),
        rules: &["connection-refused"],
        verdicts: &["refused-before-pod"],
        line: |scene| scene.server.node.clone(),
    },
    Fault {
        port: 8004,
        rule: Some((Where::Switch, "drop")),
        rules: &["connect-timeout"],
        verdicts: &["lost-between-nodes"],
        line: |scene| format!("┄ {}", scene.server.node),
    },
    Fault {
        port: 8005,
        rule: None,
        rules: &["connect-timeout"],
        // Whether the kernel gives a reason for a SYN that finds no room depends on its version.
        verdicts: &["not-answered-by-pod", "dropped-in-pod"],
        line: |_| "✗ faulty".to_owned(),
    },
];

/// Makes the faults, and takes them away again.
pub(super) fn paths(target: &Target, program: &str, scene: &Scene) -> Result<Option<String>> {
    let Target::Local(cluster) = target else {
        return Ok(None);
    };
    if scene.client.node == scene.server.node {
        return Ok(None);
    }
    let made = make(target, cluster, scene);
    let checked = made.and_then(|()| check(target, cluster, program, scene));
    let taken_away = take_away(target, cluster, scene);
    let said = checked?;
    taken_away?;
    Ok(Some(said))
}

fn nft(cluster: &Cluster, at: Where, scene: &Scene, argv: &[&str]) -> Result<String> {
    let argv = [&["nft"], argv].concat();
    let mut command = match at {
        Where::ClientNode => cluster.command_on(&scene.client.node, &argv)?,
        Where::ServerNode => cluster.command_on(&scene.server.node, &argv)?,
        Where::Switch => cluster.command_on_switch(&argv),
    };
    shell::run(&mut command)
}

const PLACES: [(Where, &str); 3] = [
    (Where::ClientNode, "inet"),
    (Where::ServerNode, "inet"),
    (Where::Switch, "bridge"),
];

fn make(target: &Target, cluster: &Cluster, scene: &Scene) -> Result<()> {
    for (at, family) in PLACES {
        let rules = FAULTS.iter().filter_map(|fault| {
            let (place, statement) = fault.rule?;
            let address = &scene.server.ip;
            let port = fault.port;
            (place == at).then(|| {
                format!("ip daddr {address} tcp dport {port} counter name hits{port} {statement}")
            })
        });
        let rules: Vec<String> = rules.collect();
        let counters = FAULTS
            .iter()
            .filter(|fault| fault.rule.is_some_and(|(place, _)| place == at))
            .map(|fault| format!("counter hits{} {{ }}\n", fault.port));
        let script = format!(
            "table {family} e2e {{\n{}chain faults {{\ntype filter hook forward priority 0;\n{}\n}}\n}}",
            counters.collect::<String>(),
            rules.join("\n")
        );
        nft(cluster, at, scene, &[&script])?;
    }
    frozen(target, "STOP")
}

/// Sends a signal to the process behind port 8005.
fn frozen(target: &Target, signal: &str) -> Result<()> {
    let script = format!("kill -{signal} $(cat /frozen)");
    let exec = ["-n", "default", "exec", "faulty", "--", "sh", "-c", &script];
    target.kubectl(&exec).map(drop)
}

fn take_away(target: &Target, cluster: &Cluster, scene: &Scene) -> Result<()> {
    for (at, family) in PLACES {
        nft(cluster, at, scene, &["delete", "table", family, "e2e"])?;
    }
    frozen(target, "CONT")
}

/// One connection to each port, and to the frozen server as many as fill its queue and two more.
fn connect(target: &Target, service: &str, faults: &[&Fault]) -> Result<()> {
    let curl = format!("curl -sS -o /dev/null --max-time 9 http://{service}");
    let mut script = format!("{curl}:8006/ & ");
    for fault in faults {
        let times = if fault.rule.is_some() { 1 } else { CONNECTIONS };
        script += &format!("{curl}:{}/ & ", fault.port).repeat(times);
    }
    scene::in_client(target, &["sh", "-c", &format!("{script}wait")]).map(drop)
}

fn check(target: &Target, cluster: &Cluster, program: &str, scene: &Scene) -> Result<String> {
    let service = target.get(&["-n", "default", "service", "faulty"])?;
    let service = service["spec"]["clusterIP"]
        .as_str()
        .context("no ClusterIP")?
        .to_owned();
    let is_lost = |fault: &&Fault| fault.rule.is_some_and(|(at, _)| at == Where::Switch);
    let (lost, others): (Vec<_>, Vec<_>) = FAULTS.iter().partition(is_lost);
    let mut lines = Vec::new();
    for faults in [lost, others] {
        lines.extend(until(PATIENCE, || {
            connect(target, &service, &faults)?;
            let listed = target.get(&["-n", "default", "findings"])?;
            let findings = listed["items"].as_array().context("a list of findings")?;
            let lines = faults.iter().map(|fault| line(findings, fault, scene));
            lines.collect::<Result<Vec<String>>>()
        })?);
    }
    let listed = target.get(&["-n", "default", "findings"])?;
    let of_working = find(
        listed["items"].as_array().context("a list of findings")?,
        8006,
    );
    ensure!(
        of_working.is_none(),
        "a finding about the port that works: {of_working:?}"
    );
    for fault in &FAULTS {
        if let Some((at, _)) = fault.rule {
            let family = PLACES
                .iter()
                .find(|(place, _)| *place == at)
                .map_or("inet", |(_, family)| family);
            let counter = format!("hits{}", fault.port);
            let counted = nft(
                cluster,
                at,
                scene,
                &["list", "counter", family, "e2e", &counter],
            )?;
            ensure!(
                !counted.contains("packets 0 "),
                "nftables counted nothing: {counted}"
            );
        }
    }
    explained(target, program, scene)?;
    Ok(format!(
        "the findings have the packets' paths:\n       {}",
        lines.join("\n       ")
    ))
}

/// The finding about that port of the Service.
fn find(findings: &[Value], port: u16) -> Option<&Value> {
    findings.iter().find(|finding| {
        finding["spec"]["pod"]["name"] == "deb-ubuntu"
            && finding["spec"]["peer"]["service"]["name"] == "faulty"
            && finding["spec"]["peer"]["port"] == port
    })
}

/// The line of a finding's path, if the finding is the right one.
fn line(findings: &[Value], fault: &Fault, scene: &Scene) -> Result<String> {
    let found = find(findings, fault.port);
    let found = found.with_context(|| format!("no finding about port {}", fault.port))?;
    let is =
        |words: &[&str], value: &Value| value.as_str().is_some_and(|word| words.contains(&word));
    ensure!(
        is(fault.rules, &found["spec"]["rule"]),
        "port {}: the finding is {}: {}",
        fault.port,
        found["spec"]["rule"],
        found["status"]["headline"]
    );
    let path = &found["status"]["path"];
    let line = path["line"].as_str().unwrap_or_default();
    let expected = (fault.line)(scene);
    ensure!(
        is(fault.verdicts, &path["verdict"]) && line.contains(&expected),
        "port {}: expected {:?} and {expected:?} in its path, which is {} {line}",
        fault.port,
        fault.verdicts,
        path["verdict"]
    );
    Ok(line.to_owned())
}

/// `tracer diagnose` has the path, and `tracer explain` answers about that port alone.
fn explained(target: &Target, program: &str, scene: &Scene) -> Result<()> {
    let Pod { node, .. } = &scene.server;
    let ask = |arguments: &[&str]| {
        let output = target
            .command(&[&[program], arguments].concat())?
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.code() == Some(1),
            "tracer {}: {}\n{text}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    };
    let dropped = format!("✗ {node} (dropped: NETFILTER_DROP in the node)");
    for (arguments, expected) in [
        (
            &["diagnose", "--namespace", "default"][..],
            dropped.as_str(),
        ),
        (
            &["explain", "default/deb-ubuntu", "--to", "faulty:8002"],
            "Service default/faulty:8002",
        ),
    ] {
        let text = ask(arguments)?;
        let other = arguments.contains(&"explain") && text.contains("faulty:8005");
        ensure!(
            text.contains(expected) && !other,
            "tracer {} does not say {expected:?}, or says more:\n{text}",
            arguments.join(" ")
        );
    }
    Ok(())
}
