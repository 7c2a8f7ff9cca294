//! The fields of a DNS event besides question, response code and answers: opcode, flags, EDNS and the
//! server's reasons.

use super::line::{Line, field, first};
use crate::model::dns::{OpCode, opcode_mnemonic};
use crate::model::edns::{Edns, ExtendedError};
use crate::model::exchange::Exchange;

pub(super) fn fields(line: &mut Line<'_>, exchange: &Exchange) {
    let details = &exchange.details;
    if details.opcode != OpCode::Query {
        field!(line, "opcode");
        line.word(&opcode_mnemonic(details.opcode));
    }
    if let Some(flags) = details.flags {
        field!(line, "flags");
        line.array(flags.mnemonics(), Line::word);
    }
    if exchange.referral() {
        field!(line, "referral");
        line.flag(true);
    }
    if let Some(ttl) = exchange.negative_ttl() {
        field!(line, "negative_ttl");
        line.number(ttl);
    }
    extended_errors(line, exchange.extended_errors());
    if let Some(options) = &details.edns {
        field!(line, "edns");
        edns(line, options);
    }
    if let Some(options) = &details.query_edns {
        field!(line, "query_edns");
        edns(line, options);
    }
    if let Some(fault) = &details.query_fault {
        field!(line, "query_fault");
        line.string(&fault.to_string());
    }
    if details.resynchronised {
        field!(line, "resynchronised");
        line.flag(true);
    }
}

/// The field "ede", unless there are no errors.
pub(super) fn extended_errors(line: &mut Line<'_>, errors: &[ExtendedError]) {
    if errors.is_empty() {
        return;
    }
    field!(line, "ede");
    line.array(errors, |line, error| {
        first!(line, "code");
        line.number(error.code);
        if let Some(meaning) = error.meaning() {
            field!(line, "meaning");
            line.word(meaning);
        }
        if !error.text.is_empty() {
            field!(line, "text");
            line.string(&error.text);
        }
        line.raw("}");
    });
}

fn edns(line: &mut Line<'_>, edns: &Edns) {
    first!(line, "size");
    line.number(edns.udp_size);
    field!(line, "version");
    line.number(edns.version);
    field!(line, "do");
    line.flag(edns.dnssec_ok);
    if let Some(nsid) = &edns.nsid {
        field!(line, "nsid");
        line.string(nsid);
    }
    if let Some(cookie) = &edns.cookie {
        field!(line, "cookie");
        line.string(cookie);
    }
    if let Some(subnet) = &edns.client_subnet {
        field!(line, "client_subnet");
        line.string(subnet);
    }
    if !edns.others.is_empty() {
        field!(line, "options");
        line.array(&edns.others, |line, option| {
            first!(line, "code");
            line.number(option.code);
            field!(line, "data");
            line.string(&option.data);
            line.raw("}");
        });
    }
    line.raw("}");
}
