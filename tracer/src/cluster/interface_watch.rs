//! Searches for the pod behind each interface until it is found: interface notices in, identity changes out.
//!
//! Owns the schedule. The CNI plugin creates the interface before the pod's first process runs, so the first
//! search is often too early. It is repeated at growing intervals, and given up until the next notice about
//! the interface. [`super::pod_interfaces`] does the search; the capture sends the notices.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::netns_id::NetnsId;
use super::pod_interfaces::InterfaceResolver;
use tracer_core::model::cluster::ClusterChange;
use tracer_core::model::flow::Ifindex;

/// Waits between searches. The short ones are for a pod that is starting: its sandbox process follows within
/// tens of milliseconds if the runtime has one. The long ones are for runtimes without (CRI-O), where the
/// first process is the application's and starts when its image has been pulled.
const RETRY_AFTER: [Duration; 9] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// A search may come early by one part in this many of its wait: it serves every interface, and those of hundreds
/// of pods are not all due at one instant.
const EARLY: u32 = 4;
/// A search reads all of /proc. The thread rests for this many times as long as the last one took.
const REST_SHARE: u32 = 4;
/// Interfaces to search for at a time. One more is searched for after its next notice, if there is room then.
const MAX_INTERFACES: usize = 4_096;

/// A notice from the capture about an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceNotice {
    /// The interface is traced, or has changed. Contains the namespace id of its peer if known; the first
    /// event of an interface can lack it.
    Seen(Ifindex, Option<NetnsId>),
    /// The interface has gone, or is no longer traced.
    Gone(Ifindex),
}

/// The interfaces and when to search for the pod of each. Pure: time is an argument.
#[derive(Debug, Default)]
struct Search {
    interfaces: HashMap<Ifindex, SearchState>,
}

#[derive(Debug)]
struct SearchState {
    netns: Option<NetnsId>,
    /// When to search next; `None` once the pod is found or the search is given up.
    next: Option<Instant>,
    searches: usize,
    found: bool,
}

impl Search {
    /// Processes a notice and returns the change that follows from it at once.
    fn notice(&mut self, now: Instant, notice: InterfaceNotice) -> Option<ClusterChange> {
        match notice {
            InterfaceNotice::Gone(ifindex) => self
                .interfaces
                .remove(&ifindex)
                .map(|_| ClusterChange::InterfaceGone(ifindex)),
            InterfaceNotice::Seen(ifindex, netns) => {
                if !self.interfaces.contains_key(&ifindex)
                    && self.interfaces.len() >= MAX_INTERFACES
                {
                    tracing::warn!(
                        ifindex = ifindex.0,
                        "too many interfaces: cannot search for the pod of this one; it is identified by its address"
                    );
                    return None;
                }
                let first = !self.interfaces.contains_key(&ifindex);
                let known = self.interfaces.entry(ifindex).or_insert(SearchState {
                    netns: None,
                    next: None,
                    searches: 0,
                    found: false,
                });
                // A notice without an id does not clear the known one.
                let netns = netns.or(known.netns);
                let lost = known.found && netns != known.netns;
                if !known.found || lost {
                    *known = SearchState {
                        netns,
                        next: netns.map(|_| now),
                        searches: 0,
                        found: false,
                    };
                }
                (first || lost).then_some(ClusterChange::Interface { ifindex, uid: None })
            }
        }
    }

    /// When the next search is due.
    fn next(&self) -> Option<Instant> {
        self.interfaces
            .values()
            .filter_map(|interface| interface.next)
            .min()
    }

    /// The interfaces to search for now.
    fn due(&self, now: Instant) -> Vec<(Ifindex, NetnsId)> {
        if self.next().is_none_or(|next| next > now) {
            return Vec::new();
        }
        // One search serves all interfaces that are waiting, due or not.
        let waiting = self
            .interfaces
            .iter()
            .filter(|(_, interface)| interface.next.is_some());
        waiting
            .filter_map(|(ifindex, interface)| Some((*ifindex, interface.netns?)))
            .collect()
    }

    /// Records the result of a search.
    fn searched(&mut self, now: Instant, ifindex: Ifindex, found: bool) {
        let Some(interface) = self.interfaces.get_mut(&ifindex) else {
            return;
        };
        interface.found = found;
        let waited = interface.searches.checked_sub(1);
        let early = waited.and_then(|index| RETRY_AFTER.get(index)).copied();
        let soon = now + early.unwrap_or_default() / EARLY;
        if found {
            interface.next = None;
        } else if interface.next.is_some_and(|next| next <= soon) {
            interface.next = RETRY_AFTER.get(interface.searches).map(|wait| now + *wait);
            interface.searches += 1;
        }
    }
}

/// Starts a thread that passes every change to `emit`, until `emit` breaks or the sender of the notices is
/// gone. The thread runs in the network namespace of its parent, where the resolver must have been created as
/// well.
pub fn spawn(
    mut resolver: InterfaceResolver,
    notices: Receiver<InterfaceNotice>,
    mut emit: impl FnMut(ClusterChange) -> ControlFlow<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("interfaces".to_owned())
        .spawn(move || {
            let _ = watch(&mut resolver, &notices, &mut emit);
        })
}

