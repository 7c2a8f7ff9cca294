//! Every place of an event where a DNS name can stand.

use std::sync::Arc;

use crate::model::dns::{DnsFault, DnsName, ResourceRecord};
use crate::model::edns::{Edns, ExtendedError};
use crate::model::event::{Body, Event};
use crate::model::exchange::Exchange;
use crate::model::finding::Finding;
use crate::model::lookup::Lookup;

/// A piece of text that can hold names.
pub(super) enum Field<'a> {
    /// A name as the wire had it: absolute.
    Name(&'a mut DnsName),
    /// A name as an application wrote it: the whole of the text.
    Asked(&'a mut String),
    /// Names among other things.
    Text(&'a mut String),
    /// The same, shared.
    Shared(&'a mut Arc<str>),
    /// Bytes of a message that were not understood, in hexadecimal: they can hold names that nobody can find.
    Opaque(&'a mut String),
}

/// Shows each field of an event.
pub(super) fn visit(event: &mut Event, see: &mut dyn FnMut(Field<'_>)) {
    if let Some(ends) = &mut event.ends {
        for name in &mut ends.peer.names {
            see(Field::Name(name));
        }
    }
    match &mut event.body {
        Body::Dns(exchange, place) => {
            visit_exchange(exchange, see);
            if let Some(asked) = place.as_mut().and_then(|place| place.asked.as_mut()) {
                see(Field::Asked(asked));
            }
        }
        Body::Lookup(lookup) => visit_lookup(lookup, see),
        Body::Finding(finding) => visit_finding(finding, see),
        Body::Tcp(_) | Body::Udp(_) | Body::Echo(_) | Body::IcmpError(_) | Body::Lost(_) => {}
    }
}

fn visit_exchange(exchange: &mut Exchange, see: &mut dyn FnMut(Field<'_>)) {
    if let Some(question) = &mut exchange.question {
        see(Field::Name(&mut question.name));
    }
    for record in exchange.answers.iter_mut().chain(&mut exchange.authorities) {
        visit_record(record, see);
    }
    for fault in [&mut exchange.fault, &mut exchange.details.query_fault] {
        match fault {
            Some(DnsFault::Question(text) | DnsFault::Record(text) | DnsFault::Edns(text)) => {
                see(Field::Text(text));
            }
            Some(DnsFault::CutShort | DnsFault::Questions(_) | DnsFault::TooMany) | None => {}
        }
    }
    let details = &mut exchange.details;
    let of_both = [&mut details.edns, &mut details.query_edns];
    for edns in of_both.into_iter().flatten() {
        visit_edns(edns, see);
    }
}

fn visit_record(record: &mut ResourceRecord, see: &mut dyn FnMut(Field<'_>)) {
    see(Field::Name(&mut record.name));
    // RFC 3597 section 5.
    if record.data.starts_with("\\#") {
        see(Field::Opaque(&mut record.data));
    } else {
        see(Field::Text(&mut record.data));
    }
}

fn visit_edns(edns: &mut Edns, see: &mut dyn FnMut(Field<'_>)) {
    if let Some(nsid) = &mut edns.nsid {
        see(Field::Text(nsid));
    }
    visit_errors(&mut edns.errors, see);
    for option in &mut edns.others {
        see(Field::Opaque(&mut option.data));
    }
}

fn visit_errors(errors: &mut [ExtendedError], see: &mut dyn FnMut(Field<'_>)) {
    for error in errors {
        see(Field::Text(&mut error.text));
    }
}

fn visit_lookup(lookup: &mut Lookup, see: &mut dyn FnMut(Field<'_>)) {
    for step in &mut lookup.steps {
        see(Field::Name(&mut step.name));
        for data in &mut step.data {
            see(Field::Text(data));
        }
        visit_errors(&mut step.errors, see);
    }
    if let Some(asked) = &mut lookup.asked {
        see(Field::Asked(asked));
    }
}

fn visit_finding(finding: &mut Finding, see: &mut dyn FnMut(Field<'_>)) {
    for text in [&mut finding.id, &mut finding.summary, &mut finding.why] {
        see(Field::Text(text));
    }
    if let Some(was) = &mut finding.was {
        see(Field::Text(was));
    }
    for name in &mut finding.names {
        see(Field::Shared(name));
    }
    for text in &mut finding.remedies {
        see(Field::Text(text));
    }
    for text in &mut finding.evidence {
        see(Field::Shared(text));
    }
}
