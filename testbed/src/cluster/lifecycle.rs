//! Raises a cluster, runs programs against it, and removes it completely.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lab::inventory::{Inventory, Node as InventoryNode};
use crate::lab::lifecycle::{lock, require_root, unix_time};
use crate::lab::paths::{Paths, netns_file};
use crate::lab::state::State;
use crate::lab::{ProxyMode, cgroup, network, shell, upstream};

use super::certificates::Authority;
use super::control_plane::{self, wait_until};
use super::node::Node;
use super::{components, images};

const COREDNS: &str = include_str!("../../cluster/coredns.yaml");

/// A user without rights.
pub const STREAMER: &str = "streamer";

/// The nodes that there can be, from the scenario: name, address, pods' addresses. The first has the control
/// plane.
const NODES: [(&str, Ipv4Addr, &str); 2] = [
    (
        "k8s-master",
        Ipv4Addr::new(192, 168, 2, 30),
        "10.1.235.192/26",
    ),
    (
        "k8s-worker03",
        Ipv4Addr::new(192, 168, 2, 33),
        "10.1.39.192/26",
    ),
];

/// Which cluster to raise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name. Clusters with different names are independent.
    pub name: String,
    /// One or two nodes.
    pub nodes: usize,
    /// kube-proxy's mode.
    pub proxy_mode: ProxyMode,
}

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    paths: Paths,
    state: State,
}

impl Cluster {
    /// Raises it. One that runs with these options stays; leftovers are cleared first; a failure leaves
    /// nothing behind but the logs, in a directory that the error names.
    pub fn up(options: &Options) -> Result<Cluster> {
        require_root()?;
        let paths = Paths::new(&options.name)?;
        let _lock = lock(&paths)?;
        if let Ok(cluster) = Cluster::load(&options.name)
            && cluster.state.proxy_mode == options.proxy_mode
            && cluster.nodes().len() == options.nodes
            && cluster.dead().is_empty()
        {
            return Ok(cluster);
        }
        clear(&paths)?;
        let nodes = NODES
            .get(..options.nodes)
            .context("there can be one node, or two")?;
        let inventory = inventory(nodes);
        let state = State {
            proxy_mode: options.proxy_mode,
            complete: false,
            netns: network::namespaces(&paths, &inventory),
            cgroup: cgroup::root(&options.name)?,
            processes: Vec::new(),
            serial: unix_time(),
        };
        let mut cluster = Cluster { paths, state };
        if let Err(error) = cluster.build(nodes, &inventory) {
            let logs = keep_logs(&cluster.paths);
            clear(&cluster.paths).context("and what was made cannot be removed")?;
            return Err(error.context(match logs {
                Some(logs) => format!(
                    "the cluster does not come up; logs are in {}",
                    logs.display()
                ),
                None => "the cluster does not come up".to_owned(),
            }));
        }
        Ok(cluster)
    }

    /// The cluster of that name, which must be up.
    pub fn attach(name: &str) -> Result<Cluster> {
        Cluster::load(name)
            .with_context(|| format!("no cluster {name} is up (`cargo xtask cluster up`)"))
    }

    /// Removes the cluster of that name. Returns whether one existed.
    pub fn down(name: &str) -> Result<bool> {
        let paths = Paths::new(name)?;
        require_root()?;
        let _lock = lock(&paths)?;
        let was_up = clear(&paths)?;
        let _ = fs::remove_file(paths.lock());
        Ok(was_up)
    }

    fn load(name: &str) -> Result<Cluster> {
        let paths = Paths::new(name)?;
        let state = State::load(&paths)?.context("it has no state")?;
        ensure!(state.complete, "it is not complete");
        Ok(Cluster { paths, state })
    }

