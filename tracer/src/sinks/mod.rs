//! Edge: events as text and as JSON lines. Encoding is apart from writing.
