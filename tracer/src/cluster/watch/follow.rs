//! The loop of the watches: what the streams of all kinds bring, as changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
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
use tokio::sync::mpsc;

use super::connect::Connection;
use super::slim::{Slim, Watched};
use super::sync::ClusterSync;
use super::trouble::Trouble;
use super::{RemoteIdentity, WatchConfig};
use tracer_core::files::objects::Trimmer;
use tracer_core::model::cluster::{Change, Kind, Listed, Object, ObjectKey};

/// Objects of one page of a list: in memory at once, and decoded at one go.
const PAGE: u32 = 100;
/// A watch is renewed after so many seconds. A connection that died without a word is noticed a little later.
const WATCH_SECONDS: u32 = 120;
/// Between two attempts with credentials that are refused, at most.
const MOST_PATIENCE: Duration = Duration::from_secs(30);

/// An object, or why it cannot be read.
struct Arrived {
    key: ObjectKey,
    object: Result<Object, String>,
}

type Feed = BoxStream<'static, (Kind, Result<Event<Arrived>, Trouble>)>;

/// Why the streams were left.
enum End {
    /// Nobody listens any more.
    Closed,
    /// The credentials are not accepted any more.
    Unauthorized,
}

/// Watches until nobody listens any more.
pub(super) async fn watch(
    config: &WatchConfig,
    mut connection: Connection,
    sync: &ClusterSync,
    changes: &mpsc::Sender<Change>,
) {
    let kinds = config.remote.kinds();
    let pods = config.remote.pods();
    if changes.send(Change::Asked { kinds, pods }).await.is_err() {
        return;
    }
    let mut waits = DefaultBackoff::default();
    loop {
        sync.asks(&connection.server);
        match follow(config, &connection.client, sync, changes).await {
            End::Closed => return,
            End::Unauthorized => {}
        }
        tokio::time::sleep(waits.next().unwrap_or(MOST_PATIENCE)).await;
        // A renewed token, or another user's: whatever the file says now.
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
    changes: &mpsc::Sender<Change>,
) -> End {
    let mut feeds = feeds(config, client);
    // Lists on their way, by kind. Two thirds of a list are no list: what was there before stays until it is whole.
    let mut lists: HashMap<Kind, Listed> = HashMap::new();
    while let Some((kind, event)) = feeds.next().await {
        let change = match event {
            Ok(Event::Init) => {
                lists.insert(kind, Listed::empty(kind));
                continue;
            }
            Ok(Event::InitApply(arrived)) => {
                if let (Some(list), Some(object)) = (lists.get_mut(&kind), read(arrived, sync)) {
                    list.push(object);
                }
                continue;
            }
            Ok(Event::InitDone) => {
                let listed = lists.remove(&kind).unwrap_or(Listed::empty(kind));
                tracing::info!(objects = listed.len(), "listed {}", kind.resource());
                if changes.send(Change::List(listed)).await.is_err() {
                    return End::Closed;
                }
                sync.listed(kind);
                give_back();
                continue;
            }
            Ok(Event::Apply(arrived)) => match read(arrived, sync) {
                Some(object) => Change::Put(Box::new(object)),
                None => continue,
            },
            Ok(Event::Delete(arrived)) => Change::Delete(arrived.key),
            Err(trouble) => {
                tracing::debug!(?trouble, "watch of {}", kind.resource());
                sync.failed(kind, &trouble);
                match trouble {
                    Trouble::Unauthorized(_) => {
                        // The others end with it.
                        for kind in config.remote.kinds() {
                            sync.failed(kind, &trouble);
                        }
                        return End::Unauthorized;
                    }
                    Trouble::Forbidden { .. } | Trouble::Absent => Change::Refused(kind),
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

/// The pages of a list are gone, and the allocator may keep as much as the objects themselves need.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only returns free memory to the system; malloc_trim(3) says that it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn read(arrived: Arrived, sync: &ClusterSync) -> Option<Object> {
    let Arrived { key, object } = arrived;
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

/// The streams of all kinds. Strings that repeat are shared over all of them.
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

/// The stream of one kind, of the objects on one node where that is given. It ends where the API has no such kind.
fn feed<K>(client: Client, trimmer: Arc<Mutex<Trimmer>>, node: Option<&str>) -> Feed
where
    K: Watched + Clone + std::fmt::Debug + Send + 'static,
{
    let mut config = watcher::Config::default()
        .page_size(PAGE)
        .timeout(WATCH_SECONDS);
    if let Some(node) = node {
        config = config.fields(&format!("spec.nodeName={node}"));
    }
    let arrived = move |slim: Slim<K>| Arrived {
        key: slim.key(),
        object: slim.object.and_then(|object| {
            let mut trimmer = trimmer.lock().unwrap_or_else(PoisonError::into_inner);
            object.trim(&mut trimmer).map_err(|error| error.to_string())
        }),
    };
    watcher(Api::<Slim<K>>::all(client), config)
        .default_backoff()
        .map_err(|error| Trouble::of(&error))
        .map_ok(move |event| match event {
            Event::Init => Event::Init,
            Event::InitApply(slim) => Event::InitApply(arrived(slim)),
            Event::InitDone => Event::InitDone,
            Event::Apply(slim) => Event::Apply(arrived(slim)),
            Event::Delete(slim) => Event::Delete(arrived(slim)),
        })
        .scan(false, |absent, event| {
            let over = std::mem::replace(absent, matches!(event, Err(Trouble::Absent)));
            ready((!over).then_some((K::KIND, event)))
        })
        .boxed()
}
