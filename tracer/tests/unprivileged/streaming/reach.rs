//! The ways to an agent: TLS, a cluster's API server; and the errors where none of them works.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracer::client::feed::Feed;
use tracer::client::{ClientError, Options, Target, TlsFiles};
use tracer::connections::Limits;
use tracer::stream::event::{to_wire, unix_clock, unix_ns};
use tracer::stream::listen::{self, TlsListen};
use tracer::stream::proto;
use tracer::stream::proto::observe_response::Message;
use tracer::stream::proto::relayed_response::Message as Relayed;
use tracer_core::model::event::Event;
use tracer_core::model::flow::Role;

use super::agent::{Agent, Heard, START, history, within};
use crate::relay_api::{refused, refused_finding};

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
        limits: listen::LIMITS,
        client_authorities: Some(certificates.path("ca.pem")),
    };
    let socket = directory.path().join("a");
    let agent = Agent::start_with("one", "1", &socket, 1 << 20, Some(&listen), 8);
    agent.emit(1, "x");
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
async fn silent_connections_end_at_the_deadline_and_keep_no_client_out() {
    let certificates = Certificates::new();
    let directory = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let limits = Limits {
        total: 16,
        per_peer: 8,
        first_request: Duration::from_secs(2),
        ..listen::LIMITS
    };
    let listen = TlsListen {
        address,
        certificate: certificates.path("ca-server.pem"),
        key: certificates.path("ca-server.key"),
        limits,
        client_authorities: Some(certificates.path("ca.pem")),
    };
    let agent = Agent::start_with(
        "one",
        "1",
        &directory.path().join("a"),
        1 << 20,
        Some(&listen),
        8,
    );
    agent.emit(1, "x");
    agent.reached(1000);
    // Some say nothing, the others stop within the TLS handshake: a record's header without its content.
    let mut silent = Vec::new();
    for number in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("connected");
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1, 2, 0]).await.expect("sent");
        }
        silent.push(stream);
    }
    let target = Target::parse(
        &format!("https://{address}"),
        &certificates.client(Some("ca")),
    );
    let options = Options {
        servers: vec![target.expect("an address")],
        ..Options::default()
    };
    let mut feed = Feed::start(options, history()).await.expect("started");
    let mut heard = Heard::default();
    while let Some(news) = within(feed.next()).await.expect("served") {
        heard.take(news);
    }
    assert_eq!(heard.events, ["one/x"]);
    for mut stream in silent {
        // The server ends each of them: without a deadline this waits for ever.
        let mut bytes = Vec::new();
        let _ = within(stream.read_to_end(&mut bytes)).await;
    }
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
    assert!(String::from_utf8_lossy(&output.stdout).contains("unreachable"));
}

/// An API server that answers each request by its path.
fn api_server<B: AsRef<[u8]>>(answer: impl Fn(&str) -> (u16, B) + Send + 'static) -> String {
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
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.as_ref().len()
            )
            .and_then(|()| connection.write_all(body.as_ref()));
        }
    });
    url
}

fn kubeconfig(directory: &tempfile::TempDir, url: &str) -> String {
    let kubeconfig = directory.path().join("config");
    std::fs::write(
        &kubeconfig,
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: '{url}'}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
        ),
    )
    .expect("written");
    kubeconfig.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_cluster_without_relays_and_a_user_without_rights_get_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let status = |code: u16, message: &str| {
        let status = format!(
            r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","code":{code}}}"#
        );
        (code, status)
    };
    let url = api_server(move |path| {
        if path.contains("/findings?") {
            status(403, "findings.tracer.internal is forbidden")
        } else {
            status(404, "the server could not find the requested resource")
        }
    });
    let kubeconfig = kubeconfig(&directory, &url);
    for (command, words) in [
        ("observe", ["no Tracer relay", "docs/install.md"]),
        ("status", ["no Tracer relay", "--server"]),
        ("diagnose", ["forbidden", "-n NAMESPACE"]),
    ] {
        let output = tracer(&[command, "--kubeconfig", &kubeconfig]);
        let says = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {says}");
        for word in words {
            assert!(says.contains(word), "{command}: {says}");
        }
    }
}

#[test]
fn a_request_names_the_namespace_in_its_path() {
    let directory = tempfile::tempdir().expect("a directory");
    let (asked, paths) = std::sync::mpsc::channel();
    let url = api_server(move |path| {
        asked.send(path.to_owned()).expect("it is read");
        (200, String::new())
    });
    let kubeconfig = kubeconfig(&directory, &url);
    for (arguments, path) in [
        (&["observe"][..], "/traces?"),
        (&["observe", "-n", "shop"], "/namespaces/shop/traces?"),
        (&["observe", "-n", "sh*"], "v1alpha1/traces?"),
        (&["diagnose", "-n", "shop"], "/namespaces/shop/findings?"),
    ] {
        let mut all = arguments.to_vec();
        all.extend(["--kubeconfig", &kubeconfig]);
        tracer(&all);
        let asked = paths.try_recv().expect("a request");
        assert!(asked.contains(path), "{arguments:?}: {asked}");
        assert!(
            asked.starts_with("/apis/tracer.internal/v1alpha1/"),
            "{asked}"
        );
    }
}

