//! Errors of a capture: the operation, the object, the cause and, where one is known, the remedy.

use std::error::Error;
use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::programs::tc::TcError;
use aya::sys::NetlinkError;
use tracer_common::MAX_DNS_PORTS;

/// A capture cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A capture of the same name runs in this network namespace.
    #[error(
        "a tracer with --instance {instance} already runs in this network namespace; stop it, or choose another --instance"
    )]
    AlreadyRunning {
        /// The instance's name.
        instance: String,
    },
    /// The instance's lock cannot be taken.
    #[error("cannot take the lock of instance {instance}")]
    Lock {
        /// The instance's name.
        instance: String,
        /// The cause.
        source: io::Error,
    },
    /// There is no DNS port, or too many.
    #[error("give 1 to {MAX_DNS_PORTS} DNS ports with --dns-port; {given} were given")]
    DnsPorts {
        /// The number of ports.
        given: usize,
    },
    /// The kernel rejects the object: it cannot create a map, or does not support a feature.
    #[error("cannot load the eBPF object{}", hint(source))]
    Load {
        /// The cause.
        source: EbpfError,
    },
    /// The kernel rejects a program.
    #[error("cannot load the eBPF program {program}{}", hint(source))]
    Program {
        /// The program's name.
        program: &'static str,
        /// The cause, with the end of the verifier's log.
        source: ProgramError,
    },
    /// The object lacks a program or map that this code uses.
    #[error(
        "the eBPF object has no {missing}: it belongs to another build of tracer; build tracer again"
    )]
    Object {
        /// The program or map.
        missing: &'static str,
    },
    /// A map cannot be read or written.
    #[error("cannot use the eBPF map {map}{}", hint(source))]
    Map {
        /// The map's name.
        map: &'static str,
        /// The cause.
        source: MapError,
    },
    /// The kernel's links, addresses or routes cannot be listed.
    #[error("cannot {operation} through netlink")]
    Netlink {
        /// What failed, as a verb with its object.
        operation: &'static str,
        /// The cause.
        source: rtnetlink::Error,
    },
    /// Another system call failed.
    #[error("cannot {operation}")]
    System {
        /// What failed, as a verb with its object.
        operation: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A thread of the capture ended early.
    #[error("the thread {thread} ended unexpectedly: this is a bug in tracer")]
    Ended {
        /// The thread's name.
        thread: &'static str,
    },
}

/// An interface cannot be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The interface has gone. Not reported: its link message follows.
    #[error("the interface is gone")]
    Vanished,
    /// The probes' interface table is full or cannot be written.
    #[error("cannot add the interface to the probes' table{}", hint(.0))]
    Table(#[source] MapError),
    /// The kernel refused the hook.
    #[error("cannot attach {program} to {hook}{}", hint(source))]
    Hook {
        /// The program's name.
        program: &'static str,
        /// The hook's name.
        hook: &'static str,
        /// The cause.
        source: ProgramError,
    },
}

/// The first operating system error number in the chain of causes.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        let found = own_errno(current);
        if found.is_some() {
            return found;
        }
        cause = current.source();
    }
    None
}

/// Some of aya's errors are transparent: their cause is not in the chain, so this looks inside them.
fn own_errno(error: &(dyn Error + 'static)) -> Option<i32> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        error.raw_os_error()
    } else if let Some(error) = error.downcast_ref::<NetlinkError>() {
        error.raw_os_error()
    } else if let Some(error) = error.downcast_ref::<TcError>() {
        match error {
            TcError::NetlinkError(error) => error.raw_os_error(),
            TcError::IoError(error) => error.raw_os_error(),
            _ => None,
        }
    } else {
        match error.downcast_ref::<ProgramError>()? {
            ProgramError::TcError(error) => own_errno(error),
            ProgramError::NetlinkError(error) => error.raw_os_error(),
            _ => None,
        }
    }
}

/// The remedy for an error number, to append to a message; empty if none is known.
fn hint(error: &(dyn Error + 'static)) -> &'static str {
    match errno(error) {
        Some(libc::EPERM) => {
            ": not permitted; tracer needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (root has them), a seccomp profile that \
             allows bpf() and, before Linux 5.11, an unlimited RLIMIT_MEMLOCK or CAP_SYS_RESOURCE; run `tracer check`"
        }
        Some(libc::EACCES) => {
            ": the kernel's verifier refused it, most likely because CAP_PERFMON is missing (root has it); run `tracer check`"
        }
        Some(libc::ENOSYS) => {
            ": this kernel has no bpf(); tracer needs Linux 5.10 or newer with CONFIG_BPF_SYSCALL"
        }
        Some(libc::ENOMEM) => ": not enough memory; lower --ring-size or --flow-table",
        Some(libc::E2BIG | libc::ENOSPC) => ": an eBPF map is full",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_is_found_inside_a_transparent_error() {
        let cause = io::Error::from_raw_os_error(libc::ENODEV);
        let error = ProgramError::TcError(TcError::IoError(cause));
        assert_eq!(errno(&error), Some(libc::ENODEV));
    }

    #[test]
    fn a_refusal_names_the_missing_capabilities() {
        let source = io::Error::from_raw_os_error(libc::EPERM);
        let error = CaptureError::Load {
            source: EbpfError::MapError(MapError::CreateError {
                name: "RECORDS".to_owned(),
                io_error: source,
            }),
        };
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    }
}
