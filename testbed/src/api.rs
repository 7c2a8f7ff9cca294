//! A Kubernetes API server for tests: lists in pages, watches with bookmarks, and the failures that a real
//! one shows rarely. Plain HTTP on a free port of 127.0.0.1.
//!
//! What it answers comes from its objects; tests order its failures beforehand ([`Fault`]) or at once
//! ([`Api::send`], [`Api::break_watches`]). It records every request.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, StatusCode};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// The resources, with their API group and version, the kind, and whether they are in namespaces.
const RESOURCES: [(&str, &str, &str, bool); 7] = [
    ("pods", "v1", "Pod", true),
    ("services", "v1", "Service", true),
    (
        "endpointslices",
        "discovery.k8s.io/v1",
        "EndpointSlice",
        true,
    ),
    ("nodes", "v1", "Node", false),
    ("namespaces", "v1", "Namespace", false),
    (
        "networkpolicies",
        "networking.k8s.io/v1",
        "NetworkPolicy",
        true,
    ),
    ("servicecidrs", "networking.k8s.io/v1", "ServiceCIDR", false),
];

/// Makes objects when they are listed, where there are too many to keep.
pub type Maker = Box<dyn Fn(usize) -> Value + Send>;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The HTTP method.
    pub method: String,
    /// The last part of the path.
    pub resource: String,
    /// A watch, not a list.
    pub watch: bool,
    /// The parameters of the query.
    pub query: HashMap<String, String>,
    /// When it arrived.
    pub at: Instant,
}

/// An error that a request gets instead of an answer.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The HTTP status.
    pub code: u16,
    /// The message of the `Status` object.
    pub message: &'static str,
    /// The `Retry-After` header, in seconds.
    pub retry_after: Option<u64>,
}

enum Piece {
    Bytes(String),
    /// The connection is cut.
    Cut,
}

#[derive(Default)]
struct Store {
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    made: HashMap<String, (usize, Maker)>,
    version: u64,
    /// Watch events by resource, with the version that each leads to.
    log: HashMap<String, Vec<(u64, String)>>,
    /// Watches cannot resume from an older version.
    compacted: u64,
    watches: Vec<(String, mpsc::UnboundedSender<Piece>)>,
    faults: HashMap<(String, bool), VecDeque<Fault>>,
    /// Every request for these gets the fault.
    always: HashMap<String, Fault>,
    token: Option<String>,
    asked: Vec<Asked>,
    /// Events that clients created for findings, and their patches.
    events: Vec<Value>,
    /// Resources whose lists are delayed.
    held: HashMap<String, watch::Sender<bool>>,
}

