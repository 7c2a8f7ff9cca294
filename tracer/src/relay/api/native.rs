//! The relay's own form of `traces` and `tracernodes`: Protobuf messages of `tracer.v1`.
//!
//! A stream is a sequence of frames: the length of a message, 4 bytes in network byte order, and the message.

use std::convert::Infallible;

use axum::body::Body;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use prost::Message;

use super::status::Failure;
use crate::stream::proto::{ObserveRequest, RelayedResponse};

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A message with its length before it.
pub fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(4 + length);
    // No message is longer than a gRPC message, 4 MiB.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// The body of a stream.
pub fn body(messages: impl Stream<Item = RelayedResponse> + Send + 'static) -> Body {
    Body::from_stream(messages.map(|message| Ok::<_, Infallible>(frame(&message))))
}

/// The request in the parameter `request`.
pub fn request(text: &str) -> Result<ObserveRequest, Failure> {
    let unreadable = |why: String| {
        Failure::bad_request(format!(
            "request: {why}; it has to be a base64url ObserveRequest of tracer.v1"
        ))
    };
    let bytes = BASE64
        .decode(text)
        .map_err(|error| unreadable(error.to_string()))?;
    ObserveRequest::decode(bytes.as_slice()).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_and_without_padding() {
        let asked = ObserveRequest {
            follow: true,
            client_version: "?>".to_owned(),
            ..ObserveRequest::default()
        };
        // By `printf '\x10\x01\x3a\x02?>' | base64 | tr +/ -_`.
        for text in ["EAE6Aj8-", "EAE6Aj8-"] {
            assert_eq!(request(text), Ok(asked.clone()));
        }
        assert_eq!(request("EAE="), request("EAE"));
        assert!(request("!").is_err() && request("_w").is_err());
    }

    #[test]
    fn a_frame_begins_with_its_length() {
        let message = RelayedResponse {
            node: "a".to_owned(),
            message: None,
        };
        assert_eq!(&*frame(&message), [0, 0, 0, 3, 0x0a, 1, b'a']);
    }
}
