//! Which client's question a DNS server's pod asked another server for.
//!
//! No packet says it. It is inferred where name, type and time leave one choice: when the pod asks, exactly one question
//! with that name and type is open at its own interface. Two such questions, or records that may have been lost there
//! since a question that is still open could have come, and nothing is inferred.
//!
//! A server in the node's network (NodeLocal DNSCache) has no interface: its clients are all on this node, and their
//! questions are seen at theirs. So exactly one question with that name and type may be open at any interface of the
//! node, to an address where this server is known to answer, and nothing may be missing at any of them.
//!
//! The same the other way round: when a client's question fails, what the server's pod asked for it, and how that went.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::doubt::{Doubt, Sockets};
use super::one_way::OneWay;
use crate::fair_table::{FairTable, Key, Room, Update};
use crate::model::correlated::Asked;
use crate::model::dns::Question;
use crate::model::event::Ends;
use crate::model::exchange::{ClientQuestion, Exchange, Outcome, UpstreamQuestion};
use crate::model::flow::{Flow, Ifindex, Role};
use crate::model::heap_bytes::HeapBytes as _;
use crate::model::identity::PodIdentity;
use crate::model::loss::{Losses, Stage};
use crate::model::time::Timestamp;

/// Open questions of clients, and causes of questions that wait for their answers.
const ROOM: Room = Room {
    entries: 16_384,
    bytes: 4 << 20,
};
/// A question without an answer has its event before that, and no client waits longer for one attempt.
const OPEN: Duration = Duration::from_secs(10);
/// A question's event comes before that, late answers included.
const KEPT: Duration = Duration::from_secs(30);
/// Interfaces whose latest loss of a question is remembered, and those that could not be traced.
const MAX_INTERFACES: usize = 1_024;
/// Addresses of servers in the node's network.
const MAX_SERVERS: usize = 64;

/// A client's question, at the server's interface or at the client's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    ifindex: Ifindex,
    role: Role,
    question: Question,
    exchange: u64,
}

impl Key for Open {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }

    fn hash_group<H: Hasher>(&self, _: usize, state: &mut H) {
        (self.place(), &self.question).hash(state);
    }
}

impl Open {
    /// Where the questions of one server's clients are: at its interface, or at those of all clients of this node.
    fn place(&self) -> Option<Ifindex> {
        (self.role == Role::Server).then_some(self.ifindex)
    }
}

/// An open question.
#[derive(Clone, Debug)]
struct Opened {
    question: ClientQuestion,
    /// The address it was sent to.
    server: SocketAddr,
}

/// A query that was seen, and how.
pub(super) struct Seen<'a> {
    pub now: Timestamp,
    pub at: Timestamp,
    pub flow: &'a Flow,
    pub ends: &'a Ends,
    pub asked: &'a Asked,
    pub doubt: &'a Doubt,
    /// Queries of other interfaces wait for an identity.
    pub others_wait: bool,
}

/// A question of the server to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Upstream {
    ifindex: Ifindex,
    exchange: u64,
}

impl Key for Upstream {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }
}

/// A client's question, as both its interface and that of the server show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asker {
    client: SocketAddr,
    id: u16,
    question: Question,
}

impl Key for Asker {
    type Owner = IpAddr;

    fn owner(&self) -> IpAddr {
        self.client.ip()
    }
}

/// What a server's pod asked for a client's question.
#[derive(Clone, Debug)]
struct Forwarded {
    key: Upstream,
    by: Arc<PodIdentity>,
    to: SocketAddr,
    at: Timestamp,
    /// `None`: open.
    ended: Option<(Outcome, Timestamp)>,
}

/// A server asks as many times at most; of more, nothing is claimed.
const MAX_FORWARDED: usize = 8;

