//! Rule names and reasons of losses are literals of the agent's code; on this side of the wire they live as long.
//!
//! There are few of them, and a client talks to agents of few versions. Whatever an agent sends, no more than so many are
//! kept.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

const MOST: usize = 1024;
const LONGEST: usize = 256;
/// What has no room.
const OTHER: &str = "other";

static KEPT: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

/// The same text, for good; `other` where it is too long, or where there were too many.
pub(super) fn intern(text: &str) -> &'static str {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(text) {
        return known;
    }
    if text.len() > LONGEST || kept.len() >= MOST {
        return OTHER;
    }
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    kept.insert(text);
    text
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, OTHER, intern};

    #[test]
    fn the_same_text_is_kept_once_and_a_long_one_not_at_all() {
        let text = "a reason";
        assert_eq!(intern(text), text);
        let another = String::from(text);
        assert!(std::ptr::eq(intern(text), intern(&another)));
        assert_eq!(intern(&"x".repeat(LONGEST + 1)), OTHER);
    }
}
