//! Judges the facts. Pure.
//!
//! The requirements were measured on kernels 5.10 to 7.3: before 5.11 BPF memory counts against
//! RLIMIT_MEMLOCK; without CAP_PERFMON the verifier refuses the probes' direct packet access, on 5.10 as on
//! 6.18; TCX came with 6.6.

use super::facts::{Facts, Processes, Tried};
use super::{Line, Status};

#[cfg(test)]
mod tests;

const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const SYS_RESOURCE: u32 = 24;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

const EPERM: i32 = 1;

/// All lines, in the order in which to fix problems.
pub(super) fn judge(facts: &Facts) -> Vec<Line> {
    let kernel = version(&facts.release);
    vec![
        kernel_version(facts, kernel),
        capabilities(facts),
        bpf_call("bpf map", "a ring buffer", &facts.ring_buffer, facts),
        bpf_call("bpf program", "a classifier", &facts.classifier, facts),
        memlock(facts, kernel),
        hook(facts, kernel),
        jit(facts),
        btf(facts),
        drops(facts),
        retransmissions(facts),
        containers(facts),
        socket_processes(facts),
        lockdown(facts),
        unprivileged(facts),
        conntrack(facts),
        interfaces(facts),
        node(facts),
        processes(&facts.processes),
    ]
}

/// The major and minor version of a kernel release; `None` if it has another form.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

fn ok(check: &'static str, found: impl Into<String>) -> Line {
    Line {
        check,
        status: Status::Ok,
        found: found.into(),
        remedy: None,
    }
}

fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Line {
    Line {
        check,
        status: Status::Warn,
        found: found.into(),
        remedy: Some(remedy.into()),
    }
}

fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Line {
    Line {
        status: Status::Fail,
        ..warn(check, found, remedy)
    }
}

fn kernel_version(facts: &Facts, kernel: Option<(u32, u32)>) -> Line {
    let found = format!("Linux {} on {}", facts.release, facts.machine);
    match kernel {
        Some(version) if version >= (5, 10) => ok("kernel", found),
        Some(_) => fail(
            "kernel",
            found,
            "boot Linux 5.10 or later; 6.6 or later is best (TCX)",
        ),
        None => warn(
            "kernel",
            found,
            "check the version by hand: Tracer needs Linux 5.10 or later",
        ),
    }
}

fn capabilities(facts: &Facts) -> Line {
    let name = "capabilities";
    let remedy = "run as root, or in a container with securityContext.capabilities.add: [BPF, NET_ADMIN, PERFMON]";
    let Some(held) = facts.capabilities else {
        return warn(
            name,
            "cannot read CapEff in /proc/self/status",
            "mount /proc",
        );
    };
    let has = |bit: u32| held & (1 << bit) != 0;
    let mut missing = Vec::new();
    if !has(BPF) && !has(SYS_ADMIN) {
        missing.push("BPF");
    }
    if !has(NET_ADMIN) {
        missing.push("NET_ADMIN");
    }
    if !has(PERFMON) && !has(SYS_ADMIN) {
        // The verifier refuses the probes' direct packet access without it: "R2 pointer comparison
        // prohibited" on 5.10, "pointer arithmetic with it prohibited for !root" on 6.18.
        missing.push("PERFMON");
    }
    if !missing.is_empty() {
        return fail(name, format!("{} missing", missing.join(", ")), remedy);
    }
    let held: Vec<_> = [
        (BPF, "BPF"),
        (NET_ADMIN, "NET_ADMIN"),
        (PERFMON, "PERFMON"),
        (SYS_ADMIN, "SYS_ADMIN"),
    ]
    .into_iter()
    .filter(|(bit, _)| has(*bit))
    .map(|(_, name)| name)
    .collect();
    ok(name, held.join(", "))
}