/// What is open at the interfaces of DNS servers.
#[derive(Debug)]
pub(super) struct Causes {
    open: FairTable<Open, Opened, 1>,
    causes: FairTable<Upstream, ClientQuestion>,
    forwarded: FairTable<Asker, Vec<Forwarded>>,
    /// When an entry of `forwarded` made room for another one.
    forgotten: Option<Timestamp>,
    /// The pods of servers in the node's network, by the addresses from which they answered last.
    servers: BTreeMap<SocketAddr, Arc<str>>,
    /// The probes see every client of this node, as far as the capture's options decide.
    all_clients: bool,
    /// The node's `lo`, which is traced where such a server can be.
    loopback: Option<Ifindex>,
    /// Since when the latest interface is traced.
    attached: Timestamp,
    /// Interfaces that could not be traced.
    untraced: BTreeSet<Ifindex>,
    /// When an interface's open question made room for another one.
    made_room: BTreeMap<Ifindex, Timestamp>,
    /// The same of an interface that is not remembered.
    made_room_elsewhere: Option<Timestamp>,
    losses: Losses,
}

impl Causes {
    /// `all_clients`: the probes see the pods and the node's own sockets, all of them.
    pub(super) fn new(all_clients: bool) -> Causes {
        Causes {
            open: FairTable::new(ROOM),
            causes: FairTable::new(ROOM),
            forwarded: FairTable::new(ROOM),
            forgotten: None,
            servers: BTreeMap::new(),
            all_clients,
            loopback: None,
            attached: Timestamp(0),
            untraced: BTreeSet::new(),
            made_room: BTreeMap::new(),
            made_room_elsewhere: None,
            losses: Losses::default(),
        }
    }

    /// The interface is traced since that time. Questions before that were not seen there.
    pub(super) fn attached(&mut self, since: Timestamp, ifindex: Ifindex) {
        self.untraced.remove(&ifindex);
        self.attached = self.attached.max(since);
    }

    /// The interface cannot be traced.
    pub(super) fn untraced(&mut self, ifindex: Ifindex) {
        if self.untraced.len() < MAX_INTERFACES {
            self.untraced.insert(ifindex);
        }
    }

    /// This interface is the node's `lo`.
    pub(super) fn is_loopback(&mut self, ifindex: Ifindex) {
        self.loopback = Some(ifindex);
    }

    /// Takes in a query, of a client to the pod or of the pod to another server.
    pub(super) fn asked(&mut self, seen: &Seen<'_>) {
        let Seen {
            at,
            flow,
            ends,
            asked,
            ..
        } = *seen;
        while self.open.pop_due(at).is_some() {}
        while self.causes.pop_due(at).is_some() {}
        while self.forwarded.pop_due(at).is_some() {}
        let open = Open {
            ifindex: flow.ifindex,
            role: ends.role,
            question: asked.question.clone(),
            exchange: asked.exchange,
        };
        // Who asks another server here, and which one. What a server in the node's network asks is seen at the node's
        // uplink, or at the pod that it asks.
        let (by, to) = match ends.role {
            Role::Server => (ends.peer.host_pod.as_ref(), flow.pod),
            Role::Client => (ends.pod.identity.as_ref().ok(), flow.peer),
        };
        let on_node = ends.role == Role::Server || ends.pod.at_uplink;
        let server = by.filter(|pod| on_node && self.is_server(&pod.uid));
        let cause = match (server, ends.role) {
            (Some(server), _) => self.only_one_on_node(seen, &open, &server.uid),
            (None, Role::Client) => self.only_one(seen, &open),
            (None, Role::Server) => None,
        };
        if let Some(cause) = cause.cloned() {
            let key = Upstream {
                ifindex: flow.ifindex,
                exchange: asked.exchange,
            };
            if let Some(by) = by {
                self.forward(
                    &cause,
                    &asked.question,
                    Forwarded {
                        key,
                        by: Arc::clone(by),
                        to,
                        at,
                        ended: None,
                    },
                );
            }
            let made_room = self.causes.insert(key, cause, 0, at.after(KEPT));
            let lost = made_room.len() as u64;
            self.losses.add(Stage::Table, "causes of queries", lost);
        }
        let wanted = ends.role == Role::Server || server.is_none() && self.loopback.is_some();
        let again = asked.attempt > 1 && self.open.get(&open).is_some();
        if wanted && !again {
            self.opened(seen, open);
        }
    }

