//! The memory that a value owns besides its own size, for tables that are bounded by bytes.
//!
//! A shared string counts in full at each of its owners: too much rather than too little.

use std::sync::Arc;

use super::correlated::{Correlated, CorrelatedEvent};
use super::dns::{DnsFault, DnsName, Question, ResourceRecord};
use super::edns::Edns;
use super::exchange::{Details, Exchange, Step};
use super::finding::Finding;
use super::path::{Hop, Path};
use super::sentence::{Sentence, Span};

/// An allocation's own needs: its header and its rounding, and a shared string's two counters.
pub(crate) const ALLOCATION: usize = 32;

/// Memory owned besides `size_of`.
pub(crate) trait HeapBytes {
    fn heap_bytes(&self) -> usize;
}

impl HeapBytes for String {
    fn heap_bytes(&self) -> usize {
        match self.capacity() {
            0 => 0,
            bytes => ALLOCATION + bytes,
        }
    }
}

impl HeapBytes for DnsName {
    fn heap_bytes(&self) -> usize {
        ALLOCATION + self.as_str().len()
    }
}

impl HeapBytes for Question {
    fn heap_bytes(&self) -> usize {
        self.name.heap_bytes()
    }
}

impl HeapBytes for ResourceRecord {
    fn heap_bytes(&self) -> usize {
        self.name.heap_bytes() + self.data.heap_bytes()
    }
}

impl<T: HeapBytes> HeapBytes for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, HeapBytes::heap_bytes)
    }
}

impl<T: HeapBytes> HeapBytes for Box<T> {
    fn heap_bytes(&self) -> usize {
        ALLOCATION + size_of::<T>() + T::heap_bytes(self)
    }
}

impl<T: HeapBytes> HeapBytes for Arc<T> {
    fn heap_bytes(&self) -> usize {
        ALLOCATION + size_of::<T>() + T::heap_bytes(self)
    }
}

impl<T: HeapBytes> HeapBytes for Vec<T> {
    fn heap_bytes(&self) -> usize {
        slice_bytes(self) + self.iter().map(HeapBytes::heap_bytes).sum::<usize>()
    }
}

/// The memory of a vector whose items own none.
pub(crate) fn slice_bytes<T>(items: &Vec<T>) -> usize {
    match items.capacity() {
        0 => 0,
        capacity => ALLOCATION + capacity * size_of::<T>(),
    }
}

impl HeapBytes for DnsFault {
    fn heap_bytes(&self) -> usize {
        match self {
            DnsFault::Question(text) | DnsFault::Record(text) | DnsFault::Edns(text) => {
                text.heap_bytes()
            }
            DnsFault::CutShort | DnsFault::Questions(_) | DnsFault::TooMany => 0,
        }
    }
}

impl HeapBytes for Edns {
    fn heap_bytes(&self) -> usize {
        let errors = self.errors.iter().map(|error| error.text.heap_bytes());
        let others = self.others.iter().map(|option| option.data.heap_bytes());
        self.nsid.heap_bytes()
            + self.cookie.heap_bytes()
            + self.client_subnet.heap_bytes()
            + slice_bytes(&self.errors)
            + slice_bytes(&self.others)
            + errors.chain(others).sum::<usize>()
    }
}

impl HeapBytes for Details {
    fn heap_bytes(&self) -> usize {
        self.query_fault.heap_bytes() + self.query_edns.heap_bytes() + self.edns.heap_bytes()
    }
}

impl HeapBytes for Sentence {
    fn heap_bytes(&self) -> usize {
        let part = |span: &Span| size_of::<Span>() + ALLOCATION + span.as_str().len();
        ALLOCATION + self.spans().iter().map(part).sum::<usize>()
    }
}

impl HeapBytes for Finding {
    fn heap_bytes(&self) -> usize {
        let names = self.names.iter().map(|name| ALLOCATION + name.len());
        let sentences = [&self.headline, &self.summary].into_iter();
        let sentences = sentences
            .chain(&self.was)
            .chain(&self.fix)
            .chain(&self.symptom);
        self.id.heap_bytes()
            + self.cause.heap_bytes()
            + slice_bytes(&self.names)
            + names.sum::<usize>()
            + sentences.map(HeapBytes::heap_bytes).sum::<usize>()
            + self.why.heap_bytes()
            + self.remedies.heap_bytes()
            + self.evidence.heap_bytes()
            + self.path.heap_bytes()
    }
}

impl HeapBytes for Path {
    fn heap_bytes(&self) -> usize {
        let hop = |hop: &Hop| size_of::<Hop>() + hop.what.heap_bytes();
        self.line.heap_bytes() + self.hops.iter().map(hop).sum::<usize>()
    }
}

impl HeapBytes for Step {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl HeapBytes for Exchange {
    fn heap_bytes(&self) -> usize {
        self.question.heap_bytes()
            + self.answers.heap_bytes()
            + self.authorities.heap_bytes()
            + self.steps.heap_bytes()
            + self.fault.heap_bytes()
            + (self.caused_by.as_ref()).map_or(0, |cause| ALLOCATION + size_of_val(&**cause))
            + (self.upstream.as_ref()).map_or(0, |asked| ALLOCATION + size_of_val(&**asked))
            + self.details.heap_bytes()
    }
}

impl HeapBytes for Correlated {
    fn heap_bytes(&self) -> usize {
        match &self.event {
            CorrelatedEvent::Asked(asked) => asked.question.heap_bytes(),
            CorrelatedEvent::Exchange(exchange) => exchange.heap_bytes(),
            // Their evidence is of fixed size; the boxes in it are few and small.
            CorrelatedEvent::Tcp(tcp) | CorrelatedEvent::TcpProgress(tcp) => {
                2 * (ALLOCATION + size_of_val(&**tcp))
            }
            CorrelatedEvent::Udp(udp) | CorrelatedEvent::UdpProgress(udp) => {
                2 * (ALLOCATION + size_of_val(&**udp))
            }
            CorrelatedEvent::Echo(echo) => ALLOCATION + size_of_val(&**echo),
            CorrelatedEvent::IcmpError(error) => ALLOCATION + size_of_val(&**error),
            CorrelatedEvent::MadeRoom => 0,
        }
    }
}
