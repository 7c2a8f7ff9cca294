//! News of interfaces in, identity changes out: looks for the pod behind each interface until it is there.
//!
//! Owns when to look. The CNI makes the interface before the pod's first process runs, so the first look is often too
//! early: it is repeated, sooner first and then later, and given up until there is news of the interface again. How to look
//! is `pod_interfaces`; the interfaces come from the capture side.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::netns_id::NetnsId;
use super::pod_interfaces::InterfaceResolver;
use tracer_core::model::cluster::Change;
use tracer_core::model::flow::Ifindex;

/// Waits between looks. The short ones serve a pod that just starts: its sandbox process follows within tens of
/// milliseconds where the runtime has one. The long ones serve runtimes that do without (CRI-O), where the first process
/// is the application's and comes when its image is there.
const LOOK_AFTER: [Duration; 9] = [
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
/// So many interfaces are looked for at once; one more has to wait for news of it when there is room.
const MAX_WANTED: usize = 4_096;

/// What the capture side says of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is traced, or something about it changed; with the namespace id of its peer where the kernel told one (the
    /// first event of an interface can come without).
    Seen(Ifindex, Option<NetnsId>),
    /// It is gone, or not traced any more.
    Gone(Ifindex),
}

/// Which interfaces are looked for, and when next.
#[derive(Debug, Default)]
struct Search {
    interfaces: HashMap<Ifindex, Interface>,
}

#[derive(Debug)]
struct Interface {
    netns: Option<NetnsId>,
    /// When to look next; `None` once it is found or given up.
    next: Option<Instant>,
    looks: usize,
    found: bool,
}

impl Search {
    /// Takes news in, and says what follows from them at once.
    fn news(&mut self, now: Instant, news: News) -> Option<Change> {
        match news {
            News::Gone(ifindex) => self
                .interfaces
                .remove(&ifindex)
                .map(|_| Change::InterfaceGone(ifindex)),
            News::Seen(ifindex, netns) => {
                if !self.interfaces.contains_key(&ifindex) && self.interfaces.len() >= MAX_WANTED {
                    tracing::warn!(
                        ifindex = ifindex.0,
                        "too many interfaces: its pod is not looked for"
                    );
                    return None;
                }
                let first = !self.interfaces.contains_key(&ifindex);
                let known = self.interfaces.entry(ifindex).or_insert(Interface {
                    netns: None,
                    next: None,
                    looks: 0,
                    found: false,
                });
                // News without the id take nothing back.
                let netns = netns.or(known.netns);
                let lost = known.found && netns != known.netns;
                if !known.found || lost {
                    *known = Interface {
                        netns,
                        next: netns.map(|_| now),
                        looks: 0,
                        found: false,
                    };
                }
                (first || lost).then_some(Change::Interface { ifindex, uid: None })
            }
        }
    }

    /// When there is something to look for next.
    fn next(&self) -> Option<Instant> {
        self.interfaces
            .values()
            .filter_map(|interface| interface.next)
            .min()
    }

    /// What to look for now.
    fn due(&self, now: Instant) -> Vec<(Ifindex, NetnsId)> {
        if self.next().is_none_or(|next| next > now) {
            return Vec::new();
        }
        // One look serves all that wait, whether it is their time or not.
        let waiting = self
            .interfaces
            .iter()
            .filter(|(_, interface)| interface.next.is_some());
        waiting
            .filter_map(|(ifindex, interface)| Some((*ifindex, interface.netns?)))
            .collect()
    }

    /// What a look brought.
    fn looked(&mut self, now: Instant, ifindex: Ifindex, found: bool) {
        let Some(interface) = self.interfaces.get_mut(&ifindex) else {
            return;
        };
        interface.found = found;
        if found {
            interface.next = None;
        } else if interface.next.is_some_and(|next| next <= now) {
            interface.next = LOOK_AFTER.get(interface.looks).map(|wait| now + *wait);
            interface.looks += 1;
        }
    }
}

/// Starts a thread that tells `tell` of every change, until that breaks or no more news can come. The thread is in the
/// network namespace of its parent, where the resolver must have been made too.
pub fn spawn(
    mut resolver: InterfaceResolver,
    news: Receiver<News>,
    mut tell: impl FnMut(Change) -> ControlFlow<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("interfaces".to_owned())
        .spawn(move || {
            let _ = watch(&mut resolver, &news, &mut tell);
        })
}

