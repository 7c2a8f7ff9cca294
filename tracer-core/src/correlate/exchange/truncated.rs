//! Truncated answers over UDP, held until the client asks again over TCP (RFC 7766 section 5).
//!
//! Owns the held answers and their deadlines; [`super::Exchanges`] merges both steps into one exchange, or
//! emits the truncated answer alone.

use std::hash::{Hash, Hasher};

use super::key::Key;
use crate::fair_table::{self, Evicted, FairTable, Room};
use crate::model::exchange::{ConnectionEnd, Exchange, Outcome, Step, Transport};
use crate::model::flow::{Flow, Ifindex};
use crate::model::heap_bytes::HeapBytes;
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

/// Limits a search through one client's truncated answers.
const MAX_SEARCH: usize = 256;

/// A truncated answer.
#[derive(Clone, Debug)]
pub(super) struct Truncated {
    /// The event if nothing follows.
    exchange: Box<Exchange>,
    /// The client's connection to the truncating server, while it opens.
    connecting: Option<Flow>,
}

impl HeapBytes for Truncated {
    fn heap_bytes(&self) -> usize {
        self.exchange.heap_bytes()
    }
}

impl Truncated {
    pub(super) fn new(exchange: Exchange) -> Truncated {
        Truncated {
            exchange: Box::new(exchange),
            connecting: None,
        }
    }

    /// The number of its query.
    pub(super) fn number(&self) -> u64 {
        self.exchange.number
    }

    /// The exchange when nothing followed over TCP.
    pub(super) fn alone(self) -> Exchange {
        *self.exchange
    }

    /// The exchange when the client could not connect: it asked nothing over TCP, so the outcome stays.
    pub(super) fn unconnected(self, end: ConnectionEnd, icmp: Option<IcmpError>) -> Exchange {
        let mut exchange = self.alone();
        let first = step(&exchange);
        exchange.connection = Some(end);
        exchange.icmp = icmp;
        let outcome = match (end, icmp) {
            (_, Some(_)) => Outcome::IcmpError,
            (ConnectionEnd::Timeout, None) => Outcome::Timeout,
            _ => Outcome::Other,
        };
        exchange.steps = vec![
            first,
            Step {
                transport: Transport::Tcp,
                outcome,
                latency: None,
            },
        ];
        exchange
    }

    /// The exchange when the same question was asked over TCP: both steps in one.
    pub(super) fn followed_by(&self, tcp: Exchange) -> Exchange {
        let udp = &*self.exchange;
        let whole = tcp
            .latency
            .map(|latency| tcp.asked.after(latency).since(udp.asked));
        Exchange {
            steps: vec![step(udp), step(&tcp)],
            flow: udp.flow,
            id: udp.id,
            asked: udp.asked,
            attempts: (udp.attempts + tcp.attempts).saturating_sub(1),
            latency: whole,
            ..tcp
        }
    }
}

fn step(exchange: &Exchange) -> Step {
    Step {
        transport: exchange.transport,
        outcome: exchange.outcome,
        latency: exchange.latency,
    }
}

/// The key of a query over UDP. A TCP connection of the same client to the same server finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HeldKey(Key);

impl fair_table::Key for HeldKey {
    type Owner = Ifindex;

    fn owner(&self) -> Ifindex {
        self.0.ifindex
    }

    fn hash_group<H: Hasher>(&self, _: usize, state: &mut H) {
        let Key {
            ifindex,
            role,
            client,
            server,
            ..
        } = self.0;
        (ifindex, role, client, server).hash(state);
    }
}

/// All held truncated answers.
#[derive(Debug)]
pub(super) struct Held {
    table: FairTable<HeldKey, Truncated, 1>,
}

impl Held {
    pub(super) fn new(room: Room) -> Held {
        Held {
            table: FairTable::new(room),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Holds one until a deadline. Returns those it evicted.
    #[must_use]
    pub(super) fn hold(
        &mut self,
        key: Key,
        truncated: Truncated,
        until: Timestamp,
    ) -> Evicted<Key, Truncated> {
        let bytes = key.question.heap_bytes() + truncated.heap_bytes();
        let evicted = self.table.insert(HeldKey(key), truncated, bytes, until);
        let plain = evicted
            .into_iter()
            .map(|(key, truncated)| (key.0, truncated));
        plain.collect()
    }

    /// Removes the one with this key.
    pub(super) fn take(&mut self, key: &Key) -> Option<Truncated> {
        if self.is_empty() {
            return None;
        }
        self.table.remove(&HeldKey(key.clone()))
    }

    /// The client connects to a server over TCP: that server's truncated answers wait for the fate of the
    /// connection.
    pub(super) fn connecting(&mut self, connection: &Key, flow: &Flow, until: Timestamp) {
        for key in self.of(connection) {
            if let Some(truncated) = self.table.get_mut(&key) {
                truncated.connecting = Some(*flow);
                self.table.touch(&key, until);
            }
        }
    }

    /// The connection failed: removes the answers that waited for it.
    pub(super) fn unconnected(&mut self, connection: &Key, flow: &Flow) -> Vec<Truncated> {
        let mut waited = self.of(connection);
        waited.retain(|key| {
            self.table
                .get(key)
                .is_some_and(|truncated| truncated.connecting.as_ref() == Some(flow))
        });
        waited
            .iter()
            .filter_map(|key| self.table.remove(key))
            .collect()
    }

    /// Removes the truncated answer that a query over TCP follows up: same question, same server, and the
    /// same identifier if there are several. A connection with another question is another program's: answers
    /// that wait for it are held until `until` and no longer.
    pub(super) fn followed_up(
        &mut self,
        query: &Key,
        flow: &Flow,
        until: Timestamp,
    ) -> Option<Truncated> {
        let of_client = self.of(query);
        let fitting = of_client
            .iter()
            .filter(|key| key.0.question == query.question);
        if let Some(key) = fitting.min_by_key(|key| key.0.id != query.id) {
            return self.table.remove(key);
        }
        for key in of_client {
            if let Some(truncated) = self.table.get_mut(&key)
                && truncated
                    .connecting
                    .take_if(|other| other == flow)
                    .is_some()
            {
                self.table.touch(&key, until);
            }
        }
        None
    }

    /// Removes one whose deadline has passed.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Truncated> {
        self.table.pop_due(now).map(|(_, truncated)| truncated)
    }

    /// Removes one, whatever its deadline.
    pub(super) fn pop(&mut self) -> Option<Truncated> {
        self.table.pop_oldest().map(|(_, truncated)| truncated)
    }

    /// Keys of the server's answers to the client of this TCP connection or query, the oldest first.
    fn of(&self, tcp: &Key) -> Vec<HeldKey> {
        if self.is_empty() {
            return Vec::new();
        }
        let same = |other: &Key| {
            (other.ifindex, other.role, other.client, other.server)
                == (tcp.ifindex, tcp.role, tcp.client, tcp.server)
        };
        let mut found: Vec<HeldKey> = self
            .table
            .group(0, &HeldKey(tcp.clone()))
            .take(MAX_SEARCH)
            .filter(|(key, _)| same(&key.0))
            .map(|(key, _)| key.clone())
            .collect();
        found.reverse();
        found
    }
}
