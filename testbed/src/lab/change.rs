//! Changes in a running lab: Services and endpoints, pods that start and stop, a DNS server that becomes
//! silent.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::inventory::{Inventory, Node, Pod, Program};
use super::lifecycle::{Lab, lock, translate, unix_time};
use super::paths::netns_file;
use super::pod::PAUSE;
use super::process::Process;
use super::shell::script_in;
use super::{dns, network, pod};

/// A pod that no inventory file knows.
#[derive(Clone, Debug)]
pub struct NewPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The node that it runs on.
    pub node: String,
    /// Its address, of the node's pod range.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
}

impl Lab {
    /// Replaces Services and endpoints, as kube-proxy and CoreDNS follow the API. Nodes and pods stay what
    /// they are.
    pub fn apply(&mut self, inventory: Inventory) -> Result<()> {
        let _lock = lock(&self.paths)?;
        let names = |inventory: &Inventory| {
            inventory
                .pods
                .iter()
                .map(Pod::full_name)
                .collect::<Vec<_>>()
        };
        ensure!(
            names(&inventory) == names(&self.inventory)
                && inventory.nodes.len() == self.inventory.nodes.len(),
            "only Services and endpoints can change in a running lab"
        );
        for node in &inventory.nodes {
            translate(&self.paths, self.state.proxy_mode, &inventory, node)?;
        }
        self.state.serial = unix_time().max(self.state.serial + 1);
        for server in inventory
            .pods
            .iter()
            .filter(|pod| pod.program == Program::Dns)
        {
            dns::reload(
                &inventory,
                self.state.serial,
                &self.paths.pod_directory(server),
            )?;
        }
        self.inventory = inventory;
        self.write_inventory()?;
        self.publish(&self.inventory)?;
        self.state.save(&self.paths)
    }

    /// Adds a pod that sleeps. `published`: whether the inventory file lists it, because the API often lags.
    pub fn add_pod(&mut self, new: &NewPod, published: bool) -> Result<()> {
        let _lock = lock(&self.paths)?;
        let mut objects = self.inventory.objects().to_vec();
        objects.push(object(new, self.inventory.node(&new.node)?));
        let inventory = Inventory::from_objects(objects)?;
        let full_name = format!("{}/{}", new.namespace, new.name);
        for pod in &self.inventory.pods {
            let same = [
                pod.full_name() == full_name,
                pod.uid == new.uid,
                pod.ipv4 == new.ipv4,
            ];
            ensure!(
                !same.contains(&true),
                "the pod {} has that name, UID or address already",
                pod.full_name()
            );
        }
        let pod = inventory.pod(&full_name)?.clone();
        let netns = self.paths.pod_netns(&pod);
        self.state.netns.push(netns.clone());
        self.state.save(&self.paths)?;
        network::create(&netns)?;
        let made = pod::start(&self.paths, &inventory, &self.state, &pod);
        match made {
            Ok(pause) => self.state.processes.push(pause),
            Err(error) => {
                pod::remove(&self.paths, &self.state, &pod)?;
                return Err(error);
            }
        }
        self.inventory = inventory;
        self.state.save(&self.paths)?;
        self.write_inventory()?;
        if published {
            self.publish(&self.inventory)
        } else {
            Ok(())
        }
    }

    /// Deletes a pod: its processes, its link, its place in the inventory.
    pub fn remove_pod(&mut self, name: &str) -> Result<()> {
        let _lock = lock(&self.paths)?;
        let pod = self.inventory.pod(name)?.clone();
        pod::remove(&self.paths, &self.state, &pod)?;
        let full_name = pod.full_name();
        let others = self
            .inventory
            .objects()
            .iter()
            .filter(|object| object["metadata"]["uid"] != pod.uid.as_str());
        self.inventory = Inventory::from_objects(others.cloned().collect())?;
        self.state
            .netns
            .retain(|netns| *netns != self.paths.pod_netns(&pod));
        self.state
            .processes
            .retain(|process| process.pod.as_deref() != Some(&full_name));
        self.state.save(&self.paths)?;
        self.write_inventory()?;
        self.publish(&self.inventory)
    }

    /// Pauses the DNS server without closing its sockets (it accepts queries and never answers), or resumes
    /// it.
    pub fn silence_dns(&self, silent: bool) -> Result<()> {
        let is_dns = |process: &&Process| process.what == "knotd";
        self.signal("the DNS server", is_dns, silent)
    }

    /// Pauses what a pod serves, or resumes it: the kernel still completes handshakes for it.
    pub fn freeze(&self, pod: &str, frozen: bool) -> Result<()> {
        let serves =
            |process: &&Process| process.what != PAUSE && process.pod.as_deref() == Some(pod);
        self.signal(pod, serves, frozen)
    }

    /// Cuts a node from the switch, or joins it again. It loses its carrier; the others keep theirs.
    pub fn cut(&self, node: &str, cut: bool) -> Result<()> {
        let port = network::port(&self.inventory.node(node)?.name);
        let state = if cut { "down" } else { "up" };
        script_in(
            &netns_file(&self.paths.netns("switch")),
            &format!("ip link set {port} {state}\n"),
        )
    }

    fn signal(&self, what: &str, is: impl Fn(&&Process) -> bool, stopped: bool) -> Result<()> {
        let mut processes = self.state.processes.iter();
        let server = processes.find(|process| is(process) && process.alive());
        let server = server.with_context(|| format!("{what} does not run"))?;
        let pid = Pid::from_raw(i32::try_from(server.pid)?).context("no process id")?;
        let signal = if stopped { Signal::STOP } else { Signal::CONT };
        kill_process(pid, signal).with_context(|| format!("cannot signal {what}"))
    }
}

/// The pod as the API would show it.
fn object(new: &NewPod, node: &Node) -> Value {
    let mut ips = vec![json!({ "ip": new.ipv4 })];
    ips.extend(new.ipv6.map(|ip| json!({ "ip": ip })));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "namespace": new.namespace, "name": new.name, "uid": new.uid, "labels": { "run": new.name } },
        "spec": {
            "containers": [{ "name": new.name, "image": "docker.io/library/ubuntu:22.04" }],
            "dnsPolicy": "ClusterFirst",
            "nodeName": new.node,
        },
        "status": { "phase": "Running", "hostIP": node.ipv4, "podIP": new.ipv4, "podIPs": ips, "qosClass": "BestEffort" },
    })
}