fn watch(
    resolver: &mut InterfaceResolver,
    news: &Receiver<News>,
    tell: &mut impl FnMut(Change) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut search = Search::default();
    loop {
        let first = match search.next() {
            None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(next) => news.recv_timeout(next.saturating_duration_since(Instant::now())),
        };
        match first {
            Ok(first) => {
                // All that is there at once, so that a burst of new pods costs one look.
                for news in std::iter::once(first).chain(news.try_iter()) {
                    if let Some(change) = search.news(Instant::now(), news) {
                        tell(change)?;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
        }
        let now = Instant::now();
        let due = search.due(now);
        if due.is_empty() {
            continue;
        }
        let found = resolver.resolve(&due).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for pod processes");
            due.iter().map(|(ifindex, _)| (*ifindex, None)).collect()
        });
        for (ifindex, uid) in found {
            search.looked(now, ifindex, uid.is_some());
            if uid.is_some() {
                tell(Change::Interface { ifindex, uid })?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ifindex = Ifindex(7);
    const B: Ifindex = Ifindex(8);
    const ONE: Option<NetnsId> = Some(NetnsId(1));

    fn told(ifindex: Ifindex) -> Option<Change> {
        Some(Change::Interface { ifindex, uid: None })
    }

    #[test]
    fn an_interface_is_looked_for_ever_more_seldom_and_then_given_up() {
        let start = Instant::now();
        let mut search = Search::default();
        assert_eq!(search.news(start, News::Seen(A, ONE)), told(A));
        let mut looks = Vec::new();
        while let Some(next) = search.next() {
            assert_eq!(search.due(next), [(A, NetnsId(1))]);
            looks.push((next - start).as_millis());
            search.looked(next, A, false);
        }
        assert_eq!(
            looks,
            [0, 20, 70, 170, 420, 920, 1_920, 6_920, 16_920, 46_920]
        );
        let later = start + Duration::from_secs(60);
        assert_eq!(search.news(later, News::Seen(A, ONE)), None, "told before");
        assert_eq!(search.next(), Some(later), "news start it again");
    }

    #[test]
    fn what_is_found_is_looked_for_no_more() {
        let start = Instant::now();
        let mut search = Search::default();
        search.news(start, News::Seen(A, ONE));
        search.looked(start, A, true);
        assert_eq!(search.news(start, News::Seen(A, ONE)), None);
        assert_eq!(search.news(start, News::Seen(A, None)), None);
        assert_eq!(search.next(), None);
    }

    #[test]
    fn an_interface_whose_peer_moved_is_looked_for_anew() {
        let start = Instant::now();
        let mut search = Search::default();
        search.news(start, News::Seen(A, ONE));
        search.looked(start, A, true);
        assert_eq!(search.news(start, News::Seen(A, Some(NetnsId(2)))), told(A));
        assert_eq!(search.due(start), [(A, NetnsId(2))]);
    }

    #[test]
    fn an_interface_without_an_id_waits_for_it() {
        let start = Instant::now();
        let mut search = Search::default();
        assert_eq!(search.news(start, News::Seen(A, None)), told(A));
        assert_eq!(search.next(), None);
        assert_eq!(search.news(start, News::Seen(A, ONE)), None);
        assert_eq!(search.due(start), [(A, NetnsId(1))]);
    }

    #[test]
    fn one_look_serves_all_that_wait() {
        let start = Instant::now();
        let mut search = Search::default();
        search.news(start, News::Seen(A, ONE));
        search.looked(start, A, false);
        let later = start + Duration::from_millis(5);
        search.news(later, News::Seen(B, Some(NetnsId(2))));
        let mut due = search.due(later);
        due.sort();
        assert_eq!(due, [(A, NetnsId(1)), (B, NetnsId(2))]);
        search.looked(later, A, false);
        search.looked(later, B, false);
        assert_eq!(
            search.next(),
            Some(start + Duration::from_millis(20)),
            "it was not the first one's time yet"
        );
    }

    #[test]
    fn an_interface_that_is_gone_is_forgotten() {
        let start = Instant::now();
        let mut search = Search::default();
        search.news(start, News::Seen(A, ONE));
        assert_eq!(
            search.news(start, News::Gone(A)),
            Some(Change::InterfaceGone(A))
        );
        assert_eq!(search.news(start, News::Gone(A)), None);
        assert_eq!(search.next(), None);
    }
}
