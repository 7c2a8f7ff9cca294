//! A record's data in presentation format.
//!
//! Types that hold names or free text are written here, because hickory prints neither of them safely; the others are
//! hickory's own text. Types that nobody here knows are written as RFC 3597 section 5 has it.

use std::fmt::{self, Display, Write};

use hickory_proto::dnssec::rdata::{DNSSECRData, SIG};
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::rdata::{NAPTR, SVCB};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, DecodeError, Restrict};

use super::name::{printable, quoted, text as name};
use super::section::decoder_at;
use crate::model::dns::type_mnemonic;

/// DNAME (RFC 6672): hickory knows the type's number and not its data.
const DNAME: RecordType = RecordType::DNAME;

/// The data at `start..end` of the message, which is of type `rtype`.
pub(super) fn text(
    message: &[u8],
    rtype: RecordType,
    start: usize,
    end: usize,
) -> Result<String, DecodeError> {
    let data = message
        .get(start..end)
        .ok_or(DecodeError::InsufficientBytes)?;
    let Ok(length) = u16::try_from(data.len()) else {
        return Ok(generic(data));
    };
    if data.is_empty() {
        return Ok(generic(data));
    }
    // The decoder must not read beyond the data, but names point back to what is before.
    let mut decoder = decoder_at(
        message.get(..end).ok_or(DecodeError::InsufficientBytes)?,
        start,
    )?;
    if rtype == DNAME {
        return Ok(name(&Name::read(&mut decoder)?));
    }
    Ok(
        match RData::read(&mut decoder, rtype, Restrict::new(length))? {
            RData::Unknown { .. } | RData::NULL(_) | RData::Update0(_) => generic(data),
            // Where hickory read it but cannot print it.
            known => present(&known, data).unwrap_or_else(|_| generic(data)),
        },
    )
}

/// Data of a type that is not known, or that is malformed: `\# length hexadecimal` (RFC 3597 section 5).
pub(super) fn generic(data: &[u8]) -> String {
    let mut out = format!("\\# {}", data.len());
    for (index, byte) in data.iter().enumerate() {
        if index == 0 {
            out.push(' ');
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn present(data: &RData, bytes: &[u8]) -> Result<String, fmt::Error> {
    Ok(match data {
        RData::CNAME(target) => name(target),
        RData::NS(target) => name(target),
        RData::PTR(target) => name(target),
        RData::ANAME(target) => name(target),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => format!(
            "{} {} {} {}",
            srv.priority,
            srv.weight,
            srv.port,
            name(&srv.target)
        ),
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            name(&soa.mname),
            name(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        RData::TXT(txt) => joined(txt.txt_data.iter().map(|part| quoted(part))),
        RData::HINFO(hinfo) => joined([quoted(&hinfo.cpu), quoted(&hinfo.os)]),
        RData::CAA(caa) => format!(
            "{} {} {}",
            caa.flags(),
            printable(&caa.tag),
            quoted(&caa.value)
        ),
        // hickory spells the algorithm out, which is no presentation format.
        RData::CERT(cert) => format!(
            "{} {} {} {}",
            printed(&cert.cert_type)?,
            cert.key_tag,
            u8::from(cert.algorithm),
            last_word(&printed(cert)?)
        ),
        RData::NAPTR(naptr) => present_naptr(naptr),
        RData::SVCB(svcb) => present_svcb(svcb)?,
        RData::HTTPS(https) => present_svcb(&https.0)?,
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => present_signature(signature)?,
        RData::DNSSEC(DNSSECRData::SIG(signature)) => present_signature(signature)?,
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => joined(
            [name(nsec.next_domain_name())].into_iter().chain(
                nsec.type_bit_maps()
                    .map(|rtype| type_mnemonic(rtype).into_owned()),
            ),
        ),
        RData::DNSSEC(DNSSECRData::Unknown { .. }) => generic(bytes),
        other => printed(other)?,
    })
}

/// hickory's text, made safe. Its types can fail to print, and `to_string` would panic.
fn printed(hickory: &impl Display) -> Result<String, fmt::Error> {
    let mut text = String::new();
    write!(text, "{hickory}")?;
    Ok(printable(&text))
}

fn present_naptr(naptr: &NAPTR) -> String {
    format!(
        "{} {} {} {} {} {}",
        naptr.order,
        naptr.preference,
        quoted(&naptr.flags),
        quoted(&naptr.services),
        quoted(&naptr.regexp),
        name(&naptr.replacement)
    )
}

/// RFC 9460 section 2.1.
fn present_svcb(svcb: &SVCB) -> Result<String, fmt::Error> {
    let mut out = format!("{} {}", svcb.svc_priority, name(&svcb.target_name));
    for (key, value) in &svcb.svc_params {
        let value = match value {
            SvcParamValue::Mandatory(keys) => Some(comma_separated(&keys.0)?),
            SvcParamValue::Alpn(protocols) => {
                Some(quoted(comma_separated(&protocols.0)?.as_bytes()))
            }
            SvcParamValue::NoDefaultAlpn => None,
            SvcParamValue::Port(port) => Some(port.to_string()),
            SvcParamValue::Ipv4Hint(hint) => Some(comma_separated(&hint.0)?),
            SvcParamValue::Ipv6Hint(hint) => Some(comma_separated(&hint.0)?),
            SvcParamValue::EchConfigList(config) => Some(printed(config)?),
            SvcParamValue::Unknown(unknown) => Some(quoted(&unknown.0)),
        };
        let key = printed(key)?;
        match value {
            Some(value) => write!(out, " {key}={value}")?,
            None => write!(out, " {key}")?,
        }
    }
    Ok(out)
}

/// RFC 4034 section 3.2.
fn present_signature(signature: &SIG) -> Result<String, fmt::Error> {
    let input = signature.input();
    Ok(format!(
        "{} {} {} {} {} {} {} {} {}",
        type_mnemonic(input.type_covered),
        u8::from(input.algorithm),
        input.num_labels,
        input.original_ttl,
        date(input.sig_expiration.get()),
        date(input.sig_inception.get()),
        input.key_tag,
        name(&input.signer_name),
        last_word(&printed(signature)?)
    ))
}

/// What is Base64 in hickory's text of a record: there is no other encoder within reach.
fn last_word(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS`.
fn date(seconds: u32) -> String {
    match jiff::Timestamp::from_second(i64::from(seconds)) {
        Ok(time) => time.strftime("%Y%m%d%H%M%S").to_string(),
        // The form as a number is allowed too.
        Err(_) => seconds.to_string(),
    }
}

fn comma_separated(items: &[impl Display]) -> Result<String, fmt::Error> {
    let printed: Result<Vec<_>, _> = items.iter().map(printed).collect();
    Ok(printed?.join(","))
}

fn joined(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join(" ")
}
