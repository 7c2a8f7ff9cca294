//! The cluster's DNS server: Knot DNS, given zones that make it answer as CoreDNS's kubernetes plugin does;
//! what is not the cluster's it passes to the upstream stand-in as CoreDNS's forward plugin does. `lab check`
//! compares it with answers captured from a real CoreDNS.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::inventory::{Inventory, Pod, Service};
use super::network::{UPSTREAM, have_ipv6};
use super::process::{Place, Process, wait_listening};
use super::shell::{command, run};

/// CoreDNS's default, of answers and of what is not there.
const TTL: u32 = 5;
/// The cluster's domain, and the zones that its reverse names are in.
const ZONES: [&str; 3] = ["cluster.local", "in-addr.arpa", "ip6.arpa"];

/// Starts the server in the pod.
pub(super) fn start(
    place: &Place<'_>,
    pod: &Pod,
    inventory: &Inventory,
    serial: u32,
    directory: &Path,
    log: &Path,
) -> Result<Process> {
    fs::create_dir_all(directory.join("db"))?;
    write_zones(inventory, serial, directory)?;
    let file = configuration_file(directory);
    fs::write(&file, configuration(pod, directory))?;
    let full_name = pod.full_name();
    let process = place.start(
        "knotd",
        Some(&full_name),
        &["knotd", "-c", &file.display().to_string()],
        log,
    )?;
    wait_listening(&process, "udp", 53, log)?;
    wait_listening(&process, "tcp", 53, log)?;
    // It binds before it has loaded its zones; a question between the two is answered SERVFAIL.
    super::process::wait(&process, log, "load its zones", || {
        fs::read_to_string(log).is_ok_and(|said| {
            ZONES
                .iter()
                .all(|zone| said.contains(&format!("[{zone}.] loaded")))
        })
    })?;
    Ok(process)
}

/// Gives a running server new zones.
pub(super) fn reload(inventory: &Inventory, serial: u32, directory: &Path) -> Result<()> {
    write_zones(inventory, serial, directory)?;
    run(command("knotc")
        .arg("-c")
        .arg(configuration_file(directory))
        .args(["-b", "zone-reload"]))
    .map(drop)
}

fn configuration_file(directory: &Path) -> PathBuf {
    directory.join("knot.conf")
}

fn configuration(pod: &Pod, directory: &Path) -> String {
    let mut listen = format!("127.0.0.1@53, {}@53", pod.ipv4);
    if let (Some(ipv6), true) = (pod.ipv6, have_ipv6()) {
        let _ = write!(listen, ", \"{ipv6}@53\"");
    }
    let directory = directory.display();
    let mut zones = String::new();
    for zone in ZONES {
        let _ = write!(zones, "  - domain: {zone}\n    file: {zone}.zone\n");
        // CoreDNS's `fallthrough in-addr.arpa ip6.arpa`: the cluster is not authoritative for addresses that
        // it does not know.
        if zone.ends_with("arpa") {
            zones.push_str("    module: mod-dnsproxy/fallthrough\n");
        }
    }
    let server = server_config(&directory.to_string(), &listen);
    format!(
        "{server}remote:
  - id: upstream
    address: {}@53
mod-dnsproxy:
  - id: forward
    remote: upstream
    timeout: 2000
  - id: fallthrough
    remote: upstream
    timeout: 2000
    catch-nxdomain: on
template:
  - id: default
    global-module: mod-dnsproxy/forward
    storage: {directory}
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
{zones}",
        UPSTREAM.0
    )
}

/// What the configuration of every knotd in a lab begins with.
pub(super) fn server_config(directory: &str, listen: &str) -> String {
    format!(
        "server:
  rundir: {directory}
  user: root:root
  listen: [ {listen} ]
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: {directory}/db
  journal-db-max-size: 8M
  kasp-db-max-size: 8M
  timer-db-max-size: 8M
  catalog-db-max-size: 8M
log:
  - target: stderr
    any: info
"
    )
}

fn write_zones(inventory: &Inventory, serial: u32, directory: &Path) -> Result<()> {
    let (forward, reverse) = records(inventory);
    for zone in ZONES {
        // CoreDNS derives the server's name so where it cannot find itself among the endpoints.
        let mut text = format!(
            "$TTL {TTL}\n{zone}. SOA ns.dns.{zone}. hostmaster.{zone}. {serial} 7200 1800 86400 {TTL}\n{zone}. NS kube-dns.kube-system.svc.cluster.local.\n"
        );
        let records = if zone.ends_with("arpa") {
            &reverse
        } else {
            &forward
        };
        for record in records
            .iter()
            .filter(|record| record.owner.ends_with(&format!("{zone}.")))
        {
            let _ = writeln!(text, "{} {}", record.owner, record.data);
        }
        fs::write(directory.join(format!("{zone}.zone")), text)?;
    }
    Ok(())
}

/// A line of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    owner: String,
    data: String,
}

fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("A {ip}"),
        IpAddr::V6(ip) => format!("AAAA {ip}"),
    }
}

