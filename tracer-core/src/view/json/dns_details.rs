//! The fields of a DNS event besides question, response code and answers: opcode, flags, EDNS and the
//! server's reasons.

use std::borrow::Cow;

use serde::Serialize;

use crate::model::dns::{Flags, OpCode, opcode_mnemonic};
use crate::model::edns::{Edns, EdnsOption, ExtendedError};
use crate::model::exchange::Exchange;

#[derive(Serialize)]
pub(super) struct DetailFields<'a> {
    /// Present if it is not QUERY.
    #[serde(skip_serializing_if = "Option::is_none")]
    opcode: Option<Cow<'static, str>>,
    /// The response's flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "is_false")]
    referral: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    negative_ttl: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ede: Vec<ExtendedErrorFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edns: Option<EdnsFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_edns: Option<EdnsFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_fault: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    resynchronised: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl<'a> DetailFields<'a> {
    pub(super) fn new(exchange: &'a Exchange) -> DetailFields<'a> {
        let details = &exchange.details;
        DetailFields {
            opcode: (details.opcode != OpCode::Query).then(|| opcode_mnemonic(details.opcode)),
            flags: details.flags.map(|flags| Flags::mnemonics(flags).collect()),
            referral: exchange.referral(),
            negative_ttl: exchange.negative_ttl(),
            ede: extended_errors(exchange.extended_errors()),
            edns: details.edns.as_ref().map(EdnsFields::new),
            query_edns: details.query_edns.as_ref().map(EdnsFields::new),
            query_fault: details.query_fault.as_ref().map(ToString::to_string),
            resynchronised: details.resynchronised,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ExtendedErrorFields<'a> {
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
}

pub(super) fn extended_errors(errors: &[ExtendedError]) -> Vec<ExtendedErrorFields<'_>> {
    errors
        .iter()
        .map(|error| ExtendedErrorFields {
            code: error.code,
            meaning: error.meaning(),
            text: &error.text,
        })
        .collect()
}

#[derive(Serialize)]
struct EdnsFields<'a> {
    size: u16,
    version: u8,
    r#do: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    nsid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_subnet: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<OptionFields<'a>>,
}

#[derive(Serialize)]
struct OptionFields<'a> {
    code: u16,
    data: &'a str,
}

impl<'a> EdnsFields<'a> {
    fn new(edns: &'a Edns) -> EdnsFields<'a> {
        let option = |option: &'a EdnsOption| OptionFields {
            code: option.code,
            data: &option.data,
        };
        EdnsFields {
            size: edns.udp_size,
            version: edns.version,
            r#do: edns.dnssec_ok,
            nsid: edns.nsid.as_deref(),
            cookie: edns.cookie.as_deref(),
            client_subnet: edns.client_subnet.as_deref(),
            options: edns.others.iter().map(option).collect(),
        }
    }
}