/// What a relay sends about an event of a node.
fn frames(node: &str, event: &Event) -> Vec<u8> {
    let messages = [
        Message::Node(proto::NodeInfo {
            node: node.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..proto::NodeInfo::default()
        }),
        Message::Event(proto::EmittedEvent {
            event: Some(to_wire(event, &unix_clock)),
            emitted_unix_ns: unix_ns(unix_clock(event.time)),
            sequence: 0,
        }),
    ];
    let frames = messages.into_iter().flat_map(|message| {
        let response = proto::ObserveResponse {
            message: Some(message),
        };
        let message = proto::RelayedResponse {
            node: node.to_owned(),
            message: Some(Relayed::Response(response)),
        };
        let encoded = message.encode_to_vec();
        let length = u32::try_from(encoded.len()).expect("short");
        [length.to_be_bytes().to_vec(), encoded].concat()
    });
    frames.collect()
}

/// A kubeconfig with the contexts east and west, whose API servers answer a request by the context and the path.
fn two_clusters(
    directory: &tempfile::TempDir,
    answer: impl Fn(&str, &str) -> Vec<u8> + Clone + Send + 'static,
) -> String {
    let clusters = ["east", "west"].map(|name| {
        let answer = answer.clone();
        let url = api_server(move |path| (200, answer(name, path)));
        format!("{{name: {name}, cluster: {{server: '{url}'}}}}")
    });
    let contexts = ["east", "west"]
        .map(|name| format!("{{name: {name}, context: {{cluster: {name}, user: u}}}}"));
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: east, contexts: [{}], clusters: [{}], \
         users: [{{name: u, user: {{token: t}}}}]}}",
        contexts.join(", "),
        clusters.join(", ")
    );
    let file = directory.path().join("config");
    std::fs::write(&file, text).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_path_is_asked_for_in_the_findings_own_cluster() {
    // Both clusters have the same nodes, pods and addresses. In west no agent runs on the server's node.
    let directory = tempfile::tempdir().expect("a directory");
    let mut found = refused_finding();
    found.time = refused(Role::Client).time;
    let file = two_clusters(&directory, move |cluster, path| {
        let (resource, query) = path.split_once('?').unwrap_or((path, ""));
        let of_node = |node: &str| query.split('&').any(|one| one == format!("nodes={node}"));
        match resource.rsplit('/').next() {
            Some("findings") => frames("node-a", &found),
            Some("traces") if of_node("node-a") => frames("node-a", &refused(Role::Client)),
            Some("traces") if of_node("node-b") && cluster == "east" => {
                frames("node-b", &refused(Role::Server))
            }
            _ => Vec::new(),
        }
    });
    let arguments = ["diagnose", "-o", "json", "--kubeconfig", &file];
    let output = tracer(&[&arguments[..], &["--context", "east,west"]].concat());
    let printed = String::from_utf8_lossy(&output.stdout);
    let findings = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let mut verdicts: Vec<(String, String)> = findings
        .map(|finding: serde_json::Value| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
            (text(&finding["cluster"]), text(&finding["path"]["verdict"]))
        })
        .collect();
    verdicts.sort();
    let expected = [("east", "refused-by-pod"), ("west", "server-half-unknown")];
    let expected = expected.map(|(cluster, verdict)| (cluster.to_owned(), verdict.to_owned()));
    assert_eq!(
        verdicts,
        expected,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn events_of_several_clusters_name_their_cluster() {
    // Both have a node of the same name, and an event of it.
    let event = super::agent::finding(START, "x");
    let directory = tempfile::tempdir().expect("a directory");
    let file = two_clusters(&directory, move |_, _| frames("node", &event));
    let output = tracer(&[
        "observe",
        "-o",
        "json",
        "--kubeconfig",
        &file,
        "--context",
        "east,west",
    ]);
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut found: Vec<(String, String)> = printed
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let text = |name: &str| event[name].as_str().expect("a text").to_owned();
            (text("cluster"), text("node"))
        })
        .collect();
    found.sort();
    let expected = ["east", "west"].map(|cluster| (cluster.to_owned(), "node".to_owned()));
    assert_eq!(
        found,
        expected,
        "{}",
        String::from_utf8_lossy(&output.stderr)
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
