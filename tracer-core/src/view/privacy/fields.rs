//! Every field of an event that can hold a DNS name.

use std::sync::Arc;

use crate::model::dns::{DnsFault, DnsName, ResourceRecord};
use crate::model::edns::{Edns, ExtendedError};
use crate::model::event::{Body, Event};
use crate::model::exchange::Exchange;
use crate::model::finding::Finding;
use crate::model::lookup::Lookup;
use crate::model::sentence::{Sentence, Span};

/// A field that can hold names.
pub(super) enum Field<'a> {
    /// A name as the wire has it: absolute.
    Name(&'a mut DnsName),
    /// The whole text is a name, or a part of one, as an application asks for it.
    Asked(&'a mut String),
    /// The same, shared.
    SharedName(&'a mut Arc<str>),
    /// Free text that can hold names anywhere.
    Text(&'a mut String),
    /// Undecoded bytes of a message, in hexadecimal: a name in them cannot be found.
    Opaque(&'a mut String),
}

/// Visits each field of an event.
pub(super) fn visit(event: &mut Event, see: &mut dyn FnMut(Field<'_>)) {
    if let Some(ends) = &mut event.ends {
        for name in &mut ends.peer.names {
            see(Field::Name(name));
        }
    }
    match &mut event.body {
        Body::Dns(exchange, place) => {
            visit_exchange(Arc::make_mut(exchange), see);
            if let Some(asked) = place.as_mut().and_then(|place| place.asked.as_mut()) {
                see(Field::Asked(asked));
            }
        }
        Body::Lookup(lookup) => visit_lookup(lookup, see),
        Body::Finding(finding) => visit_finding(finding, see),
        Body::Tcp(_)
        | Body::Udp(_)
        | Body::Echo(_)
        | Body::IcmpError(_)
        | Body::Drop(_)
        | Body::Lost(_) => {}
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
    // The id is words with colons and slashes between them, one of which can be a name.
    see(Field::Text(&mut finding.id));
    see(Field::Text(&mut finding.cause));
    for name in &mut finding.names {
        see(Field::SharedName(name));
    }
    let single = [
        Some(&mut finding.headline),
        finding.symptom.as_mut(),
        Some(&mut finding.summary),
        finding.was.as_mut(),
        finding.fix.as_mut(),
    ];
    for sentence in single.into_iter().flatten() {
        visit_sentence(sentence, see);
    }
    for sentences in [
        &mut finding.why,
        &mut finding.remedies,
        &mut finding.evidence,
    ] {
        for sentence in sentences {
            visit_sentence(sentence, see);
        }
    }
}

fn visit_sentence(sentence: &mut Sentence, see: &mut dyn FnMut(Field<'_>)) {
    for span in sentence.spans_mut() {
        match span {
            Span::Words(_) => {}
            Span::Name(name) => see(Field::Name(name)),
            Span::Asked(text) => see(Field::Asked(text)),
            Span::Opaque(text) => see(Field::Text(text)),
        }
    }
}
