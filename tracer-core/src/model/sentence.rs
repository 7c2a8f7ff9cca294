//! A sentence, or a command, that remembers which of its parts are names.
//!
//! Findings are sentences. Their names stay apart from the words around them until they are displayed, so
//! that privacy settings redact names without a search through prose.

use std::borrow::Cow;
use std::fmt;

use super::dns::DnsName;
use super::stretch::Stretches;

/// A part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// Words, numbers, addresses: nothing that a privacy setting hides.
    Words(Cow<'static, str>),
    /// A DNS name as the wire has it: absolute, with its trailing dot.
    Name(DnsName),
    /// A name, or a part of one, as the application asked for it or as it may ask for it.
    Asked(String),
    /// Text from outside that can hold names anywhere: a server's explanation, a record's data.
    Opaque(String),
}

impl Span {
    /// The text of this part.
    pub fn as_str(&self) -> &str {
        match self {
            Span::Words(text) => text,
            Span::Name(name) => name.as_str(),
            Span::Asked(text) | Span::Opaque(text) => text,
        }
    }
}

/// A sentence or a command, in parts. `Display` joins them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sentence {
    spans: Vec<Span>,
    about: Stretches,
}

impl Sentence {
    /// Says which parts of a packet's way it is about.
    #[must_use]
    pub fn about(self, about: Stretches) -> Sentence {
        Sentence { about, ..self }
    }

    /// The parts of a packet's way that it is about.
    pub fn stretches(&self) -> Stretches {
        self.about
    }

    /// Appends words; adjacent words are one part.
    pub fn push_words(&mut self, words: impl Into<Cow<'static, str>>) {
        let words = words.into();
        match self.spans.last_mut() {
            _ if words.is_empty() => {}
            Some(Span::Words(before)) => before.to_mut().push_str(&words),
            _ => self.spans.push(Span::Words(words)),
        }
    }

    /// Appends a part.
    pub fn push(&mut self, span: Span) {
        match span {
            Span::Words(words) => self.push_words(words),
            span => self.spans.push(span),
        }
    }

    /// Appends another sentence.
    pub fn append(&mut self, other: Sentence) {
        other.spans.into_iter().for_each(|span| self.push(span));
    }

    /// The number of characters.
    pub fn chars(&self) -> usize {
        self.spans
            .iter()
            .map(|span| span.as_str().chars().count())
            .sum()
    }

    /// At most this many characters; what is cut off is marked.
    #[must_use]
    pub fn clipped(self, max: usize) -> Sentence {
        if self.chars() <= max {
            return self;
        }
        let mut room = max.saturating_sub(1);
        let mut clipped = Sentence::default();
        for span in self.spans {
            let length = span.as_str().chars().count();
            if length > room {
                let cut: String = span.as_str().chars().take(room).collect();
                clipped.push(match span {
                    Span::Words(_) => Span::Words(cut.into()),
                    // A part of a name is still a name.
                    Span::Name(_) | Span::Asked(_) => Span::Asked(cut),
                    Span::Opaque(_) => Span::Opaque(cut),
                });
                break;
            }
            room -= length;
            clipped.push(span);
        }
        clipped.push_words("…");
        clipped
    }

    /// Sentences as text, a line each.
    pub fn lines(sentences: &[Sentence]) -> String {
        let lines: Vec<String> = sentences.iter().map(Sentence::to_string).collect();
        lines.join("\n")
    }

    /// The parts, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The parts, in order, to be changed.
    pub fn spans_mut(&mut self) -> &mut [Span] {
        &mut self.spans
    }
}

/// Finished text, as it comes from a stream: one part.
impl From<String> for Sentence {
    fn from(text: String) -> Sentence {
        let mut sentence = Sentence::default();
        sentence.push_words(text);
        sentence
    }
}

impl From<&'static str> for Sentence {
    fn from(text: &'static str) -> Sentence {
        let mut sentence = Sentence::default();
        sentence.push_words(text);
        sentence
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spans
            .iter()
            .try_for_each(|span| f.write_str(span.as_str()))
    }
}

impl serde::Serialize for Sentence {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Sentence, Span};
    use crate::model::dns::DnsName;

    #[test]
    fn a_sentence_displays_its_parts_and_joins_adjacent_words() {
        let mut sentence = Sentence::from("it asked ");
        sentence.push_words("for ");
        sentence.push(Span::Name(DnsName::new("db.corp.example")));
        assert_eq!(sentence.to_string(), "it asked for db.corp.example.");
        assert_eq!(sentence.spans().len(), 2);
    }
}
