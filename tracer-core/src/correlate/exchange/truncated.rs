//! Truncated answers over UDP, held until the client asks again over TCP (RFC 7766 section 5).
//!
//! Owns the held answers and their deadlines; [`super::Exchanges`] merges both steps into one exchange, or
//! emits the truncated answer alone.

use super::key::Key;
use crate::model::exchange::{ConnectionEnd, Exchange, Outcome, Step, Transport};
use crate::model::flow::{Flow, Protocol};
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;
use crate::table::Table;

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

impl Truncated {
    pub(super) fn new(exchange: Exchange) -> Truncated {
        Truncated {
            exchange: Box::new(exchange),
            connecting: None,
        }
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

/// All held truncated answers.
#[derive(Debug)]
pub(super) struct Held {
    table: Table<Key, Truncated>,
}

impl Held {
    pub(super) fn new(limit: usize) -> Held {
        Held {
            table: Table::new(limit),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Holds one until a deadline. Returns the one it evicted.
    #[must_use]
    pub(super) fn hold(
        &mut self,
        key: Key,
        truncated: Truncated,
        until: Timestamp,
    ) -> Option<Truncated> {
        self.table
            .insert(key, truncated, until)
            .map(|(_, evicted)| evicted)
    }

    /// Removes the one with this key.
    pub(super) fn take(&mut self, key: &Key) -> Option<Truncated> {
        self.table.remove(key)
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
            .filter(|key| key.question == query.question);
        if let Some(key) = fitting.min_by_key(|key| key.id != query.id) {
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

    /// Keys of the server's answers to the client of this TCP connection or query.
    fn of(&self, tcp: &Key) -> Vec<Key> {
        if self.is_empty() {
            return Vec::new();
        }
        let over_udp = Key {
            protocol: Protocol::Udp,
            ..tcp.first_of_client()
        };
        self.table
            .from(&over_udp)
            .take_while(|(key, _)| key.same_client(&over_udp))
            .take(MAX_SEARCH)
            .filter(|(key, _)| key.server == tcp.server)
            .map(|(key, _)| key.clone())
            .collect()
    }
}