    fn opened(&mut self, seen: &Seen<'_>, open: Open) {
        let Seen { at, flow, ends, .. } = *seen;
        let (client, pod) = match open.role {
            Role::Server => (flow.peer, ends.peer.any_pod().cloned()),
            Role::Client => (flow.pod, ends.pod.identity.as_ref().ok().cloned()),
        };
        let question = ClientQuestion {
            client,
            pod,
            id: seen.asked.id,
            time: at,
        };
        let server = flow.peer;
        let heap = open.question.heap_bytes();
        let opened = Opened { question, server };
        let made_room = self.open.insert(open, opened, heap, at.after(OPEN));
        for (open, _) in &made_room {
            let full = self.made_room.len() >= MAX_INTERFACES;
            match full && !self.made_room.contains_key(&open.ifindex) {
                true => self.made_room_elsewhere = Some(at),
                false => drop(self.made_room.insert(open.ifindex, at)),
            }
        }
        let lost = made_room.len() as u64;
        self.losses
            .add(Stage::Table, "open questions to DNS servers", lost);
    }

    fn is_server(&self, uid: &Arc<str>) -> bool {
        self.servers.values().any(|server| server == uid)
    }

    /// The only open question with this name and type at the server's interface, if none can be missing.
    fn only_one(&self, seen: &Seen<'_>, asked: &Open) -> Option<&ClientQuestion> {
        if self.open.is_empty() {
            return None;
        }
        let only = self.only_open(&Open {
            role: Role::Server,
            ..asked.clone()
        })?;
        let since = before(seen.at);
        let made_room = self.made_room.get(&asked.ifindex).copied();
        let forgotten = made_room.max(self.made_room_elsewhere);
        let lost = seen.doubt.since(since, asked.ifindex, Sockets::Any)
            || forgotten.is_some_and(|at| at >= since);
        (!lost).then_some(&only.question)
    }

    /// The only open question with this name and type at any client's interface, if none can be missing, and it was sent
    /// to an address of this server.
    fn only_one_on_node(
        &self,
        seen: &Seen<'_>,
        asked: &Open,
        uid: &str,
    ) -> Option<&ClientQuestion> {
        let only = self.only_open(&Open {
            role: Role::Client,
            ..asked.clone()
        })?;
        let since = before(seen.at);
        let made_room = self.made_room.values().copied().max();
        let forgotten = made_room.max(self.made_room_elsewhere);
        let all_seen = self.all_clients
            && self.loopback.is_some()
            && self.untraced.is_empty()
            && self.attached <= since
            // A query that waited was asked when others were open.
            && seen.now == seen.at
            && !seen.others_wait
            && !seen.doubt.anywhere_since(since)
            && forgotten.is_none_or(|at| at < since);
        let answers_there = (self.servers.get(&only.server)).is_some_and(|server| **server == *uid);
        (all_seen && answers_there).then_some(&only.question)
    }

    fn only_open(&self, like: &Open) -> Option<&Opened> {
        let same = |open: &Open| open.place() == like.place() && open.question == like.question;
        let mut open = self.open.group(0, like).filter(|(open, _)| same(open));
        match (open.next(), open.next()) {
            (Some((_, only)), None) => Some(only),
            _ => None,
        }
    }

    /// The pod asks another server for a client's question. A further attempt is not another question.
    fn forward(&mut self, cause: &ClientQuestion, question: &Question, forwarded: Forwarded) {
        let key = Asker {
            client: cause.client,
            id: cause.id,
            question: question.clone(),
        };
        let heap =
            |all: &Vec<Forwarded>| question.heap_bytes() + all.capacity() * size_of::<Forwarded>();
        let at = forwarded.at;
        let deadline = at.after(KEPT);
        let made_room = if self.forwarded.get(&key).is_none() {
            let all = vec![forwarded];
            let bytes = heap(&all);
            self.forwarded.insert(key, all, bytes, deadline).len()
        } else {
            let update = |all: &mut Vec<Forwarded>| {
                let known = all.iter().any(|other| other.key == forwarded.key);
                if !known && all.len() <= MAX_FORWARDED {
                    all.push(forwarded);
                }
                Update {
                    result: (),
                    heap: heap(all),
                    deadline,
                }
            };
            let updated = self.forwarded.update(&key, update);
            updated.map_or(0, |((), made_room)| made_room.len())
        };
        if made_room > 0 {
            // If it is asked for again, that would seem to be all.
            self.forgotten = Some(at);
        }
        self.losses
            .add(Stage::Table, "questions of DNS servers", made_room as u64);
    }