    fn build(&mut self, nodes: &[(&str, Ipv4Addr, &str)], inventory: &Inventory) -> Result<()> {
        let Cluster { paths, state } = self;
        // First the list of what is about to be made, by which an interrupted run is cleared.
        state.save(paths)?;
        let directory = paths.directory();
        let certificates = directory.join("pki");
        let authority = Authority::new(&certificates)?;
        let images = images::write_all(&directory.join("images"))?;
        for netns in &state.netns {
            network::create(netns)?;
        }
        network::lay_out(paths, inventory)?;
        cgroup::create(&state.cgroup)?;
        for hierarchy in hierarchies()? {
            for (name, _, _) in nodes {
                cgroup::create(&hierarchy.join(paths.name()).join(name))?;
            }
        }
        // The world outside, to which CoreDNS forwards.
        state
            .processes
            .extend(upstream::start(paths, &state.cgroup)?);
        state.save(paths)?;

        let nodes: Vec<Node> = nodes
            .iter()
            .map(|(name, ipv4, pods)| Node::new(paths, &state.cgroup, name, *ipv4, pods))
            .collect();
        let first = nodes.first().context("a cluster without nodes")?;
        let server = control_plane::server(first);
        control_plane::sign(&authority, first)?;
        // For people and tests. Outside the first node it reaches no server, and certainly no machine
        // outside that happens to have the node's address.
        let local = control_plane::LOCAL_SERVER;
        authority.kubeconfig("admin", local, "kubernetes-admin", Some("system:masters"))?;
        // A user without rights until a test grants one.
        authority.kubeconfig(STREAMER, local, STREAMER, None)?;
        let mut holders = Vec::new();
        for node in &nodes {
            holders.push(node.hold(paths)?);
        }
        let place = first.place(holders.first());
        let control_plane = control_plane::start(first, &place, &directory, &certificates)?;
        state.processes.extend(holders.iter().cloned());
        state.processes.extend(control_plane);
        state.save(paths)?;
        for (node, holder) in nodes.iter().zip(&holders) {
            state
                .processes
                .push(node.start_containerd(holder, &images)?);
        }
        state.save(paths)?;
        self.wait("the API server is ready", |cluster| {
            cluster.kubectl(&["get", "--raw", "/readyz"]).is_ok()
        })?;
        let controllers =
            control_plane::start_controllers(first, &place, &authority, &certificates)?;
        self.state.processes.extend(controllers);
        let root = format!("/{}", self.paths.name());
        for (node, holder) in nodes.iter().zip(&holders) {
            let mode = self.state.proxy_mode;
            let started =
                node.start_kubernetes(holder, &authority, &certificates, &root, &server, mode)?;
            self.state.processes.extend(started);
        }
        self.state.save(&self.paths)?;
        self.apply(COREDNS)?;
        for node in &nodes {
            let what = format!("{} registers itself", node.name);
            self.wait(&what, |cluster| {
                cluster.kubectl(&["get", "node", &node.name]).is_ok()
            })?;
            // No cloud and no allocator gives it one.
            let range =
                serde_json::json!({"spec": {"podCIDR": node.pods, "podCIDRs": [node.pods]}});
            self.kubectl(&["patch", "node", &node.name, "-p", &range.to_string()])?;
        }
        self.wait("the nodes are ready", |cluster| {
            let wait = [
                "wait",
                "--for=condition=Ready",
                "nodes",
                "--all",
                "--timeout=2s",
            ];
            cluster.kubectl(&wait).is_ok()
        })?;
        self.wait("CoreDNS is ready", |cluster| {
            let wait = [
                "-n",
                "kube-system",
                "rollout",
                "status",
                "deployment/coredns",
                "--timeout=2s",
            ];
            cluster.kubectl(&wait).is_ok()
        })?;
        self.state.complete = true;
        self.state.save(&self.paths)
    }

    fn wait(&self, what: &str, done: impl Fn(&Cluster) -> bool) -> Result<()> {
        wait_until(what, &self.state.processes, || done(self))
    }

    /// Names of the nodes.
    pub fn nodes(&self) -> Vec<&'static str> {
        let names = NODES.iter().map(|(name, _, _)| *name);
        names
            .filter(|name| self.state.netns.contains(&self.paths.netns(name)))
            .collect()
    }

    /// kube-proxy's mode.
    pub fn proxy_mode(&self) -> ProxyMode {
        self.state.proxy_mode
    }

    /// The programs that ended unexpectedly.
    pub fn dead(&self) -> Vec<&str> {
        let dead = self
            .state
            .processes
            .iter()
            .filter(|process| !process.alive());
        dead.map(|process| process.what.as_str()).collect()
    }

    /// The administrator's kubeconfig file. What it names is reached only from the first node: see
    /// [`Cluster::command`].
    pub fn kubeconfig(&self) -> PathBuf {
        self.paths.directory().join("pki/admin.kubeconfig")
    }

    /// The kubeconfig file of the user [`STREAMER`].
    pub fn streamer(&self) -> PathBuf {
        self.paths
            .directory()
            .join(format!("pki/{STREAMER}.kubeconfig"))
    }

    /// The API server's audit log of the agents' requests, one JSON object per line.
    pub fn audit_log(&self) -> PathBuf {
        self.paths.directory().join("audit.log")
    }

    /// A command that an administrator would run: in the first node's network and with this machine's files,
    /// kubectl on its PATH and the administrator's kubeconfig.
    pub fn command(&self, argv: &[&str]) -> Result<Command> {
        let nodes = self.nodes();
        let first = nodes.first().context("a cluster without nodes")?;
        let netns = netns_file(&self.paths.netns(first));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = shell::in_netns(&netns, argv);
        command.env("KUBECONFIG", self.kubeconfig()).env(
            "PATH",
            format!(
                "{}:{path}:/usr/sbin:/sbin",
                components::programs()?.display()
            ),
        );
        Ok(command)
    }

    /// A command that runs on a node: in its network, with its files.
    pub fn command_on(&self, node: &str, argv: &[&str]) -> Result<Command> {
        let what = format!("node {node}");
        let holder = self
            .state
            .processes
            .iter()
            .find(|process| process.what == what);
        let holder = holder.filter(|holder| holder.alive()).with_context(|| {
            format!("no node {node} runs; there are {}", self.nodes().join(", "))
        })?;
        let mut command = shell::command("nsenter");
        command
            .arg(format!(
                "--net={}",
                netns_file(&self.paths.netns(node)).display()
            ))
            .arg(format!("--mount=/proc/{}/ns/mnt", holder.pid))
            .arg("--")
            .args(argv);
        Ok(command)
    }

    /// A command in the network of the switch between the nodes.
    pub fn command_on_switch(&self, argv: &[&str]) -> Command {
        shell::in_netns(&netns_file(&self.paths.netns("switch")), argv)
    }

    /// Gives every node an image from an OCI archive.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let archive = archive
            .canonicalize()
            .with_context(|| format!("cannot read {}", archive.display()))?;
        let archive = archive.display().to_string();
        for node in self.nodes() {
            let argv = ["ctr", "--namespace", "k8s.io", "images", "import", &archive];
            shell::run(&mut self.command_on(node, &argv)?)
                .with_context(|| format!("{node} does not take the image"))?;
        }
        Ok(())
    }

    /// kubectl's output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        shell::run(&mut self.command(&[&["kubectl"], arguments].concat())?)
    }

    fn apply(&self, manifest: &str) -> Result<()> {
        let mut kubectl = self.command(&["kubectl", "apply", "-f", "-"])?;
        shell::feed(&mut kubectl, manifest).map(drop)
    }
}

