//! What an encoder is: an event and a clock in, lines out.

use std::sync::Arc;

use crate::model::event::Event;
use crate::model::time::Timestamp;

/// How the pipeline's clock maps to wall time. The edge that owns the clock implements it.
pub trait WallClock {
    /// The wall time of a moment on the pipeline's clock.
    fn wall(&self, at: Timestamp) -> jiff::Timestamp;
}

impl<F: Fn(Timestamp) -> jiff::Timestamp> WallClock for F {
    fn wall(&self, at: Timestamp) -> jiff::Timestamp {
        self(at)
    }
}

/// Turns an event into lines.
pub trait Encode {
    /// The events from here on come from this node.
    fn set_node(&mut self, _node: &Arc<str>) {}

    /// The events from here on were decided at this time; an event's own time is when it began.
    fn set_decided(&mut self, _at: Timestamp) {}

    /// These events follow, and no others.
    fn set_all(&mut self, _events: &[Event], _clock: &dyn WallClock) {}

    /// Appends the event's lines to `out`, each with its newline. Appends nothing if it fails.
    fn encode(
        &mut self,
        event: &Event,
        clock: &dyn WallClock,
        out: &mut String,
    ) -> Result<(), EncodeError>;
}

/// An event that has no encoded form.
///
/// [`Json`](super::json::Json) serializes only structures with string keys, and none of them has a
/// `Serialize` of its own, so serde_json has no reason to fail today. A future field that breaks this ends
/// the output with an error instead of a missing line.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode a {kind} event: {source}")]
pub struct EncodeError {
    /// The event's type.
    pub kind: &'static str,
    /// What the serializer reports.
    pub source: serde_json::Error,
}
