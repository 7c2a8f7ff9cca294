//! `tracer observe` and `tracer diagnose` of agents: what they tell goes through the same sink as what is traced here.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use tokio::time::{MissedTickBehavior, interval};

use super::signals::Signals;
use super::stdout::reader_gone;
use crate::client::feed::{Feed, News, Question};
use crate::client::{self, status};
use crate::config::ObserveConfig;
use crate::stream::event::unix_clock;
use tracer_core::model::event::Body;
use tracer_core::model::loss::Losses;
use tracer_core::view::summary::Summary;
use tracer_core::view::text::safe;
use tracer_core::view::{Next, Sink};

/// How often it is noticed that nobody reads the events any more.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const STDOUT: &str = "cannot write to standard output";

/// The status of every agent.
pub fn statuses(agents: &client::Options) -> Result<status::Statuses> {
    Ok(runtime()?.block_on(status::ask(agents))?)
}

/// Shows what agents tell: what they hold of the past with `history`, what happens from now on with `follow`, until all is
/// told, or Ctrl-C, `--duration`, `--count` or a closed output end it.
pub fn observe_agents(
    config: &ObserveConfig,
    agents: &client::Options,
    follow: bool,
    history: bool,
) -> Result<Summary> {
    runtime()?.block_on(async {
        let output = &config.output;
        let question = Question {
            filter: output.filter(),
            follow,
            history,
            since: output.since,
            last: output.last,
        };
        let mut run = Run {
            sink: output.sink(&"".into(), Box::new(unix_clock), io::stdout()),
            events: 0,
            losses: Losses::default(),
            started: Instant::now(),
            tell_news: output.report && follow,
        };
        let mut feed = Feed::start(agents.clone(), question).await?;
        run.until_over(&mut feed, config.duration).await?;
        Ok(run.finish(&feed))
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}

struct Run {
    sink: Sink<io::Stdout>,
    events: u64,
    /// What agents told that they lost.
    losses: Losses,
    started: Instant,
    tell_news: bool,
}

impl Run {
    async fn until_over(&mut self, feed: &mut Feed, duration: Option<Duration>) -> Result<()> {
        let mut signals = Signals::listen()?;
        let end = tokio::time::sleep(duration.unwrap_or(Duration::MAX));
        tokio::pin!(end);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let at_hand = feed.next().now_or_never();
            let news = match at_hand {
                Some(news) => news?,
                None => {
                    // What was shown must not wait for what comes.
                    if self.sink.idle().context(STDOUT)? != Next::Continue {
                        return Ok(());
                    }
                    tokio::select! {
                        news = feed.next() => news?,
                        _ = looks.tick() => {
                            if reader_gone(io::stdout()) {
                                return Ok(());
                            }
                            continue;
                        }
                        () = &mut end => break,
                        _ = signals.interrupt.recv() => break,
                        _ = signals.terminate.recv() => break,
                    }
                }
            };
            let next = match news {
                None => break,
                Some(news) => self.news(news)?,
            };
            if next != Next::Continue {
                return Ok(());
            }
        }
        self.sink.end().context(STDOUT)?;
        Ok(())
    }

    fn news(&mut self, news: News) -> Result<Next> {
        match news {
            News::Event(node, event) => {
                match &event.body {
                    Body::Lost(loss) => self.losses.add(loss.stage, loss.reason, loss.count),
                    _ => self.events += 1,
                }
                let next = self.sink.take_of(&node, &event).context(STDOUT)?;
                if let Some(report) = self.sink.report() {
                    for line in report.news() {
                        if self.tell_news {
                            eprintln!("found {}", safe(&line));
                        }
                    }
                }
                Ok(next)
            }
            News::HistoryEnded => self.sink.past_ended().context(STDOUT),
            News::Notice(sentence) => {
                eprintln!("note: {}", safe(&sentence));
                Ok(Next::Continue)
            }
            News::Warning(sentence) => {
                eprintln!("warning: {}", safe(&sentence));
                Ok(Next::Continue)
            }
        }
    }

    fn finish(mut self, feed: &Feed) -> Summary {
        let agents = feed.agents();
        let mut notes = Vec::new();
        for agent in &agents {
            if let Some(why) = &agent.why {
                let times = match agent.failures {
                    1 => String::new(),
                    times => format!(" {times} times"),
                };
                notes.push(format!("{}: not reached{times}: {}", agent.name, safe(why)));
            }
        }
        if feed.out_of_order() > 0 {
            notes.push(format!(
                "{} events came too late for their place in time: an agent was silent, or the nodes' clocks differ",
                feed.out_of_order()
            ));
        }
        if let Some(report) = self.sink.report() {
            self.losses.merge(report.losses());
        }
        Summary {
            duration: self.started.elapsed(),
            packets: None,
            agents: Some(agents.iter().filter(|agent| agent.reached).count() as u64),
            records: 0,
            events: self.events,
            shown: self.sink.shown(),
            report: self.sink.report().map(|report| report.digest()),
            silenced: 0,
            losses: self.losses,
            notes,
        }
    }
}
