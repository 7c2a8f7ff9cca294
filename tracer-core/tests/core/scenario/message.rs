//! A DNS message described in words, built with hickory-proto.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};

use super::packet::number;

/// `query ID TYPE NAME` or `answer ID RCODE TYPE NAME RECORD...`, and `+` words about the message anywhere
/// after them.
pub fn build(words: &[&str]) -> Result<Vec<u8>, String> {
    let (details, words): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| word.starts_with('+'));
    let mut message = match words.as_slice() {
        ["query", id, qtype, name] => dns(id, qtype, name, None, &[]),
        ["answer", id, rcode, qtype, name, records @ ..] => {
            dns(id, qtype, name, Some(rcode), records)
        }
        _ => Err(format!("unknown payload {words:?}")),
    }?;
    for detail in details {
        let (key, value) = detail.split_once('=').unwrap_or((detail, ""));
        add(&mut message, key, value)?;
    }
    message.to_vec().map_err(|error| error.to_string())
}

/// What a `+` word says.
fn add(message: &mut Message, key: &str, value: &str) -> Result<(), String> {
    let owner = message.queries.first().map(|query| query.name().clone());
    let owner = owner.unwrap_or_default();
    match (key, value) {
        ("+aa", "") => message.metadata.authoritative = true,
        ("+ra", "") => message.metadata.recursion_available = true,
        ("+ad", "") => message.metadata.authentic_data = true,
        ("+cd", "") => message.metadata.checking_disabled = true,
        ("+opcode", code) => message.metadata.op_code = OpCode::from_u8(number(code)?),
        ("+question", name) => {
            let name = Name::from_str(name).map_err(|error| error.to_string())?;
            message.add_query(Query::query(name, RecordType::A));
        }
        ("+soa", value) => {
            let (ttl, minimum) = value.split_once(':').ok_or("a SOA is TTL:MINIMUM")?;
            let zone = owner.base_name();
            let soa = rdata::SOA::new(
                zone.clone(),
                zone.clone(),
                1,
                7200,
                1800,
                86_400,
                number(minimum)?,
            );
            message.add_authority(Record::from_rdata(zone, number(ttl)?, RData::SOA(soa)));
        }
        ("+ns", target) => {
            let target = Name::from_str(target).map_err(|error| error.to_string())?;
            let data = RData::NS(rdata::NS(target));
            message.add_authority(Record::from_rdata(owner.base_name(), 300, data));
        }
        ("+edns", size) => {
            edns(message).set_max_payload(number(size)?);
        }
        ("+ede", code) => {
            let code: u16 = number(code)?;
            let option = EdnsOption::Unknown(15, code.to_be_bytes().to_vec());
            edns(message).options_mut().insert(option);
        }
        _ => return Err(format!("unknown {key:?}")),
    }
    Ok(())
}

fn edns(message: &mut Message) -> &mut Edns {
    message.edns.get_or_insert_with(Edns::new)
}

/// `records` are groups of TTL, TYPE, DATA; the owner is the name asked for, after a CNAME its target. `fill
/// BYTES` adds texts until the message has so many bytes.
fn dns(
    id: &str,
    qtype: &str,
    name: &str,
    rcode: Option<&str>,
    records: &[&str],
) -> Result<Message, String> {
    // On the wire a label may hold any bytes, also some of which no host is named.
    let raw = || Name::from_labels(name.trim_end_matches('.').split('.').map(str::as_bytes));
    let name = Name::from_str(name)
        .or_else(|_| raw())
        .map_err(|error| format!("{name:?}: {error}"))?;
    let qtype = RecordType::from_str(qtype).map_err(|error| format!("{qtype:?}: {error}"))?;
    let kind = if rcode.is_some() {
        MessageType::Response
    } else {
        MessageType::Query
    };
    let mut message = Message::new(number(id)?, kind, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), qtype));
    if let Some(rcode) = rcode {
        message.metadata.response_code = match rcode {
            "NOERROR" => ResponseCode::NoError,
            "NOERROR+TC" => {
                message.metadata.truncation = true;
                ResponseCode::NoError
            }
            "NXDOMAIN" => ResponseCode::NXDomain,
            "SERVFAIL" => ResponseCode::ServFail,
            "REFUSED" => ResponseCode::Refused,
            "FORMERR" => ResponseCode::FormErr,
            "NOTIMP" => ResponseCode::NotImp,
            "BADCOOKIE" => ResponseCode::BADCOOKIE,
            other => return Err(format!("unknown rcode {other:?}")),
        };
    }
    let mut owner = name;
    let mut records = records;
    while let Some((first, rest)) = records.split_first() {
        if let ("fill", [bytes, rest @ ..]) = (*first, rest) {
            fill(&mut message, number(bytes)?)?;
            records = rest;
            continue;
        }
        let [kind, data, rest @ ..] = rest else {
            return Err(format!("records are groups of TTL TYPE DATA: {records:?}"));
        };
        records = rest;
        let ttl = number(first)?;
        let data = match *kind {
            "A" => RData::A(rdata::A(
                data.parse::<Ipv4Addr>()
                    .map_err(|error| error.to_string())?,
            )),
            "AAAA" => RData::AAAA(rdata::AAAA(
                data.parse::<Ipv6Addr>()
                    .map_err(|error| error.to_string())?,
            )),
            "CNAME" => RData::CNAME(rdata::CNAME(
                Name::from_str(data).map_err(|error| error.to_string())?,
            )),
            "PTR" => RData::PTR(rdata::PTR(
                Name::from_str(data).map_err(|error| error.to_string())?,
            )),
            "TXT" => RData::TXT(rdata::TXT::new(vec![(*data).to_owned()])),
            "SRV" => srv(data)?,
            other => return Err(format!("unknown record type {other:?}")),
        };
        let target = match &data {
            RData::CNAME(target) => Some(target.0.clone()),
            _ => None,
        };
        message.add_answer(Record::from_rdata(owner.clone(), ttl, data));
        owner = target.unwrap_or(owner);
    }
    Ok(message)
}

/// `PRIORITY:WEIGHT:PORT:TARGET`
fn srv(text: &str) -> Result<RData, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [priority, weight, port, target] = parts[..] else {
        return Err(format!(
            "a SRV record is PRIORITY:WEIGHT:PORT:TARGET, not {text:?}"
        ));
    };
    let target = Name::from_str(target).map_err(|error| error.to_string())?;
    let [priority, weight, port] = [priority, weight, port].map(number);
    Ok(RData::SRV(rdata::SRV::new(
        priority?, weight?, port?, target,
    )))
}

fn fill(message: &mut Message, bytes: usize) -> Result<(), String> {
    const TEXT: usize = 250;
    let owner = message.queries.first().map(|query| query.name().clone());
    let owner = owner.unwrap_or_default();
    loop {
        let length = message.to_vec().map_err(|error| error.to_string())?.len();
        if length >= bytes {
            return Ok(());
        }
        // Header of the record, its name compressed, and the text's own length.
        let missing = bytes - length;
        for _ in 0..(missing / (TEXT + 13)).max(1) {
            let text = RData::TXT(rdata::TXT::new(vec!["x".repeat(TEXT)]));
            message.add_answer(Record::from_rdata(owner.clone(), 5, text));
        }
    }
}
