//! The fields of a lookup.

use super::dns_details::extended_errors;
use super::line::{Line, field, first};
use super::nanoseconds;
use crate::model::dns::type_mnemonic;
use crate::model::lookup::{Lookup, Step};

pub(super) fn fields(line: &mut Line<'_>, lookup: &Lookup) {
    field!(line, "asked");
    line.nullable(lookup.asked.as_deref(), Line::string);
    field!(line, "qtypes");
    line.array(&lookup.qtypes, |line, qtype| {
        line.word(&type_mnemonic(*qtype));
    });
    field!(line, "outcome");
    line.word(lookup.outcome.as_str());
    field!(line, "queries");
    line.number(lookup.queries);
    field!(line, "duration_ns");
    line.number(nanoseconds(lookup.duration));
    if !lookup.waited.is_zero() {
        field!(line, "waited_ns");
        line.number(nanoseconds(lookup.waited));
    }
    field!(line, "steps");
    line.array(&lookup.steps, step);
}

fn step(line: &mut Line<'_>, step: &Step) {
    first!(line, "name");
    line.string(step.name.as_str());
    field!(line, "qtype");
    line.word(&type_mnemonic(step.qtype));
    field!(line, "outcome");
    line.nullable(step.outcome, |line, outcome| line.word(outcome.as_str()));
    field!(line, "latency_ns");
    line.nullable(step.latency.map(nanoseconds), Line::number);
    field!(line, "attempts");
    line.number(step.attempts);
    if !step.data.is_empty() {
        field!(line, "data");
        line.array(&step.data, |line, data| line.string(data));
    }
    extended_errors(line, &step.errors);
    line.raw("}");
}
