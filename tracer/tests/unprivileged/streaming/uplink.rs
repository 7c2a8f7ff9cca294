//! Agents that connect to a relay: over real TLS, with the relay's own certificate.
//!
//! The API server is a double that keeps Secret, ConfigMap and APIService and reviews tokens by their text: a real one
//! takes minutes to build. `cargo xtask e2e` does the same with a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracer::cluster::ClusterSource;
use tracer::export::metrics::{Build, RelayMetrics};
use tracer::relay::agents::Agents;
use tracer::relay::certificate::{Keeper, Place, Serving};
use tracer::relay::tokens::Tokens;
use tracer::relay::uplinks::Uplinks;
use tracer::stream::hub::{AgentIdentity, Hub};
use tracer::stream::proto;
use tracer::stream::relays::{Relays, RelaysConfig};

use super::agent::{START, within};

type Objects = Arc<Mutex<BTreeMap<String, Value>>>;

async fn answer(State(objects): State<Objects>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut path = parts.uri.path().to_owned();
    let mut objects = objects.lock();
    let (code, object) = if path.ends_with("/tokenreviews") {
        let reviewed = objects.entry(REVIEWED.to_owned()).or_insert(json!([]));
        reviewed
            .as_array_mut()
            .expect("a list")
            .push(sent["spec"]["token"].clone());
        (201, review(&sent))
    } else {
        match parts.method.as_str() {
            "GET" => match objects.get(&path) {
                Some(object) => (200, object.clone()),
                None => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                        "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404});
                    (404, status)
                }
            },
            "PATCH" => {
                let object = objects.get_mut(&path).expect("what is patched");
                object["spec"]["caBundle"] = sent["spec"]["caBundle"].clone();
                (200, object.clone())
            }
            method => {
                if method == "POST" {
                    path = format!(
                        "{path}/{}",
                        sent["metadata"]["name"].as_str().expect("a name")
                    );
                }
                objects.insert(path, sent.clone());
                (201, sent)
            }
        }
    };
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(object.to_string()))
        .expect("an answer")
}

/// Where the double keeps the tokens that it reviewed.
const REVIEWED: &str = "reviewed";

/// A token is `ACCOUNT:NODE`.
fn review(sent: &Value) -> Value {
    let token = sent["spec"]["token"].as_str().expect("a token");
    assert_eq!(sent["spec"]["audiences"], json!(["tracer-relay"]));
    let status = match token.split_once(':') {
        Some((account, node)) => json!({
            "authenticated": true, "audiences": ["tracer-relay"],
            "user": {"username": format!("system:serviceaccount:tracer:{account}"),
                "extra": {"authentication.kubernetes.io/node-name": [node]}},
        }),
        None => json!({"authenticated": false, "error": "no such token"}),
    };
    json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
        "spec": sent["spec"], "status": status})
}

/// A cluster with one relay.
struct Cluster {
    objects: Objects,
    agents: Arc<Agents>,
    metrics: Arc<RelayMetrics>,
    relay: SocketAddr,
    directory: tempfile::TempDir,
    source: ClusterSource,
}

const API_SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.tracer.internal";

