//! What went wrong with a list or a watch, sorted by what has to be done about it.

use kube::runtime::watcher;

/// Trouble with one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The credentials are not, or no more, accepted.
    Unauthorized(String),
    /// They do not suffice for this verb.
    Forbidden { verb: &'static str, message: String },
    /// The API has no such kind.
    Absent,
    /// The place to resume from is too long ago: all is listed anew, which is nothing to complain of.
    Expired,
    /// The API server cannot be reached, or the connection to it broke.
    Unreachable(String),
    /// It answered with an error, or with something that is none of its answers.
    Failed(String),
}

impl Trouble {
    pub fn of(error: &watcher::Error) -> Trouble {
        match error {
            watcher::Error::InitialListFailed(error) => Trouble::of_request("list", error),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Trouble::of_request("watch", error)
            }
            watcher::Error::WatchError(status) => Trouble::of_status("watch", status),
            watcher::Error::NoResourceVersion => {
                Trouble::Failed("it sends objects without a resourceVersion".to_owned())
            }
        }
    }

    fn of_request(verb: &'static str, error: &kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) => Trouble::of_status(verb, status),
            kube::Error::SerdeError(error) => {
                Trouble::Failed(format!("its answer cannot be read: {error}"))
            }
            kube::Error::Auth(error) => Trouble::Unauthorized(root(error)),
            other => Trouble::Unreachable(root(other)),
        }
    }

    fn of_status(verb: &'static str, status: &kube::core::Status) -> Trouble {
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

/// The innermost cause: the layers around it only say that a request failed.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
