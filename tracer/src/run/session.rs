//! One run: passes what a source yields to the [`Output`], until one of them or the user ends it.
//!
//! Owns signals, `--duration`, the periodic report and the summary. What differs between the probes of this
//! machine, a capture file and agents is behind [`Source`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::time::{MissedTickBehavior, interval};

use super::output::Output;
use super::signals::{Signals, Stop};
use tracer_core::model::event::Event;
use tracer_core::model::loss::Losses;
use tracer_core::model::time::Timestamp;
use tracer_core::pipeline::Input;
use tracer_core::view::Next;
use tracer_core::view::summary::Summary;

/// One step of a source.
pub(super) enum Step {
    /// An input for the pipeline.
    Input(Input),
    /// An event of this node, from its agent or its capture, and when it was decided.
    Event(Arc<str>, Box<Event>, Timestamp),
    /// The past is complete; what follows has just happened.
    #[cfg_attr(
        not(feature = "client"),
        expect(dead_code, reason = "only agents yield it")
    )]
    PastEnded,
    /// Nothing follows.
    End,
}

/// Where a session gets its input.
///
/// A session waits, then takes steps until there are none, and waits again. Every step is in the output
/// before the next one is taken.
pub(super) trait Source {
    /// Time between two reports.
    const REPORT_EVERY: Duration;

    /// Announces that the session runs. Until then the user waits.
    fn announce(&mut self) {}

    /// Waits until there may be a step. Cancel safe.
    async fn wait(&mut self) -> Result<()>;

    /// The next step; `None` if the source has to wait first.
    fn next(&mut self, output: &Output) -> Result<Option<Step>>;

    /// Reports losses and whatever else is due periodically.
    fn report(&mut self, output: &mut Output) -> Result<Next>;

    /// How much longer to read after Ctrl-C.
    fn after_interrupt(&self) -> Duration {
        Duration::ZERO
    }

    /// Passes on what is left, unless the output has ended, and ends the output.
    async fn finish(self, output: &mut Output, next: Next) -> Result<Account>;
}

/// A source's part of the summary.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// The time that the input spans; `None` for the time of the run.
    pub(super) duration: Option<Duration>,
    /// Packets seen, where the source sees packets.
    pub(super) packets: Option<u64>,
    /// Agents reached, where the source is agents.
    pub(super) agents: Option<u64>,
    /// What was lost before the pipeline.
    pub(super) losses: Losses,
    /// Names in the filter that match no object that the agents know.
    pub(super) unmatched: Vec<String>,
    /// The input, if it was a capture without a packet.
    pub(super) empty: Option<String>,
    /// Sentences, one line each.
    pub(super) notes: Vec<String>,
}

/// Runs a future to its end on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?
        .block_on(future)
}

/// Drives a source until a signal, a deadline or either side ends the run.
pub(super) struct Session {
    signals: Signals,
    duration: Option<Duration>,
}

impl Session {
    /// Starts to listen for signals. The session ends by itself after `duration`.
    pub(super) fn new(duration: Option<Duration>) -> Result<Session> {
        Ok(Session {
            signals: Signals::listen()?,
            duration,
        })
    }

    /// Runs until the source ends, the output ends, or the user ends it.
    pub(super) async fn run<S: Source>(
        mut self,
        mut source: S,
        mut output: Output,
    ) -> Result<Summary> {
        let started = Instant::now();
        output.warn_of_filter();
        source.announce();
        let next = self.drive(&mut source, &mut output).await?;
        let account = source.finish(&mut output, next).await?;
        let mut unmatched = account.unmatched;
        unmatched.extend(output.unmatched());
        Ok(Summary {
            unmatched,
            empty: account.empty,
            duration: account.duration.unwrap_or_else(|| started.elapsed()),
            packets: account.packets,
            agents: account.agents,
            records: output.pipeline().records(),
            events: output.events(),
            shown: output.shown(),
            report: output.digest(),
            silenced: output.pipeline().silenced(),
            losses: output.losses(&account.losses),
            notes: account.notes,
        })
    }

