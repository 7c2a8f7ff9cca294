//! Agents and clients over real sockets, without probes: the events are put in by hand.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint, Uri};
use tracer::client::feed::{Feed, News, Question};
use tracer::client::{ClientError, Options, Target, TlsFiles};
use tracer::model::event::{Body, Event};
use tracer::model::finding::{Finding, Severity};
use tracer::model::time::Timestamp;
use tracer::sinks::filter::{FilterConfig, Kind};
use tracer::stream::event::unix_clock;
use tracer::stream::hub::{Hub, Identity};
use tracer::stream::listen::{Listeners, TlsListen};
use tracer::stream::proto;
use tracer::stream::proto::observe_response::Message;
use tracer::stream::proto::tracer_client::TracerClient;

/// Nothing here takes so long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);
/// Any moment will do.
const START: i64 = 1_800_000_000_000_000_000;
const MILLISECOND: i64 = 1_000_000;

/// An agent without probes.
struct Agent {
    hub: Arc<Hub>,
    served: JoinHandle<()>,
}

impl Agent {
    fn start(node: &str, instance: &str, socket: &Path, history_bytes: usize) -> Agent {
        Agent::start_with(node, instance, socket, history_bytes, None, 8)
    }

    fn start_with(
        node: &str,
        instance: &str,
        socket: &Path,
        history_bytes: usize,
        tls: Option<&TlsListen>,
        max_clients: usize,
    ) -> Agent {
        let identity = Identity {
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

    /// Tells a finding of that id.
    fn tell(&self, milliseconds: i64, id: &str) {
        let told = START + milliseconds * MILLISECOND;
        self.hub.put(told, &finding(told, id), &unix_clock);
    }

    fn reached(&self, milliseconds: i64) {
        self.hub.reached(START + milliseconds * MILLISECOND);
    }

    async fn end(self) {
        self.hub.close();
        within(self.served).await.expect("it ends");
    }
}

fn finding(at_unix_ns: i64, id: &str) -> Event {
    let at = Timestamp(u64::try_from(at_unix_ns).expect("after 1970"));
    Event {
        time: at,
        ends: None,
        body: Body::Finding(Box::new(Finding {
            id: id.to_owned(),
            rule: "a-rule",
            severity: Severity::Info,
            resolved: false,
            first: at,
            last: at,
            count: 1,
            summary: "something".to_owned(),
            was: None,
            names: Vec::new(),
            why: "because".to_owned(),
            remedies: Vec::new(),
            evidence: Vec::new(),
        })),
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens in time")
}

fn unix(sockets: &[&Path]) -> Options {
    Options {
        servers: sockets
            .iter()
            .map(|path| Target::Unix(path.to_path_buf()))
            .collect(),
        ..Options::default()
    }
}

fn history() -> Question {
    Question {
        history: true,
        ..Question::default()
    }
}

/// What a feed said.
#[derive(Debug, Default)]
struct Heard {
    /// `node/id` of findings, in order.
    events: Vec<String>,
    said: Vec<String>,
    lost: u64,
}

impl Heard {
    fn take(&mut self, news: News) {
        match news {
            News::Event(node, event) => match event.body {
                Body::Finding(finding) => self.events.push(format!("{node}/{}", finding.id)),
                Body::Lost(loss) => self.lost += loss.count,
                other => panic!("an event that nobody told: {other:?}"),
            },
            News::Notice(sentence) | News::Warning(sentence) => self.said.push(sentence),
            News::HistoryEnded => {}
        }
    }

    /// To the end of the feed.
    async fn all(feed: &mut Feed) -> Heard {
        let mut heard = Heard::default();
        while let Some(news) = within(feed.next()).await.expect("agents") {
            heard.take(news);
        }
        heard
    }

    async fn until(&mut self, feed: &mut Feed, done: impl Fn(&Heard) -> bool) {
        while !done(self) {
            let news = within(feed.next()).await.expect("agents");
            self.take(news.expect("it follows"));
        }
    }
}

#[tokio::test]
async fn histories_of_several_agents_are_one_in_the_order_of_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = ["a", "b"].map(|name| directory.path().join(name));
    let one = Agent::start("one", "1", &sockets[0], 1 << 20);
    let two = Agent::start("two", "2", &sockets[1], 1 << 20);
    for number in 0..500 {
        let agent = if number % 3 == 0 { &one } else { &two };
        agent.tell(number, &number.to_string());
    }
    one.reached(1000);
    two.reached(1000);
    let mut feed = Feed::start(unix(&[&sockets[0], &sockets[1]]), history())
        .await
        .expect("started");
    let heard = Heard::all(&mut feed).await;
    let numbers: Vec<i64> = heard
        .events
        .iter()
        .filter_map(|event| event.split_once('/')?.1.parse().ok())
        .collect();
    assert_eq!(numbers, (0..500).collect::<Vec<i64>>());
    assert_eq!(feed.out_of_order(), 0);
    let told: Vec<u64> = feed.agents().iter().map(|agent| agent.events).collect();
    assert_eq!(told, [167, 333]);
    one.end().await;
    two.end().await;
    assert!(!sockets[0].exists());
}

#[tokio::test]
async fn an_agent_chooses_by_filter_time_and_number() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("a");
    let agent = Agent::start("one", "1", &socket, 1 << 20);
    for number in 0..10 {
        agent.tell(number * 1000, &number.to_string());
    }
    agent.reached(10_000);
    let ask = async |question: Question| {
        let mut feed = Feed::start(unix(&[&socket]), question)
            .await
            .expect("started");
        Heard::all(&mut feed).await.events
    };
    let since = unix_clock(Timestamp((START + 7000 * MILLISECOND) as u64));
    let recent = ask(Question {
        since: Some(since),
        ..history()
    });
    assert_eq!(recent.await, ["one/7", "one/8", "one/9"]);
    let last = ask(Question {
        last: Some(2),
        ..history()
    });
    assert_eq!(last.await, ["one/8", "one/9"]);
    let others = ask(Question {
        filter: FilterConfig {
            kinds: vec![Kind::Dns],
            ..FilterConfig::default()
        },
        ..history()
    });
    assert!(others.await.is_empty());
    agent.end().await;
}

#[tokio::test]
async fn an_agent_that_is_restarted_is_told_and_nothing_comes_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = ["a", "b"].map(|name| directory.path().join(name));
    let one = Agent::start("one", "1", &sockets[0], 1 << 20);
    let two = Agent::start("two", "2", &sockets[1], 1 << 20);
    one.tell(1, "before");
    one.reached(200);
    two.reached(200);
    let question = Question {
        follow: true,
        ..history()
    };
    let mut feed = Feed::start(unix(&[&sockets[0], &sockets[1]]), question)
        .await
        .expect("started");
    let mut heard = Heard::default();
    heard
        .until(&mut feed, |heard| !heard.events.is_empty())
        .await;
    one.tell(300, "live");
    one.reached(400);
    two.reached(400);
    heard
        .until(&mut feed, |heard| heard.events.len() == 2)
        .await;
    one.end().await;
    heard
        .until(&mut feed, |heard| {
            heard.said.iter().any(|said| said.contains("trying again"))
        })
        .await;
    // The other one goes on meanwhile.
    two.tell(500, "meanwhile");
    two.reached(600);
    heard
        .until(&mut feed, |heard| heard.events.len() == 3)
        .await;
    let again = Agent::start("one", "another", &sockets[0], 1 << 20);
    // Before the client is back.
    again.tell(700, "after");
    again.reached(800);
    two.reached(800);
    heard
        .until(&mut feed, |heard| heard.events.len() == 4)
        .await;
    assert_eq!(
        heard.events,
        ["one/before", "one/live", "two/meanwhile", "one/after"]
    );
    assert!(
        heard.said.iter().any(|said| said.contains("restarted")),
        "{:?}",
        heard.said
    );
    assert_eq!(heard.lost, 0);
    drop(feed);
    again.end().await;
    two.end().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
    const TOLD: u64 = 50_000;
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("a");
    let agent = Agent::start("one", "1", &socket, 64 << 10);
    let channel = Target::Unix(socket.clone()).connect().await.expect("there");
    let request = proto::ObserveRequest {
        follow: true,
        ..proto::ObserveRequest::default()
    };
    let mut stream = TracerClient::new(channel)
        .observe(request)
        .await
        .expect("a stream")
        .into_inner();
    // It is there, and reads nothing from here on.
    let first = within(stream.message()).await.expect("a message");
    assert!(matches!(
        first.and_then(|first| first.message),
        Some(Message::Node(_))
    ));
    let mut other = Feed::start(
        unix(&[&socket]),
        Question {
            follow: true,
            ..Question::default()
        },
    )
    .await
    .expect("started");
    let mut heard = Heard::default();
    // Both streams have begun when the history has ended for both.
    while within(other.next()).await.expect("agents") != Some(News::HistoryEnded) {}
    loop {
        match within(stream.message()).await.expect("a message") {
            Some(response) => match response.message {
                Some(Message::Mark(mark)) if mark.history_ended => break,
                _ => {}
            },
            None => panic!("it follows"),
        }
    }
    for number in 0..TOLD {
        agent.tell(1, &number.to_string());
        if number % 100 == 0 {
            agent.reached(1);
            // Whoever reads gets time to do so.
            tokio::task::yield_now().await;
        }
    }
    agent.reached(1000);
    agent.tell(2000, "the end");
    agent.reached(3000);
    heard
        .until(&mut other, |heard| {
            heard
                .events
                .last()
                .is_some_and(|last| last == "one/the end")
        })
        .await;
    let (mut events, mut lost) = (0, 0);
    loop {
        let message = within(stream.message()).await.expect("a message");
        match message.and_then(|response| response.message) {
            Some(Message::Event(told)) => {
                events += 1;
                if told.sequence == TOLD {
                    break;
                }
            }
            Some(Message::Lost(loss)) => {
                assert_eq!(loss.stage(), proto::Stage::Stream);
                lost += loss.count;
            }
            Some(_) => {}
            None => panic!("it follows"),
        }
    }
    assert!(lost > 0);
    assert_eq!(events + lost, TOLD + 1);
    agent.end().await;
}