/// Judges a bpf() call that was tried: capabilities alone do not guarantee that it works.
fn bpf_call(check: &'static str, what: &str, tried: &Tried, facts: &Facts) -> Line {
    match tried {
        Tried::Works => ok(check, format!("{what} can be created")),
        Tried::Unsupported => fail(
            check,
            format!("this kernel does not support {what}"),
            "boot Linux 5.10 or later with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS",
        ),
        Tried::Refused(errno, words) => {
            let found = format!("cannot create {what}: {words}");
            // A map needs CAP_BPF, a classifier CAP_NET_ADMIN too; the line on capabilities names the missing
            // ones.
            let capable = facts.capabilities.is_some_and(|held| {
                held & (1 << BPF | 1 << SYS_ADMIN) != 0 && held & (1 << NET_ADMIN) != 0
            });
            let remedy = if *errno != Some(EPERM) {
                "see the error; with CAP_BPF and Linux 5.10 or later this should work".to_owned()
            } else if !capable {
                "add the missing capabilities above".to_owned()
            } else if facts.seccomp == Some(2) {
                "a seccomp filter probably forbids bpf(): use containerd 1.6.9, 1.7 or later, whose default profile allows it \
                 with CAP_BPF, or set securityContext.seccompProfile.type: Unconfined"
                    .to_owned()
            } else {
                "the capability is present, so a security module, lockdown or the locked-memory limit forbids it; `dmesg` may \
                 name which"
                    .to_owned()
            };
            fail(check, found, remedy)
        }
    }
}

fn memlock(facts: &Facts, kernel: Option<(u32, u32)>) -> Line {
    let name = "locked memory";
    let limit = match facts.memlock_bytes {
        None => "unlimited".to_owned(),
        Some(bytes) => format!("limit {} KiB", bytes / 1024),
    };
    if kernel.is_none_or(|version| version >= (5, 11)) {
        return ok(name, format!("{limit}; not used for BPF since Linux 5.11"));
    }
    let resource = facts
        .capabilities
        .is_some_and(|held| held & (1 << SYS_RESOURCE) != 0);
    // The default tables and the ring buffer need about 25 MiB.
    let enough = facts
        .memlock_bytes
        .is_none_or(|bytes| bytes >= 64 * 1024 * 1024);
    if enough || resource {
        ok(name, limit)
    } else {
        fail(
            name,
            format!("{limit}: too low for the probes' tables on this kernel"),
            "raise it with `ulimit -l unlimited` (systemd: LimitMEMLOCK=infinity), or add the capability SYS_RESOURCE",
        )
    }
}

fn hook(facts: &Facts, kernel: Option<(u32, u32)>) -> Line {
    let name = "hook";
    if kernel.is_some_and(|version| version >= (6, 6)) {
        return ok(name, "TCX");
    }
    if facts.modules_not_loaded.is_empty() {
        return ok(name, "clsact");
    }
    let modules = facts.modules_not_loaded.join(" ");
    warn(
        name,
        format!("clsact; not loaded yet: {modules}"),
        format!(
            "none if the kernel loads modules automatically; else run `modprobe -a {modules}` on the node"
        ),
    )
}

fn jit(facts: &Facts) -> Line {
    let name = "bpf jit";
    match facts.jit {
        Some(0) => warn(
            name,
            "off: the cost per packet is several times as high",
            "run `sysctl net.core.bpf_jit_enable=1` on the node",
        ),
        Some(_) => ok(name, "on"),
        // Only root can read it.
        None => ok(name, "cannot read net.core.bpf_jit_enable"),
    }
}

fn btf(facts: &Facts) -> Line {
    let name = "kernel btf";
    match &facts.btf {
        Ok(()) => ok(name, "/sys/kernel/btf/vmlinux is readable"),
        Err(error) => warn(
            name,
            format!("/sys/kernel/btf/vmlinux: {error}"),
            "without it dropped packets and retransmissions are not seen; BTF needs CONFIG_DEBUG_INFO_BTF and a mounted /sys",
        ),
    }
}

fn drops(facts: &Facts) -> Line {
    let name = "dropped packets";
    match &facts.drops {
        Ok(()) => ok(name, "the kernel gives reasons for drops"),
        Err(error) => warn(
            name,
            error.clone(),
            "needs Linux 5.17 with BTF; without it no finding says where a packet was dropped",
        ),
    }
}

fn retransmissions(facts: &Facts) -> Line {
    let name = "retransmissions";
    match &facts.retransmissions {
        Ok(()) => ok(
            name,
            "the kernel shows the TCP segments that it sends again",
        ),
        Err(error) => warn(
            name,
            error.clone(),
            "needs BTF and the capability PERFMON; without it events have no retransmits",
        ),
    }
}

fn containers(facts: &Facts) -> Line {
    let name = "containers";
    match &facts.containers {
        Ok(way) => ok(name, *way),
        Err(why) => warn(
            name,
            format!("the containers of pods with several are not named: {why}"),
            "before Linux 6.13 it needs cgroup version 2, BTF, hostPID: true and the capabilities BPF and PERFMON",
        ),
    }
}

