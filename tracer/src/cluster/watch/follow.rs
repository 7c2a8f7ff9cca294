//! The loop of the watches: turns the events of all kinds' streams into changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::ready;
use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::connect::Connection;

use super::sync::ClusterSync;
use super::trouble::Trouble;
use super::{RemoteIdentity, WatchConfig};
use crate::cluster::slim::{Slim, Watched};
use crate::heap;
use tracer_core::files::objects::Trimmer;
use tracer_core::model::cluster::{ClusterChange, Kind, Listed, Object, ObjectKey};

/// Objects per page of a list. A page is in memory as a whole and decoded in one go.
const PAGE_SIZE: u32 = 100;
/// A watch is renewed after this many seconds. A connection that died silently is noticed a little later.
const WATCH_SECONDS: u32 = 120;
/// Longest wait between two attempts with rejected credentials.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(30);

/// An object from the API server, or the reason why it cannot be read.
struct Received {
    key: ObjectKey,
    object: Result<Object, String>,
}

type Feed = BoxStream<'static, (Kind, Result<Event<Received>, Trouble>)>;

/// Why the streams ended.
enum End {
    /// The receiver of the changes is gone.
    Closed,
    /// The server rejects the credentials.
    Unauthorized,
}

/// Watches until the receiver of the changes is gone.
pub(super) async fn watch(
    config: &WatchConfig,
    mut connection: Connection,
    sync: &ClusterSync,
    changes: &mpsc::Sender<ClusterChange>,
) {
    let kinds = config.remote.kinds();
    let pods = config.remote.pods();
    if changes
        .send(ClusterChange::Asked { kinds, pods })
        .await
        .is_err()
    {
        return;
    }
    let mut waits = DefaultBackoff::default();
    loop {
        sync.set_server(&connection.server);
        match follow(config, &connection.client, sync, changes).await {
            End::Closed => return,
            End::Unauthorized => {}
        }
        tokio::time::sleep(waits.next().unwrap_or(MAX_RETRY_WAIT)).await;
        // The file may contain a renewed token or another user's by now.
        match config.source.connect(sync).await {
            Ok(renewed) => connection = renewed,
            Err(error) => sync.without_credentials(&error.to_string()),
        }
    }
}

async fn follow(
    config: &WatchConfig,
    client: &Client,
    sync: &ClusterSync,
    changes: &mpsc::Sender<ClusterChange>,
) -> End {
    let mut feeds = feeds(config, client);
    // Incomplete lists, by kind. The index keeps its contents until a list is complete.
    let mut lists: HashMap<Kind, Listed> = HashMap::new();
    while let Some((kind, event)) = feeds.next().await {
        let change = match event {
            Ok(Event::Init) => {
                lists.insert(kind, Listed::empty(kind));
                continue;
            }
            Ok(Event::InitApply(received)) => {
                if let (Some(list), Some(object)) = (lists.get_mut(&kind), read(received, sync)) {
                    list.push(object);
                }
                continue;
            }
            Ok(Event::InitDone) => {
                let listed = lists.remove(&kind).unwrap_or(Listed::empty(kind));
                tracing::info!(objects = listed.len(), "listed {}", kind.resource());
                if changes.send(ClusterChange::List(listed)).await.is_err() {
                    return End::Closed;
                }
                sync.listed(kind);
                heap::trim();
                continue;
            }
            Ok(Event::Apply(received)) => match read(received, sync) {
                Some(object) => ClusterChange::Put(Box::new(object)),
                None => continue,
            },
            Ok(Event::Delete(received)) => ClusterChange::Delete(received.key),
            Err(trouble) => {
                tracing::debug!(?trouble, "watch of {}", kind.resource());
                sync.failed(kind, &trouble);
                match trouble {
                    Trouble::Unauthorized(_) => {
                        // All kinds use the same credentials.
                        for kind in config.remote.kinds() {
                            sync.failed(kind, &trouble);
                        }
                        return End::Unauthorized;
                    }
                    Trouble::Forbidden { .. } | Trouble::Absent => ClusterChange::Refused(kind),
                    Trouble::Expired | Trouble::Unreachable(_) | Trouble::Failed(_) => continue,
                }
            }
        };
        if changes.send(change).await.is_err() {
            return End::Closed;
        }
    }
    End::Closed
}

fn read(received: Received, sync: &ClusterSync) -> Option<Object> {
    let Received { key, object } = received;
    object
        .map_err(|why| {
            let name = match &*key.namespace {
                "" => key.name.to_string(),
                namespace => format!("{namespace}/{}", key.name),
            };
            sync.malformed(key.kind, &name, &why);
        })
        .ok()
}

/// The streams of all kinds. They share one store of repeated strings.
fn feeds(config: &WatchConfig, client: &Client) -> SelectAll<Feed> {
    let trimmer = Arc::new(Mutex::new(Trimmer::new()));
    let mut feeds = SelectAll::new();
    for kind in config.remote.kinds() {
        let (client, trimmer) = (client.clone(), Arc::clone(&trimmer));
        feeds.push(match kind {
            Kind::Pod => {
                let node = (config.remote != RemoteIdentity::Cluster).then_some(&*config.node);
                feed::<core::Pod>(client, trimmer, node)
            }
            Kind::Service => feed::<core::Service>(client, trimmer, None),
            Kind::EndpointSlice => feed::<discovery::EndpointSlice>(client, trimmer, None),
            Kind::Node => feed::<core::Node>(client, trimmer, None),
            Kind::Namespace => feed::<core::Namespace>(client, trimmer, None),
            Kind::NetworkPolicy => feed::<networking::NetworkPolicy>(client, trimmer, None),
            Kind::ServiceCidr => feed::<networking::ServiceCIDR>(client, trimmer, None),
        });
    }
    feeds
}

/// The stream of one kind; only of the objects on `node` if that is given. It ends if the API has no such
/// kind.
fn feed<K>(client: Client, trimmer: Arc<Mutex<Trimmer>>, node: Option<&str>) -> Feed
where
    K: Watched + Clone + std::fmt::Debug + Send + 'static,
{
    let mut config = watcher::Config::default()
        .page_size(PAGE_SIZE)
        .timeout(WATCH_SECONDS);
    if let Some(node) = node {
        config = config.fields(&format!("spec.nodeName={node}"));
    }
    let received = move |slim: Slim<K>| Received {
        key: slim.key(),
        object: slim.object.and_then(|object| {
            let mut trimmer = trimmer.lock();
            object.trim(&mut trimmer).map_err(|error| error.to_string())
        }),
    };
    watcher(Api::<Slim<K>>::all(client), config)
        .default_backoff()
        .map_err(|error| Trouble::from_error(&error))
        .map_ok(move |event| match event {
            Event::Init => Event::Init,
            Event::InitApply(slim) => Event::InitApply(received(slim)),
            Event::InitDone => Event::InitDone,
            Event::Apply(slim) => Event::Apply(received(slim)),
            Event::Delete(slim) => Event::Delete(received(slim)),
        })
        .scan(false, |absent, event| {
            let over = std::mem::replace(absent, matches!(event, Err(Trouble::Absent)));
            ready((!over).then_some((K::KIND, event)))
        })
        .boxed()
}
