//! [`Capture`], the handle of a running capture: starts and ends its threads, reads the probes' counters.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use super::CaptureMessage;
use super::attach::SharedInterfaces;
use super::attach_thread::AttachThread;
use super::clock::Clock;
use super::counters::{KernelStats, StatsMap, read_stats, totals};
use super::error::CaptureError;
use super::lock::InstanceLock;
use super::losses::LossReader;
use super::missed_runs::MissedRuns;
use super::only_processes::{self, OnlyProcesses};
use super::probes::{self, Probes};
use super::ring::{self, RingState, Sources};
use super::sweeper::{Expiry, Sweeper};
use super::tables::{Counters, thinning};
use super::traced::{InterfaceStatus, SharedTraced};
use crate::capture::Options;
use tracer_core::model::flow::{FlowSnapshot, Ifindex};

/// Messages between the capture and its owner. With full batches this is some tens of thousands of records,
/// about what a ring buffer of the default size holds.
const QUEUE: usize = 128;

/// A running capture.
///
/// The owner receives until the channel closes. To end a capture, call [`Capture::shutdown`], receive the
/// remaining messages, then call [`Capture::stop`]. Dropping a capture also detaches the probes, but loses
/// what is in the ring.
pub struct Capture {
    sweeper: Sweeper,
    stats: Arc<StatsMap>,
    interfaces: SharedInterfaces,
    traced: SharedTraced,
    clock: Arc<Clock>,
    ring_state: Arc<RingState>,
    node_addresses: watch::Sender<Vec<IpAddr>>,
    waiting: Vec<String>,
    missed_drops: Option<MissedRuns>,
    drops_unseen: Option<String>,
    missed_retransmits: Option<MissedRuns>,
    retransmits_uncounted: Option<String>,
    processes_unnamed: Option<String>,
    datagrams_unnamed: Option<String>,
    only_processes: OnlyProcesses,
    stop: Option<oneshot::Sender<()>>,
    attach_thread: Option<JoinHandle<()>>,
    ring_thread: Option<JoinHandle<()>>,
    _lock: InstanceLock,
}

