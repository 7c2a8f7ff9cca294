//! Describes what runs in a lab.

use std::fmt::Write as _;

use super::Lab;
use super::inventory::Program;
use super::paths::{host_interface, netns_file};

/// The text of `lab status`, and whether everything runs.
pub fn describe(lab: &Lab) -> (String, bool) {
    let (inventory, state, paths) = (lab.inventory(), lab.state(), lab.paths());
    let mut well = true;
    let mut out = format!(
        "lab {} is up, kube-proxy mode {}\n",
        paths.name(),
        lab.proxy_mode()
    );
    let _ = writeln!(out, "inventory  {}", paths.inventory().display());
    let _ = writeln!(out, "cgroups    {}", state.cgroup.display());
    for node in &inventory.nodes {
        let netns = paths.netns(&node.name);
        well &= netns_file(&netns).exists();
        let _ = writeln!(out, "\n{}  {}  netns {netns}", node.name, node.ipv4);
        for pod in inventory.pods.iter().filter(|pod| pod.node == node.name) {
            let name = pod.full_name();
            let processes = state
                .processes
                .iter()
                .filter(|process| process.pod.as_deref() == Some(&name));
            let running: Vec<String> = processes
                .map(|process| {
                    let dead = if process.alive() { "" } else { " (gone)" };
                    format!("{} {}{dead}", process.what, process.pid)
                })
                .collect();
            well &=
                !running.is_empty() && !running.iter().any(|process| process.ends_with("(gone)"));
            let serves = match &pod.program {
                Program::Dns => "  dns 53".to_owned(),
                Program::Web(ports) => ports
                    .iter()
                    .fold("  web".to_owned(), |text, port| format!("{text} {port}")),
                Program::Idle => String::new(),
            };
            let _ = writeln!(
                out,
                "  {name:<36} {:<15} {}  {}{serves}",
                pod.ipv4.to_string(),
                host_interface(pod),
                running.join(", ")
            );
        }
    }
    let _ = writeln!(out, "\noutside the nodes");
    for process in state
        .processes
        .iter()
        .filter(|process| process.pod.is_none())
    {
        well &= process.alive();
        let _ = writeln!(
            out,
            "  upstream {} {}{}",
            process.what,
            process.pid,
            if process.alive() { "" } else { " (gone)" }
        );
    }
    let _ = writeln!(out, "\nServices");
    for service in &inventory.services {
        let ip = service
            .cluster_ips
            .first()
            .map_or_else(|| "headless".to_owned(), ToString::to_string);
        let ip = service.external_name.clone().unwrap_or(ip);
        let ports: Vec<String> = service
            .ports
            .iter()
            .map(|port| {
                format!(
                    "{}/{} -> {} ready",
                    port.port,
                    port.protocol.to_uppercase(),
                    port.backends.len()
                )
            })
            .collect();
        let name = format!("{}/{}", service.namespace, service.name);
        let _ = writeln!(out, "  {name:<36} {ip:<15} {}", ports.join(", "));
    }
    (out, well)
}
