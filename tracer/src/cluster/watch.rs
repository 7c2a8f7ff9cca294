//! Watches the cluster's API: lists each kind of object, follows it, and sends changes of the index.
//!
//! Decides when to send a list or a change, and isolates the kinds from each other: a failure of one does not
//! affect the rest. A list is one change, so the index drops objects that vanished while a watch was broken
//! at the time of the new list, and never contains part of one. While the API server does not answer nothing
//! is sent: the index keeps its contents and [`ClusterSync`] reports since when. The kube crate implements
//! watching (bookmarks, resuming, 410 Gone, backoff with jitter); the index interprets the objects.

mod connect;
mod follow;
mod observed;
mod sync;
mod trouble;

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use tracer_core::model::cluster::ClusterChange;

pub use self::connect::ConnectError;
pub use self::sync::{ClusterSync, KindReport, Notice, SyncReport};
pub use super::source::{ClusterSource, RemoteIdentity};

/// The watches' configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// The cluster to watch.
    pub source: ClusterSource,
    /// How much of it to watch.
    pub remote: RemoteIdentity,
    /// This node's name.
    pub node: Arc<str>,
}

/// Running watches. They have a thread of their own: decoding a page of a large list takes long enough to
/// delay other tasks. They end when this is dropped or the receiver of the changes is gone.
#[derive(Debug)]
pub struct Watches {
    sync: ClusterSync,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watches {
    /// Reads the credentials and starts to watch. The watches wait while `changes` is full. An unreachable
    /// API server is not an error: names arrive once it answers.
    pub fn spawn(
        config: WatchConfig,
        changes: mpsc::Sender<ClusterChange>,
    ) -> Result<Watches, ConnectError> {
        let sync = ClusterSync::new(&config.remote.kinds());
        let (stop, stopped) = oneshot::channel();
        let (ready, outcome) = std::sync::mpsc::channel();
        let watched = sync.clone();
        // The thread creates the client, which belongs to the runtime there.
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
                "the thread ended at once",
            ))),
        }
    }

    /// The watches' state.
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
