//! The bed: three network namespaces, client, node and server, and the pods' links between client and node.
//!
//! The node forwards, and sees the host ends `vc0`, `vc1`, ... of the pods' veth pairs: there the tools
//! capture. nft counts what it forwards: the truth that recorded messages are compared with. The host ends
//! have no address, as Calico lays them; the tracer takes an interface with a subnet for an uplink.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::cpu::{Accounts, Usage};
use super::load::Mix;
use super::server;
use crate::lab::paths::netns_file;
use crate::lab::process::{Place, Process};
use crate::lab::shell::{command, in_netns, run, script_in};

/// Held while a bed is removed: Ctrl-C does it in another thread than an error does.
static REMOVAL: Mutex<()> = Mutex::new(());
/// Beginning of the names of all namespaces and control groups; the process id follows.
const PREFIX: &str = "tracer-bench-";
/// The server, and the node on its link.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 88, 2, 2);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 88, 2, 1);
/// The pods' next hop. Link-local: no interface has it, the host ends answer for it.
const NEXT_HOP: &str = "169.254.1.1";
/// The host ends' hardware address.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";

/// DNS messages over UDP that the node forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// From the pods.
    pub queries: u64,
    /// To the pods.
    pub responses: u64,
}

impl Wire {
    /// Both.
    pub fn messages(self) -> u64 {
        self.queries + self.responses
    }
}

/// The namespaces with a DNS server that answers. Removed on drop.
#[derive(Debug)]
pub struct Bed {
    name: String,
    accounts: Accounts,
    directory: PathBuf,
    pods: usize,
    server: Option<Process>,
}

