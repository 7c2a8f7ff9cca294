//! Edge: load the probes, attach them to pod interfaces, read their ring buffer, map the kernel's clock to wall time.
//!
//! [`Capture`] is the whole interface. It runs two threads: one follows the kernel's link messages and attaches
//! ([`manager`]), one reads the ring buffer ([`ring`]). Both work in the network namespace of the thread that called
//! [`Capture::start`]. It interprets no packet; that is `decode`'s part.

mod attach;
mod clock;
mod counters;
mod error;
mod flow_table;
mod globals;
mod interfaces;
mod listing;
mod lock;
mod manager;
mod probes;
mod ring;
mod tables;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::debug;

pub use attach::Hook;
pub use clock::Clock;
pub use counters::KernelStats;
pub use error::{AttachError, CaptureError};
pub use interfaces::PodLink;
pub use listing::pod_interfaces;
pub use manager::InterfaceEvent;
pub use probes::TOOLCHAIN;

use crate::capture::Options;
use attach::{Attacher, SharedInterfaces};
use counters::{Expiry, StatsMap, Sweeper, read_stats, totals};
use interfaces::Table;
use lock::InstanceLock;
use manager::{Manager, SharedTraced};
use probes::Probes;
use ring::RingState;
use tracer_core::model::flow::{FlowSnapshot, FlowTotals, Ifindex};
use tracer_core::model::record::Record;
use tracer_core::model::time::Timestamp;

/// Messages between the capture and its owner: with full batches some tens of thousands of records, which is what a
/// ring buffer of the default size holds, too.
const QUEUE: usize = 128;

/// What a capture sends.
#[derive(Debug)]
pub enum CaptureMessage {
    /// Records in the order in which the ring holds them. Records of an interface can come before its `Attached`.
    Records(Vec<Record>),
    /// Every record from before this moment has been sent.
    ReadUntil(Timestamp),
    /// Something happened to an interface.
    Interface(InterfaceEvent),
}

/// A traced interface and what was counted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceStatus {
    /// Which.
    pub link: PodLink,
    /// How it is hooked.
    pub hook: Hook,
    /// All its packets, exact: those of its flows and `outside`.
    pub totals: FlowTotals,
    /// The packets that no flow counts: other than IP, malformed, or without room in the flow table.
    pub outside: FlowTotals,
    /// Records that its token bucket held back.
    pub suppressed: u64,
}

/// A running capture.
///
/// Its owner receives until the channel ends. To end it: [`Capture::shutdown`], receive until there is nothing more, then
/// [`Capture::stop`]. A capture that is dropped instead detaches, too, and loses what is in the ring.
pub struct Capture {
    sweeper: Sweeper,
    stats: StatsMap,
    interfaces: SharedInterfaces,
    traced: SharedTraced,
    clock: Arc<Clock>,
    ring_state: Arc<RingState>,
    node_addresses: watch::Sender<Vec<IpAddr>>,
    stop: Option<oneshot::Sender<()>>,
    attach_thread: Option<JoinHandle<()>>,
    ring_thread: Option<JoinHandle<()>>,
    _lock: InstanceLock,
}

impl Capture {
    /// Loads the probes and attaches them to every pod interface of this network namespace; from then on also to every
    /// new one. Blocks for some tens of milliseconds, mostly in the verifier.
    pub fn start(
        options: Options,
    ) -> Result<(Capture, mpsc::Receiver<CaptureMessage>), CaptureError> {
        let lock = InstanceLock::take(&options.instance)?;
        let Probes {
            programs,
            records,
            flows,
            interfaces,
            stats,
            log,
        } = probes::load(&options)?;
        let interfaces: SharedInterfaces = Arc::new(Mutex::new(interfaces));
        let traced = SharedTraced::default();
        let ring_state = Arc::new(RingState::default());
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let (node_addresses, known) = watch::channel(options.node_addresses.clone());

        let ring_thread = spawn("tracer-ring", {
            let sender = sender.clone();
            let state = Arc::clone(&ring_state);
            move || ring::run(records, &sender, &state)
        })?;
        let expiry = Expiry {
            idle: options.flow_idle,
            linger: options.flow_linger,
            dns_ports: options.dns_ports.clone(),
            capacity: options.flow_entries as usize,
        };
        let mut capture = Capture {
            sweeper: Sweeper::new(flows, expiry),
            stats,
            interfaces: Arc::clone(&interfaces),
            traced: Arc::clone(&traced),
            clock: Arc::new(Clock::new()),
            ring_state: Arc::clone(&ring_state),
            node_addresses,
            stop: Some(stop),
            attach_thread: None,
            ring_thread: Some(ring_thread),
            _lock: lock,
        };

        let (ready, started) = std::sync::mpsc::channel();
        let attach_thread = AttachThread {
            programs,
            interfaces,
            traced,
            ring_state,
            options,
            log,
            sender,
            node_addresses: known,
            stopped,
        };
        capture.attach_thread = Some(spawn("tracer-attach", move || attach_thread.run(&ready))?);
        match started.recv() {
            Ok(Ok(())) => Ok((capture, receiver)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(CaptureError::Ended {
                thread: "tracer-attach",
            }),
        }
    }

    /// The flows that had packets since the last sweep, with their counters. Removes entries that are over: a flow that
    /// comes back later starts at zero again.
    pub fn sweep(&mut self) -> Result<Vec<FlowSnapshot>, CaptureError> {
        let now = self.clock.now();
        self.sweeper.sweep(now).map_err(|source| CaptureError::Map {
            map: "FLOWS",
            source,
        })
    }

    /// What the probes counted so far.
    pub fn stats(&self) -> Result<KernelStats, CaptureError> {
        let sums = read_stats(&self.stats).map_err(|source| CaptureError::Map {
            map: "STATS",
            source,
        })?;
        Ok(KernelStats::new(
            &sums,
            self.ring_state.undecodable.load(Ordering::Relaxed),
        ))
    }

    /// The traced interfaces with their totals.
    pub fn interfaces(&self) -> Vec<InterfaceStatus> {
        let traced = self
            .traced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let table = self
            .interfaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        traced
            .into_values()
            .filter_map(|traced| {
                // Gone between the two looks: not traced any more.
                let state = table.state(traced.link.ifindex)?;
                Some(InterfaceStatus {
                    link: traced.link,
                    hook: traced.hook,
                    totals: totals(&state.totals),
                    outside: totals(&state.outside),
                    suppressed: state.suppressed,
                })
            })
            .collect()
    }

    /// Switches the records of a traced interface off or on; it stays attached and counted. Needs
    /// [`Emission::by_interface`](tracer_core::model::emission::Emission::by_interface). An interface begins unmuted.
    pub fn mute(&self, ifindex: Ifindex, mute: bool) -> Result<(), CaptureError> {
        self.interfaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .mute(ifindex, mute)
            .map_err(|source| CaptureError::Map {
                map: "MUTED",
                source,
            })
    }

    /// The node's own addresses are these from now on: an interface that holds one is no pod's, and is let go.
    pub fn set_node_addresses(&self, addresses: Vec<IpAddr>) {
        self.node_addresses.send_if_modified(|known| {
            let other = *known != addresses;
            *known = addresses;
            other
        });
    }

    /// The probes' clock, and what it is as wall time.
    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Begins to end: detaches from every interface, then sends what is still in the ring and closes the channel. Returns
    /// at once.
    pub fn shutdown(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread can have ended before: then there is nothing to stop.
            let _ = stop.send(());
        }
    }

