//! One YAML or JSON document: an object, or a List of objects.
//!
//! Owns the shape of kubectl's output. A List's objects are handed on one by one, so that of a large file only
//! one object at a time exists as a generic value.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::{Map, Value};

/// Reads a document, and hands on the objects of its list.
pub(super) struct Document<'a, T> {
    /// Takes an object with its index in the list, and the kind that its list gives to objects without one.
    pub take: &'a mut dyn FnMut(usize, T, Option<&str>),
    /// Whether an object names its kind.
    pub has_kind: fn(&T) -> bool,
}

/// A document without its list.
pub(super) struct Rest {
    /// `kind`.
    pub kind: Option<String>,
    /// All fields but `items`.
    pub fields: Map<String, Value>,
    /// It had `items`.
    pub is_list: bool,
}

/// Items of a typed list (PodList, as the API gives it) do not repeat their kind.
fn item_kind(kind: Option<&str>) -> Option<&str> {
    kind.and_then(|kind| kind.strip_suffix("List"))
        .filter(|kind| !kind.is_empty())
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Document<'_, T> {
    type Value = Rest;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rest, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Document<'_, T> {
    type Value = Rest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a List of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rest, A::Error> {
        let mut rest = Rest {
            kind: None,
            fields: Map::new(),
            is_list: false,
        };
        // Where a typed list has its kind behind its items.
        let mut waiting = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" if rest.is_list => return Err(A::Error::duplicate_field("items")),
                "items" => {
                    rest.is_list = map.next_value_seed(Items {
                        has_list_kind: rest.kind.is_some(),
                        list_kind: item_kind(rest.kind.as_deref()),
                        document: Document {
                            take: &mut *self.take,
                            has_kind: self.has_kind,
                        },
                        waiting: &mut waiting,
                    })?;
                }
                // Not kept, and often the larger part of an object.
                "managedFields" => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => {
                    let value: Value = map.next_value()?;
                    if key == "kind" {
                        rest.kind = value.as_str().map(str::to_owned);
                    }
                    rest.fields.insert(key, value);
                }
            }
        }
        for (index, item) in waiting {
            (self.take)(index, item, item_kind(rest.kind.as_deref()));
        }
        Ok(rest)
    }
}

/// The objects of a list; the value is false for a null instead of it.
struct Items<'a, T> {
    /// The list's kind has been read.
    has_list_kind: bool,
    list_kind: Option<&'a str>,
    document: Document<'a, T>,
    waiting: &'a mut Vec<(usize, T)>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Items<'_, T> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<'_, T> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let mut index = 0;
        while let Some(item) = items.next_element::<T>()? {
            if self.has_list_kind || (self.document.has_kind)(&item) {
                (self.document.take)(index, item, self.list_kind);
            } else {
                self.waiting.push((index, item));
            }
            index += 1;
        }
        Ok(true)
    }
}
