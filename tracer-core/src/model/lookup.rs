//! A lookup: one resolver call of an application, with its search path and record types folded into one.

use std::net::IpAddr;
use std::time::Duration;

use super::dns::{DnsName, RecordType};
use super::edns::ExtendedError;
use super::exchange::Outcome;
use super::time::Timestamp;

/// One question of a lookup: a candidate and a type. Asking it again, of any server and over any transport,
/// is another attempt of the same step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The candidate.
    pub name: DnsName,
    /// The queried type.
    pub qtype: RecordType,
    /// Its outcome; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// Time from the first query to the deciding answer.
    pub latency: Option<Duration>,
    /// Queries sent, over all servers.
    pub attempts: u32,
    /// Data of the answers of the queried type, mostly addresses.
    pub data: Vec<String>,
    /// The server's reasons for its answer (RFC 8914).
    pub errors: Vec<ExtendedError>,
    /// Time of the first query.
    pub asked: Timestamp,
    /// Its queries in order of time, each repetition being one of its own. At most 32: `attempts` counts all.
    /// Empty in an event that came from another agent.
    pub sent: Vec<SentQuery>,
}

/// One query packet of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentQuery {
    /// When it was sent.
    pub at: Timestamp,
    /// The server asked.
    pub server: IpAddr,
    /// The pod's port.
    pub port: u16,
    /// What the server answered, or the error that came instead. `None`: nothing came before the resolver
    /// repeated the query, or before the lookup ended.
    pub outcome: Option<Outcome>,
    /// Time from this query to its answer.
    pub latency: Option<Duration>,
}

/// A step's queries to one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAttempts {
    /// The server.
    pub ip: IpAddr,
    /// Queries sent to it.
    pub attempts: u32,
    /// The time of the first one.
    pub first: Timestamp,
    /// The time of the latest one.
    pub last: Timestamp,
    /// Its latest answer; `None` if it gave none.
    pub outcome: Option<Outcome>,
    /// When that answer came.
    pub answered: Option<Timestamp>,
}

impl Step {
    /// The servers asked, in order of their first query.
    pub fn servers(&self) -> Vec<ServerAttempts> {
        let mut servers: Vec<ServerAttempts> = Vec::new();
        for sent in &self.sent {
            let place = servers.iter().position(|server| server.ip == sent.server);
            let place = place.unwrap_or_else(|| {
                servers.push(ServerAttempts {
                    ip: sent.server,
                    attempts: 0,
                    first: sent.at,
                    last: sent.at,
                    outcome: None,
                    answered: None,
                });
                servers.len() - 1
            });
            let server = &mut servers[place];
            server.attempts = server.attempts.saturating_add(1);
            server.last = server.last.max(sent.at);
            if sent.outcome.is_some() {
                server.outcome = sent.outcome;
                server.answered = sent.latency.map(|latency| sent.at.after(latency));
            }
        }
        servers
    }
}

/// One resolver call.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// The name as the application wrote it; `None` while several are possible.
    pub asked: Option<String>,
    /// The queried types, in order of first appearance.
    pub qtypes: Vec<RecordType>,
    /// The outcome for the application.
    pub outcome: Outcome,
    /// Queries sent, retransmissions included.
    pub queries: u32,
    /// Time from the first query to the last answer or, for a query without an answer, until the resolver
    /// gave it up.
    pub duration: Duration,
    /// The part of the duration in which the application waited for a query that got no answer: until the
    /// query was repeated, or until it was given up. Zero if no query was lost.
    pub waited: Duration,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Lookup {
    /// The time of its last query or answer; `None` if the event came from another agent.
    pub fn last_packet(&self) -> Option<Timestamp> {
        let sent = self.steps.iter().flat_map(|step| &step.sent);
        sent.map(|sent| sent.at.after(sent.latency.unwrap_or_default()))
            .max()
    }
}

/// An exchange's place in its lookup (JSON field "lookup").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name that the application asked for; `None` if the wire does not determine it.
    pub asked: Option<String>,
    /// The candidate's number, from 1.
    pub candidate: u32,
    /// Number of possible candidates, including search domains of the node's resolv.conf that queries have
    /// shown so far; `None` if the wire does not determine it.
    pub of: Option<u32>,
}
