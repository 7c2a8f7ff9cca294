//! Errors as people read them: on one line, with their causes.

use std::error::Error;

/// An error followed by its causes, on one line. A cause that the text already contains is left out: many errors repeat
/// their cause in their own message.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let more = current.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = current.source();
    }
    one_line(&text)
}

/// The innermost cause, on one line, for errors whose outer layers say only that a request failed.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    one_line(&cause.to_string())
}

/// Text with each run of white space, line breaks included, replaced by one space.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        Layer {
            text: texts[0],
            source: (texts.len() > 1).then(|| Box::new(layers(&texts[1..]))),
        }
    }

    #[test]
    fn a_chain_is_one_line_and_names_each_cause_once() {
        let error = layers(&[
            "cannot list pods: connection failed",
            "connection failed",
            "connect\n  refused",
        ]);
        assert_eq!(
            error_chain(&error),
            "cannot list pods: connection failed: connect refused"
        );
        assert_eq!(root_cause(&error), "connect refused");
    }
}
