//! Attaches to every pod interface there is and to every one that comes, on a thread of its own with its own runtime:
//! a pod's first query follows its interface within milliseconds, and nothing else may come in between.
//!
//! Attaching by TCX waits for two RCU grace periods under the kernel's one lock for links, some tens of milliseconds that
//! no second thread could share. So when pods come in a burst, messages are read between two attachments: what is gone
//! by its turn costs nothing, and the others keep their order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedReceiver;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use rtnetlink::sys::{AsyncSocket as _, SocketAddr};
use tokio::sync::{mpsc, oneshot, watch};
use tracer_common::InterfaceState;
use tracing::{debug, warn};

use super::attach::{Attached, Attacher, Hook};
use super::clock;
use super::counters::totals;
use super::error::{AttachError, CaptureError};
use super::interfaces::{Changed, PodLink, Table};
use super::listing;
use tracer_core::model::flow::{FlowTotals, Ifindex};
use tracer_core::model::time::Timestamp;

/// What happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceEvent {
    /// It is traced from now on; or it was already, and its name or its namespace's number changed.
    Attached {
        /// Which, as it is now.
        link: PodLink,
        /// Both directions are seen from here on, by the probes' clock.
        since: Timestamp,
    },
    /// It is gone, or is no pod's any more.
    Gone {
        /// Which.
        ifindex: Ifindex,
        /// The name that it had.
        name: String,
        /// All that was counted of it.
        totals: FlowTotals,
    },
    /// It cannot be traced.
    Failed {
        /// Which.
        link: PodLink,
        /// Why, for people.
        why: String,
    },
}

/// A traced interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Traced {
    pub link: PodLink,
    pub hook: Hook,
    /// Both probes are in place from here on.
    pub since: Timestamp,
}

/// What is attached now, for whoever asks.
pub(super) type SharedTraced = Arc<Mutex<BTreeMap<Ifindex, Traced>>>;

/// Events are rare and small, and must not wait: the queue has no bound but the number of interfaces.
type Events = mpsc::UnboundedSender<InterfaceEvent>;
type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// Pods come in bursts, each with a dozen messages.
const RECEIVE_BUFFER_BYTES: u32 = 4 << 20;

/// Follows the kernel's messages and attaches.
pub(super) struct Manager {
    attacher: Attacher,
    netlink: rtnetlink::Handle,
    messages: Messages,
    table: Table,
    attached: HashMap<Ifindex, Attached>,
    /// Interfaces to attach to, the longest waiting first.
    waiting: VecDeque<Ifindex>,
    /// Why an interface could not be attached, so that it is told once.
    failed: HashMap<Ifindex, String>,
    traced: SharedTraced,
    events: Events,
    look_again: Duration,
    /// The node's own addresses, as they become known.
    node_addresses: watch::Receiver<Vec<IpAddr>>,
}

/// The two netlink connections: one that listens, one that asks. A burst of messages then never costs an answer.
pub(super) fn connect() -> Result<(rtnetlink::Handle, Messages), CaptureError> {
    let failed = |source| CaptureError::System {
        operation: "open a netlink socket",
        source,
    };
    let (mut listening, _, messages) = rtnetlink::new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ])
    .map_err(failed)?;
    if let Err(error) = listening
        .socket_mut()
        .socket_mut()
        .set_rx_buf_sz(RECEIVE_BUFFER_BYTES)
    {
        debug!(%error, "the netlink socket keeps its small buffer");
    }
    let (asking, handle, _) = rtnetlink::new_connection().map_err(failed)?;
    tokio::spawn(listening);
    tokio::spawn(asking);
    Ok((handle, messages))
}

impl Manager {
    pub fn new(
        attacher: Attacher,
        (netlink, messages): (rtnetlink::Handle, Messages),
        table: Table,
        traced: SharedTraced,
        events: Events,
        look_again: Duration,
        node_addresses: watch::Receiver<Vec<IpAddr>>,
    ) -> Manager {
        Manager {
            attacher,
            netlink,
            messages,
            table,
            attached: HashMap::new(),
            waiting: VecDeque::new(),
            failed: HashMap::new(),
            traced,
            events,
            look_again,
            node_addresses,
        }
    }