#[tokio::test]
async fn more_clients_than_it_may_serve_are_refused_and_told_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("a");
    let agent = Agent::start_with("one", "1", &socket, 1 << 20, None, 1);
    let question = Question {
        follow: true,
        ..Question::default()
    };
    let mut first = Feed::start(unix(&[&socket]), question.clone())
        .await
        .expect("started");
    while within(first.next()).await.expect("reached") != Some(News::HistoryEnded) {}
    let mut second = Feed::start(unix(&[&socket]), question)
        .await
        .expect("started");
    let error = loop {
        match within(second.next()).await {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("--max-clients"), "{error}");
    agent.end().await;
}

#[tokio::test]
async fn only_agents_of_the_nodes_that_were_asked_for_tell() {
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = ["a", "b"].map(|name| directory.path().join(name));
    let one = Agent::start("worker-1", "1", &sockets[0], 1 << 20);
    let two = Agent::start("worker-2", "2", &sockets[1], 1 << 20);
    for agent in [&one, &two] {
        agent.tell(1, "x");
        agent.reached(1000);
    }
    let ask = async |glob: &str| {
        let options = Options {
            nodes: vec![glob.parse().expect("a pattern")],
            ..unix(&[&sockets[0], &sockets[1]])
        };
        Feed::start(options, history()).await.expect("started")
    };
    let heard = Heard::all(&mut ask("*-2").await).await;
    assert_eq!(heard.events, ["worker-2/x"]);
    let mut nobody = ask("master*").await;
    let error = within(nobody.next()).await.expect_err("nobody");
    assert!(
        matches!(&error, ClientError::NoSuchNode { there, .. } if there.contains("worker-1")),
        "{error}"
    );
    one.end().await;
    two.end().await;
}

