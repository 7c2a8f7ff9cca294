//! Raises a lab, runs programs in it, and removes it completely. `change` has what happens
//! between.

use std::fs::{self, File};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::inventory::{Inventory, Node};
use super::paths::{Paths, host_interface, netns_file};
use super::process::Place;
use super::proxy::{self, ProxyMode};
use super::state::{State, replace};
use super::{cgroup, network, pod, shell, upstream};

/// Which lab to raise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name. Labs with different names are independent.
    pub name: String,
    /// kube-proxy's mode on the nodes.
    pub proxy_mode: ProxyMode,
    /// The cluster that it rebuilds.
    pub inventory: Inventory,
}

/// A lab that runs.
#[derive(Debug)]
pub struct Lab {
    pub(super) paths: Paths,
    pub(super) inventory: Inventory,
    pub(super) state: State,
}

/// A lab that is removed on drop, for tests.
#[derive(Debug)]
pub struct TemporaryLab(Lab);

impl Lab {
    /// Raises the lab. One that runs with these options stays; leftovers of an interrupted run are cleared
    /// first; a failure leaves nothing behind.
    pub fn up(options: Options) -> Result<Lab> {
        require_root()?;
        let paths = Paths::new(&options.name)?;
        let _lock = lock(&paths)?;
        if let Ok(running) = Lab::load(&options.name)
            && running.state.proxy_mode == options.proxy_mode
            && running.inventory.objects() == options.inventory.objects()
            && running
                .state
                .processes
                .iter()
                .all(super::process::Process::alive)
        {
            return Ok(running);
        }
        clear(&paths)?;
        let state = State {
            proxy_mode: options.proxy_mode,
            complete: false,
            netns: network::namespaces(&paths, &options.inventory),
            cgroup: cgroup::root(paths.name())?,
            processes: Vec::new(),
            serial: unix_time(),
        };
        let mut lab = Lab {
            paths,
            inventory: options.inventory,
            state,
        };
        match lab.build() {
            Ok(()) => Ok(lab),
            Err(error) => match clear(&lab.paths) {
                Ok(_) => Err(error),
                Err(also) => {
                    Err(error.context(format!("and what was made cannot be removed: {also:#}")))
                }
            },
        }
    }

    /// The lab of that name, which must be up.
    pub fn attach(name: &str) -> Result<Lab> {
        Lab::load(name).with_context(|| format!("no lab {name} is up (`cargo xtask lab up`)"))
    }

    /// Removes the lab of that name. Returns whether one existed.
    pub fn down(name: &str) -> Result<bool> {
        let paths = Paths::new(name)?;
        require_root()?;
        let _lock = lock(&paths)?;
        let was_up = clear(&paths)?;
        let _ = fs::remove_file(paths.lock());
        Ok(was_up)
    }

    /// Removes it on drop from now on.
    pub fn temporary(self) -> TemporaryLab {
        TemporaryLab(self)
    }

    fn load(name: &str) -> Result<Lab> {
        let paths = Paths::new(name)?;
        let state = State::load(&paths)?.context("it has no state")?;
        ensure!(state.complete, "it is not complete");
        let objects: Vec<Value> =
            serde_json::from_str(&fs::read_to_string(own_inventory(&paths))?)?;
        Ok(Lab {
            inventory: Inventory::from_objects(objects)?,
            paths,
            state,
        })
    }

    fn build(&mut self) -> Result<()> {
        let Lab {
            paths,
            inventory,
            state,
        } = self;
        // First the list of what is about to be made, by which an interrupted run is cleared.
        state.save(paths)?;
        for netns in &state.netns {
            network::create(netns)?;
        }
        network::lay_out(paths, inventory)?;
        cgroup::create(&state.cgroup)?;
        state
            .processes
            .extend(upstream::start(paths, &state.cgroup)?);
        for node in &inventory.nodes {
            translate(paths, state.proxy_mode, inventory, node)?;
        }
        for pod in &inventory.pods {
            let pause = pod::start(paths, inventory, state, pod)?;
            state.processes.push(pause);
        }
        for pod in &inventory.pods {
            let served = pod::serve(paths, inventory, state, pod)?;
            state.processes.extend(served);
        }
        self.write_inventory()?;
        self.publish(&self.inventory)?;
        self.state.complete = true;
        self.state.save(&self.paths)
    }

    /// The cluster as the lab has it.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// kube-proxy's mode on the nodes.
    pub fn proxy_mode(&self) -> ProxyMode {
        self.state.proxy_mode
    }

    /// The file for `tracer --inventory`: the cluster as its API would return it.
    pub fn inventory_file(&self) -> PathBuf {
        self.paths.inventory()
    }

    /// The network namespace of a node. Enter it with `nsenter --net=`, which leaves /sys as it is.
    pub fn node_netns(&self, node: &str) -> Result<PathBuf> {
        Ok(netns_file(
            &self.paths.netns(&self.inventory.node(node)?.name),
        ))
    }

    /// The network namespace of a pod.
    pub fn pod_netns(&self, pod: &str) -> Result<PathBuf> {
        Ok(netns_file(&self.paths.pod_netns(self.inventory.pod(pod)?)))
    }

