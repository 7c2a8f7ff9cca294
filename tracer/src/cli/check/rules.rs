//! What the facts mean for running here. Pure.
//!
//! What each rule asks for was measured on kernels 5.10 to 7.3: below 5.11 BPF memory counts against RLIMIT_MEMLOCK, and
//! without CAP_PERFMON the verifier refuses the probes' direct packet access, on 5.10 as on 6.18; TCX came with 6.6.

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

/// Every line, in the order in which one would fix them.
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
        lockdown(facts),
        unprivileged(facts),
        interfaces(facts),
        processes(&facts.processes),
    ]
}

/// Major and minor of a release; `None` for one that is not written like a release.
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
            "its version is not written like one; 5.10 or later is needed",
        ),
    }
}

fn capabilities(facts: &Facts) -> Line {
    let name = "capabilities";
    let remedy = "run as root, or in a container with securityContext.capabilities.add: [BPF, NET_ADMIN, PERFMON]";
    let Some(held) = facts.capabilities else {
        return warn(
            name,
            "CapEff of /proc/self/status could not be read",
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
        // The verifier refuses the probes' direct packet access without it: "R2 pointer comparison prohibited" on 5.10,
        // "pointer arithmetic with it prohibited for !root" on 6.18.
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

/// Whether bpf() really lets it: capabilities alone do not say so.
fn bpf_call(check: &'static str, what: &str, tried: &Tried, facts: &Facts) -> Line {
    match tried {
        Tried::Works => ok(check, format!("{what} could be made")),
        Tried::Unsupported => fail(
            check,
            format!("this kernel does not know {what}"),
            "boot a kernel of 5.10 or later with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS",
        ),
        Tried::Refused(errno, words) => {
            let found = format!("{what} could not be made: {words}");
            // A map takes CAP_BPF, a classifier CAP_NET_ADMIN besides; the line on capabilities says which is missing.
            let capable = facts.capabilities.is_some_and(|held| {
                held & (1 << BPF | 1 << SYS_ADMIN) != 0 && held & (1 << NET_ADMIN) != 0
            });
            let remedy = if *errno != Some(EPERM) {
                "see the error; with CAP_BPF and a kernel of 5.10 or later this should work"
                    .to_owned()
            } else if !capable {
                "the capabilities above are missing".to_owned()
            } else if facts.seccomp == Some(2) {
                "a seccomp filter is in force and seems to forbid bpf(): use containerd 1.6.9, 1.7 or later, whose default \
                 profile allows it with CAP_BPF, or securityContext.seccompProfile.type: Unconfined"
                    .to_owned()
            } else {
                "the capability is there, so a security module, lockdown or the limit of locked memory forbids it; \
                 `dmesg` may name it"
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
    // The default tables and the ring need some 25 MiB.
    let enough = facts
        .memlock_bytes
        .is_none_or(|bytes| bytes >= 64 * 1024 * 1024);
    if enough || resource {
        ok(name, limit)
    } else {
        fail(
            name,
            format!("{limit}: too little for the tables of the probes on this kernel"),
            "start it with `ulimit -l unlimited` (systemd: LimitMEMLOCK=infinity), or add the capability SYS_RESOURCE",
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
            "nothing if the kernel loads modules by itself; else `modprobe -a {modules}` on the node"
        ),
    )
}

fn jit(facts: &Facts) -> Line {
    let name = "bpf jit";
    match facts.jit {
        Some(0) => warn(
            name,
            "off: each packet costs several times as much",
            "sysctl net.core.bpf_jit_enable=1 on the node",
        ),
        Some(_) => ok(name, "on"),
        // Only root may read it.
        None => ok(name, "net.core.bpf_jit_enable could not be read"),
    }
}

fn btf(facts: &Facts) -> Line {
    let name = "kernel btf";
    match &facts.btf {
        Ok(()) => ok(name, "/sys/kernel/btf/vmlinux can be read"),
        Err(error) => warn(
            name,
            format!("/sys/kernel/btf/vmlinux: {error}"),
            "nothing for what this version traces; a kernel with CONFIG_DEBUG_INFO_BTF has it, and /sys must be mounted",
        ),
    }
}

fn lockdown(facts: &Facts) -> Line {
    let name = "lockdown";
    match facts.lockdown.as_deref() {
        Some("confidentiality") => warn(
            name,
            "confidentiality: probes may not read kernel memory",
            "nothing for what this version traces: it reads packets only",
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
            "allowed: any user of this node may load simple BPF programs",
            "nothing for tracer, which does not use it; sysctl kernel.unprivileged_bpf_disabled=1 is safer",
        ),
        Some(_) => ok(name, "forbidden, as it should be"),
        None => ok(name, "kernel.unprivileged_bpf_disabled could not be read"),
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

/// Pods are told apart by the network namespaces and cgroups of their processes, where these can be seen.
fn processes(processes: &Processes) -> Line {
    let name = "pod processes";
    let by_address = "pods are then known by address only, which --inventory names; ";
    if processes.seen == 0 {
        return warn(
            name,
            "/proc shows no process",
            format!("{by_address}mount /proc"),
        );
    }
    if processes.readable * 2 < processes.seen {
        return warn(
            name,
            format!(
                "the cgroup of {} of {} processes cannot be read",
                processes.seen - processes.readable,
                processes.seen
            ),
            format!("{by_address}mount /proc without hidepid, or run as root"),
        );
    }
    match (processes.pods, processes.initial_namespace) {
        (0, Some(true)) => warn(
            name,
            "all processes of the machine can be seen, none belongs to a pod",
            "start a pod; nothing else is missing",
        ),
        // Alone with itself: a pod's own processes look like one pod.
        (0 | 1, Some(false) | None) => warn(
            name,
            "only this container's own processes can be seen",
            format!("{by_address}run with hostPID: true"),
        ),
        (pods, _) => ok(name, format!("{pods} pods have processes here")),
    }
}