/// A certificate authority, a server's and a client's certificate, as files.
struct Certificates {
    directory: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Certificates {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written");
        };
        for authority in ["ca", "other"] {
            let key = KeyPair::generate().expect("a key");
            let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let certificate = parameters.self_signed(&key).expect("signed");
            write(&format!("{authority}.pem"), &certificate.pem());
            let issuer = Issuer::new(parameters, key);
            for name in ["server", "client"] {
                let key = KeyPair::generate().expect("a key");
                let parameters =
                    CertificateParams::new(vec!["agent.test".to_owned()]).expect("parameters");
                let certificate = parameters.signed_by(&key, &issuer).expect("signed");
                write(&format!("{authority}-{name}.pem"), &certificate.pem());
                write(&format!("{authority}-{name}.key"), &key.serialize_pem());
            }
        }
        Certificates { directory }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn client(&self, authority: Option<&str>) -> TlsFiles {
        TlsFiles {
            authorities: Some(self.path("ca.pem")),
            certificate: authority.map(|authority| self.path(&format!("{authority}-client.pem"))),
            key: authority.map(|authority| self.path(&format!("{authority}-client.key"))),
            name: Some("agent.test".to_owned()),
        }
    }
}

#[tokio::test]
async fn over_tls_only_clients_with_a_certificate_of_the_right_authority_are_served() {
    let certificates = Certificates::new();
    let directory = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let listen = TlsListen {
        address,
        certificate: certificates.path("ca-server.pem"),
        key: certificates.path("ca-server.key"),
        client_authorities: Some(certificates.path("ca.pem")),
    };
    let socket = directory.path().join("a");
    let agent = Agent::start_with("one", "1", &socket, 1 << 20, Some(&listen), 8);
    agent.tell(1, "x");
    agent.reached(1000);
    let ask = async |authority: Option<&str>| {
        let target = Target::parse(
            &format!("https://{address}"),
            &certificates.client(authority),
        );
        let options = Options {
            servers: vec![target.expect("an address")],
            ..Options::default()
        };
        let mut feed = Feed::start(options, history()).await.expect("started");
        let mut heard = Heard::default();
        loop {
            match within(feed.next()).await {
                Ok(Some(news)) => heard.take(news),
                Ok(None) => return Ok(heard.events),
                Err(error) => return Err(error),
            }
        }
    };
    assert_eq!(ask(Some("ca")).await.expect("served"), ["one/x"]);
    for wrong in [None, Some("other")] {
        let error = ask(wrong).await.expect_err("refused");
        assert!(
            matches!(error, ClientError::NoneReached { .. }),
            "{wrong:?}: {error}"
        );
    }
    agent.end().await;
}

