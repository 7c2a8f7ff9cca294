//! A double of the API server: what a relay and its agents ask of it, and requests to the relay in its name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracer::cluster::ClusterSource;

use super::process::Relay;

const REQUEST_HEADER: &str =
    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
const API_SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.tracer.internal";
const AUTHORITY: &str = "/api/v1/namespaces/tracer/configmaps/tracer-relay-ca";

#[derive(Default)]
struct Objects {
    by_path: BTreeMap<String, Value>,
    pods: Value,
    reviewed: Vec<Instant>,
}

pub struct ApiServer {
    objects: Arc<Mutex<Objects>>,
    /// Certificate and key of the API server's own requests.
    identity: (String, String),
    directory: tempfile::TempDir,
}

impl ApiServer {
    pub async fn start(pods: Value) -> ApiServer {
        let key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "front-proxy-ca");
        let certificate = authority.self_signed(&key).expect("signed");
        let issuer = Issuer::new(authority, key);
        let mut client = CertificateParams::new(Vec::new()).expect("parameters");
        client
            .distinguished_name
            .push(DnType::CommonName, "front-proxy-client");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client_key = KeyPair::generate().expect("a key");
        let client = client.signed_by(&client_key, &issuer).expect("signed");

        let mut by_path = BTreeMap::new();
        by_path.insert(
            REQUEST_HEADER.to_owned(),
            json!({"kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {
                "requestheader-client-ca-file": certificate.pem(),
                "requestheader-allowed-names": "[\"front-proxy-client\"]",
                "requestheader-username-headers": "[\"X-Remote-User\"]",
                "requestheader-group-headers": "[\"X-Remote-Group\"]",
                "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            }}),
        );
        by_path.insert(
            API_SERVICE.to_owned(),
            json!({"kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
                "metadata": {"name": "v1alpha1.tracer.internal"},
                "spec": {"groupPriorityMinimum": 100, "versionPriority": 10}}),
        );
        let objects = Arc::new(Mutex::new(Objects {
            by_path,
            pods,
            reviewed: Vec::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&objects));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let directory = tempfile::tempdir().expect("a directory");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(directory.path().join("config"), kubeconfig.to_string()).expect("written");
        ApiServer {
            objects,
            identity: (client.pem(), client_key.serialize_pem()),
            directory,
        }
    }

    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub fn source(&self) -> ClusterSource {
        ClusterSource::Kubeconfig {
            file: Some(self.directory.path().join("config")),
            context: None,
        }
    }

    /// A client that sends requests to the relay as the API server does.
    pub async fn client_of(&self, relay: &Relay) -> kube::Client {
        let authority = loop {
            let published = {
                let objects = self.objects.lock();
                objects
                    .by_path
                    .get(AUTHORITY)
                    .and_then(|map| map["data"]["ca.crt"].as_str().map(str::to_owned))
            };
            match published {
                Some(authority) => break authority,
                None => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        };
        let url = format!("https://{}", relay.api);
        let mut config = kube::Config::new(url.parse().expect("a URL"));
        let der = |pem: &str| {
            let lines: String = pem
                .lines()
                .filter(|line| !line.starts_with("-----"))
                .collect();
            BASE64_STANDARD.decode(lines).expect("PEM")
        };
        config.root_cert = Some(vec![der(&authority)]);
        config.tls_server_name = Some("tracer-relay.tracer.svc".to_owned());
        let (certificate, key) = &self.identity;
        config.auth_info.client_certificate_data = Some(BASE64_STANDARD.encode(certificate));
        config.auth_info.client_key_data = Some(BASE64_STANDARD.encode(key).into());
        config.headers = vec![
            (
                http::HeaderName::from_static("x-remote-user"),
                http::HeaderValue::from_static("bench"),
            ),
            (
                http::HeaderName::from_static("x-remote-group"),
                http::HeaderValue::from_static("system:authenticated"),
            ),
        ];
        kube::Client::try_from(config).expect("a client")
    }

    pub fn forget_reviews(&self) {
        self.objects.lock().reviewed.clear();
    }

    /// The most token reviews within a second.
    pub fn reviews_per_second(&self) -> usize {
        let objects = self.objects.lock();
        let reviewed = &objects.reviewed;
        let within = |start: &Instant| {
            reviewed
                .iter()
                .filter(|at| **at >= *start && at.duration_since(*start).as_secs_f64() < 1.0)
                .count()
        };
        reviewed.iter().map(within).max().unwrap_or_default()
    }
}

async fn answer(State(objects): State<Arc<Mutex<Objects>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let query: HashMap<String, String> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let path = parts.uri.path().to_owned();
    if path == "/api/v1/pods" && query.contains_key("watch") {
        let nothing = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        return Response::new(Body::from_stream(nothing));
    }
    let (code, object) = objects.lock().answer(parts.method.as_str(), path, sent);
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(object.to_string()))
        .expect("an answer")
}

impl Objects {
    fn answer(&mut self, method: &str, path: String, sent: Value) -> (u16, Value) {
        let last = path.rsplit('/').next().unwrap_or_default();
        match (method, last) {
            (_, "tokenreviews") => {
                self.reviewed.push(Instant::now());
                let node = &sent["spec"]["token"];
                let status = json!({
                    "authenticated": true, "audiences": ["tracer-relay"],
                    "user": {"username": "system:serviceaccount:tracer:tracer-agent",
                        "extra": {"authentication.kubernetes.io/node-name": [node]}},
                });
                let review = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
                    "metadata": {}, "spec": sent["spec"], "status": status});
                (201, review)
            }
            (_, "subjectaccessreviews") => {
                let review = json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                    "metadata": {}, "spec": sent["spec"], "status": {"allowed": true}});
                (201, review)
            }
            ("GET", "pods") => (200, self.pods.clone()),
            ("GET", _) => match self.by_path.get(&path) {
                Some(object) => (200, object.clone()),
                None => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                        "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404});
                    (404, status)
                }
            },
            ("PATCH", _) => {
                let object = self.by_path.get_mut(&path).expect("what is patched");
                object["spec"]["caBundle"] = sent["spec"]["caBundle"].clone();
                (200, object.clone())
            }
            ("POST", _) => {
                let name = sent["metadata"]["name"].as_str().expect("a name");
                self.by_path.insert(format!("{path}/{name}"), sent.clone());
                (201, sent)
            }
            _ => {
                self.by_path.insert(path, sent.clone());
                (200, sent)
            }
        }
    }
}
