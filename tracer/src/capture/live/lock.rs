//! One capture per instance name and network namespace.
//!
//! Below Linux 6.6 a filter outlives a killed loader and is told from a live one by nothing. So a live one holds a lock,
//! and who has the lock may take over what it finds. The lock is an abstract unix socket: it belongs to the network
//! namespace, which is exactly what two captures would share, and the kernel drops it with its owner.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::error::CaptureError;

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct InstanceLock(#[expect(dead_code, reason = "holding it is its use")] UnixListener);

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
    fn a_second_capture_of_the_same_name_is_refused_until_the_first_is_gone() {
        let name = format!("test-{}", std::process::id());
        let first = InstanceLock::take(&name).expect("nobody has it");
        let refused = InstanceLock::take(&name).expect_err("it is taken");
        assert!(
            matches!(refused, CaptureError::AlreadyRunning { .. }),
            "{refused}"
        );
        assert!(InstanceLock::take(&format!("{name}-other")).is_ok());
        drop(first);
        assert!(InstanceLock::take(&name).is_ok());
    }
}
