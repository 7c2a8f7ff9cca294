//! Why a capture does not start or an interface is not attached: what failed, on what, why, and what to do.

use std::error::Error;
use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::programs::tc::TcError;
use aya::sys::NetlinkError;
use tracer_common::MAX_DNS_PORTS;

/// Why a capture does not start.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A capture of the same name runs here.
    #[error(
        "a tracer with --instance {instance} already runs in this network namespace; stop it or choose another --instance"
    )]
    AlreadyRunning {
        /// Its name.
        instance: String,
    },
    /// The lock of the instance could not be taken.
    #[error("cannot take the lock of instance {instance}")]
    Lock {
        /// Its name.
        instance: String,
        /// Why.
        source: io::Error,
    },
    /// None or too many DNS ports.
    #[error("1 to {MAX_DNS_PORTS} DNS ports can be traced, {given} were given")]
    DnsPorts {
        /// How many were given.
        given: usize,
    },
    /// The kernel did not take the object: a map could not be made, or it makes no sense to this kernel.
    #[error("cannot load the eBPF object{}", hint(source))]
    Load {
        /// Why.
        source: EbpfError,
    },
    /// The kernel did not take a program.
    #[error("cannot load the eBPF program {program}{}", hint(source))]
    Program {
        /// Which.
        program: &'static str,
        /// Why; holds the verifier's last words.
        source: ProgramError,
    },
    /// The object lacks something that this code expects.
    #[error("the eBPF object has no {missing}: it is not of this build")]
    Object {
        /// What.
        missing: &'static str,
    },
    /// A map could not be used.
    #[error("cannot use the eBPF map {map}{}", hint(source))]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// The kernel's list of interfaces could not be had.
    #[error("cannot {operation} by netlink")]
    Netlink {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: rtnetlink::Error,
    },
    /// The operating system refused something else.
    #[error("cannot {operation}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A thread of the capture ended on its own.
    #[error("the thread {thread} ended unexpectedly")]
    Ended {
        /// Which.
        thread: &'static str,
    },
}

/// Why an interface is not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It went away meanwhile: not an error to tell anyone.
    #[error("the interface is gone")]
    Vanished,
    /// The interface table of the probes is full, or not writable.
    #[error("cannot enter it in the probes' interface table")]
    Table(#[source] MapError),
    /// The kernel refused the hook.
    #[error("cannot attach {program} by {hook}{}", hint(source))]
    Hook {
        /// Which program.
        program: &'static str,
        /// By what.
        hook: &'static str,
        /// Why.
        source: ProgramError,
    },
}

/// The first operating system error number among the causes.
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

/// Some of aya's errors pass for their cause, which then is no link of the chain: look inside.
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

/// What to do about an error, as far as its number says.
fn hint(error: &(dyn Error + 'static)) -> &'static str {
    match errno(error) {
        Some(libc::EPERM) => {
            ": not permitted; it takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (root has them), a seccomp profile that \
             allows bpf(), and before Linux 5.11 an unlimited RLIMIT_MEMLOCK (or CAP_SYS_RESOURCE); see `tracer check`"
        }
        Some(libc::EACCES) => {
            ": refused by the kernel's verifier, as it does without CAP_PERFMON (root has it); see `tracer check`"
        }
        Some(libc::ENOSYS) => {
            ": this kernel has no bpf(); it takes Linux 5.10 or newer with CONFIG_BPF_SYSCALL"
        }
        Some(libc::ENOMEM) => ": not enough memory; smaller --ring-size and --flow-table need less",
        Some(libc::E2BIG | libc::ENOSPC) => ": a table is full",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_is_found_inside_an_error_that_passes_for_its_cause() {
        let cause = io::Error::from_raw_os_error(libc::ENODEV);
        let error = ProgramError::TcError(TcError::IoError(cause));
        assert_eq!(errno(&error), Some(libc::ENODEV));
    }

    #[test]
    fn a_refusal_names_the_capabilities_that_are_missing() {
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
