//! The OPT record (RFC 6891), read option by option, so that a malformed option does not cost the others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use data_encoding::HEXLOWER;
use hickory_proto::serialize::binary::{BinDecoder, DecodeError};

use super::error::ReadError;
use crate::model::dns::DnsFault;
use crate::model::edns::{Edns, EdnsOption, ExtendedError};
use crate::model::printable;

/// Options read per message; real messages have a handful.
const MAX_OPTIONS: usize = 32;

/// Option codes (IANA "DNS EDNS0 Option Codes") whose data is read.
const NSID: u16 = 3;
const CLIENT_SUBNET: u16 = 8;
const COOKIE: u16 = 10;
const EXTENDED_ERROR: u16 = 15;

/// DO (RFC 3225), the first flag.
const DNSSEC_OK: u16 = 0x8000;

/// Reads the record with this class, TTL and data.
pub(super) fn read(class: u16, ttl: u32, data: &[u8], fault: &mut Option<DnsFault>) -> Edns {
    let [_, version, flags @ ..] = ttl.to_be_bytes();
    let mut edns = Edns {
        udp_size: class,
        version,
        dnssec_ok: u16::from_be_bytes(flags) & DNSSEC_OK != 0,
        ..Edns::default()
    };
    let mut decoder = BinDecoder::new(data);
    let mut read = 0;
    while !decoder.is_empty() {
        if read == MAX_OPTIONS {
            fault.get_or_insert(DnsFault::TooMany);
            break;
        }
        read += 1;
        match raw(&mut decoder) {
            Ok((code, data)) => {
                if let Err(error) = keep(&mut edns, code, data) {
                    fault.get_or_insert_with(|| DnsFault::Edns(error.words()));
                    edns.others.push(other(code, data));
                }
            }
            Err(error) => {
                fault.get_or_insert_with(|| DnsFault::Edns(error.words()));
                break;
            }
        }
    }
    edns
}

/// The next option's code and data.
fn raw<'a>(decoder: &mut BinDecoder<'a>) -> Result<(u16, &'a [u8]), ReadError> {
    let code = decoder.read_u16()?.unverified(/* any number is a code */);
    let length = decoder.read_u16()?.unverified(/* reading so much checks it */);
    let data = decoder.read_slice(usize::from(length))?;
    Ok((code, data.unverified(/* what is done with it checks it */)))
}

fn keep(edns: &mut Edns, code: u16, data: &[u8]) -> Result<(), ReadError> {
    match code {
        NSID => edns.nsid = Some(printable::ascii(data)),
        CLIENT_SUBNET => edns.client_subnet = Some(client_subnet(data)?),
        COOKIE => edns.cookie = Some(HEXLOWER.encode(data)),
        EXTENDED_ERROR => {
            let [high, low, text @ ..] = data else {
                return Err(DecodeError::InsufficientBytes.into());
            };
            // Some servers end the text with a NUL (RFC 8914 section 2).
            let text = text.strip_suffix(b"\0").unwrap_or(text);
            edns.errors.push(ExtendedError {
                code: u16::from_be_bytes([*high, *low]),
                text: printable::ascii(text),
            });
        }
        _ => edns.others.push(other(code, data)),
    }
    Ok(())
}

fn other(code: u16, data: &[u8]) -> EdnsOption {
    EdnsOption {
        code,
        data: HEXLOWER.encode(data),
    }
}

/// Client subnet (RFC 7871 section 6) as dig prints it.
fn client_subnet(data: &[u8]) -> Result<String, ReadError> {
    let [high, low, source, scope, address @ ..] = data else {
        return Err(DecodeError::InsufficientBytes.into());
    };
    let mut octets = [0; 16];
    // Only the octets that the prefix needs are on the wire.
    octets
        .get_mut(..address.len())
        .ok_or(ReadError::Field("client subnet"))?
        .copy_from_slice(address);
    let [a, b, c, d, ..] = octets;
    let address = match u16::from_be_bytes([*high, *low]) {
        0 if address.is_empty() => "0".to_owned(),
        1 if address.len() <= 4 => IpAddr::from(Ipv4Addr::new(a, b, c, d)).to_string(),
        2 => IpAddr::from(Ipv6Addr::from(octets)).to_string(),
        _ => return Err(ReadError::Field("client subnet")),
    };
    Ok(format!("{address}/{source}/{scope}"))
}
