//! The pipeline and its consumers: an input goes in, its events go out to the screen and to taps.
//!
//! Shared by all sources. The screen is standard output, with a filter and a form; a [`Tap`] takes every
//! event. Never reads a clock: time comes with the input.

use std::collections::HashSet;
use std::io::{self, Stdout};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;

use super::notice::Notices;
use super::stdout::reader_gone;
use tracer_core::model::cluster::ClusterChange;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::loss::Losses;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::{Input, Pipeline};
use tracer_core::view::losses::LossReporter;
use tracer_core::view::privacy::Privacy;
use tracer_core::view::report::{Digest, Report};
use tracer_core::view::{Next, OutputSettings, Sink, WallClock};

#[cfg(agent)]
mod live;

const STDOUT: &str = "cannot write to standard output";

/// Takes every event, such as an agent's history or its metrics. The task that owns the pipeline calls it, so
/// it must not wait for anything.
pub(super) trait Tap {
    /// Takes an event and the time when the pipeline emitted it.
    fn take(&mut self, emitted: Timestamp, event: &Event);

    /// All events emitted before this time have been taken.
    fn reached(&mut self, at: Timestamp);

    /// No more events follow.
    fn end(&mut self);
}

/// Runs inputs through the pipeline and passes the events on.
pub(super) struct Output {
    pipeline: Pipeline,
    screen: Option<Sink<Stdout>>,
    taps: Vec<Box<dyn Tap>>,
    /// Redacts or drops an event before anything else sees it.
    privacy: Option<Arc<Mutex<Privacy>>>,
    notices: Notices,
    /// Announce findings of a report as they come, because the report itself is printed only at the end.
    announce_findings: bool,
    events: u64,
    reporter: LossReporter,
    /// Warnings about names in the filter, so that each is given only once.
    warned: HashSet<String>,
    /// Empty between calls; kept for its capacity.
    buffer: Vec<Event>,
}

impl Output {
    /// Creates an output without consumers.
    pub(super) fn new(pipeline: Pipeline, notices: Notices) -> Output {
        Output {
            pipeline,
            screen: None,
            taps: Vec::new(),
            privacy: None,
            notices,
            announce_findings: false,
            events: 0,
            reporter: LossReporter::new(),
            warned: HashSet::new(),
            buffer: Vec::new(),
        }
    }

    /// Also shows events on standard output, as seen on `node`.
    pub(super) fn on_screen(
        mut self,
        settings: &OutputSettings,
        node: &Arc<str>,
        clock: Box<dyn WallClock + Send>,
    ) -> Output {
        self.screen = Some(settings.sink(node, clock, io::stdout()));
        self
    }

    /// Also passes every event to these.
    pub(super) fn with_taps(mut self, taps: Vec<Box<dyn Tap>>) -> Output {
        self.taps.extend(taps);
        self
    }

    /// Announces the findings of a report as they come.
    pub(super) fn announcing_findings(mut self, announce: bool) -> Output {
        self.announce_findings = announce;
        self
    }

    /// The pipeline.
    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Whether packets came from cgroups of unknown containers since the last call.
    #[cfg(agent)]
    pub(super) fn unknown_cgroups(&mut self) -> bool {
        self.pipeline.take_unknown_cgroups()
    }

    /// Warns where the screen's filter names a namespace, pod or Service that does not exist. Gives each
    /// warning once.
    pub(super) fn warn_of_filter(&mut self) {
        for warning in self.unmatched() {
            if self.warned.insert(warning.clone()) {
                self.notices.warn(&warning);
            }
        }
    }

    /// A sentence for each name in the screen's filter that matches no known object.
    pub(super) fn unmatched(&self) -> Vec<String> {
        let filter = self.screen.as_ref().map(Sink::filter);
        filter.map_or_else(Vec::new, |filter| filter.warnings(self.pipeline.index()))
    }

    /// Runs one input and writes its events at once.
    pub(super) fn step(&mut self, input: Input) -> Result<Next> {
        match self.put(input)? {
            Next::Continue => self.flush(),
            next => Ok(next),
        }
    }

