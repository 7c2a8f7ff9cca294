//! Attaches the probes to every pod interface and uplink, existing and new, and detaches them when an interface goes.
//!
//! It has a thread and a runtime of its own: a pod's first query follows its interface within milliseconds,
//! and no other work may delay the attachment.
//!
//! Attaching by TCX waits for two RCU grace periods under the kernel's only lock for links (RTNL): some tens
//! of milliseconds, which a second thread could not share. So in a burst of new pods the manager reads
//! messages between two attachments. An interface that is gone by its turn then costs nothing, and the others
//! keep their order.
//!
//! Detaching waits as long, but replacing a program does not: at the end an idle program takes the probes' place.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use aya::programs::tc::SchedClassifierLink;
use futures::StreamExt as _;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use tokio::sync::{oneshot, watch};
use tracing::{debug, warn};

use super::attach::{Attached, Attacher, Side};
use super::counters::totals;
use super::error::{AttachError, CaptureError};
use super::interfaces::{LinkChange, LinkTable, TracedLink};
use super::listing;
use super::netlink::Messages;
use super::tables::Counters;
use super::traced::TracedInterfaces;
use tracer_core::model::error_chain::error_chain;
use tracer_core::model::flow::Ifindex;

/// The capture's owner gets records only after the start. A node with hundreds of pods would take seconds to
/// attach, so a start attaches only for so long: enough for a handful.
const ATTACH_AT_START: Duration = Duration::from_millis(300);

/// Waits until every probe that has begun has ended: one grace period.
fn wait_for_probes() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;
    // SAFETY: the command reads and writes no memory of the caller.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if done != 0 {
        // Not with nohz_full, for one. A probe runs for microseconds.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Follows the kernel's messages and attaches.
pub(super) struct Manager {
    attacher: Attacher,
    netlink: rtnetlink::Handle,
    messages: Messages,
    links: LinkTable,
    attached: HashMap<Ifindex, Attached>,
    /// Interfaces to attach to, in order of arrival.
    waiting: VecDeque<Ifindex>,
    /// Why an interface could not be attached, to report each reason once.
    failed: HashMap<Ifindex, String>,
    traced: TracedInterfaces,
    relist_every: Duration,
    /// The node's own addresses, as they become known.
    node_addresses: watch::Receiver<Vec<IpAddr>>,
}

impl Manager {
    pub fn new(
        attacher: Attacher,
        (netlink, messages): (rtnetlink::Handle, Messages),
        links: LinkTable,
        traced: TracedInterfaces,
        relist_every: Duration,
        node_addresses: watch::Receiver<Vec<IpAddr>>,
    ) -> Manager {
        Manager {
            attacher,
            netlink,
            messages,
            links,
            attached: HashMap::new(),
            waiting: VecDeque::new(),
            failed: HashMap::new(),
            traced,
            relist_every,
            node_addresses,
        }
    }

    /// Lists the existing interfaces and attaches to them for a while. Returns the names of the rest, to which
    /// [`Manager::run`] attaches.
    pub async fn start(&mut self) -> Result<Vec<String>, CaptureError> {
        let begun = Instant::now();
        self.list().await?;
        while begun.elapsed() < ATTACH_AT_START
            && let Some(ifindex) = self.waiting.pop_front()
        {
            self.attach_waiting(ifindex);
        }
        let rest = self.waiting.iter();
        let links = rest.filter_map(|ifindex| self.links.traced_link(*ifindex));
        Ok(links.map(|link| link.name).collect())
    }

