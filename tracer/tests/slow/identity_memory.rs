//! The memory that a large cluster needs: 10,000 pods, 5,000 Services and their EndpointSlices, through the
//! watches into the index, as in an agent.
//!
//! `cargo test -p tracer --features privileged-tests --test slow identity_memory -- --nocapture` prints the
//! figures in docs/operations.md. Bytes per object are what stays allocated, counted by the allocator. The
//! growth of the process is the kernel's figure; it includes buffers for lists and memory that the allocator
//! keeps. The measurement runs in its own process, so other tests do not count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::turn;
use tokio::sync::mpsc;
use tracer::cluster::watch::{ClusterSource, RemoteIdentity, WatchConfig, Watches};
use tracer_core::files::objects::Trimmer;
use tracer_core::identity::{Index, IndexSettings};
use tracer_core::model::cluster::{ClusterChange, Kind, Listed, Object};
use tracer_core::model::time::Timestamp;

use testbed::api::Api;

const PODS: usize = 10_000;
const SERVICES: usize = 5_000;
const PODS_OF_A_SERVICE: usize = 2;
const GOAL: usize = 40 << 20;
/// Time limit for anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(300);

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work, and counting does not affect it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Resident memory, by /proc/self/status.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

fn uid(number: usize) -> String {
    format!("{number:08x}-97d3-489b-951d-1f66d36173ae")
}

fn pod_name(number: usize) -> String {
    let app = number / 20;
    format!("app-{app}-{:09x}-{:05x}", app * 7919, number)
}

fn pod_ip(number: usize) -> String {
    format!(
        "10.{}.{}.{}",
        64 + (number >> 16),
        (number >> 8) & 255,
        number & 255
    )
}

/// A pod with all fields of a real one: the index needs half of what the API sends.
fn pod(number: usize) -> Value {
    let app = number / 20;
    let hash = format!("{:09x}", app * 7919);
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:pod-template-hash": {}}}, "f:spec": {
        "f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:env": {}, "f:image": {}, "f:ports": {}, "f:resources": {}}}}});
    let env: Vec<Value> = (0..12)
        .map(
            |n| json!({"name": format!("SETTING_{n}"), "value": format!("value {n} of app {app}")}),
        )
        .collect();
    json!({
        "metadata": {
            "namespace": format!("team-{}", app % 50), "name": pod_name(number), "uid": uid(number),
            "resourceVersion": "7", "creationTimestamp": "2026-01-01T12:00:00Z",
            "labels": {
                "app.kubernetes.io/name": format!("app-{app}"), "app.kubernetes.io/part-of": format!("team-{}", app % 50),
                "pod-template-hash": hash, "tier": "backend",
            },
            "annotations": {"checksum/config": format!("{:064x}", app * 31)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                "name": format!("app-{app}-{hash}"), "uid": uid(app)}],
            "managedFields": [
                {"manager": "kube-controller-manager", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields},
                {"manager": "kubelet", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields},
            ],
        },
        "spec": {
            "nodeName": format!("node-{}", number % 200), "dnsPolicy": "ClusterFirst", "serviceAccountName": "default",
            "containers": [{"name": "main", "image": format!("registry.example/app-{app}:1"), "env": env,
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}],
            "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
        },
        "status": {
            "phase": "Running", "podIP": pod_ip(number), "podIPs": [{"ip": pod_ip(number)}], "hostIP": "192.168.0.1",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}],
            "containerStatuses": [{"name": "main", "image": "i", "imageID": "sha256:1", "ready": true, "restartCount": 0}],
        },
    })
}

fn service(number: usize) -> Value {
    let ip = format!(
        "172.{}.{}.{}",
        16 + (number >> 16),
        (number >> 8) & 255,
        number & 255
    );
    json!({
        "metadata": {"namespace": format!("team-{}", number % 50), "name": format!("service-{number}"), "uid": uid(number),
            "resourceVersion": "7", "labels": {"app.kubernetes.io/name": format!("service-{number}")}},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip],
            "selector": {"app.kubernetes.io/name": format!("app-{}", number / 10)},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
                {"name": "metrics", "port": 9090, "targetPort": 9090, "protocol": "TCP"}]},
    })
}

fn slice(number: usize) -> Value {
    let endpoints: Vec<Value> = (0..PODS_OF_A_SERVICE)
        .map(|n| number * PODS_OF_A_SERVICE + n)
        .map(|pod| {
            json!({"addresses": [pod_ip(pod)], "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": format!("node-{}", pod % 200),
                "targetRef": {"kind": "Pod", "namespace": format!("team-{}", number % 50), "name": pod_name(pod), "uid": uid(pod)}})
        })
        .collect();
    json!({
        "metadata": {"namespace": format!("team-{}", number % 50), "name": format!("service-{number}-x7k2p"),
            "resourceVersion": "7", "labels": {"kubernetes.io/service-name": format!("service-{number}")}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "metrics", "port": 9090, "protocol": "TCP"}],
    })
}

