//! What is the same for every user: discovery and OpenAPI.

use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, ETAG};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::request::Route;
use super::{discovery, json, openapi};

/// The documents, which never change.
pub struct Documents {
    version_2: Bytes,
    version_3: Bytes,
    index: Bytes,
    hash: String,
}

impl Documents {
    /// Writes them.
    pub fn new() -> Documents {
        let version_3: Bytes = openapi::version_3().to_string().into();
        let digest = Sha256::digest(&version_3);
        let hash: String = digest.iter().map(|octet| format!("{octet:02X}")).collect();
        Documents {
            version_2: openapi::version_2().to_string().into(),
            index: openapi::index(&hash).to_string().into(),
            version_3,
            hash,
        }
    }

    /// The document of a route that names no objects.
    pub fn answer(&self, route: &Route, accept: &str) -> Response {
        match route {
            Route::Groups if discovery::wants_aggregated(accept) => {
                let mut response = json(discovery::aggregated().to_string().into());
                let media_type = HeaderValue::from_static(discovery::AGGREGATED);
                response.headers_mut().insert(CONTENT_TYPE, media_type);
                response
            }
            Route::Groups => value(&discovery::groups()),
            Route::Group => value(&discovery::group()),
            Route::OpenApi2 => self.tagged(&self.version_2),
            Route::OpenApi3 => self.tagged(&self.index),
            Route::OpenApi3Group => self.tagged(&self.version_3),
            // The others have been answered.
            _ => value(&discovery::resources()),
        }
    }

    fn tagged(&self, document: &Bytes) -> Response {
        let mut response = json(document.clone().into());
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.hash)) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

fn value(value: &Value) -> Response {
    json(value.to_string().into())
}
