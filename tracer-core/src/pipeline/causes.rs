//! Which client's question a DNS server's pod asked another server for.
//!
//! No packet says it. It is inferred where name, type and time leave one choice: when the pod asks, exactly one question
//! with that name and type is open at its own interface. Two such questions, or records that may have been lost there
//! since a question that is still open could have come, and nothing is inferred.
//!
//! The same the other way round: when a client's question fails, what the server's pod asked for it, and how that went.

use std::collections::BTreeMap;
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
/// Interfaces whose latest loss of a question is remembered.
const MAX_INTERFACES: usize = 1_024;

/// A client's question at the server's interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    ifindex: Ifindex,
    question: Question,
    exchange: u64,
}

impl Key for Open {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.ifindex
    }

    fn hash_group<H: Hasher>(&self, _: usize, state: &mut H) {
        (self.ifindex, &self.question).hash(state);
    }
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
    open: FairTable<Open, ClientQuestion, 1>,
    causes: FairTable<Upstream, ClientQuestion>,
    forwarded: FairTable<Asker, Vec<Forwarded>>,
    /// When an entry of `forwarded` made room for another one.
    forgotten: Option<Timestamp>,
    /// When an interface's open question made room for another one.
    made_room: BTreeMap<Ifindex, Timestamp>,
    /// The same of an interface that is not remembered.
    made_room_elsewhere: Option<Timestamp>,
    losses: Losses,
}

impl Default for Causes {
    fn default() -> Causes {
        Causes {
            open: FairTable::new(ROOM),
            causes: FairTable::new(ROOM),
            forwarded: FairTable::new(ROOM),
            forgotten: None,
            made_room: BTreeMap::new(),
            made_room_elsewhere: None,
            losses: Losses::default(),
        }
    }
}

impl Causes {
    /// Takes in a query, of a client to the pod or of the pod to another server.
    pub(super) fn asked(
        &mut self,
        at: Timestamp,
        flow: &Flow,
        ends: &Ends,
        asked: &Asked,
        doubt: &Doubt,
    ) {
        while self.open.pop_due(at).is_some() {}
        while self.causes.pop_due(at).is_some() {}
        while self.forwarded.pop_due(at).is_some() {}
        let open = Open {
            ifindex: flow.ifindex,
            question: asked.question.clone(),
            exchange: asked.exchange,
        };
        match ends.role {
            Role::Server if asked.attempt > 1 && self.open.get(&open).is_some() => {}
            Role::Server => self.opened(at, flow, ends, asked, open),
            Role::Client => {
                if let Some(cause) = self.only_one(at, &open, doubt).cloned() {
                    let key = Upstream {
                        ifindex: flow.ifindex,
                        exchange: asked.exchange,
                    };
                    if let Ok(by) = &ends.pod.identity {
                        self.forward(
                            &cause,
                            &asked.question,
                            Forwarded {
                                key,
                                by: Arc::clone(by),
                                to: flow.peer,
                                at,
                                ended: None,
                            },
                        );
                    }
                    let made_room = self.causes.insert(key, cause, 0, at.after(KEPT));
                    let lost = made_room.len() as u64;
                    self.losses.add(Stage::Table, "causes of queries", lost);
                }
            }
        }
    }

    fn opened(&mut self, at: Timestamp, flow: &Flow, ends: &Ends, asked: &Asked, open: Open) {
        let question = ClientQuestion {
            client: flow.peer,
            pod: ends.peer.pod.clone(),
            id: asked.id,
            time: at,
        };
        let heap = open.question.heap_bytes();
        let made_room = self.open.insert(open, question, heap, at.after(OPEN));
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

    /// The only open question with this name and type, if none can be missing.
    fn only_one(&self, at: Timestamp, asked: &Open, doubt: &Doubt) -> Option<&ClientQuestion> {
        let same = |open: &Open| open.ifindex == asked.ifindex && open.question == asked.question;
        let mut open = self.open.group(0, asked).filter(|(open, _)| same(open));
        let (Some((_, only)), None) = (open.next(), open.next()) else {
            return None;
        };
        let since = Timestamp(at.0.saturating_sub(Timestamp(0).after(OPEN).0));
        let made_room = self.made_room.get(&asked.ifindex).copied();
        let forgotten = made_room.max(self.made_room_elsewhere);
        let lost = doubt.since(since, asked.ifindex, Sockets::Any)
            || forgotten.is_some_and(|at| at >= since);
        (!lost).then_some(only)
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
        exchange: &Exchange,
    ) -> Option<Box<ClientQuestion>> {
        let ifindex = exchange.flow.ifindex;
        match exchange.role {
            Role::Server => {
                self.open.remove(&Open {
                    ifindex,
                    question: exchange.question.clone()?,
                    exchange: exchange.number,
                });
                None
            }
            // A late answer has a second event.
            Role::Client => {
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
        }
    }

    /// The interface is no longer traced.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.made_room.remove(&ifindex);
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }
}
