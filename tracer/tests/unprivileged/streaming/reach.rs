//! The ways to an agent: TLS, a relay, a cluster's API server; and the errors where none of them works.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::{Channel, Endpoint, Uri};
use tracer::client::feed::Feed;
use tracer::client::{ClientError, Options, Target, TlsFiles};
use tracer::connections::Limits;
use tracer::stream::listen::{self, TlsListen};
use tracer::stream::proto;
use tracer::stream::proto::tracer_client::TracerClient;

use super::agent::{Agent, Heard, history, within};

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
    assert!(String::from_utf8_lossy(&output.stdout).contains("unreachable"));
}

/// An API server that answers each request by its path.
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
