//! The watches of a cluster: lists and then follows each kind of object, and tells of it as changes of the index.
//!
//! Owns when a list or a change is told, and that one kind's trouble is no other's. A list is told as one change, so what
//! vanished while a watch was broken is gone at the time of the new list, and nobody ever sees half of one. Where the API
//! cannot be had nothing is told: the index stays as it is, and [`ClusterSync`] says since when. Watching itself (bookmarks,
//! resuming, 410 Gone, backing off with jitter) is kube's; what an object means is the index's.

mod connect;
mod follow;
mod observed;
mod slim;
mod sync;
mod trouble;

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use tracer_core::model::cluster::Change;

pub use self::connect::ConnectError;
pub use self::sync::{ClusterSync, KindReport, News, SyncReport};
pub use super::source::{ClusterSource, RemoteIdentity};

/// What to watch, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// The cluster.
    pub source: ClusterSource,
    /// How much of it.
    pub remote: RemoteIdentity,
    /// The name of this node.
    pub node: Arc<str>,
}

/// Watches that run on a thread of their own: a page of a large list takes long enough to decode to hold others up. They
/// end with this, or with the channel that they tell changes to.
#[derive(Debug)]
pub struct Watches {
    sync: ClusterSync,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watches {
    /// Reads the credentials and starts to watch. Where `changes` is full the watches wait. An API server that cannot be
    /// had is no error: names come when it can.
    pub fn spawn(
        config: WatchConfig,
        changes: mpsc::Sender<Change>,
    ) -> Result<Watches, ConnectError> {
        let sync = ClusterSync::new(&config.remote.kinds());
        let (stop, stopped) = oneshot::channel();
        let (ready, outcome) = std::sync::mpsc::channel();
        let watched = sync.clone();
        // The client is made on the thread: it belongs to the runtime there.
        let thread = std::thread::Builder::new()
            .name("watches".to_owned())
            .spawn(move || {
                let started = start(&config, &watched);
                let (runtime, connection) = match started {
                    Ok(started) => started,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        () = follow::watch(&config, connection, &watched, &changes) => {}
                    }
                });
            })
            .map_err(ConnectError::Start)?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Watches {
                sync,
                stop: Some(stop),
                thread: Some(thread),
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ConnectError::Start(std::io::Error::other(
                "its thread ended at once",
            ))),
        }
    }

    /// How the watches do.
    pub fn sync(&self) -> &ClusterSync {
        &self.sync
    }
}

fn start(
    config: &WatchConfig,
    sync: &ClusterSync,
) -> Result<(Runtime, connect::Connection), ConnectError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ConnectError::Start)?;
    let connection = runtime.block_on(config.source.connect(sync))?;
    Ok((runtime, connection))
}

impl Drop for Watches {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