    /// Attaches to every pod interface that there is.
    pub async fn start(&mut self) -> Result<(), CaptureError> {
        self.list().await?;
        while let Some(ifindex) = self.waiting.pop_front() {
            self.attach_waiting(ifindex);
        }
        Ok(())
    }

    /// Follows the kernel's messages until told to stop, then detaches everything.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut look_again = tokio::time::interval_at(
            tokio::time::Instant::now() + self.look_again,
            self.look_again,
        );
        look_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // A dropped sender means that the owner is gone: stop as well.
            tokio::select! {
                biased;
                _ = &mut stop => break,
                message = self.messages.next() => match message {
                    Some((message, _)) => self.message(message).await,
                    None => {
                        // The connection is broken beyond repair; what is attached stays so until the end.
                        warn!("the kernel's link messages ended: new interfaces will not be traced");
                        let _ = (&mut stop).await;
                        break;
                    }
                },
                // Its sender lives as long as the owner, who is about to say stop once it is gone.
                Ok(()) = self.node_addresses.changed() => {
                    let addresses = self.node_addresses.borrow_and_update().clone();
                    self.table.set_node_addresses(&addresses);
                    self.settle_all().await;
                }
                _ = look_again.tick() => {
                    self.list_or_warn().await;
                    self.repair().await;
                }
                () = std::future::ready(()), if !self.waiting.is_empty() => {
                    if let Some(ifindex) = self.waiting.pop_front() {
                        self.attach_waiting(ifindex);
                    }
                    // The connection's task reads what came meanwhile.
                    tokio::task::yield_now().await;
                }
            }
        }
        let attached: Vec<Ifindex> = self.attached.keys().copied().collect();
        for ifindex in attached {
            self.detach(ifindex).await;
        }
    }

    async fn message(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) {
        let changed = match message.payload {
            NetlinkPayload::InnerMessage(inner) => match inner {
                RouteNetlinkMessage::NewLink(link) => self.table.link(&link),
                RouteNetlinkMessage::DelLink(link) => self.table.link_gone(&link),
                RouteNetlinkMessage::NewAddress(address) => self.table.address(&address, false),
                RouteNetlinkMessage::DelAddress(address) => self.table.address(&address, true),
                RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                    Table::route_event(&route)
                }
                _ => Changed::Nothing,
            },
            // Messages were lost.
            NetlinkPayload::Overrun(_) => {
                debug!("the kernel had more link messages than fit: listing again");
                self.list_or_warn().await;
                return;
            }
            _ => Changed::Nothing,
        };
        match changed {
            Changed::Nothing => {}
            Changed::One(ifindex) => self.settle(ifindex).await,
            Changed::Routes => match listing::routes(&self.netlink, &mut self.table).await {
                Ok(()) => self.settle_all().await,
                Err(error) => {
                    warn!(error = %error_chain(&error), "the default routes may have changed");
                }
            },
        }
    }

    async fn list_or_warn(&mut self) {
        if let Err(error) = self.list().await {
            warn!(error = %error_chain(&error), "a change of the interfaces may have been missed");
        }
    }

    /// Attaches again where somebody took our filters away.
    async fn repair(&mut self) {
        let mut lost = Vec::new();
        for (ifindex, attached) in &self.attached {
            if !self.attacher.is_in_place(*ifindex, attached).await {
                lost.push(*ifindex);
            }
        }
        for ifindex in lost {
            let Some(attached) = self.attached.remove(&ifindex) else {
                continue;
            };
            match self.attacher.reattach(ifindex, attached).await {
                Ok(attached) => {
                    warn!(
                        ifindex = ifindex.0,
                        "somebody had removed the probes from the interface: attached again"
                    );
                    self.attached.insert(ifindex, attached);
                }
                Err(error) => {
                    debug!(ifindex = ifindex.0, error = %error_chain(&error), "the probes were removed");
                    let last = self.attacher.leave(ifindex);
                    self.tell_gone(ifindex, &last);
                    // Says why, if it is still there.
                    self.settle(ifindex).await;
                }
            }
        }
    }

    async fn list(&mut self) -> Result<(), CaptureError> {
        listing::all(&self.netlink, &mut self.table).await?;
        self.settle_all().await;
        Ok(())
    }

    /// Brings every interface to what the table says.
    async fn settle_all(&mut self) {
        let gone: Vec<Ifindex> = self
            .attached
            .keys()
            .copied()
            .filter(|ifindex| self.table.pod_link(*ifindex).is_none())
            .collect();
        for ifindex in gone {
            self.settle(ifindex).await;
        }
        for link in self.table.pod_links() {
            self.settle(link.ifindex).await;
        }
    }

    /// Brings one interface to what the table says; a new one when its turn comes.
    async fn settle(&mut self, ifindex: Ifindex) {
        match (
            self.table.pod_link(ifindex),
            self.attached.contains_key(&ifindex),
        ) {
            (Some(_), false) => {
                if !self.waiting.contains(&ifindex) {
                    self.waiting.push_back(ifindex);
                }
            }
            (Some(link), true) => self.rename(link),
            (None, true) => {
                if let Some(last) = self.detach(ifindex).await {
                    self.tell_gone(ifindex, &last);
                }
            }
            (None, false) => {
                self.failed.remove(&ifindex);
            }
        }
    }

    /// Attaches, if it is still there and still a pod's.
    fn attach_waiting(&mut self, ifindex: Ifindex) {
        match self.table.pod_link(ifindex) {
            Some(link) if !self.attached.contains_key(&ifindex) => self.attach(link),
            _ => {}
        }
    }

    fn attach(&mut self, link: PodLink) {
        let ifindex = link.ifindex;
        match self.attacher.attach(ifindex) {
            Ok(attached) => {
                let hook = attached.hook;
                let since = clock::now();
                debug!(
                    interface = link.name,
                    ifindex = ifindex.0,
                    hook = hook.as_str(),
                    "attached"
                );
                self.failed.remove(&ifindex);
                self.attached.insert(ifindex, attached);
                self.traced().insert(
                    ifindex,
                    Traced {
                        link: link.clone(),
                        hook,
                        since,
                    },
                );
                self.tell(InterfaceEvent::Attached { link, since });
            }
            // A message that says so follows.
            Err(AttachError::Vanished) => {}
            Err(error) => {
                let why = error_chain(&error);
                if self.failed.insert(ifindex, why.clone()).as_ref() != Some(&why) {
                    self.tell(InterfaceEvent::Failed { link, why });
                }
            }
        }
    }

    fn rename(&mut self, link: PodLink) {
        let changed = match self.traced().get_mut(&link.ifindex) {
            Some(traced) if traced.link != link => {
                traced.link = link.clone();
                Some(traced.since)
            }
            _ => None,
        };
        if let Some(since) = changed {
            self.tell(InterfaceEvent::Attached { link, since });
        }
    }

    /// Returns what the probes had counted last.
    async fn detach(&mut self, ifindex: Ifindex) -> Option<InterfaceState> {
        let attached = self.attached.remove(&ifindex)?;
        Some(self.attacher.detach(ifindex, attached).await)
    }

    fn tell_gone(&self, ifindex: Ifindex, last: &InterfaceState) {
        let Some(Traced { link, .. }) = self.traced().remove(&ifindex) else {
            return;
        };
        debug!(interface = link.name, ifindex = ifindex.0, "detached");
        self.tell(InterfaceEvent::Gone {
            ifindex,
            name: link.name,
            totals: totals(&last.totals),
        });
    }

    fn traced(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ifindex, Traced>> {
        self.traced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: InterfaceEvent) {
        // Nobody listens any more when the capture ends: nothing to tell then.
        let _ = self.events.send(event);
    }
}

/// An error with its causes, for one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let more = current.to_string();
        // Many errors repeat their cause in their own words.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = current.source();
    }
    text
}
