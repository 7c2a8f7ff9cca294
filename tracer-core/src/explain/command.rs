//! Words of a command for a shell. Names come from the inventory and from users.

use std::borrow::Cow;

/// A word, quoted if a shell would read more into it.
pub(super) fn word(text: &str) -> Cow<'_, str> {
    // Only a NUL cannot be quoted.
    shlex::try_quote(text).unwrap_or(Cow::Borrowed("NAME"))
}

/// The beginning of a kubectl command in a namespace.
pub(super) fn kubectl(namespace: &str) -> String {
    format!("kubectl -n {}", word(namespace))
}

/// Describes an object.
pub(super) fn describe(kind: &str, namespace: &str, name: &str) -> String {
    format!("{} describe {kind} {}", kubectl(namespace), word(name))
}

/// Shows a Service.
pub(super) fn service(namespace: &str, name: &str) -> String {
    format!("{} get service {} -o wide", kubectl(namespace), word(name))
}

/// Lists the EndpointSlices of a Service.
pub(super) fn slices(namespace: &str, name: &str) -> String {
    let label = format!("kubernetes.io/service-name={name}");
    format!(
        "{} get endpointslices -l {}",
        kubectl(namespace),
        word(&label)
    )
}
