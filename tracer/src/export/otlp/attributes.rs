//! Attributes of a log record or a resource. A value that is not known has no attribute.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

/// A list of attributes.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    /// Adds a text. An empty one is not known.
    pub fn text(&mut self, key: &str, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.push(key, Value::StringValue(text));
        }
    }

    /// Adds a list of texts, unless it is empty.
    pub fn texts(&mut self, key: &str, texts: impl IntoIterator<Item = String>) {
        let values: Vec<AnyValue> = texts.into_iter().map(text).collect();
        if !values.is_empty() {
            self.push(key, Value::ArrayValue(ArrayValue { values }));
        }
    }

    /// Adds a number.
    pub fn number(&mut self, key: &str, number: impl TryInto<i64>) {
        let number = number.try_into().unwrap_or(i64::MAX);
        self.push(key, Value::IntValue(number));
    }

    /// Adds a number that need not be whole.
    pub fn float(&mut self, key: &str, number: f64) {
        self.push(key, Value::DoubleValue(number));
    }

    /// Adds `true`.
    pub fn flag(&mut self, key: &str, set: bool) {
        if set {
            self.push(key, Value::BoolValue(true));
        }
    }

    /// The list.
    pub fn into_list(self) -> Vec<KeyValue> {
        self.0
    }

    fn push(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }
}

/// A text as a value.
pub(super) fn text(text: String) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text)),
    }
}
