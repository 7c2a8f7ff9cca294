//! One YAML or JSON document: an object, or a List of objects with the line where each starts.
//!
//! Owns the shape of what kubectl prints, nothing of the objects inside: they stay generic values until their kind is known.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// A document, taken apart as far as its lists go.
pub(super) struct Document {
    /// `kind`.
    pub kind: Option<String>,
    /// All fields but `items`.
    pub fields: Map<String, Value>,
    /// `items`, where there are any.
    pub items: Option<Vec<Spanned<Value>>>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a List of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut document = Document {
            kind: None,
            fields: Map::new(),
            items: None,
        };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" => document.items = map.next_value::<Option<Vec<Spanned<Value>>>>()?,
                // Nothing of it is kept, and it is often the larger part of an object.
                "managedFields" => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => {
                    let value: Value = map.next_value()?;
                    if key == "kind" {
                        document.kind = value.as_str().map(str::to_owned);
                    }
                    document.fields.insert(key, value);
                }
            }
        }
        Ok(document)
    }
}
