//! Service translation in a node, as kube-proxy lays it out: one nftables table, written whole and replaced
//! at once.
//!
//! Both modes translate the same way; they differ in what happens to a packet for a Service address that no
//! rule translates. In iptables mode nothing does: it follows the default route. In nftables mode it is
//! rejected, and dropped where the address is no Service's. (kube-proxy's pkg/proxy/iptables and
//! pkg/proxy/nftables, without NodePorts and affinity.) IPv4 only, as the scenario's Services are.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::inventory::{Inventory, Service, ServicePort};

/// kube-proxy's mode on the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// Untranslated packets follow the default route and are lost.
    #[default]
    Iptables,
    /// Untranslated packets are rejected; those to unallocated Service addresses are dropped.
    Nftables,
}

impl std::fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ProxyMode::Iptables => "iptables",
            ProxyMode::Nftables => "nftables",
        })
    }
}

/// kube-proxy's own bit for "to be masqueraded".
const MASQUERADE: &str = "0x4000";

/// A port of a Service at one of its addresses.
struct Listed<'a> {
    service: &'a Service,
    ip: Ipv4Addr,
    port: &'a ServicePort,
    backends: Vec<(Ipv4Addr, u16)>,
}

impl Listed<'_> {
    fn key(&self) -> String {
        format!("{} . {} . {}", self.ip, self.port.protocol, self.port.port)
    }

    fn chain(&self) -> String {
        format!(
            "service-{}/{}/{}/{}",
            self.service.namespace, self.service.name, self.port.protocol, self.port.port
        )
    }

    fn endpoint_chain(&self, backend: usize) -> String {
        let (ip, port) = self.backends[backend];
        format!(
            "endpoint-{}/{}/{ip}/{port}",
            self.service.namespace, self.service.name
        )
    }
}

/// The node's table, as a script for `nft -f`.
pub(super) fn rules(mode: ProxyMode, inventory: &Inventory) -> String {
    let listed = listed(inventory);
    let pods = set(inventory
        .nodes
        .iter()
        .flat_map(|node| &node.pod_ranges)
        .filter(|range| !range.contains(':')));
    let mut out =
        String::from("table ip kube-proxy\ndelete table ip kube-proxy\ntable ip kube-proxy {\n");

    let served = || listed.iter().filter(|port| !port.backends.is_empty());
    map(
        &mut out,
        "service-ips",
        served().map(|port| format!("{} : goto {}", port.key(), port.chain())),
    );
    let empty = || listed.iter().filter(|port| port.backends.is_empty());
    map(
        &mut out,
        "no-endpoint-services",
        empty().map(|port| format!("{} : goto reject-chain", port.key())),
    );

    let _ = write!(
        out,
        "    chain reject-chain {{
        reject with icmp type port-unreachable
    }}
    chain no-endpoints {{
        ip daddr . meta l4proto . th dport vmap @no-endpoint-services
    }}
    chain mark-for-masquerade {{
        meta mark set meta mark or {MASQUERADE}
    }}
"
    );
    for port in served() {
        for (index, (ip, number)) in port.backends.iter().enumerate() {
            // A pod that reaches itself must see another source, or it would answer itself past the
            // translation.
            let _ = write!(
                out,
                "    chain {} {{
        ip saddr {ip} jump mark-for-masquerade
        meta l4proto {} dnat to {ip}:{number}
    }}
",
                port.endpoint_chain(index),
                port.port.protocol
            );
        }
        let choices: Vec<_> = (0..port.backends.len())
            .map(|i| format!("{i} : goto {}", port.endpoint_chain(i)))
            .collect();
        let _ = write!(
            out,
            "    chain {} {{
        ip saddr != {pods} jump mark-for-masquerade
        numgen random mod {} vmap {{ {} }}
    }}
",
            port.chain(),
            port.backends.len(),
            choices.join(", ")
        );
    }
    let _ = write!(
        out,
        "    chain services {{
        ip daddr . meta l4proto . th dport vmap @service-ips
    }}
    chain nat-prerouting {{
        type nat hook prerouting priority -100
        jump services
    }}
    chain nat-output {{
        type nat hook output priority -100
        jump services
    }}
    chain nat-postrouting {{
        type nat hook postrouting priority 100
        meta mark & {MASQUERADE} == 0 return
        meta mark set meta mark xor {MASQUERADE}
        masquerade
    }}
