//! Paths of findings, from the agents of both nodes.
//!
//! One finding is asked about after the other, within a fixed time. What an agent does not send, or a user may not
//! see, leaves its half of a path unknown.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::feed::{Feed, Query, Update};
use super::{ClientError, Options, status};
use crate::stream::event::unix_clock;
use crate::stream::paths::{AgentStatus, Asked, Gathered, Part};
use tracer_core::model::path::Path;
use tracer_core::path::{Clock, NodeName};

/// Findings that are asked about.
const MAX_QUESTIONS: usize = 16;
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long all of them may take.
const ALL_WITHIN: Duration = Duration::from_secs(20);

/// What was found out.
#[derive(Debug, Default)]
pub struct Answers {
    /// Paths, each with the place of its question.
    pub paths: Vec<(usize, Path)>,
    /// Findings that were not asked about, the time or their number being used up.
    pub unasked: usize,
    /// Why agents could not be asked.
    pub failure: Option<String>,
}

/// Asks the agents about these attempts.
pub async fn ask(options: &Options, asked: &[Asked]) -> Answers {
    let mut answers = Answers::default();
    if asked.is_empty() {
        return answers;
    }
    let until = Instant::now() + ALL_WITHIN;
    let statuses = statuses(options).await;
    for (number, one) in asked.iter().enumerate() {
        if number >= MAX_QUESTIONS || Instant::now() >= until {
            answers.unasked += asked.len() - number;
            break;
        }
        match tokio::time::timeout(ANSWER_WITHIN, path(options, one, &statuses)).await {
            Ok(Ok(path)) => answers.paths.extend(path.map(|path| (number, path))),
            Ok(Err(reason)) => {
                // The same would happen with the others.
                answers.failure = Some(reason.to_string());
                answers.unasked += asked.len() - number;
                break;
            }
            Err(_) => answers.unasked += 1,
        }
    }
    answers
}

async fn path(
    options: &Options,
    asked: &Asked,
    statuses: &BTreeMap<NodeName, AgentStatus>,
) -> Result<Option<Path>, ClientError> {
    let mut gathered = Gathered::new(asked, statuses);
    for part in Part::ALL {
        let Some(request) = gathered.request(part) else {
            continue;
        };
        for node in &request.nodes {
            let Some(options) = only(options, node) else {
                continue;
            };
            let query = Query {
                filter: request.filter.clone(),
                follow: false,
                history: true,
                since: Some(unix_clock(gathered.since(&request, node))),
                last: request.last,
            };
            match read(options, query, part, node, &mut gathered).await {
                // Without the agent of a node, its half is unknown.
                Ok(()) | Err(ClientError::NoSuchNode { .. } | ClientError::NoneReached { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(gathered.path())
}

/// Options that reach the agent of one node, by the name under which its events are shown.
fn only(options: &Options, node: &str) -> Option<Options> {
    let (contexts, name) = match node.rsplit_once('/') {
        // Its cluster knows it without that.
        Some((context, name)) if options.contexts.len() > 1 => (vec![context.to_owned()], name),
        _ => (options.contexts.clone(), node),
    };
    Some(Options {
        contexts,
        nodes: vec![name.parse().ok()?],
        ..options.clone()
    })
}

/// Reads the events of a node, whatever name this stream has for it.
async fn read(
    options: Options,
    query: Query,
    part: Part,
    node: &NodeName,
    gathered: &mut Gathered<'_>,
) -> Result<(), ClientError> {
    let mut feed = Feed::start(options, query).await?;
    while let Some(update) = feed.next().await? {
        if let Update::Event(_, event, decided) = update
            && gathered.take(part, node, &event, decided).is_break()
        {
            break;
        }
    }
    Ok(())
}

/// What the agents say about themselves.
async fn statuses(options: &Options) -> BTreeMap<NodeName, AgentStatus> {
    let asked = Instant::now();
    let answered = tokio::time::timeout(ANSWER_WITHIN, status::ask(options)).await;
    let agents = match answered {
        Ok(Ok(statuses)) => statuses.agents,
        _ => Vec::new(),
    };
    let error = asked.elapsed();
    let known = agents.into_iter().filter_map(|answer| {
        let clock = Clock {
            ahead_ns: answer.clock_offset_ns,
            error,
        };
        let status = answer.status.ok()?;
        Some((answer.node?.into(), AgentStatus { status, clock }))
    });
    known.collect()
}
