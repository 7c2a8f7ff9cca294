//! The `key=value` pairs that the wide form adds to an event's first line.

use std::net::IpAddr;

use super::line::Row;
use super::names::bracketed;
use crate::model::dns::DnsFault;
use crate::model::event::{Body, Ends, Event};
use crate::model::flow::{FlowTotals, Traffic};

/// Adds the node, workload, addresses with ports, identifiers and totals.
pub(super) fn add(row: &mut Row, event: &Event) {
    let mut pairs = Vec::new();
    let ports = !matches!(event.body, Body::Echo(_) | Body::IcmpError(_));
    if let Some(ends) = &event.ends {
        add_ends(ends, ports, &mut pairs);
    }
    match &event.body {
        Body::Dns(exchange, place) => {
            pairs.push(format!("id={}", exchange.id));
            if let Some(place) = place {
                let of = place.of.map_or("?".to_owned(), |of| of.to_string());
                pairs.push(format!("candidate={}/{of}", place.candidate));
            }
            if let Some(cause) = &exchange.caused_by {
                let client = match &cause.pod {
                    Some(pod) => format!("{}/{}", pod.namespace, pod.name),
                    None => cause.client.ip().to_string(),
                };
                let port = cause.client.port();
                pairs.push(format!("caused-by={client}:{port} (inferred)"));
            }
            super::dns::add_details(exchange, &mut pairs);
            if let Some(fault) = &exchange.fault {
                pairs.push(format!("fault={}", fault_word(fault)));
            }
            if let Some(fault) = &exchange.details.query_fault {
                pairs.push(format!("query-fault={}", fault_word(fault)));
            }
        }
        Body::Tcp(connection) => add_totals(connection.totals, &mut pairs),
        Body::Udp(flow) => add_totals(flow.totals, &mut pairs),
        Body::Echo(echo) => pairs.push(format!("id={}", echo.id)),
        Body::Finding(finding) => {
            pairs.push(format!("rule={}", finding.rule));
            pairs.push(format!("id={}", finding.id));
        }
        Body::Lookup(_) | Body::IcmpError(_) | Body::Drop(_) | Body::Lost(_) => {}
    }
    row.extra = pairs.join(" ");
}

fn add_ends(ends: &Ends, ports: bool, pairs: &mut Vec<String>) {
    if let Ok(pod) = &ends.pod.identity {
        if let Some(node) = &pod.node {
            pairs.push(format!("node={node}"));
        }
        if let Some(workload) = &pod.workload {
            pairs.push(format!("workload={}/{}", workload.kind, workload.name));
        }
    }
    let address = |ip: IpAddr, port: Option<u16>| match port.filter(|_| ports) {
        Some(port) => format!("{}:{port}", bracketed(ip, true)),
        None => ip.to_string(),
    };
    pairs.push(format!("pod={}", address(ends.pod.ip, ends.pod.port)));
    pairs.push(format!("peer={}", address(ends.peer.ip, ends.peer.port)));
    if let Some(container) = &ends.pod.container {
        pairs.push(format!("container={container}"));
    }
    if let Some(process) = &ends.pod.process {
        // A process chooses its name: it must not look like another pair.
        let comm = process.comm.replace(char::is_whitespace, "_");
        pairs.push(format!("process={}/{comm}", process.pid));
    }
    if let Some(backend) = &ends.peer.backend {
        pairs.push(format!("endpoint={}", address(backend.ip, backend.port)));
    }
    if let (Some(_), Some(pod)) = (&ends.peer.service, &ends.peer.host_pod) {
        pairs.push(format!("peer-pod={}/{}", pod.namespace, pod.name));
    }
    if let (Some(node), Some(_)) = (&ends.peer.node, ends.peer.any_pod()) {
        pairs.push(format!("peer-node={node}"));
    }
}

fn add_totals(totals: FlowTotals, pairs: &mut Vec<String>) {
    let show = |traffic: Traffic| format!("{}/{}B", traffic.packets, traffic.bytes);
    pairs.push(format!("tx={}", show(totals.tx)));
    pairs.push(format!("rx={}", show(totals.rx)));
    if let Some(segments) = totals.retransmits {
        pairs.push(format!("retransmits={segments}"));
    }
}

fn fault_word(fault: &DnsFault) -> &'static str {
    match fault {
        DnsFault::CutShort => "cut-short",
        DnsFault::Questions(_) => "questions",
        DnsFault::Question(_) => "question",
        DnsFault::Record(_) => "record",
        DnsFault::Edns(_) => "edns",
        DnsFault::TooMany => "too-many",
    }
}
