//! The pod behind an interface, with real processes, cgroups and network namespaces: the peer of a veth leads
//! to the pod whose cgroup contains the process at that peer.
//!
//! Each test is its own node: its thread moves into a new network namespace.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use testbed::turn;
use tracer::cluster::interface_watch::{self, InterfaceNotice};
use tracer::cluster::netns_id::NetnsId;
use tracer::cluster::pod_interfaces::InterfaceResolver;
use tracer_core::model::cluster::ClusterChange;
use tracer_core::model::flow::Ifindex;

/// A node: a network namespace and a cgroup, both removed on drop.
struct Node {
    cgroup: PathBuf,
}

impl Node {
    fn new(name: &str) -> Node {
        // SAFETY: a plain system call that concerns the calling thread alone.
        let left = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(left, 0, "needs root");
        let cgroup = hierarchy().join(format!("tracer-id-{name}-{}", std::process::id()));
        fs::create_dir(&cgroup).unwrap();
        Node { cgroup }
    }

    /// A process in its own network namespace or in the node's, not yet in a pod's cgroup.
    fn process(&self, host_network: bool) -> Process {
        let mut command = Command::new(if host_network { "sleep" } else { "unshare" });
        if !host_network {
            command.args(["--net", "sleep"]);
        }
        Process::start(command.arg("300"))
    }

    /// Moves a process into the pod's cgroup, as a runtime does.
    fn put(&self, process: &Process, pod_cgroup: &str) {
        let cgroup = self.cgroup.join(pod_cgroup);
        fs::create_dir_all(&cgroup).unwrap();
        fs::write(cgroup.join("cgroup.procs"), process.id().to_string()).unwrap();
    }

