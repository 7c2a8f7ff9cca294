//! A node: a network namespace on the switch, a mount namespace in which /run and /var/lib are its own, and
//! in them containerd, kubelet and kube-proxy. Files that the machine has too (its kernel's settings, for
//! one) are hidden or faked there, so that nothing of the machine is changed.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::lab::ProxyMode;
use crate::lab::cgroup;
use crate::lab::network::UPSTREAM;
use crate::lab::paths::{Paths, netns_file};
use crate::lab::process::{self, Place, Process};

use super::certificates::Authority;
use super::components::{self, CNI_PLUGINS};
use super::images;

/// A node and where its things are.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) ipv4: Ipv4Addr,
    pub(super) pods: String,
    /// Its files.
    directory: PathBuf,
    netns: PathBuf,
    cgroup: PathBuf,
    logs: PathBuf,
}

/// The cluster's DNS server, by its Service.
pub(super) const CLUSTER_DNS: &str = "10.152.183.10";
/// All pods' addresses.
const PODS: &str = "10.1.0.0/16";

/// The settings that kubelet would change, and what it wants: they are set already, so it leaves the
/// machine's alone.
const KERNEL_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Makes the node's view of the files and keeps it. $1: the node's directory, $2: the cluster's, which stays
/// visible below the node's own /run.
const HOLD: &str = r#"
own_run="$1/run"
mkdir -p "$own_run/${2#/run/}" "$own_run/netns" "$own_run/lock" "$1/lib/kubelet" "$1/log"
mount --bind "$2" "$own_run/${2#/run/}"
for setting in "$1"/settings/*/* "$1"/settings/*/*/*; do
    [ ! -f "$setting" ] || mount --bind "$setting" "/proc/sys/${setting#"$1/settings/"}"
done
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
mount --rbind "$own_run" /run
# As on a node: what is mounted below a volume reaches the containers that ask for it.
mount --make-rshared /
: > /run/ready
exec sleep infinity
"#;

impl Node {
    pub(super) fn new(paths: &Paths, root: &Path, name: &str, ipv4: Ipv4Addr, pods: &str) -> Node {
        Node {
            name: name.to_owned(),
            ipv4,
            pods: pods.to_owned(),
            directory: paths.directory().join("nodes").join(name),
            netns: netns_file(&paths.netns(name)),
            cgroup: root.join(name),
            logs: paths.directory().join("logs"),
        }
    }

    /// Where a process of this node runs, given the one that holds its mounts.
    pub(super) fn place(&self, holder: Option<&Process>) -> Place<'_> {
        Place {
            netns: &self.netns,
            cgroup: &self.cgroup,
            mounts_of: holder.map(|holder| holder.pid),
        }
    }

    /// The log of a process of this node.
    pub(super) fn log(&self, what: &str) -> PathBuf {
        self.logs.join(format!("{}.{what}.log", self.name))
    }

    /// Makes the node's mount namespace. Its network namespace must exist.
    pub(super) fn hold(&self, paths: &Paths) -> Result<Process> {
        cgroup::create(&self.cgroup)?;
        for (setting, value) in KERNEL_SETTINGS {
            let file = self.directory.join("settings").join(setting);
            fs::create_dir_all(file.parent().unwrap_or(&file))?;
            fs::write(file, value)?;
        }
        let (own, cluster) = (text(&self.directory), text(&paths.directory()));
        let argv = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-e",
            "-c",
            HOLD,
            "sh",
            &own,
            &cluster,
        ];
        let log = self.log("mounts");
        let holder = self
            .place(None)
            .start(&format!("node {}", self.name), None, &argv, &log)?;
        let ready = self.directory.join("run/ready");
        process::wait(&holder, &log, "set up its mounts", || ready.exists())?;
        Ok(holder)
    }

    /// Starts containerd and gives it the images.
    pub(super) fn start_containerd(&self, holder: &Process, images: &[PathBuf]) -> Result<Process> {
        let directory = &self.directory;
        fs::create_dir_all(directory.join("cni"))?;
        fs::write(
            directory.join("cni/10-tracer-cluster.conflist"),
            self.network(),
        )?;
        let file = directory.join("containerd.toml");
        fs::write(&file, self.containerd_settings())?;
        let log = self.log("containerd");
        let place = self.place(Some(holder));
        let containerd = place.start(
            "containerd",
            None,
            &["containerd", "--config", &text(&file)],
            &log,
        )?;
        let socket = directory.join("run/containerd/containerd.sock");
        process::wait(&containerd, &log, "open its socket", || socket.exists())?;
        for image in images {
            let argv = [
                "ctr",
                "--namespace",
                "k8s.io",
                "images",
                "import",
                &text(image),
            ];
            crate::lab::shell::run(&mut place.command(&argv))
                .with_context(|| format!("containerd of {} does not take an image", self.name))?;
        }
        Ok(containerd)
    }

    /// Routed veth pairs, as Calico's and GKE's: no bridge, a route per pod.
    fn network(&self) -> String {
        json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": false,
                    "mtu": 1500,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": "/var/lib/cni/networks",
                        "ranges": [[{"subnet": self.pods}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
            ],
        })
        .to_string()
    }

    /// `restrict_oom_score_adj`: without CAP_SYS_RESOURCE sandboxes could not be started.
    fn containerd_settings(&self) -> String {
        format!(
            "version = 2
root = \"/var/lib/containerd\"
state = \"/run/containerd\"
oom_score = 0
[grpc]
  address = \"/run/containerd/containerd.sock\"
[plugins.\"io.containerd.internal.v1.opt\"]
  path = \"/var/lib/containerd/opt\"
[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = \"{}\"
  restrict_oom_score_adj = true
  [plugins.\"io.containerd.grpc.v1.cri\".cni]
    bin_dir = \"{CNI_PLUGINS}\"
    conf_dir = \"{}\"
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
    runtime_type = \"io.containerd.runc.v2\"
",
            images::PAUSE,
            self.directory.join("cni").display(),
        )
    }

    /// Starts kubelet and kube-proxy.
    pub(super) fn start_kubernetes(
        &self,
        holder: &Process,
        authority: &Authority,
        certificates: &Path,
        cgroup_root: &str,
        server: &str,
        mode: ProxyMode,
    ) -> Result<Vec<Process>> {
        let bin = components::programs()?;
        let place = self.place(Some(holder));
        let user = format!("system:node:{}", self.name);
        let kubeconfig = authority.kubeconfig(
            &format!("kubelet-{}", self.name),
            server,
            &user,
            Some("system:nodes"),
        )?;
        let resolver = self.directory.join("resolv.conf");
        fs::write(&resolver, format!("nameserver {}\n", UPSTREAM.0))?;
        let file = self.directory.join("kubelet.json");
        fs::write(
            &file,
            self.kubelet_settings(certificates, cgroup_root, &resolver),
        )?;
        let kubelet = place.start(
            "kubelet",
            None,
            &[
                &text(&bin.join("kubelet")),
                &format!("--config={}", file.display()),
                &format!("--kubeconfig={}", kubeconfig.display()),
                &format!("--hostname-override={}", self.name),
                &format!("--node-ip={}", self.ipv4),
            ],
            &self.log("kubelet"),
        )?;

        let proxy_config = authority.kubeconfig("kube-proxy", server, "system:kube-proxy", None)?;
        let file = self.directory.join("kube-proxy.json");
        fs::write(&file, self.proxy_settings(&proxy_config, mode))?;
        let proxy = place.start(
            "kube-proxy",
            None,
            &[
                &text(&bin.join("kube-proxy")),
                &format!("--config={}", file.display()),
                &format!("--hostname-override={}", self.name),
            ],
            &self.log("kube-proxy"),
        )?;
        Ok(vec![kubelet, proxy])
    }

    fn kubelet_settings(&self, certificates: &Path, cgroup_root: &str, resolver: &Path) -> String {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.ipv4,
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": certificates.join("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDNS": [CLUSTER_DNS],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "resolvConf": resolver,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("{cgroup_root}/{}", self.name),
            "failCgroupV1": false,
            "failSwapOn": false,
            "makeIPTablesUtilChains": false,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
            // The machine's disk may be fuller than a node's should be.
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": false,
        })
        .to_string()
    }

    /// Leaves the machine's own settings unchanged: zero and null mean that.
    fn proxy_settings(&self, kubeconfig: &Path, mode: ProxyMode) -> String {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": kubeconfig},
            "mode": mode.to_string(),
            "clusterCIDR": PODS,
            "bindAddress": self.ipv4,
            "oomScoreAdj": 0,
            "iptables": {"localhostNodePorts": false},
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        })
        .to_string()
    }
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}
