//! One capture per instance name and network namespace.
//!
//! Before Linux 6.6 a filter outlives a killed loader, and nothing distinguishes it from a live one. So a
//! running capture holds a lock, and the holder of the lock may take over the filters it finds. The lock is
//! an abstract unix socket: it belongs to the network namespace, which is what two captures would share, and
//! the kernel releases it with its owner.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::error::CaptureError;

/// The lock; dropping it releases it.
#[derive(Debug)]
pub(super) struct InstanceLock(
    #[expect(dead_code, reason = "holding it is its purpose")] UnixListener,
);

impl InstanceLock {
    pub fn take(instance: &str) -> Result<InstanceLock, CaptureError> {
        let taken = SocketAddr::from_abstract_name(format!("tracer-capture-{instance}"))
            .and_then(|name| UnixListener::bind_addr(&name));
        match taken {
            Ok(listener) => Ok(InstanceLock(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(CaptureError::AlreadyRunning {
                    instance: instance.to_owned(),
                })
            }
            Err(source) => Err(CaptureError::Lock {
                instance: instance.to_owned(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_capture_of_the_same_name_is_refused_until_the_first_ends() {
        let name = format!("test-{}", std::process::id());
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
}