/// The server. It ends with this.
pub struct Api {
    store: Arc<Mutex<Store>>,
    /// Where it listens.
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Api {
    /// Starts it on a free port.
    pub fn start() -> Api {
        Api::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts it on this address.
    pub fn at(address: SocketAddr) -> Api {
        Api::served_in(None, address)
    }

    /// Starts it in the network namespace of this file.
    pub fn start_in(netns: &Path) -> Api {
        let netns = File::open(netns).expect("a network namespace");
        Api::served_in(Some(netns), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn served_in(netns: Option<File>, address: SocketAddr) -> Api {
        let store = Arc::new(Mutex::new(Store {
            version: 100,
            ..Store::default()
        }));
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, bound) = std::sync::mpsc::channel();
        let served = Arc::clone(&store);
        let thread = std::thread::spawn(move || {
            if let Some(netns) = netns {
                // Only this thread moves, and it ends with the server.
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("as root");
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let router = Router::new().fallback(answer).with_state(served);
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Api {
            store,
            address: bound.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Adds or changes an object; its `kind` selects the resource.
    pub fn put_object(&self, object: &Value) {
        let kind = object["kind"].as_str().expect("a kind");
        let mut all = RESOURCES.iter();
        let resource = all.find(|(_, _, known, _)| *known == kind);
        let (resource, ..) = resource.expect("a kind that is watched");
        self.put(resource, object.clone());
    }

    /// Adds or changes an object; watches receive it.
    pub fn put(&self, resource: &str, object: Value) {
        self.store().put(resource, object, true);
    }

    /// Adds or changes an object, but no watch receives it.
    pub fn put_silently(&self, resource: &str, object: Value) {
        self.store().put(resource, object, false);
    }

    /// Deletes an object; watches receive it.
    pub fn delete(&self, resource: &str, name: &str) {
        self.store().delete(resource, name, true);
    }

    /// Deletes an object, but no watch receives it.
    pub fn delete_silently(&self, resource: &str, name: &str) {
        self.store().delete(resource, name, false);
    }

    /// Serves `count` objects, each made when it is listed.
    pub fn make(&self, resource: &str, count: usize, maker: Maker) {
        self.store()
            .made
            .insert(resource.to_owned(), (count, maker));
    }

    /// Expires all older versions: no watch can resume from them.
    pub fn compact(&self) {
        let mut store = self.store();
        store.version += 1;
        store.compacted = store.version;
        store.log.clear();
    }

    /// Sends raw bytes to all watches of a resource.
    pub fn send(&self, resource: &str, bytes: &str) {
        self.store().send(resource, bytes);
    }

    /// All watches receive it that they are at this version now, and no more.
    pub fn bookmark(&self, resource: &str) -> u64 {
        let mut store = self.store();
        store.version += 1;
        let version = store.version;
        let (api, kind) = kind_of(resource);
        let line = json!({"type": "BOOKMARK", "object": {
            "kind": kind, "apiVersion": api,
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        }});
        store.send(resource, &format!("{line}\n"));
        version
    }

    /// Cuts the connections of all watches of a resource.
    pub fn break_watches(&self, resource: &str) {
        let mut store = self.store();
        store.watches.retain(|(of, watch)| {
            let broken = of == resource;
            if broken {
                let _ = watch.send(Piece::Cut);
            }
            !broken
        });
    }

    /// Ends the watches of a resource as their timeout does.
    pub fn end_watches(&self, resource: &str) {
        self.store().watches.retain(|(of, _)| of != resource);
    }

    /// Whether a watch of a resource is open.
    pub fn is_watched(&self, resource: &str) -> bool {
        let store = self.store();
        store
            .watches
            .iter()
            .any(|(of, watch)| of == resource && !watch.is_closed())
    }

    /// Makes the next list, or watch, of a resource fail.
    pub fn fail(&self, resource: &str, watch: bool, fault: Fault) {
        let mut store = self.store();
        let faults = store.faults.entry((resource.to_owned(), watch));
        faults.or_default().push_back(fault);
    }

    /// Makes all requests for a resource fail until it is called with `None`.
    pub fn fail_always(&self, resource: &str, fault: Option<Fault>) {
        let mut store = self.store();
        match fault {
            Some(fault) => store.always.insert(resource.to_owned(), fault),
            None => store.always.remove(resource),
        };
    }

    /// From now on requires this token, and ends all open watches.
    pub fn require(&self, token: &str) {
        let mut store = self.store();
        store.token = Some(token.to_owned());
        store.watches.clear();
    }

    /// Delays the lists of a resource, or releases them.
    pub fn hold(&self, resource: &str, held: bool) {
        let mut store = self.store();
        store
            .held
            .entry(resource.to_owned())
            .or_insert_with(|| watch::channel(false).0)
            .send_replace(held);
    }

    /// The Events that clients created or changed.
    pub fn events(&self) -> Vec<Value> {
        self.store().events.clone()
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.store().asked.clone()
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self, token: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        })
        .to_string()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Store {
    fn put(&mut self, resource: &str, mut object: Value, notify: bool) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let objects = self.objects.entry(resource.to_owned()).or_default();
        let known = objects.insert(name_of(&object), object.clone()).is_some();
        let happened = if known { "MODIFIED" } else { "ADDED" };
        self.happened(resource, happened, object, notify);
    }

    fn delete(&mut self, resource: &str, name: &str, notify: bool) {
        self.version += 1;
        let objects = self.objects.get_mut(resource).unwrap();
        let mut object = objects.remove(name).unwrap();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.happened(resource, "DELETED", object, notify);
    }

    fn happened(&mut self, resource: &str, what: &str, mut object: Value, notify: bool) {
        let (api, kind) = kind_of(resource);
        object["apiVersion"] = api.into();
        object["kind"] = kind.into();
        // The type comes first, as from a real server.
        let line = format!("{{\"type\":\"{what}\",\"object\":{object}}}\n");
        let log = self.log.entry(resource.to_owned()).or_default();
        log.push((self.version, line.clone()));
        if notify {
            self.send(resource, &line);
        }
    }

    fn send(&mut self, resource: &str, bytes: &str) {
        for (of, watch) in &self.watches {
            if of == resource {
                let _ = watch.send(Piece::Bytes(bytes.to_owned()));
            }
        }
    }

    fn fault(&mut self, asked: &Asked, token: Option<&str>) -> Option<Fault> {
        if self.token.is_some() && self.token.as_deref() != token {
            return Some(Fault {
                code: 401,
                message: "Unauthorized",
                retry_after: None,
            });
        }
        if let Some(fault) = self.always.get(&asked.resource) {
            return Some(fault.clone());
        }
        let faults = self.faults.get_mut(&(asked.resource.clone(), asked.watch));
        faults.and_then(VecDeque::pop_front)
    }

    fn list(&self, asked: &Asked) -> Value {
        let (api, kind) = kind_of(&asked.resource);
        let number = |key: &str| asked.query.get(key).and_then(|text| text.parse().ok());
        let start: usize = number("continue").unwrap_or(0);
        let limit: usize = number("limit").unwrap_or(usize::MAX);
        let on_node = asked.query.get("fieldSelector").map(|selector| {
            let node = selector.strip_prefix("spec.nodeName=");
            node.expect("a selector of pods by node").to_owned()
        });
        let fits = |object: &&Value| {
            let node = object["spec"]["nodeName"].as_str();
            on_node.as_deref().is_none_or(|wanted| node == Some(wanted))
        };
        let (items, all): (Vec<Value>, usize) = match self.made.get(&asked.resource) {
            Some((count, make)) => {
                let end = start.saturating_add(limit).min(*count);
                ((start..end).map(make).collect(), *count)
            }
            None => {
                let objects = self.objects.get(&asked.resource);
                let objects = objects.into_iter().flat_map(BTreeMap::values).filter(fits);
                let all = objects.clone().count();
                (objects.skip(start).take(limit).cloned().collect(), all)
            }
        };
        let next = start + items.len();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if next < all {
            metadata["continue"] = next.to_string().into();
        }
        json!({"kind": format!("{kind}List"), "apiVersion": api, "metadata": metadata, "items": items})
    }

    fn watch(&mut self, asked: &Asked) -> mpsc::UnboundedReceiver<Piece> {
        let (watch, pieces) = mpsc::unbounded_channel();
        let from = &asked.query["resourceVersion"];
        let from: u64 = from.parse().unwrap();
        if from < self.compacted {
            let _ = watch.send(Piece::Bytes(GONE.to_owned()));
            return pieces;
        }
        let log = self.log.get(&asked.resource).into_iter().flatten();
        for (_, line) in log.filter(|(version, _)| *version > from) {
            let _ = watch.send(Piece::Bytes(line.clone()));
        }
        self.watches.push((asked.resource.clone(), watch));
        pieces
    }
}

/// The error for a watch whose version is too old.
pub const GONE: &str = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
    \"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n";

fn kind_of(resource: &str) -> (&'static str, &'static str) {
    let mut all = RESOURCES.iter();
    let (_, api, kind, _) = all.find(|(name, ..)| *name == resource).unwrap();
    (api, kind)
}

fn name_of(object: &Value) -> String {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap();
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

fn failure(fault: &Fault) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": fault.message, "code": fault.code});
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(fault.code).unwrap();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
    if let Some(seconds) = fault.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Records an Event that a client creates or changes.
async fn keep_event(store: &Mutex<Store>, request: Request) -> Response {
    let created = request.method() == Method::POST;
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let event: Value = serde_json::from_slice(&body).unwrap();
    store.lock().unwrap().events.push(event.clone());
    let kept = match created {
        true => event,
        false => json!({"metadata": {"name": "kept", "namespace": "kept"}}),
    };
    let mut response = Response::new(Body::from(kept.to_string()));
    if created {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> Response {
    let uri = request.uri();
    if uri.path().starts_with("/apis/events.k8s.io/v1/") {
        return keep_event(&store, request).await;
    }
    let resource = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let query = uri.query().unwrap_or_default().split('&');
    let query: HashMap<String, String> = query
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect();
    let asked = Asked {
        method: request.method().to_string(),
        watch: query.get("watch").is_some_and(|watch| watch == "true"),
        resource,
        query,
        at: Instant::now(),
    };
    let token = request.headers().get(AUTHORIZATION);
    let token = token.and_then(|token| token.to_str().ok()?.strip_prefix("Bearer "));
    let held = {
        let mut store = store.lock().unwrap();
        store.asked.push(asked.clone());
        if let Some(fault) = store.fault(&asked, token) {
            return failure(&fault);
        }
        if !RESOURCES.iter().any(|(name, ..)| *name == asked.resource) {
            panic!("asked for {asked:?}");
        }
        store
            .held
            .get(&asked.resource)
            .map(watch::Sender::subscribe)
    };
    if asked.watch {
        let pieces = store.lock().unwrap().watch(&asked);
        let body = UnboundedReceiverStream::new(pieces).map(|piece| match piece {
            Piece::Bytes(bytes) => Ok(bytes),
            Piece::Cut => Err(std::io::Error::other("cut")),
        });
        return Response::new(Body::from_stream(body));
    }
    if let Some(mut held) = held {
        let _ = held.wait_for(|held| !held).await;
    }
    let list = store.lock().unwrap().list(&asked);
    Response::new(Body::from(list.to_string()))
}
