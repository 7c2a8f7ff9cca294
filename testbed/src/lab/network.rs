//! The network: namespaces, links and routes. Writes shell scripts and
//! runs them, each inside the namespace that it is about.
//!
//! Every link is made inside the lab's own namespaces, never in the machine's; so nothing of the lab can
//! leave it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::inventory::{Inventory, Node, Pod};
use super::paths::{Paths, host_interface, netns_file};
use super::shell::{command, run, script_in};

/// The router that drops packets without a route.
pub(crate) const ROUTER: (&str, &str) = ("192.168.2.1", "fd00:192:168:2::1");
/// The upstream stand-in: DNS for everything outside the cluster.
pub(crate) const UPSTREAM: (&str, &str) = ("192.168.2.53", "fd00:192:168:2::53");
/// Addresses outside the cluster that answer: they are in the upstream stand-in. (Documentation ranges: RFC
/// 5737, RFC 3849.)
pub(super) const OUTSIDE: (&str, &str) = ("198.51.100.10", "2001:db8::10");

/// The host end's hardware address, the same on every pod's link, and the link-local address that follows
/// from it (RFC 4291 appendix A): the pods' IPv6 next hop. As Calico does it.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";
const HOST_LINK_LOCAL: &str = "fe80::ecee:eeff:feee:eeee";

/// Settings of a new namespace: no duplicate address detection, no router solicitation, no
/// redirects.
const QUIET: &str = "\
w() { [ ! -e \"/proc/sys/net/$1\" ] || echo \"$2\" > \"/proc/sys/net/$1\"; }
for c in all default; do
    w ipv6/conf/$c/disable_ipv6 0
    w ipv6/conf/$c/accept_dad 0
    w ipv6/conf/$c/accept_ra 0
    w ipv6/conf/$c/router_solicitations 0
    w ipv4/conf/$c/rp_filter 0
    w ipv4/conf/$c/send_redirects 0
done
ip link set lo up
";

/// Whether this kernel has IPv6; without it the lab has none.
pub(crate) fn have_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Every namespace that the lab consists of.
pub(crate) fn namespaces(paths: &Paths, inventory: &Inventory) -> Vec<String> {
    let mut names: Vec<String> = ["switch", "router", "upstream"]
        .iter()
        .map(|part| paths.netns(part))
        .collect();
    names.extend(inventory.nodes.iter().map(|node| paths.netns(&node.name)));
    names.extend(inventory.pods.iter().map(|pod| paths.pod_netns(pod)));
    names
}

/// Makes a namespace.
pub(crate) fn create(netns: &str) -> Result<()> {
    run(command("ip").args(["netns", "add", netns])).map(drop)
}

/// Removes a namespace if it exists.
pub(crate) fn delete(netns: &str) -> Result<()> {
    if netns_file(netns).exists() {
        run(command("ip").args(["netns", "del", netns])).map(drop)
    } else {
        Ok(())
    }
}

/// Lays out switch, router, upstream stand-in and nodes, in namespaces that exist.
pub(crate) fn lay_out(paths: &Paths, inventory: &Inventory) -> Result<()> {
    let switch = paths.netns("switch");
    script_in(
        &netns_file(&switch),
        &format!(
            "{QUIET}ip link add br0 type bridge stp_state 0 mcast_snooping 0\nip link set br0 up\n"
        ),
    )?;
    script_in(&netns_file(&paths.netns("router")), &router(&switch))?;
    script_in(
        &netns_file(&paths.netns("upstream")),
        &upstream(&switch, inventory),
    )?;
    for node in &inventory.nodes {
        script_in(
            &netns_file(&paths.netns(&node.name)),
            &node_script(&switch, node, inventory),
        )?;
    }
    let ports: String = ["router", "upstream"]
        .into_iter()
        .chain(inventory.nodes.iter().map(|node| node.name.as_str()))
        .map(port)
        .fold(String::new(), |mut script, port| {
            let _ = writeln!(script, "ip link set {port} master br0 up");
            script
        });
    script_in(&netns_file(&switch), &ports)
}

