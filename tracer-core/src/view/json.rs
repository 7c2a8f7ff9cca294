//! Events as JSON lines: the contract that programs read. One object per line; changes are additive.
//!
//! Owns the field names and the null rules: a field that the contract lists is always present, and null if
//! its value is unknown; a field that it marks optional is left out instead. Durations are integer
//! nanoseconds, times RFC 3339 in UTC with nine digits. All control characters are escaped, also those that
//! JSON allows.

use std::sync::Arc;

use super::{Encode, EncodeError, WallClock, words};
use crate::model::event::Event;

mod body;
mod dns;
mod dns_details;
pub(super) mod dns_health;
mod ends;
mod line;
mod lookup;
#[cfg(test)]
mod tests;
mod time;

use self::line::{Line, field, first};
use self::time::Rfc3339;

/// The JSON encoder of one node's events.
#[derive(Clone, Debug)]
pub struct Json {
    node: Arc<str>,
    time: Rfc3339,
}

impl Json {
    /// An encoder for the events of this node.
    pub fn new(node: Arc<str>) -> Json {
        Json {
            node,
            time: Rfc3339::default(),
        }
    }

    /// The fields common to all types, then those of the event's type.
    fn line(
        &mut self,
        event: &Event,
        clock: &dyn WallClock,
        line: &mut Line<'_>,
    ) -> serde_json::Result<()> {
        let ports = body::has_ports(&event.body);
        let ends = event.ends.as_ref();
        first!(line, "type");
        line.word(words::kind(&event.body));
        field!(line, "time");
        line.word(self.time.format(clock.wall(event.time)));
        // A node of several clusters is CLUSTER/NODE. A node's name has no slash.
        let (cluster, node) = match self.node.rsplit_once('/') {
            Some((cluster, node)) => (Some(cluster), node),
            None => (None, &*self.node),
        };
        field!(line, "node");
        line.string(node);
        if let Some(cluster) = cluster {
            field!(line, "cluster");
            line.string(cluster);
        }
        field!(line, "pod");
        line.nullable(ends, |line, ends| ends::pod(line, &ends.pod, ports));
        field!(line, "peer");
        line.nullable(ends, |line, ends| ends::peer(line, &ends.peer, ports));
        field!(line, "direction");
        line.nullable(ends, |line, ends| line.word(words::direction(ends.role)));
        if event.incomplete {
            field!(line, "incomplete");
            line.raw("true");
        }
        body::fields(line, &event.body, clock)?;
        line.raw("}\n");
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
        let before = out.len();
        self.line(event, clock, &mut Line(out)).map_err(|source| {
            out.truncate(before);
            EncodeError {
                kind: words::kind(&event.body),
                source,
            }
        })
    }
}

/// JSON in which every character that must not reach a terminal is escaped, also those that JSON allows.
pub(crate) fn printable(encoded: &str) -> String {
    let mut text = String::with_capacity(encoded.len());
    Line(&mut text).safe(encoded);
    text
}

/// Integer nanoseconds.
fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
