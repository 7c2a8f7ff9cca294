//! Users of the relay: streams that read and one that does not, lists, and the state of all agents.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::AsyncReadExt as _;
use futures::io::AsyncBufRead;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::task::JoinHandle;
use tracer::stream::event::unix_ns;
use tracer::stream::proto;
use tracer::stream::proto::node_status::Answer;
use tracer::stream::proto::observe_response::Message;
use tracer::stream::proto::relayed_response::Message as Relayed;

const API: &str = "/apis/tracer.internal/v1alpha1";
const FRAMES: &str = "application/vnd.tracer.v1+protobuf";

/// From the emission of events until a watcher has read them.
#[derive(Clone, Default)]
pub struct Delays(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    delays_ns: Vec<i64>,
    lost: u64,
}

pub struct Summary {
    pub events: usize,
    pub lost: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub bytes: usize,
}

impl Delays {
    pub fn clear(&self) {
        *self.0.lock() = Received::default();
    }

    pub fn summary(&self) -> Summary {
        let mut received = self.0.lock();
        received.delays_ns.sort_unstable();
        summary(&received.delays_ns, received.lost, 0)
    }

    fn take(&self, response: proto::RelayedResponse) {
        let Some(Relayed::Response(response)) = response.message else {
            return;
        };
        match response.message {
            Some(Message::Event(event)) => {
                let delay = unix_ns(jiff::Timestamp::now()) - event.emitted_unix_ns;
                self.0.lock().delays_ns.push(delay);
            }
            Some(Message::Lost(lost)) => self.0.lock().lost += lost.count,
            _ => {}
        }
    }
}

fn summary(sorted_ns: &[i64], lost: u64, bytes: usize) -> Summary {
    let at = |share: f64| {
        let index = (sorted_ns.len() as f64 * share) as usize;
        let value = sorted_ns.get(index.min(sorted_ns.len().saturating_sub(1)));
        value.copied().unwrap_or_default() as f64 / 1e6
    };
    Summary {
        events: sorted_ns.len(),
        lost,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        bytes,
    }
}

/// A stream that is read, until this is dropped.
pub struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watcher {
    pub async fn start(
        client: kube::Client,
        namespace: &str,
        pod: Option<&str>,
        delays: Delays,
    ) -> Watcher {
        let mut stream = Box::pin(open(client, namespace, pod).await);
        Watcher(tokio::spawn(async move {
            let mut length = [0; 4];
            while stream.read_exact(&mut length).await.is_ok() {
                let mut encoded = vec![0; u32::from_be_bytes(length) as usize];
                if stream.read_exact(&mut encoded).await.is_err() {
                    return;
                }
                let response = proto::RelayedResponse::decode(&*encoded).expect("a message");
                delays.take(response);
            }
        }))
    }

    /// A stream that is never read.
    pub async fn stopped(client: kube::Client, namespace: &str) -> Watcher {
        let stream = open(client, namespace, None).await;
        Watcher(tokio::spawn(async move {
            let _kept = stream;
            std::future::pending::<()>().await;
        }))
    }
}

async fn open(
    client: kube::Client,
    namespace: &str,
    pod: Option<&str>,
) -> impl AsyncBufRead + use<> {
    let request = proto::ObserveRequest {
        follow: true,
        filter: Some(proto::Filter {
            pods: pod.map(str::to_owned).into_iter().collect(),
            ..proto::Filter::default()
        }),
        ..proto::ObserveRequest::default()
    };
    let request = BASE64_URL_SAFE_NO_PAD.encode(request.encode_to_vec());
    let path = format!("{API}/namespaces/{namespace}/traces?watch=true&request={request}");
    let request = http::Request::get(path)
        .header("accept", FRAMES)
        .body(Vec::new())
        .expect("a request");
    client.request_stream(request).await.expect("a stream")
}

/// The state of all agents.
async fn statuses(client: &kube::Client) -> Result<proto::NodeStatuses, kube::Error> {
    let request = http::Request::get(format!("{API}/tracernodes"))
        .header("accept", FRAMES)
        .body(Vec::new())
        .expect("a request");
    let mut answer = Box::pin(client.request_stream(request).await?);
    let mut encoded = Vec::new();
    let read = answer.read_to_end(&mut encoded).await;
    read.expect("an answer");
    Ok(proto::NodeStatuses::decode(&*encoded).expect("a message"))
}

/// Waits until so many agents answer.
pub async fn until_connected(client: &kube::Client, nodes: usize) {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let answered = match statuses(client).await {
            Ok(statuses) => statuses
                .nodes
                .iter()
                .filter(|node| matches!(node.answer, Some(Answer::Status(_))))
                .count(),
            Err(_) => 0,
        };
        if answered >= nodes {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{answered} of {nodes} agents answer"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Streams that agents have open, in total.
pub async fn streams(client: &kube::Client) -> i64 {
    // Answers are cached for a moment.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let statuses = statuses(client).await.expect("an answer");
    let each = statuses.nodes.iter().map(|node| match &node.answer {
        Some(Answer::Status(status)) => i64::from(status.clients),
        _ => 0,
    });
    each.sum()
}

/// Lists all findings as kubectl does, again and again.
pub async fn list_findings(client: &kube::Client, times: usize) -> Summary {
    let mut took = Vec::new();
    let mut bytes = 0;
    for _ in 0..times {
        let request = http::Request::get(format!("{API}/findings?limit=500"))
            .header(
                "accept",
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            )
            .body(Vec::new())
            .expect("a request");
        let start = Instant::now();
        let text = client.request_text(request).await.expect("a list");
        took.push(i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX));
        bytes = text.len();
    }
    took.sort_unstable();
    summary(&took, 0, bytes)
}