    /// What a server's pod asked for this question of a client, which failed at `now`: the latest, if all failed. Nothing
    /// where an answer may have come that was not seen.
    pub(super) fn upstream(
        &self,
        now: Timestamp,
        exchange: &Exchange,
        doubt: &Doubt,
        one_way: &OneWay,
    ) -> Option<Box<UpstreamQuestion>> {
        if !matches!(exchange.outcome, Outcome::Timeout | Outcome::Servfail) {
            return None;
        }
        let all = self.forwarded.get(&Asker {
            client: exchange.flow.pod,
            id: exchange.id,
            question: exchange.question.clone()?,
        })?;
        let failed = |forwarded: &Forwarded| {
            let ifindex = forwarded.key.ifindex;
            let silent = match forwarded.ended {
                None | Some((Outcome::Timeout, _)) => true,
                Some((Outcome::Servfail | Outcome::Refused | Outcome::IcmpError, _)) => false,
                Some(_) => return false,
            };
            forwarded.at >= exchange.asked
                && !(silent && one_way.may_miss_answers(ifindex))
                && !doubt.since(exchange.asked, ifindex, Sockets::Any)
        };
        let forgotten = self.forgotten.is_some_and(|at| at >= exchange.asked);
        if forgotten || all.len() > MAX_FORWARDED || !all.iter().all(failed) {
            return None;
        }
        let Forwarded {
            by, to, at, ended, ..
        } = all.last()?;
        let outcome = ended.map(|(outcome, _)| outcome);
        let until = ended.map_or(now, |(_, until)| until);
        Some(Box::new(UpstreamQuestion {
            by: Arc::clone(by),
            to: *to,
            outcome: outcome.filter(|outcome| *outcome != Outcome::Timeout),
            after: until.since(*at),
        }))
    }

    /// An exchange ended, of a client with the pod or of the pod with another server. The cause of the latter.
    pub(super) fn ended(
        &mut self,
        now: Timestamp,
        incomplete: bool,
        ends: &Ends,
        exchange: &Exchange,
    ) -> Option<Box<ClientQuestion>> {
        let ifindex = exchange.flow.ifindex;
        let role = exchange.role;
        if let Some(question) = &exchange.question {
            self.open.remove(&Open {
                ifindex,
                role,
                question: question.clone(),
                exchange: exchange.number,
            });
        }
        if role == Role::Client && exchange.latency.is_some() && exchange.asked_peer.is_none() {
            self.answered(exchange.flow.peer, ends.peer.host_pod.as_ref());
        }
        // A late answer has a second event.
        let key = Upstream {
            ifindex,
            exchange: exchange.number,
        };
        let cause = self.causes.get(&key).cloned()?;
        let asker = exchange.question.clone().map(|question| Asker {
            client: cause.client,
            id: cause.id,
            question,
        });
        let all = asker.and_then(|asker| self.forwarded.get_mut(&asker));
        let mut same = (all.into_iter().flatten()).filter(|other| other.key == key);
        if let Some(forwarded) = same.next() {
            let outcome = match incomplete {
                true => Outcome::Undecided,
                false => exchange.outcome,
            };
            let until = exchange
                .latency
                .map(|latency| exchange.asked.after(latency));
            forwarded.ended = Some((outcome, until.unwrap_or(now)));
        }
        Some(Box::new(cause))
    }

    /// A server answered, in the node's network if `pod` is known.
    fn answered(&mut self, server: SocketAddr, pod: Option<&Arc<PodIdentity>>) {
        match pod {
            None => drop(self.servers.remove(&server)),
            Some(pod) if self.servers.len() < MAX_SERVERS || self.servers.contains_key(&server) => {
                self.servers.insert(server, Arc::clone(&pod.uid));
            }
            Some(_) => {}
        }
    }

    /// The interface is no longer traced.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.open.remove_owner(&ifindex);
        self.made_room.remove(&ifindex);
        self.untraced.remove(&ifindex);
        if self.loopback == Some(ifindex) {
            self.loopback = None;
        }
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }
}

/// A question that is still open at this time came after that.
fn before(at: Timestamp) -> Timestamp {
    Timestamp(at.0.saturating_sub(Timestamp(0).after(OPEN).0))
}
