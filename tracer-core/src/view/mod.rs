//! What an event looks like, as text and as a JSON line, and which events are shown.
//!
//! Owns what people and programs read: the JSON contract, the text form, which events are shown. Encoding ([`json`],
//! [`text`]) is apart from writing ([`writer`]), and choosing ([`filter`]) from both; [`Sink`] puts them together. It never
//! changes an event and never waits for anything but the writer. Input: the pipeline's events and a [`WallClock`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use crate::model::event::{Body, Event};
use crate::model::time::Timestamp;

pub mod filter;
pub mod json;
pub mod losses;
pub mod privacy;
pub mod report;
pub mod summary;
pub mod text;
pub mod words;
pub mod writer;

#[cfg(any(test, feature = "gallery"))]
pub mod gallery;
#[cfg(test)]
mod tests;

use self::filter::emission::Unrecorded;
use self::filter::{Detail, Filter, FilterConfig};
use self::json::Json;
use self::report::Report;
use self::text::{FindingBlocks, Text, TextSettings};
use self::writer::{LineWriter, WriteError};

/// How the pipeline's clock maps to wall time. The edge that owns the clock answers.
pub trait WallClock {
    /// The wall time of a moment on the pipeline's clock.
    fn wall(&self, at: Timestamp) -> jiff::Timestamp;
}

impl<F: Fn(Timestamp) -> jiff::Timestamp> WallClock for F {
    fn wall(&self, at: Timestamp) -> jiff::Timestamp {
        self(at)
    }
}

/// Turns an event into lines.
pub trait Encode {
    /// What follows was seen on this node.
    fn of_node(&mut self, _node: &Arc<str>) {}

    /// Appends the event's lines to `out`, each with its newline.
    fn encode(&mut self, event: &Event, clock: &dyn WallClock, out: &mut String);
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For people who want everything.
    Wide,
    /// For programs.
    Json,
}

/// What is shown, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputSettings {
    /// The form.
    pub format: Format,
    /// Text in colour.
    pub color: bool,
    /// Which events; its [`filter::Detail`] is chosen by [`OutputSettings::sink`].
    pub filter: FilterConfig,
    /// At most so many.
    pub count: Option<u64>,
    /// Only what began then or later.
    pub since: Option<jiff::Timestamp>,
    /// Only the last so many, told by [`Sink::end`].
    pub last: Option<usize>,
    /// Nothing but the findings, each once, told by [`Sink::end`].
    pub report: bool,
}

impl OutputSettings {
    /// Which events are shown in this form.
    pub fn filter(&self) -> FilterConfig {
        let detail = match self.format {
            // A report counts what it does not show.
            Format::Text if !self.report => Detail::Digest,
            Format::Text | Format::Wide | Format::Json => Detail::All,
        };
        FilterConfig {
            detail,
            ..self.filter.clone()
        }
    }

    /// A sink that writes to `out` what was seen on `node`. Text has local times.
    pub fn sink<W: io::Write>(
        &self,
        node: &Arc<str>,
        clock: Box<dyn WallClock + Send>,
        out: W,
    ) -> Sink<W> {
        let text = |wide| -> Box<dyn Encode + Send> {
            let settings = TextSettings {
                wide,
                color: self.color,
                time_zone: jiff::tz::TimeZone::system(),
            };
            if self.report {
                Box::new(FindingBlocks::new(settings))
            } else {
                Box::new(Text::new(settings))
            }
        };
        let encoder: Box<dyn Encode + Send> = match self.format {
            Format::Text => text(false),
            Format::Wide => text(true),
            Format::Json => Box::new(Json::new(node.clone())),
        };
        let filter = Filter::from(self.filter());
        let mut sink = Sink::new(filter, encoder, clock, LineWriter::new(out), self.count);
        sink.since = self.since;
        sink.last = self.last;
        sink.report = self.report.then(Report::default);
        sink
    }
}

/// What the one who feeds a sink should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// As many events as were asked for (`--count`) have been shown: end.
    Enough,
    /// Whoever read the output is gone: end, quietly.
    Closed,
}

impl Next {
    /// Combines the answers of two consumers: the first one that ends, ends both.
    pub fn and(self, other: Next) -> Next {
        if self == Next::Continue { other } else { self }
    }
}

/// Filter, encoder and writer in a row.
pub struct Sink<W: io::Write> {
    filter: Filter,
    encoder: Box<dyn Encode + Send>,
    clock: Box<dyn WallClock + Send>,
    writer: LineWriter<W>,
    limit: Option<u64>,
    since: Option<jiff::Timestamp>,
    last: Option<usize>,
    /// With `last`: the latest of what passed so far, at most so many.
    held: VecDeque<(Option<Arc<str>>, Event)>,
    /// Where the events come from that are taken now, where they come from several nodes.
    node: Option<Arc<str>>,
    /// Where findings of a report come from, by their ids.
    nodes: BTreeMap<String, Arc<str>>,
    report: Option<Report>,
    shown: u64,
    line: String,
}

