//! Agents of another version and with another clock: the client reports them and continues. Real sockets; the
//! agents are fakes, so that they can differ from this program.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tracer::client::feed::{Feed, Query, Update};
use tracer::client::{Options, Target};
use tracer::stream::event::{to_wire, unix_clock};
use tracer::stream::proto;
use tracer::stream::proto::observe_response::Message;
use tracer::stream::proto::tracer_server::{Tracer, TracerServer};
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::{Finding, Severity, State};
use tracer_core::model::time::Timestamp;

/// No step takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const SECOND: i64 = 1_000_000_000;
const OWN: &str = env!("CARGO_PKG_VERSION");

/// An agent with settable claims about itself.
#[derive(Clone)]
struct MadeUp {
    node: &'static str,
    version: &'static str,
    /// How far its clock is ahead of the machine's.
    ahead_ns: i64,
    /// How many findings it reports, as fast as they are read.
    findings: u32,
    /// Whether it also sends an event of an unknown kind.
    of_the_future: bool,
}

impl MadeUp {
    fn now(&self) -> i64 {
        let now = jiff::Timestamp::now().as_nanosecond();
        i64::try_from(now).expect("before 2262") + self.ahead_ns
    }

    fn info(&self) -> proto::NodeInfo {
        proto::NodeInfo {
            node: self.node.to_owned(),
            version: self.version.to_owned(),
            instance: "1".to_owned(),
            started_unix_ns: self.now() - 60 * SECOND,
            now_unix_ns: self.now(),
            filter_warnings: Vec::new(),
        }
    }

    fn mark(&self, next: u64) -> Message {
        Message::Mark(proto::Mark {
            reached_unix_ns: self.now(),
            position: Some(proto::Position {
                instance: "1".to_owned(),
                next,
            }),
            history_ended: true,
        })
    }

    fn serve(self, directory: &Path) -> (PathBuf, JoinHandle<()>) {
        let socket = directory.join(self.node);
        let listener = UnixListener::bind(&socket).expect("bound");
        let serving = Server::builder()
            .add_service(TracerServer::new(self))
            .serve_with_incoming(UnixListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.expect("served") });
        (socket, task)
    }
}

#[tonic::async_trait]
impl Tracer for MadeUp {
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<proto::ObserveResponse, Status>> + Send>>;

    async fn observe(
        &self,
        request: Request<proto::ObserveRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let follow = request.into_inner().follow;
        let mut messages = vec![Message::Node(self.info())];
        if follow {
            // Later events have just happened.
            messages.push(self.mark(0));
        }
        if self.of_the_future {
            messages.push(Message::Event(proto::EmittedEvent {
                event: Some(proto::Event::default()),
                emitted_unix_ns: self.now(),
                sequence: 0,
            }));
        }
        for number in 0..self.findings {
            let now = self.now();
            messages.push(Message::Event(proto::EmittedEvent {
                event: Some(to_wire(&finding(now, number), &unix_clock)),
                emitted_unix_ns: now,
                sequence: u64::from(number),
            }));
        }
        messages.push(self.mark(u64::from(self.findings)));
        let messages = stream::iter(messages).map(|message| {
            Ok(proto::ObserveResponse {
                message: Some(message),
            })
        });
        Ok(Response::new(match follow {
            true => Box::pin(messages.chain(stream::pending())),
            false => Box::pin(messages),
        }))
    }

