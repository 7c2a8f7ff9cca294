//! Events as JSON lines: the contract that programs read. One object per line; changes are additive.
//!
//! Owns the field names and the null rules: a field that the contract lists is always present, and null if
//! its value is unknown; a field that it marks optional is left out instead. Durations are integer
//! nanoseconds, times RFC 3339 in UTC with nine digits. All control characters are escaped, also those that
//! JSON allows.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Encode, EncodeError, WallClock, words};
use crate::model::event::Event;

mod body;
mod dns_details;
mod ends;
#[cfg(test)]
mod tests;
mod time;

use self::time::Rfc3339;

/// The JSON encoder of one node's events.
#[derive(Clone, Debug)]
pub struct Json {
    node: Arc<str>,
    time: Rfc3339,
    /// Empty between calls; kept for its capacity.
    line: Vec<u8>,
}

impl Json {
    /// An encoder for the events of this node.
    pub fn new(node: Arc<str>) -> Json {
        Json {
            node,
            time: Rfc3339::default(),
            line: Vec::new(),
        }
    }

    /// The fields common to all types, then those of the event's type.
    fn line(&mut self, event: &Event, clock: &dyn WallClock) -> serde_json::Result<()> {
        let ports = body::has_ports(&event.body);
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(b"{\"type\":\"");
        line.extend_from_slice(words::kind(&event.body).as_bytes());
        line.extend_from_slice(b"\",\"time\":\"");
        line.extend_from_slice(self.time.format(clock.wall(event.time)).as_bytes());
        line.extend_from_slice(b"\",\"node\":");
        serde_json::to_writer(&mut *line, &*self.node)?;
        line.extend_from_slice(b",\"pod\":");
        let ends = event.ends.as_ref();
        serde_json::to_writer(
            &mut *line,
            &ends.map(|ends| ends::Pod::new(&ends.pod, ports)),
        )?;
        line.extend_from_slice(b",\"peer\":");
        serde_json::to_writer(
            &mut *line,
            &ends.map(|ends| ends::Peer::new(&ends.peer, ports)),
        )?;
        line.extend_from_slice(b",\"direction\":");
        serde_json::to_writer(
            &mut *line,
            &ends.map(|ends| words::direction(ends.role)),
        )?;
        let body = line.len();
        serde_json::to_writer(&mut *line, &body::Fields::new(&event.body, clock))?;
        // Its fields continue the object, which no type leaves empty.
        line[body] = b',';
        Ok(())
    }
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
        self.line(event, clock).map_err(|source| EncodeError {
            kind: words::kind(&event.body),
            source,
        })?;
        append_safe(&String::from_utf8_lossy(&self.line), out);
        Ok(())
    }
}

/// Integer nanoseconds.
fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// JSON escapes only U+0000 to U+001F. This also escapes DEL, the C1 controls (U+009B starts an escape
/// sequence on many terminals) and marks that reorder text. JSON's syntax has none of them, so each is inside
/// a string.
fn append_safe(encoded: &str, out: &mut String) {
    // Nearly all lines are ASCII, where only DEL is left to escape.
    if encoded.is_ascii() && !encoded.as_bytes().contains(&0x7f) {
        out.push_str(encoded);
    } else {
        append_escaped(encoded, out);
    }
    out.push('\n');
}

fn append_escaped(encoded: &str, out: &mut String) {
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
}