impl Cluster {
    async fn start() -> Cluster {
        let objects = Objects::default();
        let api_service = json!({"kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {"name": "v1alpha1.tracer.internal"},
            "spec": {"groupPriorityMinimum": 100, "versionPriority": 10}});
        objects.lock().insert(API_SERVICE.to_owned(), api_service);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = listener.local_addr().expect("an address");
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&objects));
        tokio::spawn(async move { axum::serve(listener, router).await });

        let directory = tempfile::tempdir().expect("a directory");
        let kubeconfig = directory.path().join("config");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{server}")}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).expect("written");
        let source = ClusterSource::Kubeconfig {
            file: Some(kubeconfig),
            context: None,
        };
        let client = source.client().await.expect("a client");

        let serving = Arc::new(Serving::default());
        let place = Place {
            service: "tracer-relay".to_owned(),
            namespace: "tracer".to_owned(),
            api_service: "v1alpha1.tracer.internal".to_owned(),
        };
        let keeper = Keeper::new(client.clone(), place, Arc::clone(&serving));
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        tokio::spawn(keeper.run(|| ready.send(()).expect("it is waited for")));
        within(is_ready).await.expect("a certificate");

        let agents = Arc::new(Agents::default());
        let build = Build::of_this_program();
        let metrics = Arc::new(RelayMetrics::new(&build, jiff::Timestamp::now()));
        let tokens = Tokens::new(client, "tracer", "tracer-agent", Arc::clone(&metrics));
        let uplinks = Uplinks::new(Arc::clone(&agents), tokens, serving, Arc::clone(&metrics));
        let uplinks = uplinks.expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = listener.local_addr().expect("an address");
        tokio::spawn(uplinks.serve(listener));
        Cluster {
            objects,
            agents,
            metrics,
            relay,
            directory,
            source,
        }
    }

    /// An agent of this node, with this token.
    fn agent(&self, node: &str, token: &str) -> (Arc<Hub>, Relays) {
        let file = self.directory.path().join(format!("{node}.token"));
        std::fs::write(&file, token).expect("written");
        let identity = AgentIdentity {
            node: node.into(),
            instance: "1".to_owned(),
            started_unix_ns: START,
        };
        let (hub, _) = Hub::new(identity, 1 << 20);
        let config = RelaysConfig {
            service: "tracer-relay".to_owned(),
            namespace: Some("tracer".to_owned()),
            token: file,
        };
        let relays = Relays::start(config, self.source.clone(), Arc::clone(&hub));
        relays.connect_to(BTreeSet::from([self.relay]));
        (hub, relays)
    }

    async fn wait_for(&self, nodes: &[&str]) {
        let mut changes = self.agents.changes();
        within(async {
            while self
                .agents
                .nodes()
                .iter()
                .map(|node| &**node)
                .ne(nodes.iter().copied())
            {
                changes.changed().await.expect("the registry");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_agent_connects_and_the_relay_is_its_client() {
    let cluster = Cluster::start().await;
    let (hub, relays) = cluster.agent("one", "tracer-agent:one");
    cluster.wait_for(&["one"]).await;
    let status = within(cluster.agents.status("one"))
        .await
        .expect("a status");
    assert_eq!(status.node.expect("a node").node, "one");
    assert_eq!(relays.count(), (1, 1));
    let request = proto::ObserveRequest {
        history: true,
        ..proto::ObserveRequest::default()
    };
    let mut events = within(cluster.agents.observe("one", request))
        .await
        .expect("a stream");
    let first = within(events.message()).await.expect("a message");
    assert!(matches!(
        first.and_then(|first| first.message),
        Some(proto::observe_response::Message::Node(node)) if node.node == "one"
    ));
    drop(relays);
    cluster.wait_for(&[]).await;
    drop(hub);
}

#[tokio::test]
async fn the_authority_is_published_for_agents_and_for_the_api_server() {
    let cluster = Cluster::start().await;
    let objects = cluster.objects.lock();
    let published =
        &objects["/api/v1/namespaces/tracer/configmaps/tracer-relay-ca"]["data"]["ca.crt"];
    let published = published.as_str().expect("a certificate");
    assert!(
        published.starts_with("-----BEGIN CERTIFICATE-----"),
        "{published}"
    );
    let secret = &objects["/api/v1/namespaces/tracer/secrets/tracer-relay-tls"]["data"];
    for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
        assert!(secret[key].is_string(), "{key}");
    }
    let decoded = |value: &Value| {
        use base64::Engine as _;
        let text = value.as_str().expect("base64");
        let bytes = base64::prelude::BASE64_STANDARD
            .decode(text)
            .expect("base64");
        String::from_utf8(bytes).expect("PEM")
    };
    assert_eq!(
        decoded(&objects[API_SERVICE]["spec"]["caBundle"]),
        published
    );
    assert_eq!(decoded(&secret["ca.crt"]), published);
}

#[tokio::test]
async fn only_an_agent_is_accepted_and_only_for_its_own_node() {
    let cluster = Cluster::start().await;
    let _others = [
        cluster.agent("one", "tracer-agent:two"),
        cluster.agent("three", "somebody:three"),
        cluster.agent("four", "invalid"),
    ];
    let (_hub, _good) = cluster.agent("five", "tracer-agent:five");
    cluster.wait_for(&["five"]).await;
    let tokens = ["tracer-agent:two", "somebody:three", "invalid"];
    within(async {
        let is_reviewed = |token: &&str| {
            let objects = cluster.objects.lock();
            let reviewed = objects[REVIEWED].as_array().expect("a list");
            reviewed.iter().any(|known| known == token)
        };
        while !tokens.iter().all(is_reviewed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // The answers to the reviews take effect meanwhile.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(cluster.agents.nodes(), ["five".into()]);
    let metrics = cluster.metrics.encode().expect("text");
    for counted in [
        "tracer_relay_agents_refused_total{reason=\"node\"} ",
        "tracer_relay_agents_refused_total{reason=\"account\"} ",
        "tracer_relay_agents_refused_total{reason=\"token\"} ",
        "tracer_relay_reviews_total{kind=\"token\",result=\"allowed\"} ",
        "tracer_relay_reviews_total{kind=\"token\",result=\"denied\"} ",
    ] {
        assert!(metrics.contains(counted), "{counted}:\n{metrics}");
    }
}
