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
    task: tokio::task::JoinHandle<()>,
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

/// An answer's size that no socket buffer holds.
static LARGE: [u8; 8 << 20] = [b'x'; 8 << 20];

/// Opens and uses connections, from an address of the loopback network, until the test ends.
async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an address");
    socket.connect(to).await.expect("connected")
}

/// Sends requests without reading the answers; opens the connection again when the server closes it.
async fn never_reads(from: [u8; 4], to: SocketAddr) {
    loop {
        let mut stream = connect(from, to).await;
        while stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .is_ok()
        {}
    }
}

/// Says nothing; opens the connection again when the server closes it.
async fn says_nothing(to: SocketAddr) {
    loop {
        let mut stream = connect([127, 0, 0, 1], to).await;
        let _ = stream.read(&mut [0]).await;
    }
}

#[test]
fn idle_and_unreading_clients_disturb_neither_probes_nor_a_scrape() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: Some(limit.maximum.unwrap_or(4096).min(4096)),
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("2,000 sockets");
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (serving, attacking) = (runtime(), runtime());
    let large = Router::new().route(
        "/metrics",
        get(|| async { axum::body::Bytes::from_static(&LARGE) }),
    );
    let health = Arc::new(Health::new(Instant::now()));
    let mut addresses = Vec::new();
    for router in [large, probe_router(health)] {
        let listener = serving
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        addresses.push(listener.local_addr().expect("an address"));
        serving.spawn(serve(listener, router));
    }
    let [metrics, probes] = addresses[..] else {
        panic!("two addresses")
    };
    // More than there are places.
    for host in 2..=10 {
        for _ in 0..8 {
            attacking.spawn(never_reads([127, 0, 0, host], metrics));
        }
    }
    for number in 0..1000 {
        attacking.spawn(says_nothing(if number % 2 == 0 { metrics } else { probes }));
    }
    let ask = async |from: [u8; 4], to: SocketAddr, path: &str| {
        let mut stream = connect(from, to).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        answer
    };
    let asking = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    asking.block_on(async {
        for number in 0..8 {
            // From the address of the idle ones, and from one of its own.
            let from = [127, 0, 0, if number % 2 == 0 { 1 } else { 50 }];
            // As the kubelet: each probe within 5 s.
            let probe = tokio::time::timeout(Duration::from_secs(5), ask(from, probes, "/livez"));
            let probe = probe.await.expect("in time");
            assert!(
                probe.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(&probe)
            );
            let scrape =
                tokio::time::timeout(Duration::from_secs(10), ask(from, metrics, "/metrics"));
            let scrape = scrape.await.expect("in time");
            assert!(scrape.starts_with(b"HTTP/1.1 200"));
            let head = scrape
                .windows(4)
                .position(|end| end == b"\r\n\r\n")
                .expect("a head");
            assert_eq!(scrape.len() - head - 4, LARGE.len(), "{number}");
        }
    });
    attacking.shutdown_background();
    serving.shutdown_background();
}

#[tokio::test]
async fn a_request_that_stays_incomplete_ends_its_connection() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let started = Instant::now();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    // Without the deadline this waits for ever.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    assert!(started.elapsed() >= LIMITS.first_request);
}

#[tokio::test]
async fn the_kubelets_listener_serves_no_metrics() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let health = Arc::new(Health::new(Instant::now()));
    let task = tokio::spawn(serve(listener, probe_router(Arc::clone(&health))));
    let server = Server {
        address,
        health,
        task,
    };
    assert_eq!(server.get("/livez").await.0, 200);
    assert_eq!(server.get("/readyz").await.0, 503);
    assert_eq!(server.get("/metrics").await.0, 404);
}

#[tokio::test]
async fn an_address_in_use_is_an_error_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address");
    let error = listen("--http", address)
        .await
        .expect_err("taken")
        .to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("--http none"),
        "{error}"
    );
}
