//! A record's data in presentation format, as `dig +nosplit` prints it, except that names are in lower case.
//!
//! Each type is a list of fields that hickory's decoder reads. hickory's own records are not used, because
//! they cannot be printed back: names and text are unsafe for a terminal, unknown flags are dropped,
//! algorithms have a spelling of their own, and TSIG and KEY have no presentation format. Types without a
//! list are written in the generic form of RFC 3597 section 5.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXUPPER};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use super::error::ReadError;
use super::name;
use super::section::decoder_at;
use super::svcb;
use crate::model::dns::{rcode_mnemonic, type_mnemonic};
use crate::model::printable::{ascii, quoted};

/// A field of a record's data.
#[derive(Clone, Copy)]
enum Field {
    /// A number of this many octets.
    Number(usize),
    /// A domain name.
    Name,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// A character string.
    Text,
    /// Character strings to the end.
    Texts,
    /// A character string without quotes: the tag of CAA.
    Word,
    /// One string to the end, without a length of its own.
    Rest,
    /// Octets to the end, in hexadecimal.
    Hex,
    /// Octets to the end, in Base64.
    Base64,
    /// Octets after a length of one octet, in hexadecimal: a salt; `-` for none.
    Salt,
    /// Octets after a length of one octet, in Base 32: the hash of a name.
    Hash,
    /// Octets after a printed length of two octets, in Base64.
    Sized,
    /// The number of a type.
    Type,
    /// A bitmap of types to the end (RFC 4034 section 4.1.2).
    Types,
    /// Seconds since 1970, as a date (RFC 4034 section 3.2).
    Date,
    /// Kind of certificate (RFC 4398 section 2.1).
    Certificate,
    /// The number of a DNSSEC algorithm, by its mnemonic where it has one.
    Algorithm,
    /// A response code.
    Rcode,
    /// Parameters of a service to the end (RFC 9460 section 2.1).
    Parameters,
}

/// The fields of a type's data; `None` for an unknown type.
fn fields(rtype: RecordType) -> Option<&'static [Field]> {
    use Field::*;
    const U8: Field = Number(1);
    const U16: Field = Number(2);
    const U32: Field = Number(4);
    const U48: Field = Number(6);
    Some(match rtype {
        RecordType::A => &[V4],
        RecordType::AAAA => &[V6],
        RecordType::CNAME
        | RecordType::NS
        | RecordType::PTR
        | RecordType::DNAME
        | RecordType::ANAME => &[Name],
        RecordType::MX => &[U16, Name],
        RecordType::SRV => &[U16, U16, U16, Name],
        RecordType::SOA => &[Name, Name, U32, U32, U32, U32, U32],
        RecordType::TXT => &[Texts],
        RecordType::HINFO => &[Text, Text],
        RecordType::NAPTR => &[U16, U16, Text, Text, Text, Name],
        RecordType::CAA => &[U8, Word, Rest],
        RecordType::SSHFP => &[U8, U8, Hex],
        RecordType::TLSA | RecordType::SMIMEA => &[U8, U8, U8, Hex],
        RecordType::OPENPGPKEY => &[Base64],
        RecordType::CERT => &[Certificate, U16, Algorithm, Base64],
        RecordType::SVCB | RecordType::HTTPS => &[U16, Name, Parameters],
        RecordType::CSYNC => &[U32, U16, Types],
        RecordType::DNSKEY | RecordType::CDNSKEY | RecordType::KEY => &[U16, U8, U8, Base64],
        RecordType::DS | RecordType::CDS => &[U16, U8, U8, Hex],
        RecordType::RRSIG | RecordType::SIG => &[Type, U8, U8, U32, Date, Date, U16, Name, Base64],
        RecordType::NSEC => &[Name, Types],
        RecordType::NSEC3 => &[U8, U8, U16, Salt, Hash, Types],
        RecordType::NSEC3PARAM => &[U8, U8, U16, Salt],
        RecordType::TSIG => &[Name, U48, U16, Sized, U16, Rcode, Sized],
        _ => return None,
    })
}

/// The data at `start..end` of the message, of type `rtype`.
pub(super) fn text(
    message: &[u8],
    rtype: RecordType,
    start: usize,
    end: usize,
) -> Result<String, ReadError> {
    // Names may point back to earlier bytes, but nothing may be read beyond the end.
    let message = message.get(..end).ok_or(DecodeError::InsufficientBytes)?;
    let data = message.get(start..).ok_or(DecodeError::InsufficientBytes)?;
    // Only an UPDATE has records without data, to delete (RFC 2136 section 2.5).
    let Some(fields) = fields(rtype).filter(|_| !data.is_empty()) else {
        return Ok(generic(data));
    };
    let mut decoder = decoder_at(message, start)?;
    let mut out = String::new();
    for &field in fields {
        let text = read(field, message, &mut decoder)?;
        if !out.is_empty() && !text.is_empty() {
            out.push(' ');
        }
        out.push_str(&text);
    }
    match decoder.len() {
        0 => Ok(out),
        left => Err(ReadError::Left(left)),
    }
}

/// Data of an unknown type, or malformed data: `\# length hexadecimal` (RFC 3597 section 5).
pub(super) fn generic(data: &[u8]) -> String {
    if data.is_empty() {
        return "\\# 0".to_owned();
    }
    format!("\\# {} {}", data.len(), HEXUPPER.encode(data))
}

