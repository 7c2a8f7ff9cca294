//! Objects, lists and watch events in each form.

use std::convert::Infallible;
use std::fmt::Write as _;

use axum::body::Body;
use bytes::Bytes;
use serde_json::{Value, json};
use tracer_core::model::printable::{is_unsafe, safe};

use super::form::{Form, Include};
use super::kinds::{GROUP_VERSION, Kind};
use super::status::Failure;

/// An object, and the cells of its row.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The object, with kind and version.
    pub object: Value,
    /// One for each column of its kind.
    pub cells: Vec<Value>,
}

/// What a list says beside its items.
#[derive(Clone, Debug, Default)]
pub struct ListHead {
    /// The version that a watch resumes from.
    pub version: String,
    /// Where the next page starts.
    pub next: Option<String>,
    /// How many objects follow.
    pub remaining: Option<usize>,
}

/// One kind in one form.
#[derive(Clone, Copy, Debug)]
pub struct Renderer {
    /// The kind.
    pub kind: &'static Kind,
    /// The form.
    pub form: Form,
}

impl Renderer {
    /// The answer to a list. It is written while the client reads it: the text of a large one is never in
    /// memory as a whole, however slow the client is.
    pub fn list(
        self,
        head: &ListHead,
        items: impl Iterator<Item = Rendered> + Send + 'static,
    ) -> Body {
        let chunks = self.list_chunks(head, items).map(Ok::<_, Infallible>);
        Body::from_stream(futures::stream::iter(chunks))
    }

    fn list_chunks(
        self,
        head: &ListHead,
        items: impl Iterator<Item = Rendered> + Send + 'static,
    ) -> impl Iterator<Item = Bytes> + Send + 'static {
        let mut metadata = json!({"resourceVersion": head.version});
        if let Some(next) = &head.next {
            metadata["continue"] = next.as_str().into();
        }
        if let Some(remaining) = head.remaining.filter(|remaining| *remaining > 0) {
            metadata["remainingItemCount"] = remaining.into();
        }
        let (kind, version, field, columns) = match self.form {
            Form::Table(version, _) => (
                "Table",
                format!("meta.k8s.io/{version}"),
                "rows",
                format!(r#""columnDefinitions":{},"#, self.columns()),
            ),
            Form::Metadata => (
                "PartialObjectMetadataList",
                "meta.k8s.io/v1".to_owned(),
                "items",
                String::new(),
            ),
            Form::Objects | Form::Native => (
                self.kind.list,
                GROUP_VERSION.to_owned(),
                "items",
                String::new(),
            ),
        };
        let begin = format!(
            r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},{columns}"{field}":["#
        );
        let items = items.enumerate().map(move |(number, item)| {
            let comma = if number > 0 { "," } else { "" };
            Bytes::from(comma.to_owned() + &text(&self.item(item)))
        });
        let end = Bytes::from_static(b"]}");
        std::iter::once(begin.into())
            .chain(items)
            .chain(std::iter::once(end))
    }

    /// A row of a table, else an object.
    fn item(self, item: Rendered) -> Value {
        match self.form {
            Form::Table(_, include) => row(item, include),
            Form::Metadata => partial(item.object),
            Form::Objects | Form::Native => item.object,
        }
    }

    /// The answer to a get, or the object of a watch event. Of a table's columns, `head` has the definitions.
    pub fn object(self, item: Rendered, head: bool) -> Value {
        let Form::Table(version, include) = self.form else {
            return self.item(item);
        };
        let resource_version = item.object["metadata"]["resourceVersion"].clone();
        json!({
            "kind": "Table",
            "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": {"resourceVersion": resource_version},
            "columnDefinitions": if head { self.columns() } else { Value::Null },
            "rows": [row(item, include)],
        })
    }

    /// An event of a watch. `head`: it is the first one.
    pub fn event(self, change: &str, item: Rendered, head: bool) -> Bytes {
        line(change, &self.object(item, head))
    }

    /// The event that everything up to this version has been sent.
    pub fn bookmark(self, version: &str) -> Bytes {
        let metadata = json!({"resourceVersion": version, "creationTimestamp": null});
        let object = match self.form {
            Form::Table(table, _) => json!({
                "kind": "Table",
                "apiVersion": format!("meta.k8s.io/{table}"),
                "metadata": {"resourceVersion": version},
                "columnDefinitions": null,
                "rows": [],
            }),
            Form::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            }),
            Form::Objects | Form::Native => json!({
                "kind": self.kind.kind, "apiVersion": GROUP_VERSION, "metadata": metadata,
            }),
        };
        line("BOOKMARK", &object)
    }

    fn columns(self) -> Value {
        let columns = self.kind.columns.iter().map(|column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        });
        columns.collect()
    }
}

/// The event that ends a watch with a failure.
pub fn error_event(failure: &Failure) -> Bytes {
    line("ERROR", &failure.status())
}

fn line(change: &str, object: &Value) -> Bytes {
    // The type comes first, as from the API server.
    let object = text(object);
    format!("{{\"type\":\"{change}\",\"object\":{object}}}\n").into()
}

