//! The empty classifier: it returns "next" and does nothing else. What the kernel accounts to it is the cost
//! of calling and timing any program, so the difference to another is that program's own.
//!
//! It is two instructions, loaded by system call: no object file, no compiler.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};

use super::bed::Bed;

// linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const ENABLE_STATS: libc::c_long = 32;
const SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
const TRACING: u64 = 26;
/// `r0 = -1; exit`: TCX_NEXT.
const PROGRAM: [u64; 2] = [0xffff_ffff_0000_00b7, 0x0000_0000_0000_0095];
/// The same behind `call bpf_skb_cgroup_id`.
pub(super) const HELPER: [u64; 3] = [0x0000_004f_0000_0085, PROGRAM[0], PROGRAM[1]];

/// The same behind `call bpf_get_socket_cookie`.
pub(super) const COOKIE: [u64; 3] = [0x0000_002e_0000_0085, PROGRAM[0], PROGRAM[1]];

/// How often a program ran, and how long that took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) count: u64,
    pub(super) nanoseconds: u64,
}

impl Runs {
    pub(super) fn since(self, earlier: Runs) -> Runs {
        Runs {
            count: self.count.saturating_sub(earlier.count),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }

    fn and(self, other: Runs) -> Runs {
        Runs {
            count: self.count + other.count,
            nanoseconds: self.nanoseconds + other.nanoseconds,
        }
    }

    /// Nanoseconds of one run.
    pub(super) fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.nanoseconds as f64 / self.count as f64)
    }
}

/// The kernel times programs while this lives.
#[derive(Debug)]
pub(super) struct Statistics(#[expect(dead_code, reason = "closing it ends the timing")] OwnedFd);

impl Statistics {
    pub(super) fn enable() -> Result<Statistics> {
        #[repr(C)]
        struct EnableStats {
            kind: u32,
        }
        // BPF_STATS_RUN_TIME.
        let attributes = EnableStats { kind: 0 };
        let descriptor = bpf(ENABLE_STATS, &attributes).context("cannot enable BPF statistics")?;
        Ok(Statistics(descriptor))
    }
}

/// An empty program at both hooks of an interface of the node: a copy for what arrives and one for what leaves.
#[derive(Debug)]
pub(super) struct Empty {
    programs: [OwnedFd; 2],
    _links: [OwnedFd; 2],
}

impl Empty {
    pub(super) fn attach(bed: &Bed, interface: &str) -> Result<Empty> {
        Empty::attach_program(bed, interface, &PROGRAM)
    }

    /// Another small program in its place.
    pub(super) fn attach_program(bed: &Bed, interface: &str, program: &[u64]) -> Result<Empty> {
        let load = || load(program).context("cannot load the empty program");
        let programs = [load()?, load()?];
        let name = CString::new(interface)?;
        let links = bed.within("node", || {
            // SAFETY: the name is a string that ends in NUL, and outlives the call.
            let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
            if index == 0 {
                bail!("no interface {interface}");
            }
            let [arriving, leaving] = &programs;
            let link = |program, hook| {
                link(program, index, hook).context("cannot attach by TCX (Linux 6.6)")
            };
            Ok([link(arriving, TCX_INGRESS)?, link(leaving, TCX_EGRESS)?])
        })?;
        Ok(Empty {
            programs,
            _links: links,
        })
    }

    pub(super) fn runs(&self) -> Result<Runs> {
        let [arriving, leaving] = self.runs_by_hook()?;
        Ok(arriving.and(leaving))
    }

    /// Of what arrives, and of what leaves.
    pub(super) fn runs_by_hook(&self) -> Result<[Runs; 2]> {
        let read = |program: &OwnedFd| {
            let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
            let text = fs::read_to_string(&path).with_context(|| path.clone())?;
            runs(&text).with_context(|| format!("no statistics in {path}"))
        };
        let [arriving, leaving] = &self.programs;
        Ok([read(arriving)?, read(leaving)?])
    }
}

/// What the classifiers of a process did, all together. A program that several descriptors refer to counts once.
pub(super) fn runs_of(pid: i32) -> Result<Runs> {
    runs_where(pid, |kind, _| kind != TRACING)
}

/// What its program with this name did.
pub(super) fn runs_of_program(pid: i32, wanted: &str) -> Result<Runs> {
    // The kernel keeps 15 bytes of a name.
    let wanted = &wanted.as_bytes()[..wanted.len().min(15)];
    runs_where(pid, |_, id| name(id).is_ok_and(|name| name == wanted))
}

/// The first 15 bytes of a program's name.
fn name(id: u64) -> io::Result<Vec<u8>> {
    #[repr(C)]
    struct ById {
        id: u32,
        next_id: u32,
        open_flags: u32,
    }
    /// The beginning of `struct bpf_prog_info`.
    #[repr(C)]
    struct Info {
        until_name: [u64; 8],
        name: [u8; 16],
    }
    #[repr(C)]
    struct OfDescriptor {
        descriptor: u32,
        length: u32,
        info: u64,
    }
    let by_id = ById {
        id: u32::try_from(id).map_err(io::Error::other)?,
        next_id: 0,
        open_flags: 0,
    };
    let program = bpf(PROG_GET_FD_BY_ID, &by_id)?;
    let mut info = Info {
        until_name: [0; 8],
        name: [0; 16],
    };
    let attributes = OfDescriptor {
        descriptor: program.as_raw_fd().cast_unsigned(),
        length: size_of::<Info>() as u32,
        info: (&raw mut info) as u64,
    };
    command(OBJ_GET_INFO_BY_FD, &attributes)?;
    Ok(info
        .name
        .into_iter()
        .take_while(|byte| *byte != 0)
        .collect())
}

fn runs_where(pid: i32, fits: impl Fn(u64, u64) -> bool) -> Result<Runs> {
    let mut programs = std::collections::BTreeMap::new();
    for file in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        // A descriptor can be closed meanwhile.
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        if let (Some(id), Some(runs)) = (field(&text, "prog_id:"), runs(&text))
            && field(&text, "prog_type:").is_some_and(|kind| fits(kind, id))
        {
            programs.insert(id, runs);
        }
    }
    Ok(programs.into_values().fold(Runs::default(), Runs::and))
}

