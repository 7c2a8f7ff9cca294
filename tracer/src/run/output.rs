//! The pipeline and what stands behind it: an input in, its events out.
//!
//! Shared by all sources. Where events go is a list of [`Outlet`]s: standard output here, in an agent its history and what
//! else it exports to. Never reads a clock: time comes with the input.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Stdout};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

use super::notice;
use super::stdout::reader_gone;
use tracer_core::model::event::Event;
use tracer_core::model::flow::Ifindex;
use tracer_core::model::loss::Losses;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline};
use tracer_core::view::filter::Filter;
use tracer_core::view::filter::emission::Unrecorded;
use tracer_core::view::losses::LossReporter;
use tracer_core::view::privacy::Privacy;
use tracer_core::view::report::{Digest, Report};
use tracer_core::view::text::safe;
use tracer_core::view::{Next, OutputSettings, Sink, WallClock};

/// Where events go behind the pipeline. It is called by the one task that owns the pipeline, so it must not wait for
/// anybody but standard output.
pub(super) trait Outlet {
    /// An event, and when it was told.
    fn take(&mut self, told: Timestamp, event: &Event) -> Result<Next>;

    /// Nothing more is at hand just now: what is held back goes out.
    fn idle(&mut self) -> Result<Next> {
        Ok(Next::Continue)
    }

    /// Everything that is told before that moment was told.
    fn reached(&mut self, _at: Timestamp) {}

    /// There will be no more events.
    fn end(&mut self) -> Result<()> {
        Ok(())
    }

    /// The source leaves packets out that the filter has no use for.
    fn without(&mut self, _unrecorded: Unrecorded) {}

    /// What it shows, if it does not show everything.
    fn filter(&self) -> Option<&Filter> {
        None
    }

    /// What a report holds so far, where that is what it shows.
    fn report(&mut self) -> Option<&mut Report> {
        None
    }

    /// How many events it showed.
    fn shown(&self) -> u64 {
        0
    }

    /// Whether nobody reads the events any more, which is noticed while there is nothing to write, too.
    fn is_unread(&self) -> bool {
        false
    }
}

impl Outlet for Sink<Stdout> {
    fn take(&mut self, _told: Timestamp, event: &Event) -> Result<Next> {
        Sink::take(self, event).context(STDOUT)
    }

    fn idle(&mut self) -> Result<Next> {
        Sink::idle(self).context(STDOUT)
    }

    fn end(&mut self) -> Result<()> {
        Sink::end(self).context(STDOUT)?;
        Ok(())
    }

    fn without(&mut self, unrecorded: Unrecorded) {
        Sink::without(self, unrecorded);
    }

    fn filter(&self) -> Option<&Filter> {
        Some(Sink::filter(self))
    }

    fn report(&mut self) -> Option<&mut Report> {
        Sink::report(self)
    }

    fn shown(&self) -> u64 {
        Sink::shown(self)
    }

    fn is_unread(&self) -> bool {
        reader_gone(io::stdout())
    }
}

const STDOUT: &str = "cannot write to standard output";

/// Shows what was seen on `node` on standard output.
pub(super) fn stdout(
    settings: &OutputSettings,
    node: &Arc<str>,
    clock: Box<dyn WallClock + Send>,
) -> Vec<Box<dyn Outlet>> {
    vec![Box::new(settings.sink(node, clock, io::stdout()))]
}

/// Takes inputs, shows events.
pub(super) struct Output {
    pub(super) pipeline: Pipeline,
    outlets: Vec<Box<dyn Outlet>>,
    /// What every event has to pass first.
    guard: Option<Arc<Mutex<Privacy>>>,
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
    /// Tells these of what happens.
    pub(super) fn new(pipeline: Pipeline, outlets: Vec<Box<dyn Outlet>>) -> Output {
        Output {
            pipeline,
            outlets,
            guard: None,
            events: 0,
            tell_news: false,
            reporter: LossReporter::new(),
            warned: HashSet::new(),
            out: Vec::new(),
        }
    }

    /// From now on every event has to pass this before any outlet is told of it.
    pub(super) fn guard(&mut self, privacy: Arc<Mutex<Privacy>>) {
        self.guard = Some(privacy);
    }

    /// Findings of a report are told on standard error as they come.
    pub(super) fn tell_news(&mut self) {
        self.tell_news = true;
    }

