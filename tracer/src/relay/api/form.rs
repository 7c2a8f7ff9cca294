//! The form of an answer, by the header Accept: objects, a table for people, metadata only, or the relay's
//! own messages.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use super::request::Query;
use super::status::Failure;

/// The media type of the relay's own messages.
pub const NATIVE: &str = "application/vnd.tracer.v1+protobuf";

/// How much of an object a table's row contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON objects.
    Objects,
    /// A `meta.k8s.io` Table of this version.
    Table(&'static str, Include),
    /// `meta.k8s.io` PartialObjectMetadata.
    Metadata,
    /// Protobuf messages of `tracer.v1`.
    Native,
}

impl Form {
    /// The first form that the client accepts.
    ///
    /// # Errors
    /// If it accepts none.
    pub fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Form, Failure> {
        let accepted: Vec<&str> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        if accepted.is_empty() {
            return Ok(Form::Objects);
        }
        let include = match query.get("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("Object") => Include::Object,
            Some("None") => Include::None,
            Some(other) => {
                return Err(Failure::bad_request(format!(
                    "includeObject: {other:?} is not None, Metadata or Object"
                )));
            }
        };
        let mut forms = accepted.iter().filter_map(|range| form(range, include));
        forms.next().ok_or_else(|| {
            Failure::new(
                406,
                "NotAcceptable",
                format!(
                    "only the following media types are accepted: application/json, \
                     application/json;as=Table;v=v1;g=meta.k8s.io, {NATIVE}"
                ),
            )
        })
    }

    /// The media type of the answer.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Form::Native => NATIVE,
            _ => "application/json",
        })
    }
}

fn form(range: &str, include: Include) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    match parts.next()? {
        "application/json" => {}
        "*/*" | "application/*" => return Some(Form::Objects),
        NATIVE => return Some(Form::Native),
        _ => return None,
    }
    let mut word = None;
    let mut group = None;
    let mut version = None;
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => word = Some(value),
            Some(("g", value)) => group = Some(value),
            Some(("v", value)) => version = Some(value),
            _ => {}
        }
    }
    let version = match version {
        Some("v1") => "v1",
        Some("v1beta1") => "v1beta1",
        _ => "",
    };
    match (word, group, version) {
        (None, ..) => Some(Form::Objects),
        (Some(_), _, "") => None,
        (Some("Table"), Some("meta.k8s.io"), version) => Some(Form::Table(version, include)),
        (
            Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
            Some("meta.k8s.io"),
            "v1",
        ) => Some(Form::Metadata),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_accepted_form_is_chosen() {
        for (accept, expected) in [
            // kubectl get.
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Ok(Form::Table("v1", Include::Metadata)),
            ),
            ("application/json", Ok(Form::Objects)),
            ("application/json, */*", Ok(Form::Objects)),
            // A metadata informer.
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                Ok(Form::Metadata),
            ),
            ("application/vnd.tracer.v1+protobuf", Ok(Form::Native)),
            ("application/vnd.kubernetes.protobuf", Err(406)),
            ("application/json;as=Table;v=v2;g=meta.k8s.io", Err(406)),
            ("text/html", Err(406)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            let form = Form::negotiate(&headers, &Query::default());
            assert_eq!(form.map_err(|failure| failure.code), expected, "{accept}");
        }
    }
}
