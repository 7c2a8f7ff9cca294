//! A pod in the lab: its link, its cgroup, its view of /etc, and a process that holds all of it, as the pause
//! container does in a real one.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::inventory::{Inventory, Pod, Program};
use super::network::{self, UPSTREAM};
use super::paths::{Paths, netns_file};
use super::process::{Place, Process};
use super::state::State;
use super::{cgroup, dns, process, web};

/// The name in the state of the process that keeps a pod alive.
pub(super) const PAUSE: &str = "pause";

/// In its own mount namespace, with the pod's files over the machine's. glibc asks nscd first where it runs:
/// hide it.
const PAUSE_SCRIPT: &str = r#"
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$1/hosts" /etc/hosts
[ ! -e /etc/nsswitch.conf ] || mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
[ ! -d /run/nscd ] || mount -t tmpfs none /run/nscd
: > "$1/ready"
exec sleep infinity
"#;

/// Makes the pod, without what it serves. Its namespace must exist.
pub(super) fn start(
    paths: &Paths,
    inventory: &Inventory,
    state: &State,
    pod: &Pod,
) -> Result<Process> {
    network::connect(paths, pod)?;
    let group = cgroup_of(state, pod);
    cgroup::create(&group)?;
    let directory = paths.pod_directory(pod);
    fs::create_dir_all(&directory)?;
    fs::write(
        directory.join("resolv.conf"),
        resolv_conf(pod, inventory.cluster_dns()),
    )?;
    fs::write(directory.join("hosts"), hosts(pod))?;
    fs::write(
        directory.join("nsswitch.conf"),
        "passwd: files\ngroup: files\nhosts: files dns\n",
    )?;

    let netns = netns_file(&paths.pod_netns(pod));
    let place = Place {
        netns: &netns,
        cgroup: &group,
        mounts_of: None,
    };
    let (name, log) = (pod.full_name(), log(paths, pod, PAUSE));
    let directory_name = directory.display().to_string();
    let argv = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-e",
        "-c",
        PAUSE_SCRIPT,
        "sh",
        &directory_name,
    ];
    let pause = place.start(PAUSE, Some(&name), &argv, &log)?;
    process::wait(&pause, &log, &format!("set up the pod {name}"), || {
        directory.join("ready").exists()
    })?;
    Ok(pause)
}

/// Starts what the pod serves.
pub(super) fn serve(
    paths: &Paths,
    inventory: &Inventory,
    state: &State,
    pod: &Pod,
) -> Result<Option<Process>> {
    let name = pod.full_name();
    let pause = state
        .pause(&name)
        .with_context(|| format!("the pod {name} does not run"))?;
    let (netns, group) = (netns_file(&paths.pod_netns(pod)), cgroup_of(state, pod));
    let place = Place {
        netns: &netns,
        cgroup: &group,
        mounts_of: Some(pause.pid),
    };
    let directory = paths.pod_directory(pod);
    match &pod.program {
        Program::Idle => Ok(None),
        Program::Dns => dns::start(
            &place,
            pod,
            inventory,
            state.serial,
            &directory,
            &log(paths, pod, "knotd"),
        )
        .map(Some),
        Program::Web(ports) => {
            let body = format!("{name} on {}", pod.node);
            web::start(
                &place,
                Some(&name),
                ports,
                &body,
                &directory,
                &log(paths, pod, "nginx"),
            )
            .map(Some)
        }
    }
}

/// The cgroup of the pod's container.
pub(super) fn cgroup_of(state: &State, pod: &Pod) -> PathBuf {
    state.cgroup.join(Paths::pod_cgroup(pod))
}

fn log(paths: &Paths, pod: &Pod, what: &str) -> PathBuf {
    paths.log(&format!("{}.{}-{what}", pod.namespace, pod.name))
}

/// Removes what `start` made but the namespace.
pub(super) fn remove(paths: &Paths, state: &State, pod: &Pod) -> Result<()> {
    let group = cgroup_of(state, pod);
    // The container's group and the pod's above it.
    let group = group.parent().unwrap_or(Path::new(&group)).to_path_buf();
    cgroup::kill(&group)?;
    cgroup::remove(&group)?;
    network::delete(&paths.pod_netns(pod))?;
    let directory = paths.pod_directory(pod);
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(())
}

/// As kubelet writes it for the pod's DNS policy.
fn resolv_conf(pod: &Pod, cluster_dns: Option<IpAddr>) -> String {
    match cluster_dns {
        Some(server) if pod.cluster_dns => format!(
            "search {}.svc.cluster.local svc.cluster.local cluster.local\nnameserver {server}\noptions ndots:5\n",
            pod.namespace
        ),
        _ => format!("nameserver {}\n", UPSTREAM.0),
    }
}

fn hosts(pod: &Pod) -> String {
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{}\t{}\n",
        pod.ipv4, pod.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_is_the_clusters_or_the_nodes_as_the_dns_policy_says() {
        let inventory = Inventory::scenario().expect("it parses");
        let of =
            |name: &str| resolv_conf(inventory.pod(name).expect("a pod"), inventory.cluster_dns());
        assert_eq!(
            of("myns/apache-ds-myns-9785z"),
            "search myns.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.152.183.10\noptions ndots:5\n"
        );
        assert_eq!(of("coredns-6f5f9b5d74-pf4ld"), "nameserver 192.168.2.53\n");
    }
}
