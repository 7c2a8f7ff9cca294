//! Rule ids, reasons of losses and of drops as `&'static str`. In the agent most are literals; a client has to
//! keep the text it receives, a replay the text of a recording, and the kernel names its drops itself.
//!
//! There are few of them, and a client talks to agents of few versions. A limit bounds what a faulty agent
//! can make a client keep.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

const MAX_TEXTS: usize = 1024;
const MAX_BYTES: usize = 256;
/// Stands for a text beyond the limits.
const OTHER: &str = "other";

static KEPT: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

/// Keeps a text for the rest of the process. Returns `other` for one beyond the limits.
pub fn intern(text: &str) -> &'static str {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(text) {
        return known;
    }
    if text.len() > MAX_BYTES || kept.len() >= MAX_TEXTS {
        return OTHER;
    }
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    kept.insert(text);
    text
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, OTHER, intern};

    #[test]
    fn a_text_is_kept_once_and_a_long_one_is_not_kept() {
        let text = "a reason";
        assert_eq!(intern(text), text);
        let another = String::from(text);
        assert!(std::ptr::eq(intern(text), intern(&another)));
        assert_eq!(intern(&"x".repeat(MAX_BYTES + 1)), OTHER);
    }
}
