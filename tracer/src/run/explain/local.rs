//! Events of a pod from the probes of this machine, until an attempt was seen or the user ends it.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep_until};

use super::{Collected, Collecting, Keeper, SETTLE, lost};
use crate::config::ObserveConfig;
use crate::run::local::LocalSource;
use crate::run::notice::Notices;
use crate::run::output::Output;
use crate::run::session::{self, Account, Session, Source, Step};
use tracer_core::view::Next;

impl Collected {
    /// Traces this machine until the awaited attempt, Ctrl-C or the end of `--duration`.
    pub fn from_probes(config: &ObserveConfig, collecting: &Collecting) -> Result<Collected> {
        session::block_on(async {
            let session = Session::new(config.duration)?;
            let (local, pipeline) = LocalSource::start(config, None, Notices::Terminal)?;
            let clock = Box::new(local.wall_clock());
            let keeper = Keeper::new(collecting);
            let output =
                Output::new(pipeline, Notices::Terminal).with_taps(vec![Box::new(keeper.clone())]);
            let until = UntilSeen {
                source: local,
                keeper: keeper.clone(),
                deadline: None,
            };
            let summary = session.run(until, output).await?;
            Ok(keeper.collected(clock, lost(&summary).into_iter().collect()))
        })
    }
}

/// A source that ends a moment after the awaited attempt.
struct UntilSeen {
    source: LocalSource,
    keeper: Keeper,
    deadline: Option<Instant>,
}

impl Source for UntilSeen {
    const REPORT_EVERY: Duration = LocalSource::REPORT_EVERY;

    fn announce(&mut self) {
        self.source.announce();
    }

    async fn wait(&mut self) -> Result<()> {
        match self.deadline {
            None => self.source.wait().await,
            Some(deadline) => tokio::select! {
                waited = self.source.wait() => waited,
                () = sleep_until(deadline) => Ok(()),
            },
        }
    }

    fn next(&mut self, output: &Output) -> Result<Option<Step>> {
        if self.deadline.is_none() && self.keeper.has_seen() {
            self.deadline = Some(Instant::now() + SETTLE);
        }
        if self
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Ok(Some(Step::End));
        }
        self.source.next(output)
    }

    fn report(&mut self, output: &mut Output) -> Result<Next> {
        self.source.report(output)
    }

    fn after_interrupt(&self) -> Duration {
        self.source.after_interrupt()
    }

    async fn finish(self, output: &mut Output, next: Next) -> Result<Account> {
        self.source.finish(output, next).await
    }
}
