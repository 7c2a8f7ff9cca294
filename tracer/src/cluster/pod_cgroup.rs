//! Finds the pod of a process in `/proc/PID/cgroup`. Pure.
//!
//! The kubelet names a pod's cgroup after its UID: `pod<UID>` with the cgroupfs driver,
//! `kubepods[-<class>]-pod<UID>.slice` with the systemd driver, where `_` replaces `-` in the UID. Runtimes
//! create their containers' cgroups below it. In a private cgroup namespace the path starts with `/..` and
//! the upper part is missing. In kind, or where a kubelet runs in a container, the path has a prefix.

/// A pod's cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodCgroup {
    /// The pod's UID with dashes, as in the API.
    pub uid: String,
    /// The path up to the component with the UID, as the reader sees it. Two kubelets of one machine, as in
    /// kind, can have pods with the same UID.
    pub path: String,
}

/// The cgroup of the process's pod, by the kubelet below `root` ([`kubelet_root`]) if that is known. `None` for a
/// process outside pods, and for a runtime's helper in a pod's cgroup: it is not in the pod's network namespace.
///
/// The outermost match wins. A pod with a writable cgroup tree, as for Docker in a pod, can create cgroups with
/// any name below its own, and must not pose as another pod with them.
pub fn pod_cgroup(cgroup_file: &str, root: Option<&str>) -> Option<PodCgroup> {
    // Each line is `hierarchy:controllers:path` (cgroups(7)). On version 1 and hybrid systems every hierarchy
    // has a line. Some lead outside the pod, as the kubelet does not manage every controller.
    let mut found = paths(cgroup_file).filter_map(|path| cgroup_from_path(path, root));
    let first = found.next()?;
    // In a hierarchy that the kubelet does not manage, a pod may have created another pod's cgroup.
    found.all(|other| other.uid == first.uid).then_some(first)
}

/// The cgroup below which the kubelet of the reader's own pod has all its pods, from the reader's own
/// `/proc/self/cgroup`. `None` outside pods, and in a private cgroup namespace, which hides it. It matters where
/// this kubelet itself runs in a pod: the path then has the outer kubelet's pod in front.
pub fn kubelet_root(own_cgroup_file: &str) -> Option<String> {
    paths(own_cgroup_file).find_map(|path| {
        let (start, _, _) = components(path)
            .filter(|(_, _, name)| uid_from_component(name).is_some())
            .last()?;
        let above = path[..start].trim_end_matches('/');
        let class = above.rsplit('/').next().unwrap_or_default();
        let root = match class.trim_end_matches(".slice").rsplit('-').next() {
            Some("burstable" | "besteffort") => {
                above[..above.len() - class.len()].trim_end_matches('/')
            }
            _ => above,
        };
        // Relative to a private cgroup namespace, or nothing above the pod.
        (!root.is_empty() && !root.contains("/..")).then(|| root.to_owned())
    })
}

fn paths(cgroup_file: &str) -> impl Iterator<Item = &str> {
    cgroup_file
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
}

/// Each component's start, the end of its name, and the name. A runtime configured for cgroupfs creates a
/// directory named like systemd's `slice:prefix:name`.
fn components(path: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    let mut start = 0;
    path.split('/').map(move |component| {
        let name = component.split(':').next().unwrap_or_default();
        let found = (start, start + name.len(), name);
        start += component.len() + 1;
        found
    })
}

fn cgroup_from_path(path: &str, root: Option<&str>) -> Option<PodCgroup> {
    // CRI-O with `conmon_cgroup = "pod"`.
    if path.contains("/crio-conmon-") {
        return None;
    }
    let below = root
        .filter(|root| {
            path.strip_prefix(*root)
                .is_some_and(|rest| rest.starts_with('/'))
        })
        .map_or(0, str::len);
    components(path)
        .filter(|(start, _, _)| *start > below)
        .find_map(|(_, end, name)| {
            let uid = uid_from_component(name)?;
            let path = path[..end].to_owned();
            Some(PodCgroup { uid, path })
        })
}

fn uid_from_component(component: &str) -> Option<String> {
    let uid = match component.strip_suffix(".slice") {
        Some(slice) => slice
            .rsplit('-')
            .next()?
            .strip_prefix("pod")?
            .replace('_', "-"),
        None => component.strip_prefix("pod")?.to_owned(),
    };
    is_uid(&uid).then_some(uid)
}