    /// The host end of a pod's veth, in its node's namespace.
    pub fn host_interface(&self, pod: &str) -> Result<String> {
        Ok(host_interface(self.inventory.pod(pod)?))
    }

    /// A command that runs in a pod: its network, its files in /etc, its cgroup.
    pub fn exec(&self, pod: &str, argv: &[&str]) -> Result<Command> {
        ensure!(!argv.is_empty(), "nothing to run");
        require_root()?;
        let pod = self.inventory.pod(pod)?;
        let name = pod.full_name();
        let pause = self.state.pause(&name).filter(|pause| pause.alive());
        let pause = pause
            .with_context(|| format!("the pod {name} does not run (`cargo xtask lab up` again)"))?;
        let (netns, group) = (
            netns_file(&self.paths.pod_netns(pod)),
            pod::cgroup_of(&self.state, pod),
        );
        Ok(Place {
            netns: &netns,
            cgroup: &group,
            mounts_of: Some(pause.pid),
        }
        .command(argv))
    }

    /// A command that runs in a node's network and sees the machine's own /sys, /proc and files.
    pub fn exec_node(&self, node: &str, argv: &[&str]) -> Result<Command> {
        ensure!(!argv.is_empty(), "nothing to run");
        require_root()?;
        Ok(shell::in_netns(&self.node_netns(node)?, argv))
    }

    /// The same in a cgroup of the lab, as the container of a hostNetwork pod or a service of the system.
    pub fn exec_node_in(&self, node: &str, cgroup: &str, argv: &[&str]) -> Result<Command> {
        ensure!(!argv.is_empty(), "nothing to run");
        require_root()?;
        let group = self.state.cgroup.join(cgroup);
        cgroup::create(&group)?;
        Ok(Place {
            netns: &self.node_netns(node)?,
            cgroup: &group,
            mounts_of: None,
        }
        .command(argv))
    }

    /// A command that runs in the upstream stand-in's network.
    pub fn exec_upstream(&self, argv: &[&str]) -> Command {
        self.exec_in("upstream", argv)
    }

    /// A command in the network of the switch between the nodes.
    pub fn exec_switch(&self, argv: &[&str]) -> Command {
        self.exec_in("switch", argv)
    }

    fn exec_in(&self, part: &str, argv: &[&str]) -> Command {
        shell::in_netns(&netns_file(&self.paths.netns(part)), argv)
    }

    /// Writes the tracer's inventory file. `inventory` may differ from what the lab is.
    pub fn publish(&self, inventory: &Inventory) -> Result<()> {
        replace(&self.paths.inventory(), &inventory.to_yaml()?)
    }

    pub(super) fn write_inventory(&self) -> Result<()> {
        replace(
            &own_inventory(&self.paths),
            &serde_json::to_string(self.inventory.objects())?,
        )
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }
}

impl Deref for TemporaryLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl DerefMut for TemporaryLab {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.0
    }
}

impl Drop for TemporaryLab {
    fn drop(&mut self) {
        if let Err(error) = Lab::down(self.0.paths.name()) {
            eprintln!("the lab {} is not all gone: {error:#}", self.0.paths.name());
        }
    }
}

pub(crate) fn require_root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the lab needs root, for network namespaces and cgroups"
    );
    Ok(())
}

/// What the lab itself is built from, which the tracer need not know.
fn own_inventory(paths: &Paths) -> PathBuf {
    paths.directory().join("objects.json")
}

/// Held while a lab is made, changed or removed.
pub(crate) fn lock(paths: &Paths) -> Result<File> {
    let path = paths.lock();
    loop {
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
        // The previous holder may have removed the file; then others lock a new one.
        let current = fs::metadata(&path).map(|metadata| metadata.ino());
        if current.is_ok_and(|inode| file.metadata().is_ok_and(|own| own.ino() == inode)) {
            return Ok(file);
        }
    }
}

/// Removes whatever there is of a lab: processes, then namespaces (their links go with them), cgroups, files.
/// Needs no more than the state that a run writes before it makes anything.
fn clear(paths: &Paths) -> Result<bool> {
    let directory = paths.directory();
    let Some(state) = State::load(paths)? else {
        if directory.exists() && fs::read_dir(&directory)?.next().is_some() {
            bail!("{} is not a lab's directory", directory.display());
        }
        return Ok(false);
    };
    cgroup::kill(&state.cgroup)?;
    for netns in &state.netns {
        network::delete(netns)?;
    }
    cgroup::remove(&state.cgroup)?;
    fs::remove_dir_all(&directory)
        .with_context(|| format!("cannot remove {}", directory.display()))?;
    Ok(true)
}

pub(super) fn translate(
    paths: &Paths,
    mode: ProxyMode,
    inventory: &Inventory,
    node: &Node,
) -> Result<()> {
    let rules = proxy::rules(mode, inventory);
    let file = paths.directory().join("kube-proxy.nft");
    replace(&file, &rules)?;
    shell::script_in(
        &netns_file(&paths.netns(&node.name)),
        &format!("nft -f {}\n", file.display()),
    )
}

pub(crate) fn unix_time() -> u32 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}