fn inventory(nodes: &[(&str, Ipv4Addr, &str)]) -> Inventory {
    let nodes = nodes.iter().map(|(name, ipv4, pods)| InventoryNode {
        name: (*name).to_owned(),
        ipv4: *ipv4,
        // The switch has IPv6 routes through it; pods have none.
        ipv6: Some(Ipv6Addr::new(
            0xfd00,
            0x192,
            0x168,
            2,
            0,
            0,
            0,
            u16::from(ipv4.octets()[3]),
        )),
        pod_ranges: vec![(*pods).to_owned()],
    });
    let mut inventory = Inventory::default();
    inventory.nodes.extend(nodes);
    inventory
}

/// The mount points of version 1's cgroup hierarchies, which kubelet uses where there are any, and version
/// 2's.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let found = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let of_cgroups = right.starts_with("cgroup ") || right.starts_with("cgroup2 ");
        of_cgroups.then(|| left.split(' ').nth(4).map(PathBuf::from))?
    });
    Ok(found.collect())
}

/// Removes whatever there is of a cluster. Its mounts are in namespaces of their own and go with the last
/// process in them.
fn clear(paths: &Paths) -> Result<bool> {
    let directory = paths.directory();
    let Some(state) = State::load(paths)? else {
        ensure!(
            !directory.exists() || fs::read_dir(&directory)?.next().is_none(),
            "{} is not a cluster's directory",
            directory.display()
        );
        return Ok(false);
    };
    for hierarchy in hierarchies()? {
        cgroup::kill(&hierarchy.join(paths.name()))?;
    }
    for netns in &state.netns {
        network::delete(netns)?;
    }
    for hierarchy in hierarchies()? {
        cgroup::remove(&hierarchy.join(paths.name()))?;
    }
    fs::remove_dir_all(&directory)
        .with_context(|| format!("cannot remove {}", directory.display()))?;
    Ok(true)
}

/// The programs' logs, outside the directory that is removed.
fn keep_logs(paths: &Paths) -> Option<PathBuf> {
    let kept = std::env::temp_dir().join(format!("{}-logs", paths.name()));
    let _ = fs::remove_dir_all(&kept);
    fs::create_dir_all(&kept).ok()?;
    for entry in fs::read_dir(paths.directory().join("logs")).ok()?.flatten() {
        fs::copy(entry.path(), kept.join(entry.file_name())).ok()?;
    }
    Some(kept)
}

/// Describes what runs.
pub fn describe(cluster: &Cluster) -> Result<String> {
    let dead = cluster.dead();
    let mut text = format!(
        "nodes {}; kube-proxy mode {}; {}\n",
        cluster.nodes().join(", "),
        cluster.proxy_mode(),
        if dead.is_empty() {
            "every component runs".to_owned()
        } else {
            format!("ENDED: {}", dead.join(", "))
        }
    );
    let listed: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "pods", "-A", "-o", "json"])?)?;
    for pod in listed["items"].as_array().into_iter().flatten() {
        let field = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        text.push_str(&format!(
            "{}/{}  {}  {}  {}\n",
            field(&pod["metadata"]["namespace"]),
            field(&pod["metadata"]["name"]),
            field(&pod["status"]["phase"]),
            field(&pod["status"]["podIP"]),
            field(&pod["spec"]["nodeName"]),
        ));
    }
    Ok(text)
}
