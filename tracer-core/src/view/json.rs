//! Events as JSON lines: the contract that programs read. One object per line; changes are additive.
//!
//! Owns the field names and the null rules: a field that the contract lists is always present, and null if
//! its value is unknown; a field that it marks optional is left out instead. Durations are integer
//! nanoseconds, times RFC 3339 in UTC with nine digits. All control characters are escaped, also those that
//! JSON allows.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::{Encode, EncodeError, WallClock, words};
use crate::model::event::Event;

mod body;
mod dns_details;
mod ends;
#[cfg(test)]
mod tests;

/// The JSON encoder of one node's events.
#[derive(Clone, Debug)]
pub struct Json {
    node: Arc<str>,
}

impl Json {
    /// An encoder for the events of this node.
    pub fn new(node: Arc<str>) -> Json {
        Json { node }
    }
}

/// The fields common to all types, then those of the event's type.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    time: String,
    node: &'a str,
    pod: Option<ends::Pod<'a>>,
    peer: Option<ends::Peer<'a>>,
    direction: Option<&'static str>,
    #[serde(flatten)]
    body: body::Fields<'a>,
}

impl Encode for Json {
    fn set_node(&mut self, node: &Arc<str>) {
        self.node.clone_from(node);
    }

    fn encode(
        &mut self,
        event: &Event,
        clock: &dyn WallClock,
        out: &mut String,
    ) -> Result<(), EncodeError> {
        let ports = body::has_ports(&event.body);
        let ends = event.ends.as_ref();
        let kind = words::kind(&event.body);
        let line = Line {
            r#type: kind,
            time: rfc3339(clock.wall(event.time)),
            node: &self.node,
            pod: ends.map(|ends| ends::Pod::new(&ends.pod, ports)),
            peer: ends.map(|ends| ends::Peer::new(&ends.peer, ports)),
            direction: ends.map(|ends| words::direction(ends.role)),
            body: body::Fields::new(&event.body, clock),
        };
        let encoded =
            serde_json::to_string(&line).map_err(|source| EncodeError { kind, source })?;
        append_safe(&encoded, out);
        Ok(())
    }
}

/// RFC 3339, UTC, nine digits.
fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.9}")
}

/// Integer nanoseconds.
fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// JSON escapes only U+0000 to U+001F. This also escapes DEL, the C1 controls (U+009B starts an escape
/// sequence on many terminals) and marks that reorder text. JSON's syntax has none of them, so each is inside
/// a string.
fn append_safe(encoded: &str, out: &mut String) {
    for character in encoded.chars() {
        if crate::model::printable::is_unsafe(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out.push('\n');
}
