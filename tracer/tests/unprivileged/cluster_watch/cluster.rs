//! An API server, the watches of it, and an index that they feed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tracer::cluster::watch::{ClusterSource, KindReport, RemoteIdentity, WatchConfig, Watches};
use tracer_core::identity::{Index, IndexSettings};
use tracer_core::model::cluster::{ClusterChange, Kind};
use tracer_core::model::flow::{Flow, Ifindex, Protocol, Role};
use tracer_core::model::time::Timestamp;

use testbed::api::Api;

/// Time limit for anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Cluster {
    pub api: Api,
    pub index: Index,
    pub watches: Watches,
    /// All changes so far, by what they are: `list pods`, `put`, `delete`.
    pub reported: Vec<String>,
    /// All news so far.
    pub news: Vec<String>,
    changes: mpsc::Receiver<ClusterChange>,
    directory: tempfile::TempDir,
    /// Virtual: a second for every change.
    now: u64,
}

impl Cluster {
    /// Watches this server.
    pub fn watch(api: Api) -> Cluster {
        Cluster::watch_with(api, RemoteIdentity::Cluster)
    }

    pub fn watch_with(api: Api, remote: RemoteIdentity) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kubeconfig");
        std::fs::write(&file, api.kubeconfig("first")).unwrap();
        Cluster::watch_by(api, directory, remote)
    }

    /// Watches the server of the kubeconfig in this directory.
    pub fn watch_by(api: Api, directory: tempfile::TempDir, remote: RemoteIdentity) -> Cluster {
        // A short queue, so that the watches wait for the index as in a busy run.
        let (sender, changes) = mpsc::channel(2);
        let config = WatchConfig {
            source: ClusterSource::Kubeconfig {
                file: Some(directory.path().join("kubeconfig")),
                context: None,
            },
            remote,
            node: "here".into(),
        };
        let watches = Watches::spawn(config, sender).unwrap();
        Cluster {
            api,
            index: Index::new(IndexSettings::default()),
            watches,
            reported: Vec::new(),
            news: Vec::new(),
            changes,
            directory,
            now: 100,
        }
    }

    /// Watches, and waits until all has been listed and is watched.
    pub fn synced(api: Api) -> Cluster {
        let mut cluster = Cluster::watch(api);
        cluster.until("all kinds are synced", |cluster| cluster.is_synced());
        let watched = |api: &Api| Kind::ALL.iter().all(|kind| api.is_watched(kind.resource()));
        cluster.until("all kinds are watched", |cluster| watched(&cluster.api));
        cluster
    }

    pub fn is_synced(&self) -> bool {
        self.watches.sync().report().is_synced()
    }

    /// Replaces the credentials that the watches read.
    pub fn renew(&self, token: &str) {
        let file = self.directory.path().join("kubeconfig");
        std::fs::write(file, self.api.kubeconfig(token)).unwrap();
    }

    /// Applies changes until the condition holds.
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&Cluster) -> bool) {
        let begun = Instant::now();
        loop {
            let change = self.changes.try_recv();
            if let Ok(change) = change {
                self.take(change);
            } else {
                assert_ne!(change, Err(TryRecvError::Disconnected), "the watches ended");
                self.news.extend(
                    self.watches
                        .sync()
                        .notices()
                        .into_iter()
                        .map(|news| news.to_string()),
                );
                if so(self) {
                    return;
                }
                assert!(
                    begun.elapsed() < PATIENCE,
                    "not within {PATIENCE:?}: {what}; {:?}; {:?}",
                    self.reported,
                    self.watches.sync().report()
                );
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn take(&mut self, change: ClusterChange) {
        self.now += 1;
        self.reported.push(match &change {
            ClusterChange::Asked { .. } => "asked".to_owned(),
            ClusterChange::List(listed) => format!("list {}", listed.kind().resource()),
            ClusterChange::Put(object) => format!("put {}", object.kind().resource()),
            ClusterChange::Delete(key) => format!("delete {}", key.kind.resource()),
            ClusterChange::Refused(kind) => format!("refused {}", kind.resource()),
            other => panic!("not of a cluster: {other:?}"),
        });
        self.index
            .apply(Timestamp(self.now * 1_000_000_000), change);
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now * 1_000_000_000)
    }

    /// The identity of this address.
    pub fn who(&self, ip: &str) -> Option<String> {
        self.who_at(ip, self.now())
    }

    pub fn who_at(&self, ip: &str, at: Timestamp) -> Option<String> {
        let ip: IpAddr = ip.parse().unwrap();
        let flow = Flow {
            ifindex: Ifindex(7),
            protocol: Protocol::Tcp,
            pod: "10.9.9.9:1000".parse().unwrap(),
            peer: (ip, 80).into(),
        };
        let peer = self.index.ends(at, &flow, Role::Client).peer;
        let pod = peer
            .pod
            .map(|pod| format!("{}/{}", pod.namespace, pod.name));
        let service = peer
            .service
            .map(|service| format!("service {}", service.name));
        pod.or(service)
            .or(peer.node.map(|node| format!("node {node}")))
    }

    pub fn report(&self, kind: Kind) -> KindReport {
        let report = self.watches.sync().report();
        let mut kinds = report.kinds.into_iter();
        kinds.find(|report| report.kind == kind).unwrap()
    }

    /// How often something was reported.
    pub fn count(&self, reported: &str) -> usize {
        self.reported.iter().filter(|one| *one == reported).count()
    }
}

pub fn pod(name: &str, ip: &str, node: &str) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}")},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "i"}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    })
}

pub fn service(name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]},
    })
}

pub fn slice(service: &str, pod: &str, ip: &str) -> Value {
    json!({
        "metadata": {
            "namespace": "default", "name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"port": 80, "protocol": "TCP"}],
        "endpoints": [{
            "addresses": [ip], "nodeName": "there",
            "targetRef": {"kind": "Pod", "namespace": "default", "name": pod, "uid": format!("uid-{pod}")},
        }],
    })
}

/// A server with some objects of every kind.
pub fn api() -> Api {
    let api = Api::start();
    fill(&api);
    api
}

pub fn fill(api: &Api) {
    api.put("pods", pod("a", "10.1.0.1", "here"));
    api.put("pods", pod("b", "10.1.0.2", "there"));
    api.put("services", service("web", "10.152.0.1"));
    api.put("endpointslices", slice("web", "b", "10.1.0.2"));
    api.put("namespaces", json!({"metadata": {"name": "default"}}));
    api.put(
        "nodes",
        json!({"metadata": {"name": "here"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.168.1.1"}]}}),
    );
}
