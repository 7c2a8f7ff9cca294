//! The verdict for each fact. The cases start from the facts of a good node and change some.

use super::*;

const BPF_ONLY: u64 = 1 << 39;
const NET_ADMIN_ONLY: u64 = 1 << 12;
const PERFMON_ONLY: u64 = 1 << 38;

fn good() -> Facts {
    Facts {
        release: "6.8.0-45-generic".to_owned(),
        machine: "x86_64".to_owned(),
        btf: Ok(()),
        drops: Ok(()),
        retransmissions: Ok(()),
        containers: Ok("the kernel gives the cgroup of a process (PIDFD_GET_INFO)"),
        socket_processes: Ok(Ok(())),
        capabilities: Some(BPF_ONLY | NET_ADMIN_ONLY | PERFMON_ONLY),
        seccomp: Some(2),
        ring_buffer: Tried::Works,
        classifier: Tried::Works,
        memlock_bytes: Some(64 * 1024),
        modules_not_loaded: vec!["cls_bpf"],
        jit: Some(1),
        unprivileged_bpf: Some(2),
        lockdown: Some("integrity".to_owned()),
        processes: Processes {
            initial_namespace: Some(true),
            seen: 200,
            readable: 200,
            pods: 12,
        },
        conntrack: Ok(()),
        pod_interfaces: vec!["cali1".to_owned(), "cali2".to_owned()],
        uplinks: vec!["eth0".to_owned()],
    }
}

/// The line of a check after a change.
fn line(check: &str, change: impl FnOnce(&mut Facts)) -> Line {
    let mut facts = good();
    change(&mut facts);
    let lines = judge(&facts);
    lines
        .into_iter()
        .find(|line| line.check == check)
        .unwrap_or_else(|| panic!("no check {check}"))
}

fn status(check: &str, change: impl FnOnce(&mut Facts)) -> Status {
    line(check, change).status
}

fn refused() -> Tried {
    Tried::Refused(Some(1), "Operation not permitted (os error 1)".to_owned())
}

#[test]
fn a_good_node_has_nothing_to_fix() {
    for line in judge(&good()) {
        assert_eq!(
            (line.status, line.remedy),
            (Status::Ok, None),
            "{}",
            line.check
        );
    }
}

#[test]
fn every_problem_has_a_remedy() {
    let bad = Facts {
        release: "4.19.0".to_owned(),
        machine: "x86_64".to_owned(),
        btf: Err("No such file or directory (os error 2)".to_owned()),
        drops: Err("the kernel gives no reasons for drops before Linux 5.17".to_owned()),
        retransmissions: Err("the kernel has no tracepoint tcp_retransmit_skb".to_owned()),
        containers: Err("this process is not in the initial PID namespace".to_owned()),
        socket_processes: Err("the kernel has no struct upid".to_owned()),
        capabilities: Some(0),
        seccomp: Some(2),
        ring_buffer: refused(),
        classifier: Tried::Unsupported,
        memlock_bytes: Some(64 * 1024),
        modules_not_loaded: vec!["sch_ingress", "cls_bpf"],
        jit: Some(0),
        unprivileged_bpf: Some(0),
        lockdown: Some("confidentiality".to_owned()),
        processes: Processes::default(),
        conntrack: Err("cannot subscribe to conntrack events: EPERM".to_owned()),
        pod_interfaces: Vec::new(),
        uplinks: Vec::new(),
    };
    for line in judge(&bad) {
        assert_ne!(line.status, Status::Ok, "{}", line.check);
        assert!(line.remedy.is_some(), "{}", line.check);
    }
}

#[test]
fn kernels_before_5_10_fail() {
    for (release, expected) in [
        ("5.9.16", Status::Fail),
        ("5.10.262", Status::Ok),
        ("6.18.44-fc-v769", Status::Ok),
        ("10.0", Status::Ok),
        ("next", Status::Warn),
    ] {
        let found = status("kernel", |facts| facts.release = release.to_owned());
        assert_eq!(found, expected, "{release}");
    }
}