    /// Runs one input. Its events may stay in the screen's buffer until [`Output::flush`].
    pub(super) fn put(&mut self, input: Input) -> Result<Next> {
        let now = input.time();
        let ticked = matches!(input, Input::Tick(_));
        let listed = matches!(
            input,
            Input::Change(_, ClusterChange::List(_) | ClusterChange::Replace(_))
        );
        let mut events = std::mem::take(&mut self.buffer);
        self.pipeline.step(input, &mut events);
        self.events += events.len() as u64;
        let mut next = Next::Continue;
        for event in events.drain(..) {
            let allowed = match &self.privacy {
                None => Some(event),
                Some(privacy) => privacy.lock().pass(event),
            };
            if let Some(event) = allowed {
                next = self.emit(now, &event)?;
            }
            if next != Next::Continue {
                break;
            }
        }
        self.buffer = events;
        self.announce();
        if ticked {
            for tap in &mut self.taps {
                tap.reached(now);
            }
        }
        if listed {
            self.warn_of_filter();
        }
        Ok(next)
    }

    /// Shows an event that an agent's pipeline emitted on `node` at the time `decided`.
    pub(super) fn show_from(
        &mut self,
        node: &Arc<str>,
        event: &Event,
        decided: Timestamp,
    ) -> Result<Next> {
        if !matches!(event.body, Body::Lost(_)) {
            self.events += 1;
        }
        let next = match &mut self.screen {
            Some(screen) => {
                screen.set_decided(decided);
                screen.take_from(node, event).context(STDOUT)?
            }
            None => Next::Continue,
        };
        for tap in &mut self.taps {
            tap.take(decided, event);
        }
        self.announce();
        Ok(next)
    }

    /// The past is complete and what follows has just happened: the last events of the past are shown.
    pub(super) fn past_ended(&mut self) -> Result<Next> {
        match &mut self.screen {
            Some(screen) => screen.end_history().context(STDOUT),
            None => Ok(Next::Continue),
        }
    }

    /// Writes what is in the screen's buffer.
    pub(super) fn flush(&mut self) -> Result<Next> {
        match &mut self.screen {
            Some(screen) => screen.idle().context(STDOUT),
            None => Ok(Next::Continue),
        }
    }

    /// Ends the input and, unless the screen is done, the output.
    pub(super) fn end(&mut self, now: Timestamp) -> Result<()> {
        match self.step(Input::End(now))? {
            Next::Continue => self.close(),
            Next::Enough | Next::Closed => Ok(()),
        }
    }

    /// Ends the output: a report and the last events are written now.
    pub(super) fn close(&mut self) -> Result<()> {
        if let Some(screen) = &mut self.screen {
            screen.end().context(STDOUT)?;
        }
        for tap in &mut self.taps {
            tap.end();
        }
        Ok(())
    }

    /// The report, if the screen shows one at the end.
    pub(super) fn report(&mut self) -> Option<&mut Report> {
        self.screen.as_mut().and_then(Sink::report)
    }

    /// Whether the reader of the screen is gone. Works even while there is nothing to write.
    pub(super) fn is_unread(&self) -> bool {
        self.screen.is_some() && reader_gone()
    }

    /// Emits losses that grew since the last call. `source` is what was lost before the pipeline.
    pub(super) fn report_losses(&mut self, now: Timestamp, source: &Losses) -> Result<Next> {
        if self.is_unread() {
            return Ok(Next::Closed);
        }
        let losses = self.losses(source);
        for event in self.reporter.grown(now, &losses) {
            let next = self.emit(now, &event)?;
            if next != Next::Continue {
                return Ok(next);
            }
        }
        self.flush()
    }

    /// All losses, including those before the pipeline.
    pub(super) fn losses(&mut self, source: &Losses) -> Losses {
        let mut losses = self.pipeline.losses();
        losses.merge(source);
        if let Some(report) = self.screen.as_mut().and_then(Sink::report) {
            losses.merge(report.losses());
        }
        losses
    }

    /// The figures of a report, where one was asked for.
    pub(super) fn digest(&mut self) -> Option<Digest> {
        let report = self.screen.as_mut().and_then(Sink::report)?;
        Some(report.digest())
    }

    /// The number of events, before the filter.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The number of events shown.
    pub(super) fn shown(&self) -> u64 {
        self.screen.as_ref().map_or(0, Sink::shown)
    }

    fn emit(&mut self, now: Timestamp, event: &Event) -> Result<Next> {
        for tap in &mut self.taps {
            tap.take(now, event);
        }
        match &mut self.screen {
            Some(screen) => {
                screen.set_decided(now);
                screen.take(event).context(STDOUT)
            }
            None => Ok(Next::Continue),
        }
    }

    fn announce(&mut self) {
        let Some(report) = self.screen.as_mut().and_then(Sink::report) else {
            return;
        };
        for finding in report.new_findings() {
            if self.announce_findings {
                self.notices.found(&finding);
            }
        }
    }
}
