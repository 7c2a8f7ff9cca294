//! The attaching thread: a tokio runtime of its own for the [`Manager`], its netlink connections and the
//! probes' log.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::debug;

use super::CaptureMessage;
use super::attach::{Attacher, SharedInterfaces};
use super::error::CaptureError;
use super::interfaces::LinkTable;
use super::manager::Manager;
use super::netlink;
use super::ring::RingState;
use super::traced::{InterfaceEvent, SharedTraced, TracedInterfaces};
use crate::capture::Options;

/// Everything that the thread owns.
pub(super) struct AttachThread {
    pub programs: aya::Ebpf,
    pub interfaces: SharedInterfaces,
    pub traced: SharedTraced,
    pub ring_state: Arc<RingState>,
    pub options: Options,
    pub log: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    pub sender: mpsc::Sender<CaptureMessage>,
    pub node_addresses: watch::Receiver<Vec<IpAddr>>,
    pub stopped: oneshot::Receiver<()>,
}

impl AttachThread {
    /// Attaches, sends the outcome to `ready` with the names of the interfaces that wait for their turn, and
    /// follows the kernel's messages until `stopped`.
    pub fn run(self, ready: &std::sync::mpsc::Sender<Result<Vec<String>, CaptureError>>) {
        let AttachThread {
            programs,
            interfaces,
            traced,
            ring_state,
            options,
            log,
            sender,
            node_addresses,
            stopped,
        } = self;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(async {
                let (events, received) = mpsc::unbounded_channel();
                let forwarder = tokio::spawn(forward(received, sender));
                let logger = log.map(|log| tokio::spawn(follow_log(log)));
                let started = start_manager(
                    programs,
                    interfaces,
                    TracedInterfaces::new(traced, events),
                    &options,
                    node_addresses,
                );
                let mut links = Vec::new();
                match started.await {
                    Ok((manager, waiting)) => {
                        if ready.send(Ok(waiting)).is_ok() {
                            links = manager.run(stopped).await;
                        }
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
                // No probe sees packets any more, so the ring receives nothing more.
                ring_state.finish();
                if let Some(logger) = logger {
                    logger.abort();
                }
                // Ends when the receiver has taken every event, or has gone.
                let _ = forwarder.await;
                drop(links);
            }),
            Err(source) => {
                ring_state.finish();
                let _ = ready.send(Err(CaptureError::System {
                    operation: "start a runtime",
                    source,
                }));
            }
        }
    }
}

async fn start_manager(
    programs: aya::Ebpf,
    interfaces: SharedInterfaces,
    traced: TracedInterfaces,
    options: &Options,
    node_addresses: watch::Receiver<Vec<IpAddr>>,
) -> Result<(Manager, Vec<String>), CaptureError> {
    let (netlink, messages) = netlink::connect()?;
    let attacher = Attacher::new(
        programs,
        interfaces,
        netlink.clone(),
        &options.instance,
        options.hook,
    )?;
    let links = LinkTable::new(
        options.interfaces.clone(),
        options.node,
        &options.node_addresses,
    );
    let mut manager = Manager::new(
        attacher,
        (netlink, messages),
        links,
        traced,
        options.relist_every,
        node_addresses,
    );
    let waiting = manager.start().await?;
    Ok((manager, waiting))
}

async fn forward(
    mut events: mpsc::UnboundedReceiver<InterfaceEvent>,
    sender: mpsc::Sender<CaptureMessage>,
) {
    while let Some(event) = events.recv().await {
        if sender.send(CaptureMessage::Interface(event)).await.is_err() {
            return;
        }
    }
}

async fn follow_log(log: aya_log::EbpfLogger<&'static dyn log::Log>) {
    // SAFETY: the logger owns its ring buffer's file descriptor, and `AsyncFd` owns the logger.
    let registered = unsafe { AsyncFd::register_with_interest(log, Interest::READABLE) };
    let Ok(mut log) = registered else {
        debug!("cannot follow the probes' log");
        return;
    };
    while let Ok(mut readable) = log.readable_mut().await {
        readable.get_inner_mut().flush();
        readable.clear_ready();
    }
}