"
    );
    out.push_str(&untranslated(mode, inventory, &listed));
    out.push_str("}\n");
    out
}

/// What happens to packets that stay addressed to a Service.
fn untranslated(mode: ProxyMode, inventory: &Inventory, listed: &[Listed<'_>]) -> String {
    match mode {
        ProxyMode::Iptables => "    chain filter-forward {
        type filter hook forward priority 0
        ct state new jump no-endpoints
    }
    chain filter-output {
        type filter hook output priority 0
        ct state new jump no-endpoints
    }
"
        .to_owned(),
        ProxyMode::Nftables => {
            let mut active: Vec<Ipv4Addr> = listed.iter().map(|port| port.ip).collect();
            active.sort();
            active.dedup();
            let mut check = String::new();
            if !active.is_empty() {
                let _ = writeln!(check, "        ip daddr {} reject", set(active.iter()));
            }
            if !inventory.service_ranges.is_empty() {
                let _ = writeln!(
                    check,
                    "        ip daddr {} drop",
                    set(inventory.service_ranges.iter())
                );
            }
            format!(
                "    chain cluster-ips-check {{
{check}    }}
    chain filter-forward {{
        type filter hook forward priority -110
        ct state new jump no-endpoints
        ct state new jump cluster-ips-check
    }}
    chain filter-output {{
        type filter hook output priority -110
        ct state new jump no-endpoints
    }}
    chain filter-output-post-dnat {{
        type filter hook output priority -90
        ct state new jump cluster-ips-check
    }}
"
            )
        }
    }
}

fn listed(inventory: &Inventory) -> Vec<Listed<'_>> {
    let mut all = Vec::new();
    for service in &inventory.services {
        for ip in &service.cluster_ips {
            let IpAddr::V4(ip) = *ip else { continue };
            for port in &service.ports {
                let ipv4 = |&(ip, number): &(IpAddr, u16)| {
                    if let IpAddr::V4(ip) = ip {
                        Some((ip, number))
                    } else {
                        None
                    }
                };
                let backends = port.backends.iter().filter_map(ipv4).collect();
                all.push(Listed {
                    service,
                    ip,
                    port,
                    backends,
                });
            }
        }
    }
    all
}

fn map(out: &mut String, name: &str, elements: impl Iterator<Item = String>) {
    let elements: Vec<_> = elements.collect();
    let _ = writeln!(
        out,
        "    map {name} {{\n        type ipv4_addr . inet_proto . inet_service : verdict"
    );
    if !elements.is_empty() {
        let _ = writeln!(
            out,
            "        elements = {{ {} }}",
            elements.join(",\n            ")
        );
    }
    out.push_str("    }\n");
}

fn set(elements: impl Iterator<Item = impl ToString>) -> String {
    format!(
        "{{ {} }}",
        elements
            .map(|element| element.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nftables_mode_rejects_what_no_rule_translates() {
        let inventory = Inventory::scenario().expect("it parses");
        let iptables = rules(ProxyMode::Iptables, &inventory);
        let nftables = rules(ProxyMode::Nftables, &inventory);
        assert!(!iptables.contains("cluster-ips-check"), "{iptables}");
        for rule in [
            "ip daddr { 10.152.183.1, 10.152.183.10, 10.152.183.115, 10.152.183.117 } reject",
            "ip daddr { 10.152.183.0/24 } drop",
        ] {
            assert!(nftables.contains(rule), "{nftables}");
        }
    }

    #[test]
    fn a_port_without_ready_endpoints_is_rejected_in_both_modes() {
        let inventory = Inventory::scenario_with_near_misses().expect("it parses");
        for mode in [ProxyMode::Iptables, ProxyMode::Nftables] {
            let rules = rules(mode, &inventory);
            assert!(
                rules.contains("10.152.183.20 . tcp . 80 : goto reject-chain"),
                "{rules}"
            );
            assert!(
                rules.contains("10.152.183.117 . tcp . 80 : goto service-default/"),
                "{rules}"
            );
        }
    }
}