impl Bed {
    /// Raises a bed with that many pods. Files go below `scratch`.
    pub fn raise(pods: usize, scratch: &Path) -> Result<Bed> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root"
        );
        ensure!((1..=1000).contains(&pods), "1 to 1000 pods");
        let name = format!("{PREFIX}{}", std::process::id());
        remove(&name)?;
        let directory = scratch.join(&name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let mut bed = Bed {
            accounts: Accounts::named(&name)?,
            name,
            directory: directory.canonicalize()?,
            pods,
            server: None,
        };
        bed.build()?;
        Ok(bed)
    }

    fn build(&mut self) -> Result<()> {
        for part in ["client", "node", "server"] {
            run(command("ip").args(["netns", "add", &self.netns_name(part)]))?;
        }
        script_in(&self.netns("node"), &self.node_script())?;
        script_in(&self.netns("client"), &self.client_script())?;
        script_in(
            &self.netns("server"),
            &format!(
                "ip link set lo up\nip addr add {SERVER}/24 dev vs0\nip link set vs0 up\nip route add default via {NODE}\n"
            ),
        )?;
        self.server = Some(server::start(self)?);
        Ok(())
    }

    /// Pods' addresses, in the order of their interfaces.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        (0..self.pods).map(address).collect()
    }

    /// Where files of a measurement belong.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The queries of a mix, as dnsperf reads them.
    pub fn queries(&self, mix: Mix) -> Result<PathBuf> {
        let file = self.directory.join(mix.name());
        if !file.exists() {
            fs::write(&file, mix.queries())
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(file)
    }

    /// A command in a part's network, `client`, `node` or `server`, accounted to `account`.
    pub fn command(&self, part: &str, account: &str, argv: &[&str]) -> Result<Command> {
        let cgroup = self.accounts.group(account)?;
        let netns = self.netns(part);
        let place = Place {
            netns: &netns,
            cgroup: &cgroup,
            mounts_of: None,
        };
        let mut command = place.command(argv);
        // The terminal's Ctrl-C is for xtask, which then removes the bed.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(command)
    }

    /// Runs code in a part's network. Sockets that it makes stay there.
    pub(super) fn within<T: Send>(
        &self,
        part: &str,
        code: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let path = self.netns(part);
        let netns =
            fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        // A thread of its own, which ends with the code: a namespace is a thread's property.
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter {}", path.display()))?;
                code()
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the thread in {part} panicked")))
        })
    }

    /// CPU time up to now.
    pub fn usage(&self) -> Result<Usage> {
        self.accounts.read()
    }

    /// What the node has forwarded since the bed was raised.
    pub fn wire(&self) -> Result<Wire> {
        let list = ["nft", "-j", "list", "counters"];
        wire(&run(&mut in_netns(&self.netns("node"), &list))?)
    }

    pub(super) fn netns(&self, part: &str) -> PathBuf {
        netns_file(&self.netns_name(part))
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn netns_name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn node_script(&self) -> String {
        let client = self.netns_name("client");
        let server = self.netns_name("server");
        let mut script = format!(
            "ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
ip link add vs type veth peer name vs0 netns {server}
ip addr add {NODE}/24 dev vs
ip link set vs up
nft -f - <<'END'
table ip bench {{
  counter queries {{ }}
  counter responses {{ }}
  chain forward {{
    type filter hook forward priority 0;
    udp dport 53 counter name queries
    udp sport 53 counter name responses
  }}
}}
END
ip -batch - <<'END'
"
        );
        for pod in 0..self.pods {
            let _ = writeln!(
                script,
                "link add vc{pod} address {HOST_MAC} type veth peer name e{pod} netns {client}\n\
                 link set vc{pod} up\n\
                 route add {}/32 dev vc{pod} scope link",
                address(pod)
            );
        }
        script.push_str("END\n");
        script
    }

    /// Each pod's address on its own link, and its packets out of that link. Sockets that choose no address
    /// spread over the pods.
    fn client_script(&self) -> String {
        let mut script = "ip link set lo up
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy
ip -batch - <<'END'
"
        .to_owned();
        let mut hops = String::new();
        for pod in 0..self.pods {
            let ip = address(pod);
            let table = 1000 + pod;
            let _ = write!(
                script,
                "addr add {ip}/32 dev e{pod}\n\
                 link set e{pod} up\n\
                 neigh replace {NEXT_HOP} lladdr {HOST_MAC} dev e{pod} nud permanent\n\
                 route add default via {NEXT_HOP} dev e{pod} onlink src {ip} table {table}\n\
                 rule add from {ip} lookup {table}\n"
            );
            // The kernel's limit of a multipath route is far above, but not its message's size.
            if pod < 100 {
                let _ = write!(hops, " nexthop via {NEXT_HOP} dev e{pod} onlink");
            }
        }
        // Not in the batch, whose lines have at most 100 words.
        let _ = write!(script, "END\nip route add default{hops}\n");
        script
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("warning: the bench's namespaces are not all removed: {error:#}");
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes the beds of this process, and those of processes that are gone.
pub fn sweep() -> Result<()> {
    let running =
        |pid: &str| pid != std::process::id().to_string() && Path::new("/proc").join(pid).exists();
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let file = entry.file_name();
        let pid = file
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if let Some(pid) = pid.filter(|pid| !running(pid)) {
            remove(&format!("{PREFIX}{pid}"))?;
        }
    }
    Ok(())
}

fn remove(name: &str) -> Result<()> {
    let _turn = REMOVAL.lock().unwrap_or_else(PoisonError::into_inner);
    Accounts::named(name)?.clear()?;
    for part in ["client", "node", "server"] {
        let netns = format!("{name}-{part}");
        if netns_file(&netns).exists() {
            run(command("ip").args(["netns", "del", &netns]))?;
        }
    }
    Ok(())
}

/// A pod's address.
pub(super) fn address(pod: usize) -> Ipv4Addr {
    // 200 in each /24, none of which ends in 0.
    let (block, last) = (pod / 200, pod % 200 + 1);
    let octet = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 88, 64 + octet(block), octet(last))
}

fn wire(json: &str) -> Result<Wire> {
    let value: serde_json::Value = serde_json::from_str(json).context("nft's JSON")?;
    let packets = |name: &str| {
        let list = value["nftables"].as_array()?;
        let counter = list.iter().find(|entry| entry["counter"]["name"] == name)?;
        counter["counter"]["packets"].as_u64()
    };
    Ok(Wire {
        queries: packets("queries").context("no counter queries")?,
        responses: packets("responses").context("no counter responses")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_have_addresses_of_their_own() {
        let all: std::collections::BTreeSet<_> = (0..1000).map(address).collect();
        assert_eq!(all.len(), 1000);
        assert!(!all.contains(&SERVER) && !all.contains(&NODE));
    }

    #[test]
    fn both_counters_are_read() {
        let json = r#"{"nftables": [{"metainfo": {}}, {"counter": {"family": "ip", "name": "queries",
            "packets": 3, "bytes": 9}}, {"counter": {"name": "responses", "packets": 2, "bytes": 8}}]}"#;
        let read = wire(json).expect("two counters");
        assert_eq!(
            read,
            Wire {
                queries: 3,
                responses: 2
            }
        );
        assert_eq!(read.messages(), 5);
        assert!(wire("{}").is_err());
    }
}