    /// The source leaves packets out that the filter has no use for.
    pub(super) fn without(&mut self, unrecorded: Unrecorded) {
        for outlet in &mut self.outlets {
            outlet.without(unrecorded.clone());
        }
    }

    /// Says on standard error where a filter names somebody that nobody knows; each once, however often it is asked.
    pub(super) fn warn_of_filters(&mut self) {
        let filters = self.outlets.iter().filter_map(|outlet| outlet.filter());
        for warning in filters.flat_map(|filter| filter.warnings(self.pipeline.index())) {
            if !self.warned.contains(&warning) {
                notice::warn(&warning);
                self.warned.insert(warning);
            }
        }
    }

    /// Those of these interfaces that have nothing to show.
    pub(super) fn mute(&self, traced: &BTreeSet<Ifindex>, at: Timestamp) -> BTreeSet<Ifindex> {
        match self.outlets.as_slice() {
            [only] => only.filter().map_or_else(BTreeSet::new, |filter| {
                filter.mute(traced, self.pipeline.index(), at)
            }),
            // What one has no use for another may show.
            _ => BTreeSet::new(),
        }
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
        let now = input.time();
        let ticked = matches!(input, Input::Tick(_));
        let mut out = std::mem::take(&mut self.out);
        self.pipeline.step(input, &mut out);
        self.events += out.len() as u64;
        let mut next = Next::Continue;
        for event in out.drain(..) {
            let Some(event) = self.passed(event) else {
                continue;
            };
            next = self.show(now, &event)?;
            if next != Next::Continue {
                break;
            }
        }
        out.clear();
        self.out = out;
        for report in self.outlets.iter_mut().filter_map(|outlet| outlet.report()) {
            for line in report.news() {
                if self.tell_news {
                    eprintln!("found {}", safe(&line));
                }
            }
        }
        if ticked {
            for outlet in &mut self.outlets {
                outlet.reached(now);
            }
        }
        Ok(next)
    }

    /// What may be told of an event.
    fn passed(&self, event: Event) -> Option<Event> {
        match &self.guard {
            None => Some(event),
            // A panic elsewhere while it was locked leaves its settings whole.
            Some(guard) => guard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pass(event),
        }
    }

    /// What is in the output's buffer goes out.
    pub(super) fn flush(&mut self) -> Result<Next> {
        let mut next = Next::Continue;
        for outlet in &mut self.outlets {
            next = worse(next, outlet.idle()?);
        }
        Ok(next)
    }

    /// The end of all input, and what is told because of it.
    pub(super) fn end(&mut self, now: Timestamp) -> Result<()> {
        if self.step(Input::End(now))? == Next::Continue {
            for outlet in &mut self.outlets {
                outlet.end()?;
            }
        }
        Ok(())
    }

    /// Whether nobody reads the events any more, which is noticed while there is nothing to write, too.
    pub(super) fn is_unread(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.is_unread())
    }

    /// Tells losses that are new. `source` is what was lost before the pipeline.
    pub(super) fn report(&mut self, now: Timestamp, source: &Losses) -> Result<Next> {
        if self.is_unread() {
            return Ok(Next::Closed);
        }
        let losses = self.losses(source);
        for event in self.reporter.grown(now, &losses) {
            let next = self.show(now, &event)?;
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
        for report in self.outlets.iter_mut().filter_map(|outlet| outlet.report()) {
            losses.merge(report.losses());
        }
        losses
    }

    /// The figures of a report, where one was asked for.
    pub(super) fn digest(&mut self) -> Option<Digest> {
        let mut reports = self.outlets.iter_mut().filter_map(|outlet| outlet.report());
        reports.next().map(|report| report.digest())
    }

    /// How many events there were.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// How many of them were shown.
    pub(super) fn shown(&self) -> u64 {
        self.outlets.iter().map(|outlet| outlet.shown()).sum()
    }

    fn show(&mut self, told: Timestamp, event: &Event) -> Result<Next> {
        let mut next = Next::Continue;
        for outlet in &mut self.outlets {
            next = worse(next, outlet.take(told, event)?);
        }
        Ok(next)
    }
}

/// Of two, the one that ends.
fn worse(one: Next, other: Next) -> Next {
    if one == Next::Continue { other } else { one }
}
