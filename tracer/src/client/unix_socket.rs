//! The connection to an agent on this machine.

use std::path::Path;

use super::target::Unreachable;

/// Connects to an agent's socket.
#[cfg(unix)]
pub(super) async fn connect(path: &Path) -> Result<tokio::net::UnixStream, Unreachable> {
    use std::io::ErrorKind;

    let connected = tokio::net::UnixStream::connect(path).await;
    connected.map_err(|error| {
        Unreachable(match error.kind() {
            ErrorKind::NotFound => "no such socket: check that `tracer agent` runs".to_owned(),
            ErrorKind::ConnectionRefused => {
                "no process listens on the socket: `tracer agent` has ended".to_owned()
            }
            ErrorKind::PermissionDenied => {
                "permission denied: only the user that the agent runs as (usually root) may use its socket"
                    .to_owned()
            }
            _ => error.to_string(),
        })
    })
}

/// Always fails.
#[cfg(not(unix))]
pub(super) async fn connect(_path: &Path) -> Result<tokio::io::DuplexStream, Unreachable> {
    Err(Unreachable(
        "this system has no unix sockets: use https://HOST:PORT".to_owned(),
    ))
}