impl Capture {
    /// Loads the probes and attaches them to every pod interface of this network namespace, and to every new
    /// one from then on. Blocks for some hundreds of milliseconds, in the verifier and for the first interfaces;
    /// see [`Capture::waiting`] for the others.
    pub fn start(
        mut options: Options,
    ) -> Result<(Capture, mpsc::Receiver<CaptureMessage>), CaptureError> {
        let lock = InstanceLock::take(&options.instance)?;
        let Probes {
            programs,
            records,
            waits,
            flows,
            interfaces,
            stats,
            node,
            drops,
            retransmits,
            senders,
            processes_unnamed,
            datagrams_unnamed,
            log,
        } = probes::load(&options)?;
        options.node = node.is_some();
        let interfaces: SharedInterfaces = Arc::new(Mutex::new(interfaces));
        let stats = Arc::new(stats);
        let traced = SharedTraced::default();
        let ring_state = RingState::new().map_err(|source| CaptureError::System {
            operation: "make an eventfd",
            source,
        })?;
        let ring_state = Arc::new(ring_state);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let (node_addresses, known) = watch::channel(options.node_addresses.clone());

        let (reader, missed_drops, drops_unseen) = match drops {
            Ok((reader, missed)) => (Some(reader), Some(missed), None),
            Err(reason) => (None, None, Some(reason)),
        };
        let (missed_retransmits, retransmits_uncounted) = match retransmits {
            Ok(missed) => (missed, None),
            Err(reason) => (None, Some(reason)),
        };
        let counts_retransmits = retransmits_uncounted.is_none();
        let only_processes = senders.only.as_ref().map(only_processes::Names::found);
        let ring_thread = spawn("tracer-ring", {
            let sender = sender.clone();
            let state = Arc::clone(&ring_state);
            let losses = LossReader::new(Arc::clone(&stats), Arc::clone(&interfaces));
            let sources = Sources {
                drops: reader,
                counts_retransmits,
            };
            move || ring::run(records, waits, sources, senders, losses, &sender, &state)
        })?;
        let expiry = Expiry {
            idle: options.flow_idle,
            linger: options.flow_linger,
            dns_ports: options.dns_ports.clone(),
            capacity: options.flow_entries as usize,
        };
        let sweeper = Sweeper::new(
            flows,
            node,
            Arc::clone(&interfaces),
            expiry,
            counts_retransmits,
        );
        let mut capture = Capture {
            sweeper,
            stats,
            interfaces: Arc::clone(&interfaces),
            traced: Arc::clone(&traced),
            clock: Arc::new(Clock::new()),
            ring_state: Arc::clone(&ring_state),
            node_addresses,
            waiting: Vec::new(),
            missed_drops,
            drops_unseen,
            missed_retransmits,
            retransmits_uncounted,
            processes_unnamed,
            datagrams_unnamed,
            only_processes: only_processes.unwrap_or_default(),
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
        // If the thread ends early, its end of the channel closes: this never waits forever.
        match started.recv() {
            Ok(Ok(waiting)) => {
                capture.waiting = waiting;
                Ok((capture, receiver))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(CaptureError::Ended {
                thread: "tracer-attach",
            }),
        }
    }

    /// Returns the flows that had packets since the last sweep, with their counters, and removes the entries
    /// that are over. A flow that resumes after its removal starts at zero again.
    pub fn sweep(&mut self) -> Result<Vec<FlowSnapshot>, CaptureError> {
        let now = self.clock.now();
        self.sweeper.sweep(now).map_err(|source| CaptureError::Map {
            map: "FLOWS",
            source,
        })
    }

    /// The probes' statistics since they were loaded.
    pub fn stats(&self) -> Result<KernelStats, CaptureError> {
        let sums = read_stats(&self.stats).map_err(|source| CaptureError::Map {
            map: "STATS",
            source,
        })?;
        let seen = self.interfaces.lock().packets_seen();
        let seen = seen.map_err(|source| CaptureError::Map {
            map: "TRAFFIC",
            source,
        })?;
        let missed = [&self.missed_drops, &self.missed_retransmits]
            .map(|missed| missed.as_ref().map_or(0, MissedRuns::count));
        Ok(KernelStats {
            undecodable: self.ring_state.undecodable.load(Ordering::Relaxed),
            unnamed: self.ring_state.unnamed.load(Ordering::Relaxed),
            ..KernelStats::new(&sums, seen, missed)
        })
    }

    /// The traced interfaces with their totals.
    pub fn interfaces(&self) -> Vec<InterfaceStatus> {
        let now = self.clock.now();
        let traced = self.traced.lock().clone();
        let counters = self.interfaces.lock().all_counters();
        let mut counters = counters.unwrap_or_else(|error| {
            warn!(%error, "cannot read the interfaces' counters");
            HashMap::new()
        });
        traced
            .into_values()
            .filter_map(|traced| {
                // An interface that was detached between the two reads is no longer traced.
                let Counters { traffic, state } = counters.remove(&traced.link.ifindex)?;
                Some(InterfaceStatus {
                    link: traced.link,
                    hook: traced.hook,
                    totals: totals(&traffic.totals),
                    outside: totals(&traffic.outside),
                    lost: state.lost,
                    suppressed: state.suppressed,
                    thinning: thinning(&state, now),
                })
            })
            .collect()
    }

    /// The names of the interfaces that were not yet attached when [`Capture::start`] returned.
    pub fn waiting(&self) -> &[String] {
        &self.waiting
    }

    /// Why packets that the kernel drops are not seen; `None` if they are.
    pub fn drops_unseen(&self) -> Option<&str> {
        self.drops_unseen.as_deref()
    }

    /// Why the segments that sockets of pods send again are not counted; `None` if they are.
    pub fn retransmits_uncounted(&self) -> Option<&str> {
        self.retransmits_uncounted.as_deref()
    }

    /// Why sockets do not show their processes; `None` if they do.
    pub fn processes_unnamed(&self) -> Option<&str> {
        self.processes_unnamed.as_deref()
    }

    /// Why UDP and ICMP sockets do not, where others do; `None` if they do.
    pub fn datagrams_unnamed(&self) -> Option<&str> {
        self.datagrams_unnamed.as_deref()
    }

    /// Takes the only processes of containers, which records name if no socket shows the process.
    pub fn only_processes(&self) -> OnlyProcesses {
        self.only_processes.clone()
    }

    /// Switches the records of a traced interface off or on; the probes stay attached and keep counting.
    /// Needs [`Emission::by_interface`](tracer_core::model::emission::Emission::by_interface). An interface
    /// starts unmuted.
    pub fn mute(&self, ifindex: Ifindex, mute: bool) -> Result<(), CaptureError> {
        self.interfaces
            .lock()
            .mute(ifindex, mute)
            .map_err(|source| CaptureError::Map {
                map: "CONTROL",
                source,
            })
    }

    /// Replaces the node's own addresses. An interface that holds one of them is not a pod's and is detached.
    pub fn set_node_addresses(&self, addresses: Vec<IpAddr>) {
        self.node_addresses.send_if_modified(|known| {
            let differ = *known != addresses;
            *known = addresses;
            differ
        });
    }

    /// Whether a client waits for [`CaptureMessage::ReadUntil`] while no record comes. Otherwise it comes once a second
    /// then.
    pub fn set_watched(&self, watched: bool) {
        self.ring_state.watched.store(watched, Ordering::Relaxed);
    }

    /// The probes' clock and its mapping to wall time.
    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Starts to end: the probes see nothing more, what is left in the ring is sent, and the channel closes. Returns at
    /// once.
    pub fn shutdown(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only if the thread has already ended.
            let _ = stop.send(());
        }
    }

    /// Waits for the end and returns the final statistics. The owner must have emptied or dropped the
    /// receiver: the rest of the ring is sent to it.
    pub fn stop(mut self) -> Result<KernelStats, CaptureError> {
        self.shutdown();
        join(self.attach_thread.take(), "tracer-attach")?;
        join(self.ring_thread.take(), "tracer-ring")?;
        self.stats()
    }

    /// Like [`Capture::stop`], for a process that ends next: does not wait until the probes, which see nothing any
    /// more, are detached. The kernel detaches what is left at the end of the process; with hundreds of pods that
    /// takes seconds.
    pub fn stop_before_exit(mut self) -> Result<KernelStats, CaptureError> {
        self.shutdown();
        join(self.ring_thread.take(), "tracer-ring")?;
        drop(self.attach_thread.take());
        self.stats()
    }
}

fn join(thread: Option<JoinHandle<()>>, name: &'static str) -> Result<(), CaptureError> {
    match thread.map(JoinHandle::join) {
        Some(Err(_)) => Err(CaptureError::Ended { thread: name }),
        _ => Ok(()),
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
        if let Some(thread) = self.attach_thread.take() {
            let _ = thread.join();
        }
        // Not joined: the ring's thread may be waiting for a receiver that is never emptied.
        self.ring_state.finish();
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
