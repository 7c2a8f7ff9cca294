//! The parameters of SVCB and HTTPS records (RFC 9460 section 2.1) in presentation format.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;
use hickory_proto::serialize::binary::BinDecoder;

use super::error::ReadError;
use crate::model::printable::quoted;

/// IANA "Service Parameter Keys" of RFC 9460. The values of later and unknown keys are text.
const KEYS: [&str; 7] = [
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
];

/// All parameters, each as `key=value`.
pub(super) fn parameters(data: &[u8]) -> Result<String, ReadError> {
    let mut decoder = BinDecoder::new(data);
    let mut out = Vec::new();
    while !decoder.is_empty() {
        let number = decoder.read_u16()?.unverified(/* any number is a key */);
        let length = decoder.read_u16()?.unverified(/* reading so much checks it */);
        let data = decoder
            .read_slice(usize::from(length))?
            .unverified(/* what is done with it checks it */);
        let key = key(number);
        out.push(match value(number, data)? {
            Some(value) => format!("{key}={value}"),
            None => key,
        });
    }
    Ok(out.join(" "))
}

fn key(number: u16) -> String {
    match KEYS.get(usize::from(number)) {
        Some(known) => (*known).to_owned(),
        None => format!("key{number}"),
    }
}

fn value(number: u16, data: &[u8]) -> Result<Option<String>, ReadError> {
    let wrong = || ReadError::Field("service parameter");
    Ok(match (number, data) {
        (0, data) => Some(list::<2>(data, |key_of| key(u16::from_be_bytes(key_of)))?),
        (1, data) => Some(protocols(data)?),
        (2, []) => None,
        (2, _) => return Err(wrong()),
        (3, data) => {
            let port = data.try_into().map_err(|_| wrong())?;
            Some(u16::from_be_bytes(port).to_string())
        }
        (4, data) => Some(list::<4>(data, |hint| Ipv4Addr::from(hint).to_string())?),
        (5, data) => Some(BASE64.encode(data)),
        (6, data) => Some(list::<16>(data, |hint| Ipv6Addr::from(hint).to_string())?),
        (_, []) => None,
        (_, data) => Some(quoted(data)),
    })
}

/// Values of a fixed length, at least one.
fn list<const LENGTH: usize>(
    data: &[u8],
    show: impl Fn([u8; LENGTH]) -> String,
) -> Result<String, ReadError> {
    let (values, left) = data.as_chunks::<LENGTH>();
    if values.is_empty() || !left.is_empty() {
        return Err(ReadError::Field("service parameter"));
    }
    let shown: Vec<String> = values.iter().map(|value| show(*value)).collect();
    Ok(shown.join(","))
}

/// Protocol names, each after its length. A backslash escapes a comma within one, and the quotes escape that
/// backslash.
fn protocols(data: &[u8]) -> Result<String, ReadError> {
    let mut decoder = BinDecoder::new(data);
    let mut all = Vec::new();
    while !decoder.is_empty() {
        if !all.is_empty() {
            all.push(b',');
        }
        let protocol = decoder
            .read_character_data()?
            .unverified(/* only printed */);
        for &byte in protocol {
            if matches!(byte, b',' | b'\\') {
                all.push(b'\\');
            }
            all.push(byte);
        }
    }
    Ok(quoted(&all))
}