    /// Waits for the end and tells the final statistics. Where the receiver still exists, it must have been emptied: the
    /// ring's rest is sent to it.
    pub fn stop(mut self) -> Result<KernelStats, CaptureError> {
        self.shutdown();
        for (thread, name) in [
            (self.attach_thread.take(), "tracer-attach"),
            (self.ring_thread.take(), "tracer-ring"),
        ] {
            if thread.is_some_and(|thread| thread.join().is_err()) {
                return Err(CaptureError::Ended { thread: name });
            }
        }
        self.stats()
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Capture")
            .field("traced", &self.traced)
            .finish_non_exhaustive()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shutdown();
        // The ring's thread is only told: it may wait for a receiver that nobody empties.
        if let Some(thread) = self.attach_thread.take() {
            let _ = thread.join();
        }
        self.ring_state.finish.store(true, Ordering::Release);
    }
}

/// What the attaching thread takes with it.
struct AttachThread {
    programs: aya::Ebpf,
    interfaces: SharedInterfaces,
    traced: SharedTraced,
    ring_state: Arc<RingState>,
    options: Options,
    log: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    sender: mpsc::Sender<CaptureMessage>,
    node_addresses: watch::Receiver<Vec<IpAddr>>,
    stopped: oneshot::Receiver<()>,
}

impl AttachThread {
    fn run(self, ready: &std::sync::mpsc::Sender<Result<(), CaptureError>>) {
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
        // Whoever waits for `ready` is answered in any case, if only by its end.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(async {
                let (events, told) = mpsc::unbounded_channel();
                let forwarder = tokio::spawn(forward(told, sender));
                let logger = log.map(|log| tokio::spawn(follow_log(log)));
                let started = start_manager(
                    programs,
                    interfaces,
                    traced,
                    &options,
                    events,
                    node_addresses,
                );
                match started.await {
                    Ok(manager) => {
                        if ready.send(Ok(())).is_ok() {
                            manager.run(stopped).await;
                        }
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
                // Nothing is attached any more: what is in the ring now is all there is.
                ring_state.finish.store(true, Ordering::Release);
                if let Some(logger) = logger {
                    logger.abort();
                }
                // Ends when the receiver has taken all, or is gone.
                let _ = forwarder.await;
            }),
            Err(source) => {
                ring_state.finish.store(true, Ordering::Release);
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
    traced: SharedTraced,
    options: &Options,
    events: mpsc::UnboundedSender<InterfaceEvent>,
    node_addresses: watch::Receiver<Vec<IpAddr>>,
) -> Result<Manager, CaptureError> {
    let (netlink, messages) = manager::connect()?;
    let attacher = Attacher::new(
        programs,
        interfaces,
        netlink.clone(),
        &options.instance,
        options.hook,
    )?;
    let table = Table::new(options.interfaces.clone(), &options.node_addresses);
    let mut manager = Manager::new(
        attacher,
        (netlink, messages),
        table,
        traced,
        events,
        options.look_again,
        node_addresses,
    );
    manager.start().await?;
    Ok(manager)
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
    // SAFETY: the logger owns its ring buffer's file descriptor and keeps it until it is dropped, with this.
    let registered = unsafe { AsyncFd::register_with_interest(log, Interest::READABLE) };
    let Ok(mut log) = registered else {
        debug!("the probes' log cannot be followed");
        return;
    };
    while let Ok(mut readable) = log.readable_mut().await {
        readable.get_inner_mut().flush();
        readable.clear_ready();
    }
}

fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, CaptureError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|source| CaptureError::System {
            operation: "start a thread",
            source,
        })
}
