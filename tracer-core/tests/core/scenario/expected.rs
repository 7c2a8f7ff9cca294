//! The events that a scenario expects, and their comparison with those that came.

use serde_json::Value;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::time::Timestamp;
use tracer_core::view::Encode as _;
use tracer_core::view::filter::{Filter, FilterConfig};
use tracer_core::view::json::Json;

pub(super) struct Expectation {
    pub kind: String,
    pub fields: Vec<(String, Value)>,
    /// The texts that a field must contain, or must not.
    pub texts: Vec<(String, bool, String)>,
}

/// The events that a filter shows, and the expected ones.
pub(super) struct View {
    pub options: String,
    pub filter: Filter,
    pub expected: Vec<Expectation>,
}

impl View {
    pub(super) fn unfiltered() -> View {
        View {
            options: String::new(),
            filter: Filter::from(FilterConfig::default()),
            expected: Vec::new(),
        }
    }

    pub(super) fn compare(&self, events: &[Event]) -> Result<(), String> {
        // Findings count only in scenarios that expect some.
        let mut kinds = self.expected.iter().map(|expected| expected.kind.as_str());
        let findings = kinds.any(|kind| kind == "finding") || self.options.contains("finding");
        let lines: Vec<Value> = events
            .iter()
            .filter(|event| findings || !matches!(event.body, Body::Finding(_)))
            .filter(|event| self.options.is_empty() || self.filter.matches(event))
            .map(encode)
            .collect::<Result<_, _>>()?;
        let listed = || {
            lines
                .iter()
                .map(|line| format!("  {line}\n"))
                .collect::<String>()
        };
        if lines.len() != self.expected.len() {
            return Err(format!(
                "expected {} events, got {}:\n{}",
                self.expected.len(),
                lines.len(),
                listed()
            ));
        }
        for (number, (line, expected)) in (1..).zip(lines.iter().zip(&self.expected)) {
            check(line, expected)
                .map_err(|error| format!("event {number}: {error}; the events:\n{}", listed()))?;
        }
        Ok(())
    }
}

/// An event as a line of JSON.
pub fn encode(event: &Event) -> Result<Value, String> {
    let wall =
        |time: Timestamp| jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
    let mut line = String::new();
    Json::new("a-node".into())
        .encode(event, &wall, &mut line)
        .map_err(|error| error.to_string())?;
    serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))
}

fn check(line: &Value, expected: &Expectation) -> Result<(), String> {
    if line["type"] != expected.kind.as_str() {
        return Err(format!("expected {}, got {}", expected.kind, line["type"]));
    }
    for (key, wanted) in &expected.fields {
        let pointer = format!("/{}", key.replace('.', "/"));
        let found = line.pointer(&pointer).unwrap_or(&Value::Null);
        if found != wanted {
            return Err(format!("{key} is {found}, expected {wanted}"));
        }
    }
    for (key, said, text) in &expected.texts {
        let pointer = format!("/{}", key.replace('.', "/"));
        let found = match line.pointer(&pointer).unwrap_or(&Value::Null) {
            Value::String(found) => found.clone(),
            Value::Array(lines) => {
                let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
                lines.join("\n")
            }
            other => other.to_string(),
        };
        if found.contains(text.as_str()) != *said {
            let says = if *said { "does not say" } else { "says" };
            return Err(format!("{key} {says} {text:?}: {found}"));
        }
    }
    Ok(())
}
