//! An agent without probes, and what a client receives from several.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracer::client::feed::{Feed, Query, Update};
use tracer::client::{Options, Target};
use tracer::stream::event::unix_clock;
use tracer::stream::hub::{AgentIdentity, Hub};
use tracer::stream::listen::{Listeners, TlsListen};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::{Finding, Severity, State};
use tracer_core::model::time::Timestamp;

/// No step takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Any moment will do.
pub const START: i64 = 1_800_000_000_000_000_000;
pub const MILLISECOND: i64 = 1_000_000;

/// An agent without probes.
pub struct Agent {
    hub: Arc<Hub>,
    served: JoinHandle<()>,
}

impl Agent {
    pub fn start(node: &str, instance: &str, socket: &Path, history_bytes: usize) -> Agent {
        Agent::start_with(node, instance, socket, history_bytes, None, 8)
    }

    pub fn start_with(
        node: &str,
        instance: &str,
        socket: &Path,
        history_bytes: usize,
        tls: Option<&TlsListen>,
        max_clients: usize,
    ) -> Agent {
        let identity = AgentIdentity {
            node: node.into(),
            instance: instance.to_owned(),
            started_unix_ns: START,
        };
        let (hub, _) = Hub::new(identity, history_bytes);
        let listeners = Listeners::bind(socket, tls).expect("bound");
        let serving = listeners.serve(Arc::clone(&hub), max_clients);
        let served = tokio::spawn(async move { serving.await.expect("served") });
        Agent { hub, served }
    }

    /// Emits a finding of that id.
    pub fn emit(&self, milliseconds: i64, id: &str) {
        let reported = START + milliseconds * MILLISECOND;
        self.hub.put(reported, &finding(reported, id), &unix_clock);
    }

    pub fn reached(&self, milliseconds: i64) {
        self.hub.reached(START + milliseconds * MILLISECOND);
    }

    pub async fn end(self) {
        self.hub.close();
        within(self.served).await.expect("it ends");
    }
}

pub fn finding(at_unix_ns: i64, id: &str) -> Event {
    let at = Timestamp(u64::try_from(at_unix_ns).expect("after 1970"));
    Event {
        time: at,
        ends: None,
        incomplete: false,
        body: Body::Finding(Box::new(Finding {
            id: id.to_owned(),
            rule: "a-rule",
            severity: Severity::Info,
            state: State::Active,
            cause: String::new(),
            pods: None,
            first: at,
            last: at,
            count: 1,
            of: 1,
            headline: "something".into(),
            symptom: None,
            summary: "something".into(),
            was: None,
            names: Vec::new(),
            why: vec!["because".into()],
            fix: None,
            remedies: Vec::new(),
            evidence: Vec::new(),
            path: None,
        })),
    }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens in time")
}

pub fn unix(sockets: &[&Path]) -> Options {
    Options {
        servers: sockets
            .iter()
            .map(|path| Target::Unix(path.to_path_buf()))
            .collect(),
        ..Options::default()
    }
}

pub fn history() -> Query {
    Query {
        history: true,
        ..Query::default()
    }
}

/// What a feed received.
#[derive(Debug, Default)]
pub struct Heard {
    /// `node/id` of findings, in order.
    pub events: Vec<String>,
    pub said: Vec<String>,
    pub lost: u64,
}

impl Heard {
    pub fn take(&mut self, update: Update) {
        match update {
            Update::Event(node, event, _) => match event.body {
                Body::Finding(finding) => self.events.push(format!("{node}/{}", finding.id)),
                Body::Lost(loss) => self.lost += loss.count,
                other => panic!("an unexpected event: {other:?}"),
            },
            Update::Note(sentence) | Update::Warning(sentence) | Update::Unmatched(sentence) => {
                self.said.push(sentence);
            }
            Update::HistoryEnded => {}
        }
    }

    /// To the end of the feed.
    pub async fn all(feed: &mut Feed) -> Heard {
        let mut heard = Heard::default();
        while let Some(news) = within(feed.next()).await.expect("agents") {
            heard.take(news);
        }
        heard
    }

    pub async fn until(&mut self, feed: &mut Feed, done: impl Fn(&Heard) -> bool) {
        while !done(self) {
            let news = within(feed.next()).await.expect("agents");
            self.take(news.expect("it follows"));
        }
    }
}
