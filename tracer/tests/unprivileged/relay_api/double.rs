//! The API server that the relay asks: pods, the ConfigMap of the front proxy, and a policy.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};

/// What the double knows and was asked.
#[derive(Debug)]
pub struct Double {
    authority: String,
    pub reviews: Mutex<Vec<Value>>,
    /// Users who may do nothing any more.
    pub withdrawn: Mutex<HashSet<String>>,
}

impl Double {
    /// Serves on a free port, for the rest of the test.
    pub async fn start(authority: String) -> (Arc<Double>, SocketAddr) {
        let double = Arc::new(Double {
            authority,
            reviews: Mutex::default(),
            withdrawn: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&double));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (double, address)
    }
}

fn pod(namespace: &str, name: &str, node: &str) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "resourceVersion": "5"},
        "spec": {"nodeName": node},
    })
}

/// admin may do everything, jane may read namespace shop.
fn may(user: &str, attributes: &Value) -> bool {
    match user {
        "admin" => true,
        "jane" => attributes["namespace"] == "shop",
        _ => false,
    }
}

async fn answer(State(double): State<Arc<Double>>, request: Request) -> Response {
    let uri = request.uri().clone();
    let body = match uri.path() {
        "/api/v1/pods" if uri.query().unwrap_or_default().contains("watch=true") => {
            // No pod ever changes.
            return Response::new(Body::from_stream(futures::stream::pending::<
                Result<String, std::io::Error>,
            >()));
        }
        "/api/v1/pods" => json!({
            "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "5"},
            "items": [
                pod("shop", "web", "node-a"), pod("shop", "api", "node-a"), pod("bank", "vault", "node-a"),
                pod("shop", "elsewhere", "node-b"),
            ],
        }),
        "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication" => json!({
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"namespace": "kube-system", "name": "extension-apiserver-authentication"},
            "data": {
                "requestheader-client-ca-file": double.authority,
                "requestheader-allowed-names": r#"["front-proxy-client"]"#,
                "requestheader-username-headers": r#"["X-Remote-User"]"#,
                "requestheader-group-headers": r#"["X-Remote-Group"]"#,
                "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
            },
        }),
        "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
            let body = to_bytes(request.into_body(), 1 << 20)
                .await
                .expect("a body");
            let mut review: Value = serde_json::from_slice(&body).expect("JSON");
            let attributes = review["spec"]["resourceAttributes"].clone();
            let user = review["spec"]["user"].as_str().expect("a user");
            let withdrawn = double.withdrawn.lock().expect("a lock").contains(user);
            let allowed = !withdrawn && may(user, &attributes);
            double.reviews.lock().expect("a lock").push(attributes);
            review["status"] = json!({"allowed": allowed});
            review
        }
        other => panic!("asked for {other}"),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    let json = "application/json".parse().expect("a value");
    response.headers_mut().insert("content-type", json);
    response
}
