//! Classifies the failure of a list or a watch by its remedy.

use kube::runtime::watcher;
use tracer_core::model::error_chain::root_cause;

/// The failure of a kind's list or watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server rejects the credentials.
    Unauthorized(String),
    /// The credentials do not permit this verb.
    Forbidden { verb: &'static str, message: String },
    /// The API has no such kind.
    Absent,
    /// The version to resume from is too old, so the kind is listed again. This is normal.
    Expired,
    /// The API server is unreachable, or the connection broke.
    Unreachable(String),
    /// The server returned an error or an unexpected response.
    Failed(String),
}

impl Trouble {
    pub fn from_error(error: &watcher::Error) -> Trouble {
        match error {
            watcher::Error::InitialListFailed(error) => Trouble::from_request("list", error),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Trouble::from_request("watch", error)
            }
            watcher::Error::WatchError(status) => Trouble::from_status("watch", status),
            watcher::Error::NoResourceVersion => {
                Trouble::Failed("the server sends objects without a resourceVersion".to_owned())
            }
        }
    }

    fn from_request(verb: &'static str, error: &kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) => Trouble::from_status(verb, status),
            kube::Error::SerdeError(error) => {
                Trouble::Failed(format!("cannot read the server's response: {error}"))
            }
            kube::Error::Auth(error) => Trouble::Unauthorized(root_cause(error)),
            other => Trouble::Unreachable(root_cause(other)),
        }
    }

    fn from_status(verb: &'static str, status: &kube::core::Status) -> Trouble {
        let message = || match (status.message.as_str(), status.reason.as_str()) {
            ("", "") => format!("status {}", status.code),
            ("", reason) => format!("status {} ({reason})", status.code),
            (message, _) => format!("status {}: {message}", status.code),
        };
        match status.code {
            401 => Trouble::Unauthorized(message()),
            403 => Trouble::Forbidden {
                verb,
                message: status.message.clone(),
            },
            404 => Trouble::Absent,
            410 => Trouble::Expired,
            _ => Trouble::Failed(message()),
        }
    }
}
