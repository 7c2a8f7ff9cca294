//! An error and its causes as one line, for messages and logs.

use std::error::Error;

/// The error's message followed by those of its causes. A cause that the text before it already contains is
/// left out: many errors repeat their cause.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let message = current.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = current.source();
    }
    // Some messages have several lines.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::causes;

    #[test]
    fn a_cause_that_its_error_repeats_appears_once() {
        let inner = std::io::Error::other("connection\n  refused");
        let middle = anyhow::Error::new(inner).context("cannot connect: connection\n  refused");
        let outer = middle.context("cannot list pods");
        assert_eq!(
            causes(outer.as_ref()),
            "cannot list pods: cannot connect: connection refused"
        );
    }
}
