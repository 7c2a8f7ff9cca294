//! A NodeLocal DNSCache on a node: a server in the node's network, at addresses of a device of its own, that passes
//! every query on. Knot DNS again; unlike the real one it caches nothing, so each query has one of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::cgroup;
use super::dns::server_config;
use super::lifecycle::Lab;
use super::network::have_ipv6;
use super::paths::netns_file;
use super::process::{Place, Process, wait, wait_listening};
use super::shell::script_in;

/// The address that NodeLocal DNSCache has on every node.
pub const ADDRESS: &str = "169.254.20.10";
/// The same in a cluster with IPv6: a unique local address, as its documentation recommends.
pub const ADDRESS_V6: &str = "fd00:169:254:20::10";
const DEVICE: &str = "nodelocaldns";

/// A cache that runs. Dropping it ends the process; its addresses stay.
#[derive(Debug)]
pub struct NodeCache(Process);

impl NodeCache {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }
}

impl Drop for NodeCache {
    fn drop(&mut self) {
        let Some(pid) = Pid::from_raw(self.0.pid.cast_signed()) else {
            return;
        };
        let _ = kill_process(pid, Signal::TERM);
        // The next one uses its files.
        for _ in 0..1_000 {
            if !self.0.alive() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Lab {
    /// Starts it in this cgroup of the lab, at its own addresses and at the DNS Service's. It asks `server`.
    pub fn start_node_cache(&self, node: &str, cgroup: &str, server: IpAddr) -> Result<NodeCache> {
        let dns = self.inventory().cluster_dns();
        let dns = dns.context("the cluster has no DNS Service")?;
        let netns = netns_file(&self.paths().netns(&self.inventory().node(node)?.name));
        script_in(&netns, &listen_at(&dns.to_string()))?;
        let group = self.state().cgroup.join(cgroup);
        cgroup::create(&group)?;
        let directory = self.paths().part_directory(&format!("{DEVICE}-{node}"));
        fs::create_dir_all(directory.join("db"))?;
        let file = directory.join("knot.conf").display().to_string();
        let directory = directory.display();
        let mut listen = format!("{ADDRESS}@53, {dns}@53");
        if have_ipv6() {
            let _ = write!(listen, ", \"{ADDRESS_V6}@53\"");
        }
        let config = server_config(&directory.to_string(), &listen);
        fs::write(
            &file,
            format!(
                "{config}remote:
  - id: server
    address: {server}@53
mod-dnsproxy:
  - id: forward
    remote: server
    timeout: 4000
template:
  - id: default
    global-module: mod-dnsproxy/forward
"
            ),
        )?;
        let log = self.paths().log(&format!("{DEVICE}-{node}"));
        let place = Place {
            netns: &netns,
            cgroup: &group,
            mounts_of: None,
        };
        let process = place.start(DEVICE, None, &["knotd", "-c", &file], &log)?;
        let cache = NodeCache(process);
        wait_listening(&cache.0, "udp", 53, &log)?;
        wait_listening(&cache.0, "tcp", 53, &log)?;
        wait(&cache.0, &log, "start", || {
            fs::read_to_string(&log).is_ok_and(|said| said.contains("server started"))
        })?;
        Ok(cache)
    }
}

/// The device with its addresses, which stays down as the real one's, and packets to and from them untranslated. (A
/// kernel without dummy devices has bridges.)
fn listen_at(dns: &str) -> String {
    let v6 = have_ipv6().then(|| {
        let untranslated = untranslated("ip6", ADDRESS_V6);
        format!("ip address replace {ADDRESS_V6}/128 dev {DEVICE} nodad\n{untranslated}")
    });
    let untranslated = untranslated("ip", &format!("{ADDRESS}, {dns}"));
    format!(
        "ip link show {DEVICE} > /dev/null 2>&1 || ip link add {DEVICE} type dummy 2> /dev/null \
    || ip link add {DEVICE} type bridge
ip address replace {ADDRESS}/32 dev {DEVICE}
ip address replace {dns}/32 dev {DEVICE}
{untranslated}{}",
        v6.unwrap_or_default()
    )
}

fn untranslated(family: &str, addresses: &str) -> String {
    format!(
        "nft -f - <<'END'
table {family} {DEVICE}
delete table {family} {DEVICE}
table {family} {DEVICE} {{
    chain prerouting {{
        type filter hook prerouting priority raw
        {family} daddr {{ {addresses} }} th dport 53 notrack
    }}
    chain output {{
        type filter hook output priority raw
        {family} daddr {{ {addresses} }} th dport 53 notrack
        {family} saddr {{ {addresses} }} th sport 53 notrack
    }}
}}
END
"
    )
}