/// JSON without the characters that it allows and terminals do not, as `tracer observe -o json` writes it.
/// JSON's syntax has none of them, so each is inside a string.
pub fn text(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(is_unsafe) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// The cells of a row, which go to a terminal as they are.
fn printable(cells: Vec<Value>) -> Vec<Value> {
    let cells = cells.into_iter().map(|cell| match cell {
        Value::String(text) => safe(&text).into(),
        other => other,
    });
    cells.collect()
}

fn row(mut item: Rendered, include: Include) -> Value {
    item.cells = printable(item.cells);
    match include {
        Include::None => json!({"cells": item.cells}),
        Include::Metadata => json!({"cells": item.cells, "object": partial(item.object)}),
        Include::Object => json!({"cells": item.cells, "object": item.object}),
    }
}

fn partial(mut object: Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"].take(),
    })
}

/// A time as Kubernetes writes it in metadata.
pub fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.0}")
}

/// A duration as kubectl shows ages: `42s`, `5m`, `3h`, `2d`.
pub fn age(since: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds;
    use super::*;

    fn rendered() -> Rendered {
        Rendered {
            object: json!({
                "kind": "Finding", "apiVersion": GROUP_VERSION,
                "metadata": {"name": "x", "resourceVersion": "7"}, "spec": {},
            }),
            cells: vec!["x".into(), 1.into()],
        }
    }

    fn renderer(form: Form) -> Renderer {
        Renderer {
            kind: &kinds::FINDINGS,
            form,
        }
    }

    fn json(text: &Bytes) -> Value {
        serde_json::from_slice(text).expect("JSON")
    }

    #[test]
    fn a_list_has_the_kind_of_its_form() {
        let head = ListHead {
            version: "9".to_owned(),
            next: Some("token".to_owned()),
            remaining: Some(3),
        };
        let list = |form| {
            let items = vec![rendered(), rendered()];
            let chunks = renderer(form).list_chunks(&head, items.into_iter());
            json(&chunks.collect::<Vec<_>>().concat().into())
        };
        let objects = list(Form::Objects);
        assert_eq!(objects["kind"], "FindingList");
        assert_eq!(objects["items"][1]["metadata"]["name"], "x");
        assert_eq!(
            objects["metadata"],
            json!({"resourceVersion": "9", "continue": "token", "remainingItemCount": 3})
        );
        let table = list(Form::Table("v1", Include::Metadata));
        assert_eq!(table["kind"], "Table");
        assert_eq!(
            table["columnDefinitions"]
                .as_array()
                .expect("columns")
                .len(),
            kinds::FINDINGS.columns.len()
        );
        assert_eq!(
            table["rows"][0],
            json!({"cells": ["x", 1], "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": "x", "resourceVersion": "7"}}})
        );
        let partial = list(Form::Metadata);
        assert_eq!(partial["kind"], "PartialObjectMetadataList");
        assert!(partial["items"][0].get("spec").is_none());
    }

    #[test]
    fn only_the_first_event_of_a_table_defines_the_columns() {
        let renderer = renderer(Form::Table("v1", Include::Object));
        for head in [true, false] {
            let event = json(&renderer.event("ADDED", rendered(), head));
            assert_eq!(event["type"], "ADDED");
            assert_eq!(event["object"]["kind"], "Table");
            assert_eq!(event["object"]["columnDefinitions"].is_array(), head);
            assert_eq!(event["object"]["rows"][0]["object"]["kind"], "Finding");
        }
        let bookmark = json(&renderer.bookmark("12"));
        assert_eq!(bookmark["type"], "BOOKMARK");
        assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], "12");
    }

    #[test]
    fn what_a_pod_or_an_agent_wrote_cannot_rewrite_a_terminal() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\u{e0041}z";
        let item = || Rendered {
            object: json!({"metadata": {"name": hostile}}),
            cells: vec![hostile.into()],
        };
        for form in [Form::Objects, Form::Table("v1", Include::Object)] {
            let event = renderer(form).event("ADDED", item(), true);
            let text = std::str::from_utf8(&event).expect("text");
            assert!(!text.trim_end().contains(is_unsafe), "{text:?}");
            let read: Value = serde_json::from_str(text).expect("JSON");
            let rows = &read["object"]["rows"];
            match form {
                // The object is what it was; the cell is what a person may see.
                Form::Objects => assert_eq!(read["object"]["metadata"]["name"], hostile),
                _ => {
                    let cell = rows[0]["cells"][0].as_str().expect("a text");
                    assert!(!cell.contains(is_unsafe), "{cell:?}");
                }
            }
        }
    }

    #[test]
    fn ages_are_short() {
        let now = jiff::Timestamp::from_second(1_000_000).expect("a time");
        for (seconds, expected) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (7200, "2h"),
            (172_800, "2d"),
        ] {
            let since = jiff::Timestamp::from_second(1_000_000 - seconds).expect("a time");
            assert_eq!(age(since, now), expected);
        }
        assert_eq!(rfc3339(now), "1970-01-12T13:46:40Z");
    }
}
