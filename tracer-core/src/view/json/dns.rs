//! The fields of a DNS exchange.

use std::net::SocketAddr;

use super::body::IcmpDetail;
use super::line::{Line, field, first};
use super::time::rfc3339;
use super::{dns_details, ends, nanoseconds};
use crate::model::dns::{ResourceRecord, rcode_mnemonic, type_mnemonic};
use crate::model::exchange::{ClientQuestion, Exchange, Step};
use crate::model::lookup::Place;
use crate::view::WallClock;

pub(super) fn fields(
    line: &mut Line<'_>,
    exchange: &Exchange,
    place: Option<&Place>,
    clock: &dyn WallClock,
) -> serde_json::Result<()> {
    let question = exchange.question.as_ref();
    field!(line, "transport");
    line.word(exchange.transport.as_str());
    field!(line, "id");
    line.number(exchange.id);
    field!(line, "name");
    line.nullable(question, |line, question| {
        line.string(question.name.as_str());
    });
    field!(line, "qtype");
    line.nullable(question, |line, question| {
        line.word(&type_mnemonic(question.qtype));
    });
    field!(line, "rcode");
    line.nullable(exchange.rcode, |line, rcode| {
        line.word(&rcode_mnemonic(rcode));
    });
    field!(line, "outcome");
    line.word(exchange.outcome.as_str());
    field!(line, "answers");
    line.array(&exchange.answers, record);
    field!(line, "latency_ns");
    line.nullable(exchange.latency.map(nanoseconds), Line::number);
    field!(line, "attempts");
    line.number(exchange.attempts);
    field!(line, "late");
    line.flag(exchange.late);
    if let Some(place) = place {
        field!(line, "lookup");
        lookup(line, place);
    }
    if !exchange.authorities.is_empty() {
        field!(line, "authorities");
        line.array(&exchange.authorities, record);
    }
    if let Some(error) = &exchange.icmp {
        field!(line, "icmp");
        line.value(&IcmpDetail::new(error))?;
    }
    if let Some(end) = exchange.connection {
        field!(line, "connection");
        line.word(end.as_str());
    }
    if let Some(asked) = exchange.asked_peer {
        field!(line, "asked_peer");
        address(line, asked);
    }
    if exchange.fragments_lost > 0 {
        field!(line, "fragments_lost");
        line.number(exchange.fragments_lost);
    }
    if !exchange.steps.is_empty() {
        field!(line, "steps");
        line.array(&exchange.steps, step);
    }
    if let Some(fault) = &exchange.fault {
        field!(line, "fault");
        line.string(&fault.to_string());
    }
    if let Some(cause) = exchange.caused_by.as_deref() {
        field!(line, "caused_by");
        caused_by(line, cause, clock);
    }
    dns_details::fields(line, exchange);
    Ok(())
}

fn caused_by(line: &mut Line<'_>, cause: &ClientQuestion, clock: &dyn WallClock) {
    let (ip, port) = (cause.client.ip(), cause.client.port());
    first!(line, "ip");
    line.ip(ip);
    field!(line, "port");
    line.number(port);
    if let Some(pod) = &cause.pod {
        field!(line, "pod");
        ends::known(line, pod, ip, Some(port));
        line.raw("}");
    }
    field!(line, "id");
    line.number(cause.id);
    field!(line, "time");
    line.string(&rfc3339(clock.wall(cause.time)));
    field!(line, "inferred");
    line.flag(true);
    line.raw("}");
}

fn record(line: &mut Line<'_>, record: &ResourceRecord) {
    first!(line, "name");
    line.string(record.name.as_str());
    field!(line, "type");
    line.word(&type_mnemonic(record.rtype));
    field!(line, "ttl");
    line.number(record.ttl);
    field!(line, "data");
    line.string(&record.data);
    line.raw("}");
}

fn lookup(line: &mut Line<'_>, place: &Place) {
    first!(line, "asked");
    line.nullable(place.asked.as_deref(), Line::string);
    field!(line, "candidate");
    line.number(place.candidate);
    field!(line, "of");
    line.nullable(place.of, Line::number);
    line.raw("}");
}

/// A step over one transport.
fn step(line: &mut Line<'_>, step: &Step) {
    first!(line, "transport");
    line.word(step.transport.as_str());
    field!(line, "outcome");
    line.word(step.outcome.as_str());
    field!(line, "latency_ns");
    line.nullable(step.latency.map(nanoseconds), Line::number);
    line.raw("}");
}

fn address(line: &mut Line<'_>, address: SocketAddr) {
    first!(line, "ip");
    line.ip(address.ip());
    field!(line, "port");
    line.number(address.port());
    line.raw("}");
}
