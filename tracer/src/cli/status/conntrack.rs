//! What an agent reads of conntrack, as text and as JSON.

use serde_json::{Value, json};

use crate::stream::proto::Conntrack;
use tracer_core::model::units;

/// The state, and the counters if they are known.
pub(super) fn lines(conntrack: &Conntrack) -> Vec<String> {
    let mut state = format!(
        "{}; {} read",
        conntrack.state,
        units::count(conntrack.translations, "translation")
    );
    for (times, what) in [
        (conntrack.overflows, "the receive buffer was full"),
        (conntrack.pauses, "too many came"),
    ] {
        if times > 0 {
            state.push_str(&format!("; {what} {}", units::count(times, "time")));
        }
    }
    let mut lines = vec![state];
    if let Some(counters) = &conntrack.counters {
        let max = match counters.max {
            0 => String::new(),
            max => format!(" of {max}"),
        };
        lines.push(format!(
            "{}{max} entries; insert_failed {}, drop {}, early_drop {}",
            counters.entries, counters.insert_failed, counters.drop, counters.early_drop
        ));
    }
    lines
}

pub(super) fn json(conntrack: &Conntrack) -> Value {
    json!({
        "state": conntrack.state,
        "following": conntrack.following,
        "translations": conntrack.translations,
        "overflows": conntrack.overflows,
        "pauses": conntrack.pauses,
        "counters": conntrack.counters.as_ref().map(|counters| json!({
            "entries": counters.entries,
            "max": (counters.max > 0).then_some(counters.max),
            "insert_failed": counters.insert_failed,
            "drop": counters.drop,
            "early_drop": counters.early_drop,
        })),
    })
}