    /// A veth from the node to the process's network namespace: its index and the id of the peer's namespace.
    fn veth(&self, name: &str, process: &Process) -> (Ifindex, NetnsId) {
        let netns = process.id().to_string();
        ip(&[
            "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", &netns,
        ]);
        let shown = ip(&["-o", "link", "show", "dev", name]);
        let index = shown.split(':').next().unwrap().parse().unwrap();
        let netns = shown
            .split("link-netnsid ")
            .nth(1)
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap();
        (Ifindex(index), NetnsId(netns.parse().unwrap()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        remove(&self.cgroup);
    }
}

/// Removes a cgroup and those below it; their processes have been ended, and leave within a moment.
fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    for _ in 0..1_000 {
        if fs::remove_dir(cgroup).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Process(Child);

impl Process {
    /// Starts a command that finally executes `sleep`, and waits for that.
    fn start(command: &mut Command) -> Process {
        let process = Process(command.stdin(Stdio::null()).spawn().unwrap());
        let name = format!("/proc/{}/comm", process.id());
        while fs::read_to_string(&name).unwrap() != "sleep\n" {
            std::thread::yield_now();
        }
        process
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory for new cgroups: version 2, or a hierarchy of version 1.
fn hierarchy() -> PathBuf {
    let candidates = [
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup/pids",
    ];
    let found = candidates
        .iter()
        .find(|path| Path::new(path).join("cgroup.procs").exists());
    found.expect("a cgroup hierarchy").into()
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A pod's UID. All tests see all processes, so each has its own pods.
fn pod(number: u8) -> String {
    format!(
        "{:08x}-97d3-489b-951d-0000000000{number:02x}",
        std::process::id()
    )
}

fn uid(uid: &str) -> Option<Arc<str>> {
    Some(uid.into())
}

#[test]
fn each_interface_leads_to_the_pod_at_its_other_end() {
    let _turn = turn::shared();
    let node = Node::new("each");
    let pod_a = pod(1);
    let pod_b = pod(2);
    let (a, b) = (node.process(false), node.process(false));
    let (to_a, to_b) = (node.veth("a", &a), node.veth("b", &b));
    let mut resolver = InterfaceResolver::new().unwrap();
    let found = resolver.resolve(&[to_a, to_b]).unwrap();
    assert_eq!(
        found,
        [(to_a.0, None), (to_b.0, None)],
        "no process is in a pod's cgroup yet"
    );
    node.put(&a, &format!("kubepods/besteffort/pod{pod_a}/9f3c"));
    let slice = format!(
        "kubepods.slice/kubepods-pod{}.slice/cri-containerd-77aa.scope",
        pod_b.replace('-', "_")
    );
    node.put(&b, &slice);
    let found = resolver.resolve(&[to_a, to_b]).unwrap();
    assert_eq!(found, [(to_a.0, uid(&pod_a)), (to_b.0, uid(&pod_b))]);
}

#[test]
fn a_host_network_pod_and_a_visitor_are_not_taken_for_the_pod() {
    let _turn = turn::shared();
    let node = Node::new("host");
    let pod_a = pod(3);
    let pod_b = pod(4);
    let host = node.process(true);
    node.put(&host, &format!("kubepods/besteffort/pod{pod_b}/9f3c"));
    let a = node.process(false);
    node.put(&a, &format!("kubepods/besteffort/pod{pod_a}/9f3c"));
    let to_a = node.veth("a", &a);
    // A process of the hostNetwork pod that entered the other pod's namespace, as a network plugin's does.
    let netns = format!("--net=/proc/{}/ns/net", a.id());
    let visitor = Process::start(Command::new("nsenter").args([&netns, "sleep", "300"]));
    node.put(&visitor, &format!("kubepods/besteffort/pod{pod_b}/77aa"));
    let mut resolver = InterfaceResolver::new().unwrap();
    assert_eq!(resolver.resolve(&[to_a]).unwrap(), [(to_a.0, uid(&pod_a))]);
}

#[test]
fn a_pod_of_the_same_uid_that_another_kubelet_runs_hides_nothing() {
    let _turn = turn::shared();
    let (elsewhere, node) = (Node::new("elsewhere"), Node::new("here"));
    let pod_a = pod(8);
    let cgroup = format!("kubepods/besteffort/pod{pod_a}/9f3c");
    // It started first, and no interface of this node leads to it.
    let other = elsewhere.process(false);
    elsewhere.put(&other, &cgroup);
    let a = node.process(false);
    node.put(&a, &cgroup);
    let to_a = node.veth("a", &a);
    let mut resolver = InterfaceResolver::new().unwrap();
    assert_eq!(resolver.resolve(&[to_a]).unwrap(), [(to_a.0, uid(&pod_a))]);
}

#[test]
fn a_namespace_id_used_again_leads_to_the_new_pod() {
    let _turn = turn::shared();
    let node = Node::new("again");
    let pod_a = pod(5);
    let pod_b = pod(6);
    let mut resolver = InterfaceResolver::new().unwrap();
    let mut ids = Vec::new();
    for (name, pod) in [("a", &pod_a), ("b", &pod_b)] {
        let process = node.process(false);
        node.put(&process, &format!("kubepods/pod{pod}/9f3c"));
        let to_pod = node.veth(name, &process);
        assert_eq!(resolver.resolve(&[to_pod]).unwrap(), [(to_pod.0, uid(pod))]);
        ids.push(to_pod.1);
        drop(process);
        // The kernel takes a namespace down some time after its last process: the veth goes with it.
        while Command::new("ip")
            .args(["link", "show", "dev", name])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(
        ids[0], ids[1],
        "the kernel gave the id out again, which is what this is about"
    );
}

#[test]
fn a_pod_whose_process_comes_after_its_interface_is_found_when_it_is_there() {
    let _turn = turn::shared();
    let node = Node::new("late");
    let pod_a = pod(7);
    let a = node.process(false);
    let to_a = node.veth("a", &a);
    let (news, received) = mpsc::channel();
    let (sender, changes) = mpsc::channel();
    let watch =
        interface_watch::spawn(InterfaceResolver::new().unwrap(), received, move |change| {
            sender
                .send(change)
                .map_or(ControlFlow::Break(()), ControlFlow::Continue)
        });
    let next = || changes.recv_timeout(Duration::from_secs(10)).unwrap();
    news.send(InterfaceNotice::Seen(to_a.0, None)).unwrap();
    assert_eq!(
        next(),
        ClusterChange::Interface {
            ifindex: to_a.0,
            uid: None
        }
    );
    news.send(InterfaceNotice::Seen(to_a.0, Some(to_a.1)))
        .unwrap();
    assert_eq!(
        changes.recv_timeout(Duration::from_millis(100)),
        Err(mpsc::RecvTimeoutError::Timeout)
    );
    node.put(&a, &format!("kubepods/burstable/pod{pod_a}/9f3c"));
    assert_eq!(
        next(),
        ClusterChange::Interface {
            ifindex: to_a.0,
            uid: uid(&pod_a)
        }
    );
    news.send(InterfaceNotice::Gone(to_a.0)).unwrap();
    assert_eq!(next(), ClusterChange::InterfaceGone(to_a.0));
    drop(news);
    watch.unwrap().join().unwrap();
}