    async fn status(
        &self,
        _request: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusResponse>, Status> {
        Ok(Response::new(proto::StatusResponse {
            node: Some(self.info()),
            ..proto::StatusResponse::default()
        }))
    }
}

fn finding(at_unix_ns: i64, number: u32) -> Event {
    let at = Timestamp(u64::try_from(at_unix_ns).expect("after 1970"));
    Event {
        time: at,
        ends: None,
        incomplete: false,
        body: Body::Finding(Box::new(Finding {
            id: number.to_string(),
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

/// The program, with agents at these sockets.
async fn tracer(arguments: &'static [&'static str], sockets: Vec<PathBuf>) -> Output {
    let run = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command.args(arguments).stdin(Stdio::null());
        for socket in sockets {
            command.arg("--server").arg(socket);
        }
        command.output().expect("it runs")
    });
    let ended = tokio::time::timeout(PATIENCE, run).await;
    ended.expect("it ends in time").expect("no panic")
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn prints(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The seconds that the text names: less than the real offset by the round trip.
fn seconds_ahead(text: &str) -> f64 {
    let (before, _) = text
        .split_once(" s ahead of this machine's")
        .unwrap_or_else(|| panic!("not reported: {text}"));
    let number = before.rsplit(' ').next().expect("a word");
    number.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_and_another_clock_are_reported_and_what_can_be_read_is_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = MadeUp {
        node: "plain",
        version: OWN,
        ahead_ns: 0,
        findings: 3,
        of_the_future: false,
    };
    let odd = MadeUp {
        node: "odd",
        version: "99.0.0",
        ahead_ns: 600 * SECOND,
        of_the_future: true,
        ..plain.clone()
    };
    let (plain, plain_task) = plain.serve(directory.path());
    let (odd, odd_task) = odd.serve(directory.path());

    let observed = tracer(&["observe", "-o", "json"], vec![plain.clone(), odd.clone()]).await;
    assert_eq!(observed.status.code(), Some(0), "{}", says(&observed));
    let said = says(&observed);
    let of = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!(
        of("note: odd: its agent is version 99.0.0, this program is "),
        1,
        "{said}"
    );
    assert_eq!(of("note: odd: its clock is "), 1, "{said}");
    assert!((500.0..=600.0).contains(&seconds_ahead(&said)), "{said}");
    assert_eq!(of("plain: its "), 0, "{said}");
    let printed = prints(&observed);
    let lines = |text: &str| printed.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("\"type\":\"finding\""), 6, "{printed}");
    assert_eq!(lines("\"type\":\"lost\""), 1, "{printed}");
    assert_eq!(
        lines("events of another version of the agent"),
        1,
        "{printed}"
    );

    let status = tracer(&["status"], vec![plain.clone(), odd.clone()]).await;
    let text = prints(&status);
    let (of_odd, of_plain) = text.split_once("\nplain ").expect("both, by node");
    assert!(of_odd.contains("its agent is version 99.0.0"), "{text}");
    assert!((500.0..=600.0).contains(&seconds_ahead(of_odd)), "{text}");
    assert!(!of_plain.contains("its "), "{text}");
    let status = tracer(&["status", "-o", "json"], vec![odd]).await;
    let status: serde_json::Value = serde_json::from_str(&prints(&status)).expect("JSON");
    let off = status["clock_off_ns"].as_i64().expect("a number");
    assert!((500 * SECOND..=600 * SECOND).contains(&off), "{status:#}");
    assert_eq!(status["version"], "99.0.0");
    plain_task.abort();
    odd_task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_hours_apart_keep_no_live_event_back_and_no_agent_s_own_order_changes() {
    const SENT: u32 = 200;
    let directory = tempfile::tempdir().expect("a directory");
    let agents = [("right", 0), ("ahead", 3_600), ("behind", -3_600)];
    let agents = agents.map(|(node, seconds)| {
        let agent = MadeUp {
            node,
            version: OWN,
            ahead_ns: seconds * SECOND,
            findings: SENT,
            of_the_future: false,
        };
        agent.serve(directory.path())
    });
    let options = Options {
        servers: agents
            .iter()
            .map(|(socket, _)| Target::Unix(socket.clone()))
            .collect(),
        ..Options::default()
    };
    let question = Query {
        follow: true,
        ..Query::default()
    };
    let mut feed = Feed::start(options, question).await.expect("started");
    let mut heard: Vec<(String, u32)> = Vec::new();
    let mut clocks = Vec::new();
    // Without a bound the events of "ahead" would come in an hour.
    while heard.len() < 3 * SENT as usize {
        let news = tokio::time::timeout(PATIENCE, feed.next()).await;
        match news.expect("in time").expect("agents") {
            Some(Update::Event(node, event, _)) => match event.body {
                Body::Finding(finding) => {
                    heard.push((node.to_string(), finding.id.parse().expect("a number")));
                }
                other => panic!("an unexpected event: {other:?}"),
            },
            Some(Update::Note(sentence)) => clocks.push(sentence),
            Some(Update::Warning(sentence) | Update::Unmatched(sentence)) => panic!("{sentence}"),
            Some(Update::HistoryEnded) => {}
            None => panic!("it follows"),
        }
    }
    for node in ["right", "ahead", "behind"] {
        let own = heard.iter().filter(|(of, _)| of == node);
        let own: Vec<u32> = own.map(|(_, number)| *number).collect();
        assert_eq!(own, (0..SENT).collect::<Vec<u32>>(), "{node}");
    }
    clocks.sort();
    assert_eq!(clocks.len(), 2, "{clocks:?}");
    assert!(clocks[0].starts_with("ahead: its clock is "), "{clocks:?}");
    assert!(clocks[1].starts_with("behind: its clock is "), "{clocks:?}");
    assert!(clocks[1].contains(" s behind this machine's"), "{clocks:?}");
    for (_, task) in agents {
        task.abort();
    }
}
