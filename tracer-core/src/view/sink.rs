//! Filter, encoder and writer in a row.
//!
//! Owns the limits of an output: `--count`, `--since`, `--last`, and the report that replaces the stream of
//! events.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::dns_screen::DnsScreen;
use super::filter::Filter;
use super::filter::emission::Unrecorded;
use super::report::{Kept, Report};
use super::writer::{LineWriter, WriteError};
use super::{Encode, WallClock};
use crate::model::event::{Body, Event};
use crate::model::time::Timestamp;

#[cfg(test)]
mod tests;

/// What the caller of a sink does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Continue.
    Continue,
    /// Stop: `--count` events have been shown.
    Enough,
    /// Stop quietly: the reader closed the output.
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
    /// With `last`: the latest events that passed so far, at most `last` of them.
    latest: VecDeque<(Option<Arc<str>>, Option<Timestamp>, Event)>,
    /// The node of the events that come now, if they come from several nodes.
    node: Option<Arc<str>>,
    /// When the events that come now were decided.
    decided: Option<Timestamp>,
    report: Option<Report>,
    dns: Option<DnsScreen>,
    shown: u64,
    line: String,
}

impl<W: io::Write> Sink<W> {
    /// Shows at most `limit` of the events that pass `filter`.
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
            latest: VecDeque::new(),
            node: None,
            decided: None,
            report: None,
            dns: None,
            shown: 0,
            line: String::new(),
        }
    }

    pub(super) fn show_since(&mut self, since: jiff::Timestamp) {
        self.since = Some(since);
    }

    pub(super) fn show_last(&mut self, last: usize) {
        self.last = Some(last);
    }

    pub(super) fn show_report(&mut self) {
        self.report = Some(Report::default());
    }

    pub(super) fn show_dns(&mut self, screen: DnsScreen) {
        self.dns = Some(screen);
    }

    /// Shows one event of this node; see [`Sink::take`].
    pub fn take_from(&mut self, node: &Arc<str>, event: &Event) -> io::Result<Next> {
        self.node = Some(Arc::clone(node));
        self.take(event)
    }

    /// The events that follow were decided at this time, or later where an earlier call said so: what is
    /// shown never goes back in time.
    pub fn set_decided(&mut self, at: Timestamp) {
        self.decided = self.decided.max(Some(at));
    }

    /// Shows one event if it passes the filter. Its line can stay in the buffer until [`Sink::idle`].
    pub fn take(&mut self, event: &Event) -> io::Result<Next> {
        if self.limit.is_some_and(|limit| self.shown >= limit) {
            return Ok(Next::Enough);
        }
        if let Some(report) = &mut self.report {
            if self.filter.matches(event) {
                report.take_from(self.node.as_ref(), event);
            }
            return Ok(Next::Continue);
        }
        // A loss is about the tracer: it does not count against the limits and is shown at once.
        let lost = matches!(event.body, Body::Lost(_));
        if !self.filter.matches(event) || !(lost || self.is_recent(event)) {
            return Ok(Next::Continue);
        }
        if let Some(dns) = &mut self.dns {
            self.shown += u64::from(dns.take(self.node.as_ref(), event));
            return Ok(Next::Continue);
        }
        if let Some(last) = self.last.filter(|_| !lost) {
            self.latest
                .push_back((self.node.clone(), self.decided, event.clone()));
            if self.latest.len() > last {
                self.latest.pop_front();
            }
            return Ok(Next::Continue);
        }
        self.show(self.node.clone().as_ref(), self.decided, event)
    }

    fn is_recent(&self, event: &Event) -> bool {
        self.since
            .is_none_or(|since| self.clock.wall(event.time) >= since)
    }

    fn show(
        &mut self,
        node: Option<&Arc<str>>,
        decided: Option<Timestamp>,
        event: &Event,
    ) -> io::Result<Next> {
        if let Some(node) = node {
            self.encoder.set_node(node);
        }
        if let Some(decided) = decided {
            self.encoder.set_decided(decided);
        }
        self.line.clear();
        self.encoder
            .encode(event, self.clock.as_ref(), &mut self.line)
            .map_err(io::Error::other)?;
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

    /// The input has ended: writes what [`OutputSettings::report`](super::OutputSettings::report),
    /// [`OutputSettings::dns`](super::OutputSettings::dns) and
    /// [`OutputSettings::last`](super::OutputSettings::last) postponed.
    pub fn end(&mut self) -> io::Result<Next> {
        if let Some(dns) = &self.dns {
            let screen = dns.render(self.clock.as_ref()).map_err(io::Error::other)?;
            match next(self.writer.write(&screen))? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        let reported = self.report.as_ref().map(Report::kept).unwrap_or_default();
        let events: Vec<Event> = reported.iter().map(|kept| kept.event.clone()).collect();
        self.encoder.set_all(&events, self.clock.as_ref());
        for Kept { node, event } in &reported {
            match self.show(node.as_ref(), None, event)? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        self.end_history()
    }

    /// The recorded events have ended and new ones follow: writes the last recorded ones.
    pub fn end_history(&mut self) -> io::Result<Next> {
        self.last = None;
        for (node, decided, event) in std::mem::take(&mut self.latest) {
            match self.show(node.as_ref(), decided, &event)? {
                Next::Continue => {}
                next => return Ok(next),
            }
        }
        self.idle()
    }

    /// No more events are available right now: flushes the buffer.
    pub fn idle(&mut self) -> io::Result<Next> {
        next(self.writer.flush())
    }

    /// Sets which packets the source does not record.
    pub fn set_unrecorded(&mut self, unrecorded: Unrecorded) {
        self.filter = std::mem::take(&mut self.filter).with_unrecorded(unrecorded);
    }

    /// The filter, for its warnings.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The report so far, if this sink makes one.
    pub fn report(&mut self) -> Option<&mut Report> {
        self.report.as_mut()
    }

    /// How many events were shown.
    pub fn shown(&self) -> u64 {
        self.shown
    }
}

/// A closed pipe ends the output and is not a failure.
fn next(written: Result<(), WriteError>) -> io::Result<Next> {
    match written {
        Ok(()) => Ok(Next::Continue),
        Err(WriteError::Closed) => Ok(Next::Closed),
        Err(WriteError::Failed(error)) => Err(error),
    }
}