/// Whether this is a UUID, or the manifest hash that a static pod has.
fn is_uid(uid: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    match uid.len() {
        32 => hex(uid),
        36 => uid.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && uid.split('-').all(hex),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod_uid(file: &str) -> Option<String> {
        pod_cgroup(file, None).map(|cgroup| cgroup.uid)
    }

    const UID: &str = "6757d342-97d3-489b-951d-1f66d36173ae";
    const STATIC: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn every_form_of_a_pods_cgroup_is_understood() {
        let files = [
            // cgroupfs, version 2: guaranteed, burstable, best effort.
            "0::/kubepods/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n",
            "0::/kubepods/burstable/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n",
            "0::/kubepods/besteffort/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n",
            // The pod's own cgroup, and one that was removed under its last process.
            "0::/kubepods/besteffort/pod6757d342-97d3-489b-951d-1f66d36173ae\n",
            "0::/kubepods/besteffort/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c (deleted)\n",
            // systemd: containerd, docker, CRI-O.
            "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/cri-containerd-9f3c.scope\n",
            "0::/kubepods.slice/kubepods-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/docker-9f3c.scope\n",
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/crio-9f3c.scope/container\n",
            // The runtime is configured for cgroupfs, the kubelet for systemd.
            "0::/system.slice/containerd.service/kubepods-burstable-pod6757d342_97d3_489b_951d_1f66d36173ae.slice:cri-containerd:9f3c\n",
            // kind.
            "0::/docker/77aa/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/cri-containerd-9f3c.scope\n",
            // From a private cgroup namespace: another class, the same class, systemd.
            "0::/../../pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n",
            "0::/../../../burstable/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n",
            "0::/../../kubepods-besteffort-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/cri-containerd-9f3c.scope\n",
            // Version 1, and hybrid, where the kubelet manages only some hierarchies.
            "9:name=systemd:/kubepods/besteffort/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n8:pids:/kubepods/besteffort/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n",
            "4:memory:/\n3:cpu,cpuacct:/kubepods/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n0::/\n",
            // Version 1: containerd with cgroupfs, Docker with systemd, CRI-O with either.
            "12:memory:/kubepods/burstable/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n1:name=systemd:/kubepods/burstable/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n",
            "11:cpuset:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/docker-9f3c.scope\n1:name=systemd:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/docker-9f3c.scope\n",
            "5:devices:/kubepods/besteffort/pod6757d342-97d3-489b-951d-1f66d36173ae/crio-9f3c\n",
            "5:devices:/kubepods.slice/kubepods-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/crio-9f3c.scope\n",
            // Version 1 with the systemd driver, and a runtime that uses cgroupfs for some controllers.
            "6:pids:/system.slice/containerd.service/kubepods-pod6757d342_97d3_489b_951d_1f66d36173ae.slice:cri-containerd:9f3c\n1:name=systemd:/system.slice/containerd.service\n",
            // Hybrid: the pod is in a version 1 hierarchy only, or in the unified one only.
            "2:cpu,cpuacct:/\n1:name=systemd:/kubepods/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n0::/system.slice/kubelet.service\n",
            "2:cpu,cpuacct:/user.slice\n0::/kubepods.slice/kubepods-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/cri-containerd-9f3c.scope\n",
            // From a private cgroup namespace: version 1, and the slice of another class.
            "4:memory:/../../burstable/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n",
            "0::/../../../kubepods-burstable.slice/kubepods-burstable-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/crio-9f3c.scope\n",
            // A process that created cgroups below its container's (systemd or Docker in a pod).
            "0::/kubepods.slice/kubepods-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/cri-containerd-9f3c.scope/init.scope\n",
            "0::/kubepods/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c/system.slice/nginx.service\n",
        ];
        for file in files {
            assert_eq!(pod_uid(file).as_deref(), Some(UID), "{file}");
        }
    }

    const VICTIM: &str = "a0000000-0000-4000-8000-000000000000";

    #[test]
    fn a_pod_with_a_writable_cgroup_tree_cannot_pose_as_another() {
        let slice = VICTIM.replace('-', "_");
        let own = "6757d342_97d3_489b_951d_1f66d36173ae";
        for file in [
            // Docker in Docker, or a kubelet in a pod: cgroupfs, systemd, either inside the other.
            format!("0::/kubepods/pod{UID}/9f3c/kubepods/pod{VICTIM}/77aa\n"),
            format!("0::/kubepods/burstable/pod{UID}/9f3c/pod{VICTIM}\n"),
            format!(
                "0::/kubepods.slice/kubepods-pod{own}.slice/cri-containerd-9f3c.scope/kubepods-pod{slice}.slice/a\n"
            ),
            format!(
                "0::/kubepods.slice/kubepods-pod{own}.slice/cri-containerd-9f3c.scope/pod{VICTIM}/a\n"
            ),
            format!("0::/kubepods/pod{UID}/9f3c/kubepods-pod{slice}.slice:cri-containerd:77aa\n"),
            // Version 1, in every hierarchy.
            format!(
                "4:memory:/kubepods/pod{UID}/9f3c/pod{VICTIM}\n3:pids:/kubepods/pod{UID}/9f3c\n"
            ),
            // From a private cgroup namespace.
            format!("0::/../../pod{UID}/9f3c/pod{VICTIM}/a\n"),
            format!("0::/../../../burstable/pod{UID}/9f3c/pod{VICTIM}/a\n"),
            format!(
                "0::/../../kubepods-pod{own}.slice/cri-containerd-9f3c.scope/kubepods-pod{slice}.slice/a\n"
            ),
            // kind, or k3s in Docker: the kubelet's root is below a container's cgroup.
            format!(
                "0::/docker/77aa/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{own}.slice/cri-containerd-9f3c.scope/pod{VICTIM}\n"
            ),
            format!("0::/docker/77aa/kubepods/besteffort/pod{UID}/9f3c/kubepods/pod{VICTIM}/a\n"),
        ] {
            assert_eq!(pod_uid(&file).as_deref(), Some(UID), "{file}");
        }
    }

    #[test]
    fn hierarchies_that_name_different_pods_name_none() {
        let file =
            format!("4:memory:/kubepods/pod{UID}/9f3c\n3:net_cls:/kubepods/pod{VICTIM}/9f3c\n");
        assert_eq!(pod_uid(&file), None);
    }

    #[test]
    fn below_the_kubelet_of_the_readers_own_pod_its_pods_count() {
        // This kubelet runs in a pod of another one.
        let outer = format!("/kubepods/pod{VICTIM}/77aa");
        for (own, class, root) in [
            (
                "kubepods/pod00000000-0000-4000-8000-000000000001/9f3c",
                "kubepods",
                "kubepods",
            ),
            (
                "kubepods/burstable/pod00000000-0000-4000-8000-000000000001/9f3c",
                "kubepods/besteffort",
                "kubepods",
            ),
        ] {
            let own = format!("4:pids:/\n0::{outer}/{own}\n");
            let found = kubelet_root(&own);
            assert_eq!(found.as_deref(), Some(&*format!("{outer}/{root}")), "{own}");
            let pod = format!("0::{outer}/{class}/pod{UID}/9f3c/kubepods/pod{VICTIM}/a\n");
            let cgroup = pod_cgroup(&pod, found.as_deref()).expect("a pod");
            assert_eq!(cgroup.uid, UID);
            assert_eq!(cgroup.path, format!("{outer}/{class}/pod{UID}"));
        }
        let own = "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod00000000_0000_4000_8000_000000000001.slice/cri-containerd-9f3c.scope\n";
        assert_eq!(kubelet_root(own).as_deref(), Some("/kubepods.slice"));
        for unknown in [
            "0::/\n",
            "0::/user.slice/session-1.scope\n",
            "0::/../../pod00000000-0000-4000-8000-000000000001/9f3c\n",
        ] {
            assert_eq!(kubelet_root(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn containers_of_a_pod_share_its_path_and_pods_of_two_kubelets_do_not() {
        let path = |file: &str| pod_cgroup(file, None).map(|cgroup| cgroup.path);
        let pod = "/docker/77aa/kubepods/pod6757d342-97d3-489b-951d-1f66d36173ae";
        for container in ["", "/9f3c", "/9f3c/inner", "/9f3c (deleted)"] {
            let file = format!("4:memory:/\n0::{pod}{container}\n");
            assert_eq!(path(&file).as_deref(), Some(pod), "{file}");
        }
        let other = "0::/docker/88bb/kubepods/pod6757d342-97d3-489b-951d-1f66d36173ae/9f3c\n";
        assert!(path(other).is_some_and(|path| path != pod));
        let slice = "/containerd.service/kubepods-pod6757d342_97d3_489b_951d_1f66d36173ae.slice";
        let file = format!("0::{slice}:cri-containerd:9f3c\n");
        assert_eq!(path(&file).as_deref(), Some(slice));
    }

    #[test]
    fn a_static_pods_hash_is_a_uid() {
        for file in [
            "0::/kubepods/burstable/pod0123456789abcdef0123456789abcdef/9f3c\n",
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0123456789abcdef0123456789abcdef.slice/crio-9f3c.scope\n",
        ] {
            assert_eq!(pod_uid(file).as_deref(), Some(STATIC), "{file}");
        }
    }

    #[test]
    fn other_cgroups_are_not_pods() {
        for file in [
            "",
            "0::/\n",
            "0::/init.scope\n",
            "0::/user.slice/user-0.slice/session-1.scope\n",
            "0::/system.slice/podman.service\n",
            "0::/machine.slice/libpod-9f3c.scope\n",
            "0::/kubepods.slice/kubepods-besteffort.slice\n",
            "0::/kubepods/pod6757d342-97d3-489b-951d-1f66d36173/9f3c\n",
            "0::/kubepods/podzzzzzzzz-97d3-489b-951d-1f66d36173ae/9f3c\n",
            "0::/kubepods.slice/kubepods-pod6757d342_97d3_489b_951d_1f66d36173ae.slice/crio-conmon-9f3c.scope\n",
            "0::/kubepods/burstable/pod6757d342-97d3-489b-951d-1f66d36173ae/crio-conmon-9f3c\n",
            // The tracer's own pod, seen from its private cgroup namespace.
            "0::/../9f3c\n",
            // A podman pod, and a unit whose name starts with `pod`.
            "0::/machine.slice/machine-libpod_pod_9f3c.slice/libpod-77aa.scope\n",
            "0::/system.slice/podinfo.service\n",
            "no colon at all",
            "1:2",
        ] {
            assert_eq!(pod_uid(file), None, "{file}");
        }
    }
}