fn read(field: Field, message: &[u8], decoder: &mut BinDecoder<'_>) -> Result<String, ReadError> {
    Ok(match field {
        Field::Number(octets) => number(decoder, octets)?.to_string(),
        Field::Name => name::text(&name::read(message, decoder)?),
        Field::V4 => {
            let octets: [u8; 4] = octets(decoder, 4)?
                .try_into()
                .map_err(|_| ReadError::Field("address"))?;
            Ipv4Addr::from(octets).to_string()
        }
        Field::V6 => {
            let octets: [u8; 16] = octets(decoder, 16)?
                .try_into()
                .map_err(|_| ReadError::Field("address"))?;
            Ipv6Addr::from(octets).to_string()
        }
        Field::Text => quoted(character_string(decoder)?),
        Field::Texts => {
            let mut texts = Vec::new();
            while !decoder.is_empty() {
                texts.push(quoted(character_string(decoder)?));
            }
            texts.join(" ")
        }
        Field::Word => ascii(character_string(decoder)?),
        Field::Rest => quoted(rest(decoder)?),
        Field::Hex => HEXUPPER.encode(rest(decoder)?),
        Field::Base64 => BASE64.encode(rest(decoder)?),
        Field::Salt => match character_string(decoder)? {
            [] => "-".to_owned(),
            salt => HEXUPPER.encode(salt),
        },
        Field::Hash => BASE32HEX_NOPAD.encode(character_string(decoder)?),
        Field::Sized => {
            let length = number(decoder, 2)?;
            match octets(decoder, length as usize)? {
                [] => "0".to_owned(),
                octets => format!("{length} {}", BASE64.encode(octets)),
            }
        }
        Field::Type => type_mnemonic(RecordType::read(decoder)?).into_owned(),
        Field::Types => types(rest(decoder)?)?,
        Field::Date => date(number(decoder, 4)?),
        Field::Certificate => mnemonic(&CERTIFICATES, number(decoder, 2)?),
        Field::Algorithm => mnemonic(&ALGORITHMS, number(decoder, 1)?),
        Field::Rcode => tsig_error(number(decoder, 2)?),
        Field::Parameters => svcb::parameters(rest(decoder)?)?,
    })
}

fn number(decoder: &mut BinDecoder<'_>, octets_of_it: usize) -> Result<u64, ReadError> {
    let octets = octets(decoder, octets_of_it)?;
    Ok(octets
        .iter()
        .fold(0, |number, octet| number << 8 | u64::from(*octet)))
}

fn octets<'a>(decoder: &mut BinDecoder<'a>, count: usize) -> Result<&'a [u8], ReadError> {
    Ok(decoder.read_slice(count)?.unverified(/* its length is right, its content only printed */))
}

fn rest<'a>(decoder: &mut BinDecoder<'a>) -> Result<&'a [u8], ReadError> {
    octets(decoder, decoder.len())
}

fn character_string<'a>(decoder: &mut BinDecoder<'a>) -> Result<&'a [u8], ReadError> {
    let length = number(decoder, 1)?;
    octets(decoder, length as usize)
}

/// Windows of 256 types, each with a bitmap of up to 32 octets.
fn types(mut bitmap: &[u8]) -> Result<String, ReadError> {
    let mut types = Vec::new();
    while let [window, length, more @ ..] = bitmap {
        let length = usize::from(*length);
        let (octets, rest) = more
            .split_at_checked(length)
            .filter(|_| (1..=32).contains(&length))
            .ok_or(ReadError::Field("type bitmap"))?;
        for (index, octet) in octets.iter().enumerate() {
            for bit in (0..8).filter(|bit| octet & (0x80 >> bit) != 0) {
                let number = u16::from(*window) << 8 | (index * 8 + bit) as u16;
                types.push(type_mnemonic(RecordType::from(number)));
            }
        }
        bitmap = rest;
    }
    if !bitmap.is_empty() {
        return Err(ReadError::Field("type bitmap"));
    }
    Ok(types.join(" "))
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS`.
fn date(seconds: u64) -> String {
    // A 32-bit number is always in range.
    match jiff::Timestamp::from_second(seconds as i64) {
        Ok(time) => time.strftime("%Y%m%d%H%M%S").to_string(),
        // The numeric form is valid too.
        Err(_) => seconds.to_string(),
    }
}

/// Certificate types (RFC 4398 section 2.1).
const CERTIFICATES: [(u64, &str); 10] = [
    (1, "PKIX"),
    (2, "SPKI"),
    (3, "PGP"),
    (4, "IPKIX"),
    (5, "ISPKI"),
    (6, "IPGP"),
    (7, "ACPKIX"),
    (8, "IACPKIX"),
    (253, "URI"),
    (254, "OID"),
];

/// IANA "DNS Security Algorithm Numbers", with BIND's mnemonics.
const ALGORITHMS: [(u64, &str); 16] = [
    (1, "RSAMD5"),
    (2, "DH"),
    (3, "DSA"),
    (5, "RSASHA1"),
    (6, "NSEC3DSA"),
    (7, "NSEC3RSASHA1"),
    (8, "RSASHA256"),
    (10, "RSASHA512"),
    (12, "ECCGOST"),
    (13, "ECDSAP256SHA256"),
    (14, "ECDSAP384SHA384"),
    (15, "ED25519"),
    (16, "ED448"),
    (252, "INDIRECT"),
    (253, "PRIVATEDNS"),
    (254, "PRIVATEOID"),
];

fn mnemonic(known: &[(u64, &str)], number: u64) -> String {
    match known.iter().find(|(code, _)| *code == number) {
        Some((_, mnemonic)) => (*mnemonic).to_owned(),
        None => number.to_string(),
    }
}

/// In TSIG, 16 is BADSIG (RFC 8945 section 3); elsewhere it is BADVERS.
fn tsig_error(number: u64) -> String {
    match u16::try_from(number) {
        Ok(16) => "BADSIG".to_owned(),
        Ok(number) => rcode_mnemonic(number.into()).into_owned(),
        Err(_) => number.to_string(),
    }
}