/// An address as a label: `10-1-235-213`.
fn dashed(ip: IpAddr) -> String {
    ip.to_string().replace(['.', ':'], "-")
}

/// The name under which an address is asked for in reverse.
fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let digits = format!("{:032x}", u128::from(ip));
            let reversed: Vec<String> = digits.chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa.", reversed.join("."))
        }
    }
}

/// What the zones say: forward and reverse.
fn records(inventory: &Inventory) -> (BTreeSet<Record>, BTreeSet<Record>) {
    let mut forward = BTreeSet::new();
    let mut reverse = BTreeSet::new();
    let mut add = |owner: String, data: String| {
        forward.insert(Record { owner, data });
    };
    add("dns-version.cluster.local.".into(), "TXT 1.1.0".into());
    if let Some(ip) = inventory.cluster_dns() {
        add("ns.dns.cluster.local.".into(), address(ip));
    }
    // A namespace is a name without records, even if nothing is in it: a record of a private type makes the
    // name exist.
    for namespace in &inventory.namespaces {
        add(
            format!("{namespace}.svc.cluster.local."),
            "TYPE65280 \\# 0".into(),
        );
    }
    for service in &inventory.services {
        let name = format!("{}.{}.svc.cluster.local.", service.name, service.namespace);
        // CoreDNS also resolves the target and answers with its addresses, which a zone cannot.
        if let Some(target) = &service.external_name {
            add(name, format!("CNAME {}.", target.trim_end_matches('.')));
            continue;
        }
        for ip in &service.cluster_ips {
            add(name.clone(), address(*ip));
            reverse.insert(Record {
                owner: reverse_name(*ip),
                data: format!("PTR {name}"),
            });
        }
        let headless = service.cluster_ips.is_empty();
        let mut targets = Vec::new();
        for endpoint in &service.endpoints {
            let own = format!(
                "{}.{name}",
                endpoint
                    .hostname
                    .clone()
                    .unwrap_or_else(|| dashed(endpoint.ip))
            );
            add(own.clone(), address(endpoint.ip));
            reverse.insert(Record {
                owner: reverse_name(endpoint.ip),
                data: format!("PTR {own}"),
            });
            if headless {
                add(name.clone(), address(endpoint.ip));
            }
            targets.push(own);
        }
        if !headless {
            targets = vec![name.clone()];
        }
        for record in srv(service, &name, &targets) {
            add(record.owner, record.data);
        }
        // Asked for its addresses, a port's name has those that its SRV records lead to.
        for port in service
            .ports
            .iter()
            .filter(|port| !port.name.is_empty() && !targets.is_empty())
        {
            let addresses = service.cluster_ips.iter().copied();
            let addresses: Vec<IpAddr> = if headless {
                service
                    .endpoints
                    .iter()
                    .map(|endpoint| endpoint.ip)
                    .collect()
            } else {
                addresses.collect()
            };
            for ip in addresses {
                add(
                    format!("_{}._{}.{name}", port.name, port.protocol),
                    address(ip),
                );
            }
        }
    }
    // `pods insecure`: CoreDNS says yes to any address; the zone can only list those that there are.
    for pod in &inventory.pods {
        for ip in std::iter::once(IpAddr::V4(pod.ipv4)).chain(pod.ipv6.map(IpAddr::V6)) {
            add(
                format!("{}.{}.pod.cluster.local.", dashed(ip), pod.namespace),
                address(ip),
            );
        }
    }
    (forward, reverse)
}

/// One record per port and target, under the port's own name where it has one and under the Service's.
fn srv(service: &Service, name: &str, targets: &[String]) -> Vec<Record> {
    let mut records = Vec::new();
    let all = service.ports.len() * targets.len();
    let weight = |of: usize| 100 / of.max(1);
    for port in &service.ports {
        // A headless Service leads to the pods' own port.
        let number = if service.cluster_ips.is_empty() {
            port.backends.first().map_or(port.port, |(_, p)| *p)
        } else {
            port.port
        };
        for target in targets {
            records.push(Record {
                owner: name.to_owned(),
                data: format!("SRV 0 {} {number} {target}", weight(all)),
            });
            if !port.name.is_empty() {
                records.push(Record {
                    owner: format!("_{}._{}.{name}", port.name, port.protocol),
                    data: format!("SRV 0 {} {number} {target}", weight(targets.len())),
                });
            }
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_reversed_digit_by_digit() {
        // The example of RFC 3596, section 2.5.
        let ip = "4321:0:1:2:3:4:567:89ab".parse().expect("an address");
        assert_eq!(
            reverse_name(ip),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa."
        );
    }

    #[test]
    fn a_headless_service_without_a_ready_endpoint_has_no_name() {
        let inventory = Inventory::scenario_with_near_misses().expect("it parses");
        let (forward, _) = records(&inventory);
        assert!(
            !forward
                .iter()
                .any(|record| record.owner.contains("headless-not-ready"))
        );
        assert!(
            forward
                .iter()
                .any(|record| record.owner.contains("no-endpoints"))
        );
    }
}