    async fn drive<S: Source>(&mut self, source: &mut S, output: &mut Output) -> Result<Next> {
        let end = tokio::time::sleep(self.duration.unwrap_or(Duration::MAX));
        tokio::pin!(end);
        let mut reports = interval(S::REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interrupted = false;
        loop {
            let next = tokio::select! {
                waited = source.wait() => {
                    waited?;
                    match pass_on(source, output)? {
                        Passed::Waiting => Next::Continue,
                        Passed::Ended => return Ok(Next::Continue),
                        Passed::Stopped(next) => next,
                    }
                }
                _ = reports.tick() => source.report(output)?,
                () = &mut end => return Ok(Next::Continue),
                stop = self.signals.next() => {
                    let rest = source.after_interrupt();
                    if interrupted || stop == Stop::Terminate || rest.is_zero() {
                        return Ok(Next::Continue);
                    }
                    interrupted = true;
                    end.as_mut().reset(tokio::time::Instant::now() + rest);
                    Next::Continue
                }
            };
            if next != Next::Continue {
                return Ok(next);
            }
        }
    }
}

/// Where [`pass_on`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// The source has to wait for its next step.
    Waiting,
    /// The source has ended.
    Ended,
    /// The output has ended.
    Stopped(Next),
}

/// Passes on all steps that need no wait, and flushes the output.
pub(super) fn pass_on<S: Source>(source: &mut S, output: &mut Output) -> Result<Passed> {
    while let Some(step) = source.next(output)? {
        let next = match step {
            Step::Input(input) => output.put(input)?,
            Step::Event(node, event, decided) => output.show_from(&node, &event, decided)?,
            Step::PastEnded => output.past_ended()?,
            Step::End => {
                return Ok(match output.flush()? {
                    Next::Continue => Passed::Ended,
                    next => Passed::Stopped(next),
                });
            }
        };
        if next != Next::Continue {
            return Ok(Passed::Stopped(next));
        }
    }
    Ok(match output.flush()? {
        Next::Continue => Passed::Waiting,
        next => Passed::Stopped(next),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    use super::*;
    use crate::run::notice::Notices;
    use tracer_core::pipeline::{Pipeline, Settings};

    /// Yields its batches, one for each wait, and then waits forever.
    struct Scripted {
        batches: VecDeque<Vec<Step>>,
        steps: VecDeque<Step>,
        log: Rc<RefCell<Vec<&'static str>>>,
    }

    impl Source for Scripted {
        const REPORT_EVERY: Duration = Duration::from_secs(3600);

        fn announce(&mut self) {
            self.log.borrow_mut().push("announce");
        }

        async fn wait(&mut self) -> Result<()> {
            match self.batches.pop_front() {
                Some(batch) => self.steps = batch.into(),
                None => std::future::pending().await,
            }
            Ok(())
        }

        fn next(&mut self, _output: &Output) -> Result<Option<Step>> {
            self.log.borrow_mut().push("next");
            Ok(self.steps.pop_front())
        }

        fn report(&mut self, _output: &mut Output) -> Result<Next> {
            Ok(Next::Continue)
        }

        async fn finish(self, output: &mut Output, next: Next) -> Result<Account> {
            assert_eq!(next, Next::Continue);
            self.log.borrow_mut().push("finish");
            output.end(Timestamp(9))?;
            Ok(Account {
                packets: Some(3),
                ..Account::default()
            })
        }
    }

    fn run(batches: Vec<Vec<Step>>, duration: Option<Duration>) -> (Summary, Vec<&'static str>) {
        let log = Rc::default();
        let source = Scripted {
            batches: batches.into(),
            steps: VecDeque::new(),
            log: Rc::clone(&log),
        };
        let summary = block_on(async {
            let output = Output::new(Pipeline::new(Settings::default()), Notices::Terminal);
            Session::new(duration)?.run(source, output).await
        });
        let log = log.borrow().clone();
        (summary.expect("a summary"), log)
    }

    #[test]
    fn a_session_passes_on_every_step_and_ends_with_its_source() {
        let tick = |at| Step::Input(Input::Tick(Timestamp(at)));
        let (summary, log) = run(vec![vec![tick(1), tick(2)], vec![tick(3), Step::End]], None);
        assert_eq!(summary.packets, Some(3));
        assert_eq!(
            log,
            ["announce", "next", "next", "next", "next", "next", "finish"]
        );
    }

    #[test]
    fn a_session_ends_after_its_duration() {
        let (summary, log) = run(Vec::new(), Some(Duration::from_millis(20)));
        assert_eq!(log, ["announce", "finish"]);
        assert!(summary.duration >= Duration::from_millis(20));
    }
}