#[test]
fn three_capabilities_suffice_and_sys_admin_replaces_bpf_and_perfmon() {
    let sys_admin = 1 << 21;
    for (held, release, expected) in [
        (
            BPF_ONLY | NET_ADMIN_ONLY | PERFMON_ONLY,
            "5.10.0",
            Status::Ok,
        ),
        (sys_admin | NET_ADMIN_ONLY, "5.10.0", Status::Ok),
        (BPF_ONLY | NET_ADMIN_ONLY, "6.1.0", Status::Fail),
        (BPF_ONLY | NET_ADMIN_ONLY, "5.10.0", Status::Fail),
        (BPF_ONLY | PERFMON_ONLY, "6.1.0", Status::Fail),
        (NET_ADMIN_ONLY | PERFMON_ONLY, "6.1.0", Status::Fail),
        (0, "6.1.0", Status::Fail),
    ] {
        let found = status("capabilities", |facts| {
            facts.capabilities = Some(held);
            facts.release = release.to_owned();
        });
        assert_eq!(found, expected, "{held:x} on {release}");
    }
    let nothing = line("capabilities", |facts| facts.capabilities = Some(0));
    assert_eq!(nothing.found, "BPF, NET_ADMIN, PERFMON missing");
}

#[test]
fn the_remedy_of_a_refused_bpf_call_depends_on_capabilities_and_seccomp() {
    let remedy = |change: &dyn Fn(&mut Facts)| {
        let line = line("bpf map", |facts| {
            facts.ring_buffer = refused();
            change(facts);
        });
        assert_eq!(line.status, Status::Fail);
        line.remedy.expect("a remedy")
    };
    assert!(remedy(&|facts| facts.capabilities = Some(0)).contains("missing capabilities above"));
    assert!(remedy(&|_| {}).contains("seccomp"));
    assert!(remedy(&|facts| facts.seccomp = Some(0)).contains("security module"));
    let odd = remedy(&|facts| {
        facts.ring_buffer = Tried::Refused(Some(12), "Cannot allocate memory".to_owned());
    });
    assert!(odd.contains("see the error"));
}

#[test]
fn the_locked_memory_limit_matters_only_before_5_11() {
    let resource = 1 << 24;
    for (release, limit, extra, expected) in [
        ("5.10.0", Some(65_536), 0, Status::Fail),
        ("5.10.0", Some(65_536), resource, Status::Ok),
        ("5.10.0", None, 0, Status::Ok),
        ("5.11.0", Some(65_536), 0, Status::Ok),
    ] {
        let found = status("locked memory", |facts| {
            facts.release = release.to_owned();
            facts.memlock_bytes = limit;
            facts.capabilities = facts.capabilities.map(|held| held | extra);
        });
        assert_eq!(found, expected, "{release} {limit:?} {extra:x}");
    }
}

#[test]
fn before_6_6_the_modules_of_clsact_matter() {
    let old = |facts: &mut Facts| facts.release = "5.15.0-91-generic".to_owned();
    assert!(line("hook", old).found.contains("cls_bpf"));
    let loaded = status("hook", |facts| {
        old(facts);
        facts.modules_not_loaded.clear();
    });
    assert_eq!(loaded, Status::Ok);
    assert_eq!(line("hook", |_| {}).found, "TCX");
}

#[test]
fn identifying_pods_needs_the_processes_of_the_node() {
    for (initial_namespace, pods, expected) in [
        (Some(true), 12, Status::Ok),
        (Some(true), 0, Status::Warn),
        // A container without hostPID sees its own pod.
        (Some(false), 1, Status::Warn),
        (Some(false), 0, Status::Warn),
        // A node that is itself a container, as in kind, with hostPID.
        (Some(false), 9, Status::Ok),
        (None, 9, Status::Ok),
    ] {
        let found = status("pod processes", |facts| {
            facts.processes.initial_namespace = initial_namespace;
            facts.processes.pods = pods;
        });
        assert_eq!(found, expected, "{initial_namespace:?} {pods}");
    }
    let hidden = line("pod processes", |facts| facts.processes.readable = 3);
    assert!(hidden.found.contains("197 of 200"));
}

#[test]
fn without_conntrack_endpoints_stay_unknown_and_nothing_fails() {
    assert_eq!(line("conntrack", |_| ()).status, Status::Ok);
    let absent = line("conntrack", |facts| {
        facts.conntrack = Err("cannot subscribe to conntrack events: EPERM".to_owned());
    });
    assert_eq!(absent.status, Status::Warn);
    assert!(absent.found.contains("EPERM"), "{absent:?}");
}