impl<W: io::Write> Sink<W> {
    /// Shows what `filter` lets through, at most `limit` events.
    pub fn new(
        filter: Filter,
        encoder: Box<dyn Encode + Send>,
        clock: Box<dyn WallClock + Send>,
        writer: LineWriter<W>,
        limit: Option<u64>,
    ) -> Sink<W> {
        Sink {
            filter,
            encoder,
            clock,
            writer,
            limit,
            since: None,
            last: None,
            held: VecDeque::new(),
            node: None,
            nodes: BTreeMap::new(),
            report: None,
            shown: 0,
            line: String::new(),
        }
    }

    /// Shows one event of this node; see [`Sink::take`].
    pub fn take_of(&mut self, node: &Arc<str>, event: &Event) -> io::Result<Next> {
        self.node = Some(Arc::clone(node));
        if let (Body::Finding(finding), Some(_)) = (&event.body, &self.report)
            && self.nodes.len() < report::MOST_FINDINGS
        {
            self.nodes.insert(finding.id.clone(), Arc::clone(node));
        }
        self.take(event)
    }

    /// Shows one event, if the filter lets it through. It may stay in the buffer until [`Sink::idle`].
    pub fn take(&mut self, event: &Event) -> io::Result<Next> {
        if self.limit.is_some_and(|limit| self.shown >= limit) {
            return Ok(Next::Enough);
        }
        if let Some(report) = &mut self.report {
            if self.filter.matches(event) {
                report.take(event);
            }
            return Ok(Next::Continue);
        }
        // A loss is about the tracer: it does not use up what was asked for, and passes at once.
        let lost = matches!(event.body, Body::Lost(_));
        if !self.filter.matches(event) || !(lost || self.is_recent(event)) {
            return Ok(Next::Continue);
        }
        if let Some(last) = self.last.filter(|_| !lost) {
            self.held.push_back((self.node.clone(), event.clone()));
            if self.held.len() > last {
                self.held.pop_front();
            }
            return Ok(Next::Continue);
        }
        self.show(self.node.clone().as_ref(), event)
    }

    fn is_recent(&self, event: &Event) -> bool {
        self.since
            .is_none_or(|since| self.clock.wall(event.time) >= since)
    }

    fn show(&mut self, node: Option<&Arc<str>>, event: &Event) -> io::Result<Next> {
        if let Some(node) = node {
            self.encoder.of_node(node);
        }
        self.line.clear();
        self.encoder
            .encode(event, self.clock.as_ref(), &mut self.line);
        if self.line.is_empty() {
            return Ok(Next::Continue);
        }
        let written = self.writer.write(&self.line);
        if !matches!(event.body, Body::Lost(_)) {
            self.shown += 1;
        }
        match next(written)? {
            Next::Continue if self.limit.is_some_and(|limit| self.shown >= limit) => {
                match self.idle()? {
                    Next::Continue => Ok(Next::Enough),
                    end => Ok(end),
                }
            }
            next => Ok(next),
        }
    }

    /// There will be no more events: those that waited for it go out.
    pub fn end(&mut self) -> io::Result<Next> {
        let reported = self.report.as_ref().map(Report::findings);
        for event in reported.unwrap_or_default() {
            let node = match &event.body {
                Body::Finding(finding) => self.nodes.get(&finding.id).cloned(),
                _ => None,
            };
            match self.show(node.as_ref(), &event)? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        self.past_ended()
    }

    /// What was recorded is over, and what is taken from now on has just happened: the last ones of it go out.
    pub fn past_ended(&mut self) -> io::Result<Next> {
        self.last = None;
        for (node, event) in std::mem::take(&mut self.held) {
            match self.show(node.as_ref(), &event)? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        self.idle()
    }

    /// Nothing more is at hand just now: what was shown so far goes out.
    pub fn idle(&mut self) -> io::Result<Next> {
        next(self.writer.flush())
    }

    /// What this sink's source leaves out.
    pub fn without(&mut self, unrecorded: Unrecorded) {
        self.filter = std::mem::take(&mut self.filter).without(unrecorded);
    }

    /// The filter, to ask it for warnings.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What a report holds so far, where one was asked for.
    pub fn report(&mut self) -> Option<&mut Report> {
        self.report.as_mut()
    }

    /// How many events were shown.
    pub fn shown(&self) -> u64 {
        self.shown
    }
}

/// A closed pipe is an end, not a failure.
fn next(written: Result<(), WriteError>) -> io::Result<Next> {
    match written {
        Ok(()) => Ok(Next::Continue),
        Err(WriteError::Closed) => Ok(Next::Closed),
        Err(WriteError::Failed(error)) => Err(error),
    }
}
