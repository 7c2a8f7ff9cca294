//! The paths over real connections on loopback.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::export::metrics::Build;

struct Server {
    address: SocketAddr,
    health: Arc<Health>,
    task: tokio::task::JoinHandle<Infallible>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let health = Arc::new(Health::new(Instant::now()));
        let build = Build {
            version: "1".to_owned(),
            commit: "2".to_owned(),
        };
        let metrics = Arc::new(Metrics::new(false, &build, jiff::Timestamp::UNIX_EPOCH));
        let task = tokio::spawn(serve(listener, router(Arc::clone(&health), metrics)));
        Server {
            address,
            health,
            task,
        }
    }

    /// An answer's status, headers and body.
    async fn get(&self, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (
            status.expect("a status"),
            head.to_ascii_lowercase(),
            body.to_owned(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn readyz_lists_what_is_missing() {
    let server = Server::start().await;
    let (status, _, body) = server.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("starting"), "{body}");
    server.health.started();
    server
        .health
        .set_missing("index", vec!["pods are not listed yet".to_owned()]);
    let (status, _, body) = server.get("/readyz").await;
    assert_eq!((status, &*body), (503, "index: pods are not listed yet\n"));
    server.health.set_missing("index", Vec::new());
    let (status, _, body) = server.get("/readyz").await;
    assert_eq!((status, &*body), (200, "ok\n"));
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let server = Server::start().await;
    let (status, head, body) = server.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(body.ends_with("# EOF\n"), "{body}");
    assert!(body.contains("tracer_build_info{"), "{body}");
    assert_eq!(server.get("/no-such-path").await.0, 404);
}

#[test]
fn a_pipeline_without_progress_is_not_alive() {
    let start = Instant::now();
    let health = Health::new(start);
    assert_eq!(health.stalled(start), None);
    let late = start + STALLED_AFTER;
    assert_eq!(health.stalled(late), Some(STALLED_AFTER));
    health.advanced(late);
    assert_eq!(health.stalled(late), None);
    assert_eq!(health.stalled(late + STALLED_AFTER / 2), None);
    // Two threads can read the clock in either order.
    assert_eq!(health.stalled(start), None);
}

#[tokio::test]
async fn livez_succeeds_before_readyz() {
    let server = Server::start().await;
    assert_eq!(server.get("/livez").await.0, 200);
    assert_eq!(server.get("/readyz").await.0, 503);
}

#[tokio::test]
async fn an_oversized_request_ends_only_its_own_connection() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let request = format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    // The server can close the connection before the request is complete.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains(" 200 "), "{answer}");
    assert_eq!(server.get("/livez").await.0, 200);
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        // An answered connection stays open for its next request and counts.
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .expect("sent");
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).await.expect("an answer");
        idle.push(stream);
    }
    let one_more = tokio::spawn({
        let address = server.address;
        async move {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .await
                .expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        }
    });
    // Enough turns to serve the connection if the limit did not apply.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!one_more.is_finished());
    idle.pop();
    let answer = one_more.await.expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address");
    let error = listen(address).await.expect_err("taken").to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("--http none"),
        "{error}"
    );
}
