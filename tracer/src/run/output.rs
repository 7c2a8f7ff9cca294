//! The pipeline and the sink behind it: an input in, its events out.
//!
//! Shared by all sources. Never reads a clock: time comes with the input.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Stdout};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::model::event::Event;
use crate::model::flow::Ifindex;
use crate::model::loss::Losses;
use crate::model::time::Timestamp;
use crate::pipeline::{Input, Pipeline};
use crate::sinks::filter::emission::Unrecorded;
use crate::sinks::losses::LossReporter;
use crate::sinks::report::Digest;
use crate::sinks::text::safe;
use crate::sinks::writer::reader_gone;
use crate::sinks::{Next, OutputSettings, Sink, WallClock};

/// Takes inputs, shows events.
pub(super) struct Output {
    pub(super) pipeline: Pipeline,
    sink: Sink<Stdout>,
    events: u64,
    reporter: LossReporter,
    /// Findings of a report are told on standard error as they come: it stands at the end, and somebody waits.
    tell_news: bool,
    /// What was said of names in the filter that nobody has.
    warned: HashSet<String>,
    /// Between two calls it is empty; kept for its room.
    out: Vec<Event>,
}

impl Output {
    /// Shows what was seen on `node` on standard output.
    pub(super) fn new(
        pipeline: Pipeline,
        settings: &OutputSettings,
        node: &Arc<str>,
        clock: Box<dyn WallClock + Send>,
    ) -> Output {
        Output {
            pipeline,
            sink: settings.sink(node, clock, io::stdout()),
            events: 0,
            tell_news: false,
            reporter: LossReporter::new(),
            warned: HashSet::new(),
            out: Vec::new(),
        }
    }

    /// Findings of a report are told on standard error as they come.
    pub(super) fn tell_news(&mut self) {
        self.tell_news = true;
    }

    /// The source leaves packets out that the filter has no use for.
    pub(super) fn without(&mut self, unrecorded: Unrecorded) {
        self.sink.without(unrecorded);
    }

    /// Says on standard error where a filter names somebody that nobody knows; each once, however often it is asked.
    pub(super) fn warn_of_filters(&mut self) {
        for warning in self.sink.filter().warnings(self.pipeline.index()) {
            if !self.warned.contains(&warning) {
                eprintln!("warning: {warning}");
                self.warned.insert(warning);
            }
        }
    }

    /// Those of these interfaces that have nothing to show.
    pub(super) fn mute(&self, traced: &BTreeSet<Ifindex>, at: Timestamp) -> BTreeSet<Ifindex> {
        let index = self.pipeline.index();
        self.sink.filter().mute(traced, index, at)
    }

    /// One input, and its events out at once.
    pub(super) fn step(&mut self, input: Input) -> Result<Next> {
        match self.put(input)? {
            Next::Continue => self.flush(),
            next => Ok(next),
        }
    }

    /// One input; its events may stay in the output's buffer.
    pub(super) fn put(&mut self, input: Input) -> Result<Next> {
        let mut out = std::mem::take(&mut self.out);
        self.pipeline.step(input, &mut out);
        self.events += out.len() as u64;
        let mut next = Next::Continue;
        for event in out.drain(..) {
            next = self.show(&event)?;
            if next != Next::Continue {
                break;
            }
        }
        out.clear();
        self.out = out;
        if let Some(report) = self.sink.report() {
            for line in report.news() {
                if self.tell_news {
                    eprintln!("found {}", safe(&line));
                }
            }
        }
        Ok(next)
    }

    /// What is in the output's buffer goes out.
    pub(super) fn flush(&mut self) -> Result<Next> {
        self.sink.idle().context("cannot write to standard output")
    }

    /// The end of all input, and what is told because of it.
    pub(super) fn end(&mut self, now: Timestamp) -> Result<()> {
        if self.step(Input::End(now))? == Next::Continue {
            self.sink.end().context("cannot write to standard output")?;
        }
        Ok(())
    }

    /// Whether nobody reads the events any more, which is noticed while there is nothing to write, too.
    pub(super) fn is_unread(&self) -> bool {
        reader_gone(io::stdout())
    }

    /// Tells losses that are new. `source` is what was lost before the pipeline.
    pub(super) fn report(&mut self, now: Timestamp, source: &Losses) -> Result<Next> {
        if self.is_unread() {
            return Ok(Next::Closed);
        }
        let losses = self.losses(source);
        for event in self.reporter.grown(now, &losses) {
            let next = self.show(&event)?;
            if next != Next::Continue {
                return Ok(next);
            }
        }
        self.flush()
    }

    /// All losses, those before the pipeline included.
    pub(super) fn losses(&mut self, source: &Losses) -> Losses {
        let mut losses = self.pipeline.losses();
        losses.merge(source);
        if let Some(report) = self.sink.report() {
            losses.merge(report.losses());
        }
        losses
    }

    /// How many events there were.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The figures of a report, where one was asked for.
    pub(super) fn digest(&mut self) -> Option<Digest> {
        self.sink.report().map(|report| report.digest())
    }

    /// How many of them were shown.
    pub(super) fn shown(&self) -> u64 {
        self.sink.shown()
    }

    fn show(&mut self, event: &Event) -> Result<Next> {
        self.sink
            .take(event)
            .context("cannot write to standard output")
    }
}