    /// Follows the kernel's messages until `stop`. Then the probes see nothing more, and dropping the returned links
    /// detaches them, one grace period each.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Vec<SchedClassifierLink> {
        let mut relist = tokio::time::interval_at(
            tokio::time::Instant::now() + self.relist_every,
            self.relist_every,
        );
        relist.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Also ends when the sender is dropped: the owner is gone then.
            tokio::select! {
                biased;
                _ = &mut stop => break,
                message = self.messages.next() => match message {
                    Some((message, _)) => self.message(message).await,
                    None => {
                        // The connection cannot be restored; what is attached stays attached until the end.
                        warn!("lost the netlink connection to the kernel: new interfaces will not be traced; restart tracer");
                        let _ = (&mut stop).await;
                        break;
                    }
                },
                // An error means that the owner is gone; `stop` ends the loop then.
                Ok(()) = self.node_addresses.changed() => {
                    let addresses = self.node_addresses.borrow_and_update().clone();
                    self.links.set_node_addresses(&addresses);
                    self.settle_all().await;
                }
                _ = relist.tick() => {
                    self.list_or_warn().await;
                    self.repair().await;
                }
                () = std::future::ready(()), if !self.waiting.is_empty() => {
                    if let Some(ifindex) = self.waiting.pop_front() {
                        self.attach_waiting(ifindex);
                    }
                    // Lets the connection's task read the messages that have arrived.
                    tokio::task::yield_now().await;
                }
            }
        }
        let mut links = Vec::new();
        for (ifindex, attached) in std::mem::take(&mut self.attached) {
            links.extend(
                self.attacher
                    .silence(ifindex, attached)
                    .await
                    .into_iter()
                    .flatten(),
            );
        }
        wait_for_probes();
        links
    }

    async fn message(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) {
        let changed = match message.payload {
            NetlinkPayload::InnerMessage(inner) => match inner {
                RouteNetlinkMessage::NewLink(link) => self.links.link(&link),
                RouteNetlinkMessage::DelLink(link) => self.links.link_gone(&link),
                RouteNetlinkMessage::NewAddress(address) => self.links.address(&address, false),
                RouteNetlinkMessage::DelAddress(address) => self.links.address(&address, true),
                RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                    LinkTable::route_event(&route)
                }
                _ => LinkChange::Nothing,
            },
            // The socket's buffer overflowed and messages were lost.
            NetlinkPayload::Overrun(_) => {
                debug!("link messages were lost: listing again");
                self.list_or_warn().await;
                return;
            }
            _ => LinkChange::Nothing,
        };
        match changed {
            LinkChange::Nothing => {}
            LinkChange::One(ifindex) => {
                self.settle(ifindex).await;
                if let Some(loopback) = self.links.loopback() {
                    self.settle(loopback).await;
                }
            }
            LinkChange::Routes => match listing::routes(&self.netlink, &mut self.links).await {
                Ok(()) => self.settle_all().await,
                Err(error) => {
                    warn!(error = %error_chain(&error), "cannot list the routes: a new uplink may be taken for a pod interface");
                }
            },
        }
    }

    async fn list_or_warn(&mut self) {
        if let Err(error) = self.list().await {
            warn!(error = %error_chain(&error), "cannot list the interfaces: a new pod interface may be missed");
        }
    }

    /// Attaches again where another program removed our filters.
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
                        "another program removed the probes from this interface; attached them again"
                    );
                    self.attached.insert(ifindex, attached);
                }
                Err(error) => {
                    debug!(ifindex = ifindex.0, error = %error_chain(&error), "cannot attach the removed probes again");
                    let last = self.attacher.leave(ifindex);
                    self.traced.gone(ifindex, totals(&last.traffic.totals));
                    // Attaches again, or reports why not, if the interface still exists.
                    self.settle(ifindex).await;
                }
            }
        }
    }

    async fn list(&mut self) -> Result<(), CaptureError> {
        listing::all(&self.netlink, &mut self.links).await?;
        self.settle_all().await;
        Ok(())
    }

    /// Brings every interface to the state that the link table calls for.
    async fn settle_all(&mut self) {
        let gone: Vec<Ifindex> = self
            .attached
            .keys()
            .copied()
            .filter(|ifindex| self.links.traced_link(*ifindex).is_none())
            .collect();
        for ifindex in gone {
            self.settle(ifindex).await;
        }
        for link in self.links.traced_links() {
            self.settle(link.ifindex).await;
        }
    }

    /// Brings one interface to the state that the link table calls for. A new one waits for its turn.
    async fn settle(&mut self, ifindex: Ifindex) {
        match (
            self.links.traced_link(ifindex),
            self.attached.contains_key(&ifindex),
        ) {
            (Some(_), false) => {
                if !self.waiting.contains(&ifindex) {
                    self.waiting.push_back(ifindex);
                }
            }
            (Some(link), true) if self.is_attached_for(&link) => self.traced.renamed(link),
            (wanted, true) => {
                if let Some(last) = self.detach(ifindex).await {
                    self.traced.gone(ifindex, totals(&last.traffic.totals));
                }
                // A pod's interface has become an uplink, or an uplink a pod's interface.
                if wanted.is_some() {
                    self.waiting.push_back(ifindex);
                }
            }
            (None, false) => {
                self.failed.remove(&ifindex);
            }
        }
    }

    fn is_attached_for(&self, link: &TracedLink) -> bool {
        let attached = self.attached.get(&link.ifindex);
        attached.is_some_and(|attached| attached.side == Side::of(link))
    }

    /// Attaches to an interface whose turn has come, if it is still to be traced.
    fn attach_waiting(&mut self, ifindex: Ifindex) {
        match self.links.traced_link(ifindex) {
            Some(link) if !self.attached.contains_key(&ifindex) => self.attach(link),
            _ => {}
        }
    }

    fn attach(&mut self, link: TracedLink) {
        let ifindex = link.ifindex;
        match self.attacher.attach(ifindex, Side::of(&link)) {
            Ok(attached) => {
                self.failed.remove(&ifindex);
                self.traced.attached(link, attached.hook);
                self.attached.insert(ifindex, attached);
            }
            // The kernel's message about it follows.
            Err(AttachError::Vanished) => {}
            Err(error) => {
                let why = error_chain(&error);
                if self.failed.insert(ifindex, why.clone()).as_ref() != Some(&why) {
                    self.traced.failed(link, why);
                }
            }
        }
    }

    /// Returns the interface's final counters.
    async fn detach(&mut self, ifindex: Ifindex) -> Option<Counters> {
        let attached = self.attached.remove(&ifindex)?;
        Some(self.attacher.detach(ifindex, attached).await)
    }
}
