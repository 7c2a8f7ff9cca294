//! One YAML or JSON document: an object, or a List of objects with the line where each starts.
//!
//! Owns the shape of kubectl's output. The objects stay generic values until their kind is known.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A document split into its fields and items. Items are values, with or without their position.
pub(super) struct Document<T> {
    /// `kind`.
    pub kind: Option<String>,
    /// All fields but `items`.
    pub fields: Map<String, Value>,
    /// `items`, if there are any.
    pub items: Option<Vec<T>>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Document<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document<T>, D::Error> {
        deserializer.deserialize_map(DocumentVisitor(PhantomData))
    }
}

struct DocumentVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for DocumentVisitor<T> {
    type Value = Document<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a List of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document<T>, A::Error> {
        let mut document = Document {
            kind: None,
            fields: Map::new(),
            items: None,
        };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" => document.items = map.next_value::<Option<Vec<T>>>()?,
                // Not kept, and often the larger part of an object.
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