/// Gives a pod its link, in namespaces that exist.
pub(crate) fn connect(paths: &Paths, pod: &Pod) -> Result<()> {
    let netns = paths.pod_netns(pod);
    let host = host_interface(pod);
    let node = netns_file(&paths.netns(&pod.node));
    script_in(&netns_file(&netns), QUIET)?;
    let ip = pod.ipv4;
    // A proxied ARP reply would wait up to 0.8 s by default, and the pod's first query with it.
    let mut node_side = format!(
        "ip link add {host} address {HOST_MAC} type veth peer name eth0 netns {netns}
echo 1 > /proc/sys/net/ipv4/conf/{host}/proxy_arp
echo 0 > /proc/sys/net/ipv4/neigh/{host}/proxy_delay
ip link set {host} up
ip route add {ip}/32 dev {host} scope link
"
    );
    // The pod's next hop is an address without an owner. The node answers ARP for it because it has a default
    // route.
    let mut pod_side = format!(
        "ip address add {ip}/32 dev eth0
ip link set eth0 up
ip route add 169.254.1.1 dev eth0 scope link
ip route add default via 169.254.1.1 dev eth0
"
    );
    if let (Some(ip), true) = (pod.ipv6, have_ipv6()) {
        let _ = writeln!(node_side, "ip -6 route add {ip}/128 dev {host}");
        let _ = writeln!(pod_side, "ip address add {ip}/128 dev eth0 nodad");
        let _ = writeln!(
            pod_side,
            "ip -6 route add default via {HOST_LINK_LOCAL} dev eth0"
        );
    }
    script_in(&node, &node_side)?;
    script_in(&netns_file(&netns), &pod_side)
}

/// The switch's end of a link. An interface's name has at most 15 characters.
pub(super) fn port(part: &str) -> String {
    let tail: String = part
        .chars()
        .rev()
        .take(12)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    format!("p-{tail}")
}

/// Links a namespace to the switch and gives it its addresses.
fn uplink(switch: &str, part: &str, ipv4: &str, ipv6: Option<&str>) -> String {
    let mut script = format!(
        "{QUIET}ip link add eth0 type veth peer name {} netns {switch}
ip address add {ipv4}/24 dev eth0
ip link set eth0 up
",
        port(part)
    );
    if let (Some(ipv6), true) = (ipv6, have_ipv6()) {
        let _ = writeln!(script, "ip address add {ipv6}/64 dev eth0 nodad");
    }
    script
}

fn route(script: &mut String, range: &str, via: &str) {
    if range.contains(':') {
        if have_ipv6() {
            let _ = writeln!(script, "ip -6 route add {range} via {via}");
        }
    } else {
        let _ = writeln!(script, "ip route add {range} via {via}");
    }
}

/// It neither forwards nor answers: a packet for anyone else is lost as on a data-centre network.
fn router(switch: &str) -> String {
    let mut script = uplink(switch, "router", ROUTER.0, Some(ROUTER.1));
    let _ = write!(
        script,
        "nft -f - <<'END'
table inet silence {{
    chain prerouting {{
        type filter hook prerouting priority raw
        ip daddr != {{ {}, 224.0.0.0/4 }} counter drop
        ip6 daddr {{ 2000::/3, fc00::/7 }} ip6 daddr != {} counter drop
    }}
}}
END
",
        ROUTER.0, ROUTER.1
    );
    script
}

fn upstream(switch: &str, inventory: &Inventory) -> String {
    let mut script = uplink(switch, "upstream", UPSTREAM.0, Some(UPSTREAM.1));
    let _ = writeln!(script, "ip address add {}/32 dev lo", OUTSIDE.0);
    if have_ipv6() {
        let _ = writeln!(script, "ip address add {}/128 dev lo nodad", OUTSIDE.1);
    }
    pod_routes(&mut script, inventory, None);
    script
}

fn node_script(switch: &str, node: &Node, inventory: &Inventory) -> String {
    let ipv6 = node.ipv6.map(|ip| ip.to_string());
    let mut script = uplink(switch, &node.name, &node.ipv4.to_string(), ipv6.as_deref());
    script.push_str("w ipv4/ip_forward 1\nw ipv6/conf/all/forwarding 1\n");
    pod_routes(&mut script, inventory, Some(&node.name));
    route(&mut script, "198.51.100.0/24", UPSTREAM.0);
    route(&mut script, "2001:db8::/32", UPSTREAM.1);
    // Service addresses, unused pod addresses and the world: to the router, which drops them.
    route(&mut script, "default", ROUTER.0);
    if have_ipv6() {
        let _ = writeln!(script, "ip -6 route add default via {}", ROUTER.1);
    }
    script
}

/// Routes to the pods of every node but `own`.
fn pod_routes(script: &mut String, inventory: &Inventory, own: Option<&str>) {
    for node in inventory
        .nodes
        .iter()
        .filter(|node| Some(node.name.as_str()) != own)
    {
        for range in &node.pod_ranges {
            match (range.contains(':'), node.ipv6) {
                (false, _) => route(script, range, &node.ipv4.to_string()),
                (true, Some(ipv6)) => route(script, range, &ipv6.to_string()),
                (true, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switch_ports_keep_the_kernels_limit_and_tell_nodes_apart() {
        let inventory = Inventory::scenario().expect("it parses");
        let mut ports: Vec<String> = inventory
            .nodes
            .iter()
            .map(|node| port(&node.name))
            .collect();
        assert!(ports.iter().all(|port| port.len() <= 15), "{ports:?}");
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), inventory.nodes.len());
    }
}