fn socket_processes(facts: &Facts) -> Line {
    let name = "socket owners";
    match &facts.socket_processes {
        Ok(Ok(())) => ok(
            name,
            "the kernel shows which process opens a TCP connection, asks over UDP, or pings; each send of a socket on the node takes some 40 ns longer",
        ),
        Ok(Err(why)) => warn(
            name,
            format!("only the processes behind TCP connections are named: {why}"),
            "none needed; before Linux 6.3 DNS over UDP has only a container's only process as pod.process, and pings have none",
        ),
        Err(why) => warn(
            name,
            format!("the processes behind sockets are not named: {why}"),
            "needs Linux 5.12 (6.3 for UDP) with BTF and the capability PERFMON; without it events have at most a container's only process as pod.process",
        ),
    }
}

fn lockdown(facts: &Facts) -> Line {
    let name = "lockdown";
    match facts.lockdown.as_deref() {
        Some("confidentiality") => warn(
            name,
            "confidentiality: probes cannot read kernel memory",
            "none needed: without it, only dropped packets and retransmissions are not seen, and before Linux 6.13 containers are not named",
        ),
        Some(mode) => ok(name, mode),
        None => ok(name, "none"),
    }
}

fn unprivileged(facts: &Facts) -> Line {
    let name = "unprivileged bpf";
    match facts.unprivileged_bpf {
        Some(0) => warn(
            name,
            "allowed: any user of this node can load simple BPF programs",
            "none needed by Tracer; `sysctl kernel.unprivileged_bpf_disabled=1` is safer",
        ),
        Some(_) => ok(name, "forbidden, as recommended"),
        None => ok(name, "cannot read kernel.unprivileged_bpf_disabled"),
    }
}

/// Conntrack knows the endpoint behind a Service's address.
fn conntrack(facts: &Facts) -> Line {
    let name = "conntrack";
    match &facts.conntrack {
        Ok(()) => ok(name, "translations and counters can be read"),
        Err(why) => warn(
            name,
            format!("{why}; endpoints behind Services stay unknown"),
            "none if the network plugin replaces kube-proxy with eBPF; else load nf_conntrack_netlink, set \
             net.netfilter.nf_conntrack_events=1 and add the capability NET_ADMIN",
        ),
    }
}

fn interfaces(facts: &Facts) -> Line {
    let name = "pod interfaces";
    let names = &facts.pod_interfaces;
    match names.len() {
        0 => warn(
            name,
            "none in this network namespace",
            "start a pod; in a container, run with hostNetwork: true",
        ),
        1..=3 => ok(name, names.join(", ")),
        many => ok(name, format!("{many}: {}, ...", names[..3].join(", "))),
    }
}

/// The node's own sockets are seen at its uplinks.
fn node(facts: &Facts) -> Line {
    let name = "node's traffic";
    match facts.uplinks.as_slice() {
        [] => warn(
            name,
            "not seen: no Ethernet device has a default route",
            "none if the node has none; an agent also takes the device with the Node's InternalIP",
        ),
        uplinks => ok(name, format!("seen at {}", uplinks.join(", "))),
    }
}

/// Tracer identifies pods by the network namespaces and cgroups of their processes, if it can see them.
fn processes(processes: &Processes) -> Line {
    let name = "pod processes";
    let by_address = "pods are then identified only by address, with --inventory; ";
    if processes.seen == 0 {
        return warn(
            name,
            "no process is visible in /proc",
            format!("{by_address}mount /proc"),
        );
    }
    if processes.readable * 2 < processes.seen {
        return warn(
            name,
            format!(
                "the cgroups of {} of {} processes are unreadable",
                processes.seen - processes.readable,
                processes.seen
            ),
            format!("{by_address}mount /proc without hidepid, or run as root"),
        );
    }
    match (processes.pods, processes.initial_namespace) {
        (0, Some(true)) => warn(
            name,
            "all processes of the machine are visible, none belongs to a pod",
            "none: there is no pod yet",
        ),
        // Without hostPID only the container's own processes are visible, which look like one pod.
        (0 | 1, Some(false) | None) => warn(
            name,
            "only this container's own processes are visible",
            format!("{by_address}run with hostPID: true"),
        ),
        (pods, _) => ok(name, format!("{pods} pods have processes here")),
    }
}