fn runs(fdinfo: &str) -> Option<Runs> {
    Some(Runs {
        count: field(fdinfo, "run_cnt:")?,
        nanoseconds: field(fdinfo, "run_time_ns:")?,
    })
}

fn field(fdinfo: &str, name: &str) -> Option<u64> {
    let mut lines = fdinfo.lines();
    lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn load(program: &[u64]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct ProgLoad {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; 16],
    }
    let license = c"GPL";
    bpf(
        PROG_LOAD,
        &ProgLoad {
            prog_type: SCHED_CLS,
            insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
            insns: program.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: 0,
            prog_name: *b"bench_empty\0\0\0\0\0",
        },
    )
}

fn link(program: &OwnedFd, interface: u32, hook: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct LinkCreate {
        prog_fd: i32,
        target_ifindex: u32,
        attach_type: u32,
        flags: u32,
        // Beside no other program.
        relative_fd: u32,
        padding: u32,
        expected_revision: u64,
    }
    bpf(
        LINK_CREATE,
        &LinkCreate {
            prog_fd: program.as_raw_fd(),
            target_ifindex: interface,
            attach_type: hook,
            flags: 0,
            relative_fd: 0,
            padding: 0,
            expected_revision: 0,
        },
    )
}

/// bpf(2), for commands that return a descriptor.
fn bpf<T>(number: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let descriptor = command(number, attributes)?;
    // SAFETY: the kernel has just returned it, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// bpf(2). Returns what the kernel returns.
fn command<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is the beginning of `union bpf_attr` for the command, and its size is given. All
    // that it points to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    let result = i32::try_from(result).unwrap_or(-1);
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read_from_fdinfo() {
        let text = "pos:\t0\nprog_type:\t3\nprog_id:\t7\nrun_time_ns:\t600\nrun_cnt:\t10\n";
        let read = runs(text).expect("both fields");
        assert_eq!(read.mean(), Some(60.0));
        assert_eq!(field(text, "prog_id:"), Some(7));
        assert_eq!(read.since(read).mean(), None);
    }
}