/// A process of this program that runs one of its ignored tests.
fn process(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("identity_memory::{test}");
    command.args(["--ignored", "--exact", "--nocapture", &name]);
    command
}

/// The API server, in a separate process so that its memory does not count. It ends on drop.
struct Server {
    child: Child,
    /// Keeps the pipe open for the test harness's last lines.
    _output: ChildStdout,
    kubeconfig: String,
}

impl Server {
    fn start() -> Server {
        let mut child = process("server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        // The test harness prints lines before.
        let mut lines = output.by_ref().lines().map(Result::unwrap);
        let kubeconfig = lines.find(|line| line.starts_with('{')).unwrap();
        Server {
            child,
            _output: output.into_inner(),
            kubeconfig,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What stays allocated for these objects, trimmed and in the index, per object.
fn bytes_each<K: DeserializeOwned>(
    index: &mut Index,
    count: usize,
    make: impl Fn(usize) -> Value,
    trim: impl Fn(K) -> Object,
    kind: Kind,
) -> usize {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut listed = Listed::empty(kind);
    for number in 0..count {
        listed.push(trim(serde_json::from_value(make(number)).unwrap()));
    }
    index.apply(Timestamp(1), ClusterChange::List(listed));
    (ALLOCATED.load(Ordering::Relaxed) - before) / count
}

#[test]
fn ten_thousand_pods_and_five_thousand_services_fit_into_forty_mebibytes() {
    let _turn = turn::alone();
    let status = process("growth").status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "the process that `Server` starts"]
fn server() {
    let api = Api::start();
    api.make("pods", PODS, Box::new(pod));
    api.make("services", SERVICES, Box::new(service));
    api.make("endpointslices", SERVICES, Box::new(slice));
    println!("\n{}", api.kubeconfig("t"));
    // Until the parent closes standard input.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
#[ignore = "alone in a process that another test starts: the allocator counts for the whole process"]
fn growth() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    std::fs::write(&file, &server.kubeconfig).unwrap();
    let (sender, mut changes) = mpsc::channel(16);
    let mut index = Index::new(IndexSettings::default());
    let before = resident();
    let config = WatchConfig {
        source: ClusterSource::Kubeconfig {
            file: Some(file),
            context: None,
        },
        remote: RemoteIdentity::Cluster,
        node: "node-1".into(),
    };
    let watches = Watches::spawn(config, sender).unwrap();
    let begun = Instant::now();
    let mut peak = 0;
    while !watches.sync().report().is_synced() || !changes.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        peak = peak.max(resident());
        match changes.try_recv() {
            Ok(change) => index.apply(Timestamp(1), change),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    let grown = resident() - before;
    let peak = peak.max(resident()) - before;
    assert_eq!(index.pods().count(), PODS);
    assert_eq!(index.services().count(), SERVICES);
    let endpoints = index.endpoints("team-7", "service-4957");
    assert_eq!(endpoints.len(), PODS_OF_A_SERVICE);
    drop((watches, changes, index, server));

    let trimmer = RefCell::new(Trimmer::new());
    let mut index = Index::new(IndexSettings::default());
    let pods = |pod| Object::Pod(trimmer.borrow_mut().pod(pod).unwrap());
    let pods = bytes_each(&mut index, PODS, pod, pods, Kind::Pod);
    let services = |service| Object::Service(trimmer.borrow_mut().service(service).unwrap());
    let services = bytes_each(&mut index, SERVICES, service, services, Kind::Service);
    let slices = |slice| Object::Slice(trimmer.borrow_mut().slice(slice).unwrap());
    let slices = bytes_each(&mut index, SERVICES, slice, slices, Kind::EndpointSlice);

    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("bytes a pod                              {pods}");
    println!("bytes a Service                          {services}");
    println!("bytes an EndpointSlice of {PODS_OF_A_SERVICE} pods         {slices}");
    let kept = pods * PODS + (services + slices) * SERVICES;
    println!(
        "kept of {PODS} pods, {SERVICES} Services     {:.1} MiB",
        mebibytes(kept)
    );
    println!(
        "growth of the process                    {:.1} MiB",
        mebibytes(grown)
    );
    println!(
        "most while it listed                     {:.1} MiB",
        mebibytes(peak)
    );
    assert!(grown < GOAL, "{grown} bytes");
}
