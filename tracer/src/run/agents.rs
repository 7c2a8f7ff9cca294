//! Agents as a source: `tracer observe` and `tracer diagnose` with events that agents have already made.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use futures::FutureExt as _;

use super::notice::Notices;
use super::output::Output;
use super::session::{self, Account, Session, Source, Step};
use crate::client::feed::{Feed, Query, Update};
use crate::client::paths;
use crate::client::{self, ClientError, status};
use crate::config::ObserveConfig;
use crate::stream::event::unix_clock;
use crate::stream::paths::Asked;
use tracer_core::model::event::Body;
use tracer_core::model::loss::Losses;
use tracer_core::model::printable::safe;
use tracer_core::pipeline::Pipeline;
use tracer_core::view::Next;
use tracer_core::view::summary::Summary;

/// Updates that are shown before the output is flushed and signals are looked at.
const BATCH: usize = 256;

/// The status of every agent.
pub fn statuses(agents: &client::Options) -> Result<status::Statuses> {
    session::block_on(async { Ok(status::ask(agents).await?) })
}

/// Shows events of agents: with `history` those that they have kept, with `follow` new ones. Ends once all
/// have been shown, or at Ctrl-C, the end of `--duration` or `--count`, or a closed output.
pub fn observe_agents(
    config: &ObserveConfig,
    agents: &client::Options,
    follow: bool,
    history: bool,
) -> Result<Summary> {
    session::block_on(async {
        let settings = &config.output;
        let query = Query {
            filter: settings.filter(),
            follow,
            history,
            since: settings.since,
            last: settings.last,
        };
        // Before the session, so that Ctrl-C can still end the search for agents.
        let feed = Feed::start(agents.clone(), query).await?;
        let session = Session::new(config.duration)?;
        let source = AgentsSource {
            feed,
            agents: agents.clone(),
            updates: VecDeque::new(),
            ended: None,
            losses: Losses::default(),
            unmatched: Vec::new(),
            notices: Notices::Terminal,
        };
        // Agents run the pipeline, so this one stays empty.
        let output = Output::new(Pipeline::new(config.pipeline.clone()), Notices::Terminal)
            .on_screen(settings, &"".into(), Box::new(unix_clock))
            .announcing_findings(settings.report && follow);
        session.run(source, output).await
    })
}

/// The agents that are asked.
struct AgentsSource {
    feed: Feed,
    agents: client::Options,
    updates: VecDeque<Update>,
    /// How the feed ended, once the updates are shown.
    ended: Option<Result<(), ClientError>>,
    /// What agents reported as lost.
    losses: Losses,
    /// Names in the filter that match no object.
    unmatched: Vec<String>,
    notices: Notices,
}

impl Source for AgentsSource {
    const REPORT_EVERY: Duration = Duration::from_millis(500);

    async fn wait(&mut self) -> Result<()> {
        let mut update = self.feed.next().await;
        // Nothing is awaited from here on, so that a cancelled wait loses no update.
        loop {
            match update {
                Ok(Some(update)) => self.updates.push_back(update),
                Ok(None) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            }
            if self.ended.is_some() || self.updates.len() >= BATCH {
                return Ok(());
            }
            match self.feed.next().now_or_never() {
                Some(next) => update = next,
                None => return Ok(()),
            }
        }
    }

    fn next(&mut self, _output: &Output) -> Result<Option<Step>> {
        while let Some(update) = self.updates.pop_front() {
            match update {
                Update::Event(node, event, decided) => {
                    if let Body::Lost(loss) = &event.body {
                        self.losses.add(loss.stage, loss.reason, loss.count);
                    }
                    return Ok(Some(Step::Event(node, event, decided)));
                }
                Update::HistoryEnded => return Ok(Some(Step::PastEnded)),
                Update::Note(sentence) => self.notices.note(&sentence),
                Update::Warning(sentence) => self.notices.warn(&safe(&sentence)),
                Update::Unmatched(sentence) => {
                    self.notices.warn(&safe(&sentence));
                    self.unmatched.push(sentence);
                }
            }
        }
        match self.ended.take() {
            None => Ok(None),
            Some(Ok(())) => Ok(Some(Step::End)),
            Some(Err(error)) => Err(error.into()),
        }
    }

    fn report(&mut self, output: &mut Output) -> Result<Next> {
        Ok(if output.is_unread() {
            Next::Closed
        } else {
            Next::Continue
        })
    }

    async fn finish(self, output: &mut Output, next: Next) -> Result<Account> {
        let mut notes = Vec::new();
        if next == Next::Continue {
            notes.extend(add_paths(&self.agents, output).await);
            output.close()?;
        }
        let agents = self.feed.agents();
        for agent in &agents {
            if let Some(reason) = &agent.failure {
                let times = match agent.failures {
                    1 => String::new(),
                    times => format!(" {times} times"),
                };
                notes.push(format!("{}: not reached{times}: {reason}", agent.name));
            }
        }
        let late = self.feed.out_of_order();
        if late > 0 {
            notes.push(format!(
                "{late} events arrived too late to be shown in order: an agent was silent, or the nodes' clocks differ"
            ));
        }
        Ok(Account {
            agents: Some(agents.iter().filter(|agent| agent.reached).count() as u64),
            losses: self.losses,
            unmatched: self.unmatched,
            notes,
            ..Account::default()
        })
    }
}

/// Adds paths to the findings of a report. Returns why some have none.
async fn add_paths(agents: &client::Options, output: &mut Output) -> Option<String> {
    let report = output.report()?;
    let asked = report
        .open_findings()
        // A relay's findings have theirs.
        .filter(|open| open.finding.path.is_none())
        .filter_map(|open| {
            let asked = Asked::about(open.node?, open.event, open.finding)?;
            Some((open.key.clone(), asked))
        });
    let (keys, asked): (Vec<_>, Vec<_>) = asked.unzip();
    let answers = paths::ask(agents, &asked).await;
    for (number, path) in answers.paths {
        if let Some(key) = keys.get(number) {
            report.set_path(key, path);
        }
    }
    let unasked = answers.unasked;
    match answers.failure {
        Some(reason) => Some(format!("{unasked} findings have no path: {reason}")),
        None => (unasked > 0).then(|| {
            format!("{unasked} findings have no path: the agents were asked about others")
        }),
    }
}