#[tokio::test]
async fn a_relay_connects_standard_input_and_output_with_the_agent() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("a");
    let agent = Agent::start("one", "1", &socket, 1 << 20);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let theirs = OwnedFd::from(theirs);
    let mut relay = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .arg("relay")
        .arg("--socket")
        .arg(&socket)
        .stdin(theirs.try_clone().expect("a second one"))
        .stdout(theirs)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    ours.set_nonblocking(true).expect("set");
    let ours = tokio::net::UnixStream::from_std(ours).expect("a socket");
    let mut ours = Some(TokioIo::new(ours));
    let channel: Channel = within(
        Endpoint::from_static("http://agent.invalid").connect_with_connector(tower::service_fn(
            move |_: Uri| {
                let ours = ours.take();
                async move { ours.ok_or_else(|| std::io::Error::other("connected before")) }
            },
        )),
    )
    .await
    .expect("connected");
    let mut client = TracerClient::new(channel);
    let status = within(client.status(proto::StatusRequest {}))
        .await
        .expect("a status")
        .into_inner();
    assert_eq!(status.node.expect("a node").node, "one");
    // The client goes: so does the relay.
    drop(client);
    let ended = tokio::task::spawn_blocking(move || relay.wait().expect("it ends"));
    let ended = within(ended).await.expect("no panic");
    assert_eq!(ended.code(), Some(0));
    agent.end().await;
}

fn tracer(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACER_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("KUBECONFIG", "/no/such/kubeconfig")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

#[test]
fn where_no_agent_answers_the_exit_code_and_the_words_say_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("none.sock");
    let server = format!("unix:{}", socket.display());
    for arguments in [
        &["observe", "--server", &server][..],
        &["observe", "-f", "--server", &server],
        &["diagnose", "--server", &server],
    ] {
        let output = tracer(arguments);
        let says = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {says}");
        assert!(
            says.contains(&server) && says.contains("tracer agent"),
            "{arguments:?}: {says}"
        );
    }
    let output = tracer(&["status", "--server", &server]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("not reached"));
}

/// An API server that answers each request as it is told, by the request's path.
fn api_server(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match connection.read(&mut buffer) {
                    Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split_whitespace().nth(1).unwrap_or_default();
            let (status, body) = answer(path);
            // A client that is gone needs no answer.
            let _ = write!(
                connection,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    url
}

#[test]
fn a_cluster_without_agents_is_said_with_what_to_do_and_who_may_not_list_everywhere_lists_the_usual_namespace()
 {
    let url = api_server(|path| {
        if path.starts_with("/api/v1/namespaces/tracer/pods") {
            let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}"#;
            (200, list.to_owned())
        } else {
            let status = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods is forbidden","reason":"Forbidden","code":403}"#;
            (403, status.to_owned())
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = directory.path().join("config");
    std::fs::write(
        &kubeconfig,
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: '{url}'}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
        ),
    )
    .expect("written");
    let kubeconfig = kubeconfig.to_str().expect("UTF-8");
    let output = tracer(&["observe", "--kubeconfig", kubeconfig]);
    let says = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{says}");
    for words in ["namespace tracer", "kubectl apply -k deploy/"] {
        assert!(says.contains(words), "{says}");
    }
    let elsewhere = tracer(&[
        "observe",
        "--kubeconfig",
        kubeconfig,
        "--agent-namespace",
        "other",
    ]);
    let says = String::from_utf8_lossy(&elsewhere.stderr);
    assert_eq!(elsewhere.status.code(), Some(2), "{says}");
    assert!(
        says.contains("namespace other") && says.contains("forbidden"),
        "{says}"
    );
}

#[test]
fn as_a_plugin_it_is_called_as_the_user_calls_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let plugin = directory.path().join("kubectl-tracer");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tracer"), &plugin).expect("a link");
    let output = Command::new(&plugin)
        .args(["observe", "-h"])
        .output()
        .expect("it runs");
    let says = String::from_utf8_lossy(&output.stdout);
    assert!(says.contains("Usage: kubectl tracer observe"), "{says}");
}
