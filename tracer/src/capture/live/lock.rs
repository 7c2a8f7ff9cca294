//! One capture per instance name and network namespace.
//!
//! Before Linux 6.6 a filter outlives a killed loader, and nothing distinguishes it from a live one. So a
//! running capture holds a lock, and the holder of the lock may take over the filters it finds. The lock is
//! an abstract unix socket: it belongs to the network namespace, which is what two captures would share, and
//! the kernel releases it with its owner.
//!
//! Any process of the network namespace can bind such a name. So a name counts as the lock only if root or
//! this user listens on it, which the kernel reports (SO_PEERCRED); a capture ignores other holders and takes
//! one of a few further names. If others hold all of them, it runs without a lock, and warns: the lock
//! protects from a mistake of the operator, and others must not be able to prevent a start with it.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Uid, geteuid};

use super::error::CaptureError;

/// The names of an instance's lock.
const NAMES: usize = 4;

/// The lock; dropping it releases it.
#[derive(Debug)]
pub(super) struct InstanceLock(
    #[expect(dead_code, reason = "holding it is its purpose")] Option<UnixListener>,
);

impl InstanceLock {
    pub fn take(instance: &str) -> Result<InstanceLock, CaptureError> {
        take(instance, |holder| {
            holder == Uid::ROOT || holder == geteuid()
        })
    }
}

/// Takes the lock unless a user that `counts` holds it.
fn take(instance: &str, counts: impl Fn(Uid) -> bool) -> Result<InstanceLock, CaptureError> {
    let failed = |source| CaptureError::Lock {
        instance: instance.to_owned(),
        source,
    };
    let mut lock = None;
    let mut own = None;
    for number in 0..NAMES {
        let name = name(instance, number).map_err(failed)?;
        match UnixListener::bind_addr(&name) {
            Ok(listener) => {
                lock = Some(listener);
                own = Some(number);
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(failed(error)),
        }
    }
    // After taking a name, so that of two captures that start together at least one sees the other. All of
    // the names: the other one may have found an earlier name free, or a later one.
    for number in (0..NAMES).filter(|number| Some(*number) != own) {
        let Some(holder) = holder(&name(instance, number).map_err(failed)?) else {
            continue;
        };
        if counts(holder) {
            return Err(CaptureError::AlreadyRunning {
                instance: instance.to_owned(),
            });
        }
        tracing::warn!(
            instance,
            uid = holder.as_raw(),
            "another user holds the lock of this instance; it is ignored"
        );
    }
    if lock.is_none() {
        tracing::warn!(
            instance,
            "other users hold every name of this instance's lock: a second capture of this instance would not be refused"
        );
    }
    Ok(InstanceLock(lock))
}

fn name(instance: &str, number: usize) -> io::Result<SocketAddr> {
    // The first is what earlier versions use.
    let suffix = match number {
        0 => String::new(),
        number => format!(".{number}"),
    };
    SocketAddr::from_abstract_name(format!("tracer-capture-{instance}{suffix}"))
}

/// The user that listened on a name; `None` if no process does. A capture always listens.
fn holder(name: &SocketAddr) -> Option<Uid> {
    let stream = UnixStream::connect_addr(name).ok()?;
    Some(socket_peercred(&stream).ok()?.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unique(test: &str) -> String {
        format!("{test}-{}", std::process::id())
    }

    #[test]
    fn a_second_capture_of_the_same_name_is_refused_until_the_first_ends() {
        let name = unique("test");
        let first = InstanceLock::take(&name).expect("the lock is free");
        let refused = InstanceLock::take(&name).expect_err("the lock is taken");
        assert!(
            matches!(refused, CaptureError::AlreadyRunning { .. }),
            "{refused}"
        );
        assert!(InstanceLock::take(&format!("{name}-other")).is_ok());
        drop(first);
        assert!(InstanceLock::take(&name).is_ok());
    }

    #[test]
    fn a_holder_that_does_not_count_is_ignored_and_captures_still_exclude_each_other() {
        let name = unique("squatted");
        // This process is the other user: its listener is ignored in the first call.
        let squatter =
            UnixListener::bind_addr(&super::name(&name, 0).expect("a name")).expect("free");
        let first = take(&name, |_| false).expect("the squatter is ignored");
        drop(squatter);
        // The first name is free again, but the first capture holds a further one.
        let refused = InstanceLock::take(&name).expect_err("the lock is taken");
        assert!(
            matches!(refused, CaptureError::AlreadyRunning { .. }),
            "{refused}"
        );
        drop(first);
        assert!(InstanceLock::take(&name).is_ok());
    }

    #[test]
    fn holders_of_every_name_cannot_prevent_a_start() {
        let name = unique("all");
        let _squatters: Vec<_> = (0..NAMES)
            .map(|number| UnixListener::bind_addr(&super::name(&name, number).expect("a name")))
            .collect();
        assert!(take(&name, |_| false).is_ok());
    }
}