fn watch(
    resolver: &mut InterfaceResolver,
    notices: &Receiver<InterfaceNotice>,
    emit: &mut impl FnMut(ClusterChange) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut search = Search::default();
    let mut rested = Instant::now();
    loop {
        let first = match search.next() {
            None => notices.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(next) => {
                let next = next.max(rested);
                notices.recv_timeout(next.saturating_duration_since(Instant::now()))
            }
        };
        match first {
            Ok(first) => {
                // Takes all waiting notices, so that a burst of new pods costs one search.
                for notice in std::iter::once(first).chain(notices.try_iter()) {
                    if let Some(change) = search.notice(Instant::now(), notice) {
                        emit(change)?;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
        }
        let now = Instant::now();
        if now < rested {
            continue;
        }
        let due = search.due(now);
        if due.is_empty() {
            continue;
        }
        let found = resolver.resolve(&due).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the pods' processes");
            due.iter().map(|(ifindex, _)| (*ifindex, None)).collect()
        });
        for (ifindex, uid) in found {
            search.searched(now, ifindex, uid.is_some());
            if uid.is_some() {
                emit(ClusterChange::Interface { ifindex, uid })?;
            }
        }
        let ended = Instant::now();
        rested = ended + (ended - now) * REST_SHARE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ifindex = Ifindex(7);
    const B: Ifindex = Ifindex(8);
    const ONE: Option<NetnsId> = Some(NetnsId(1));

    fn unknown(ifindex: Ifindex) -> Option<ClusterChange> {
        Some(ClusterChange::Interface { ifindex, uid: None })
    }

    #[test]
    fn a_search_is_repeated_at_growing_intervals_and_then_given_up() {
        let start = Instant::now();
        let mut search = Search::default();
        assert_eq!(
            search.notice(start, InterfaceNotice::Seen(A, ONE)),
            unknown(A)
        );
        let mut searches = Vec::new();
        while let Some(next) = search.next() {
            assert_eq!(search.due(next), [(A, NetnsId(1))]);
            searches.push((next - start).as_millis());
            search.searched(next, A, false);
        }
        assert_eq!(
            searches,
            [0, 20, 70, 170, 420, 920, 1_920, 6_920, 16_920, 46_920]
        );
        let later = start + Duration::from_secs(60);
        assert_eq!(
            search.notice(later, InterfaceNotice::Seen(A, ONE)),
            None,
            "emitted before"
        );
        assert_eq!(
            search.next(),
            Some(later),
            "a notice starts the search again"
        );
    }

    #[test]
    fn a_found_pod_ends_the_search() {
        let start = Instant::now();
        let mut search = Search::default();
        search.notice(start, InterfaceNotice::Seen(A, ONE));
        search.searched(start, A, true);
        assert_eq!(search.notice(start, InterfaceNotice::Seen(A, ONE)), None);
        assert_eq!(search.notice(start, InterfaceNotice::Seen(A, None)), None);
        assert_eq!(search.next(), None);
    }

    #[test]
    fn a_moved_peer_starts_the_search_again() {
        let start = Instant::now();
        let mut search = Search::default();
        search.notice(start, InterfaceNotice::Seen(A, ONE));
        search.searched(start, A, true);
        assert_eq!(
            search.notice(start, InterfaceNotice::Seen(A, Some(NetnsId(2)))),
            unknown(A)
        );
        assert_eq!(search.due(start), [(A, NetnsId(2))]);
    }

    #[test]
    fn an_interface_without_a_namespace_id_waits_for_it() {
        let start = Instant::now();
        let mut search = Search::default();
        assert_eq!(
            search.notice(start, InterfaceNotice::Seen(A, None)),
            unknown(A)
        );
        assert_eq!(search.next(), None);
        assert_eq!(search.notice(start, InterfaceNotice::Seen(A, ONE)), None);
        assert_eq!(search.due(start), [(A, NetnsId(1))]);
    }

    #[test]
    fn one_search_serves_all_waiting_interfaces() {
        let start = Instant::now();
        let mut search = Search::default();
        search.notice(start, InterfaceNotice::Seen(A, ONE));
        search.searched(start, A, false);
        let later = start + Duration::from_millis(5);
        search.notice(later, InterfaceNotice::Seen(B, Some(NetnsId(2))));
        let mut due = search.due(later);
        due.sort();
        assert_eq!(due, [(A, NetnsId(1)), (B, NetnsId(2))]);
        search.searched(later, A, false);
        search.searched(later, B, false);
        assert_eq!(
            search.next(),
            Some(start + Duration::from_millis(20)),
            "the first one was not due yet"
        );
    }

    #[test]
    fn interfaces_that_came_one_after_the_other_share_their_later_searches() {
        let start = Instant::now();
        let mut search = Search::default();
        // 250 pods' interfaces are attached within three seconds.
        for index in 0..250 {
            let at = start + Duration::from_millis(12) * index;
            search.notice(at, InterfaceNotice::Seen(Ifindex(index), ONE));
            for (ifindex, _) in search.due(at) {
                search.searched(at, ifindex, false);
            }
        }
        let mut searches = 0;
        while let Some(next) = search.next() {
            for (ifindex, _) in search.due(next) {
                search.searched(next, ifindex, false);
            }
            searches += 1;
        }
        assert!(searches < 25, "{searches}");
    }

    #[test]
    fn an_interface_that_has_gone_is_forgotten() {
        let start = Instant::now();
        let mut search = Search::default();
        search.notice(start, InterfaceNotice::Seen(A, ONE));
        assert_eq!(
            search.notice(start, InterfaceNotice::Gone(A)),
            Some(ClusterChange::InterfaceGone(A))
        );
        assert_eq!(search.notice(start, InterfaceNotice::Gone(A)), None);
        assert_eq!(search.next(), None);
    }
}
