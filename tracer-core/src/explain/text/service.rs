//! The section about the Service.

use super::Page;
use crate::explain::alias::{AliasFacts, LeadsTo};
use crate::explain::service::{EndpointFacts, PortFacts, ServiceFacts};

/// Endpoints that are listed.
const MAX_ENDPOINTS: usize = 6;

impl Page<'_> {
    /// The ExternalName Services, before what they lead to.
    pub(super) fn aliases(&mut self, aliases: &[AliasFacts]) {
        for alias in aliases {
            let mark = match alias.leads_to {
                LeadsTo::Absent | LeadsTo::Loop | LeadsTo::Address => "✗",
                LeadsTo::Service | LeadsTo::Alias => "✓",
                LeadsTo::Outside | LeadsTo::Unknown => "·",
            };
            let AliasFacts {
                namespace,
                name,
                stands_for,
                because,
                ..
            } = alias;
            let text =
                format!("{namespace}/{name}, ExternalName, stands for {stands_for}: {because}");
            self.marked(mark, &text);
            if let Some(instead) = &alias.instead {
                self.line(&format!(
                    "no search domain is added to it; {instead} is the full name of a Service"
                ));
            }
        }
    }

    pub(super) fn service(&mut self, service: &ServiceFacts) {
        if service.external_name.is_some() {
            // The aliases have it.
            return;
        }
        let ips: Vec<String> = service
            .cluster_ips
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut parts = vec![match ips.is_empty() {
            true => format!("{}/{}, {}", service.namespace, service.name, service.r#type),
            false => {
                let ips = ips.join(" ");
                format!(
                    "{}/{}, {} {ips}",
                    service.namespace, service.name, service.r#type
                )
            }
        }];
        parts.extend(
            service
                .affinity_secs
                .map(|secs| format!("ClientIP affinity {secs} s")),
        );
        if service.internal_local {
            parts.push("internalTrafficPolicy Local".to_owned());
        }
        if service.external_local {
            parts.push("externalTrafficPolicy Local".to_owned());
        }
        if !service.source_ranges.is_empty() {
            parts.push(format!(
                "load balancer admits {}",
                service.source_ranges.join(" ")
            ));
        }
        self.line(&parts.join(", "));
        let ports: Vec<String> = service.ports.iter().map(port).collect();
        match (service.port_served, &service.asked_port) {
            (Some(false), Some(asked)) => {
                self.marked("✗", &format!("no port {asked}; it has {}", or_none(&ports)));
            }
            _ => self.line(&format!("ports: {}", or_none(&ports))),
        }
        match &service.endpoints {
            None => self.line("endpoints: not listed"),
            Some(endpoints) => self.endpoints(service, endpoints),
        }
    }

    fn endpoints(&mut self, service: &ServiceFacts, endpoints: &[EndpointFacts]) {
        let ready = service.ready;
        let other = endpoints.len() - ready;
        let text = match (endpoints.len(), other) {
            (0, _) => "endpoints: none".to_owned(),
            (_, 0) => format!("endpoints: {ready} ready"),
            _ => format!("endpoints: {ready} ready, {other} not"),
        };
        match &service.selects {
            Some(selects) => self.marked("✗", &format!("{text}; {selects}")),
            None if ready == 0 => self.marked("✗", &text),
            None => self.line(&text),
        }
        // What is not ready explains more.
        let mut sorted: Vec<&EndpointFacts> = endpoints.iter().collect();
        sorted.sort_by_key(|one| one.state == "ready");
        for endpoint in sorted.iter().take(MAX_ENDPOINTS) {
            let mark = if endpoint.state == "ready" {
                "·"
            } else {
                "✗"
            };
            self.marked(mark, &endpoint_text(endpoint));
        }
        self.more(endpoints.len(), MAX_ENDPOINTS);
    }
}

fn or_none(ports: &[String]) -> String {
    match ports.is_empty() {
        true => "none".to_owned(),
        false => ports.join(", "),
    }
}

fn port(port: &PortFacts) -> String {
    let name = port
        .name
        .as_ref()
        .map(|name| format!(" ({name})"))
        .unwrap_or_default();
    let target = match port.target == port.port.to_string() {
        true => String::new(),
        false => format!(" → {}", port.target),
    };
    let without = match port.endpoints {
        Some(0) => ", which no ready endpoint has",
        _ => "",
    };
    format!("{}/{}{name}{target}{without}", port.port, port.protocol)
}

fn endpoint_text(endpoint: &EndpointFacts) -> String {
    let port = endpoint
        .port
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let mut parts = vec![format!("{}{port}", endpoint.ip)];
    parts.extend(endpoint.pod.clone());
    if let Some(node) = &endpoint.node {
        let own = if endpoint.same_node {
            ", the pod's node"
        } else {
            ""
        };
        parts.push(format!("on {node}{own}"));
    }
    let because = endpoint
        .because
        .as_ref()
        .map(|one| format!(": {one}"))
        .unwrap_or_default();
    parts.push(format!("{}{because}", endpoint.state));
    if endpoint.is_self {
        parts.push("the pod itself".to_owned());
    }
    parts.join(", ")
}
