//! Failures, as the Status objects that Kubernetes' clients know.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::kinds::{GROUP, Kind};

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status code of HTTP.
    pub code: u16,
    /// The reason, one of Kubernetes' words.
    pub reason: &'static str,
    /// What failed, for people.
    pub message: String,
    /// Seconds after which another attempt may succeed.
    pub retry_after: Option<u32>,
    details: Value,
}

impl Failure {
    /// A failure without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            code,
            reason,
            message: message.into(),
            retry_after: None,
            details: Value::Null,
        }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(400, "BadRequest", message)
    }

    /// 403, in the words of the API server.
    pub fn forbidden(message: impl Into<String>, kind: &Kind, name: Option<&str>) -> Failure {
        Failure {
            details: json!({"name": name.unwrap_or_default(), "group": GROUP, "kind": kind.plural}),
            ..Failure::new(403, "Forbidden", message)
        }
    }

    /// 404: there is no such object.
    pub fn no_object(kind: &Kind, name: &str) -> Failure {
        Failure {
            details: json!({"name": name, "group": GROUP, "kind": kind.plural}),
            ..Failure::new(
                404,
                "NotFound",
                format!("{}.{GROUP} \"{name}\" not found", kind.plural),
            )
        }
    }

    /// 404: there is no such path.
    pub fn no_path() -> Failure {
        Failure::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// 405: the resource has no such verb.
    pub fn method(message: impl Into<String>) -> Failure {
        Failure::new(405, "MethodNotAllowed", message)
    }

    /// 410: the version is from before this replica's window.
    pub fn expired(message: impl Into<String>) -> Failure {
        Failure::new(410, "Expired", message)
    }

    /// 422: an option has a value that is not served.
    pub fn invalid(field: &str, message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure {
            details: json!({
                "group": "meta.k8s.io",
                "kind": "ListOptions",
                "causes": [{"reason": "FieldValueForbidden", "message": message, "field": field}],
            }),
            ..Failure::new(
                422,
                "Invalid",
                format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {message}"),
            )
        }
    }

    /// 429: a limit is reached.
    pub fn too_many(message: impl Into<String>, seconds: u32) -> Failure {
        Failure {
            retry_after: Some(seconds),
            details: json!({"retryAfterSeconds": seconds}),
            ..Failure::new(429, "TooManyRequests", message)
        }
    }

    /// The Status object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Response {
        let mut response = Response::new(Body::from(failure.status().to_string()));
        *response.status_mut() =
            StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = failure.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
