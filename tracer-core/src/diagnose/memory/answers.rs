//! How often each DNS server answered the pod: whether a query that got no answer is an exception.

use std::net::IpAddr;
use std::time::Duration;

use super::recent::Recent;
use crate::model::time::Timestamp;

/// A server that has not answered the pod for this long counts anew.
const KEEP: Duration = Duration::from_secs(600);
/// Servers of a pod. A resolver has three.
const MAX_SERVERS: usize = 64;

#[derive(Debug)]
struct Count {
    answers: u64,
    first: Timestamp,
    last: Timestamp,
}

/// The answers to a pod, by server.
#[derive(Debug)]
pub(in crate::diagnose) struct Answers {
    by_server: Recent<IpAddr, Count>,
}

impl Answers {
    pub fn new() -> Answers {
        Answers {
            by_server: Recent::new(MAX_SERVERS),
        }
    }

    /// Takes in an answer.
    pub fn add(&mut self, at: Timestamp, server: IpAddr) {
        if let Some(count) = self.by_server.touch(at, &server) {
            count.answers = count.answers.saturating_add(1);
            count.last = count.last.max(at);
            return;
        }
        let count = Count {
            answers: 1,
            first: at,
            last: at,
        };
        self.by_server.insert(at, server, count);
    }

    /// The number of answers, and the time between the first and the last.
    pub fn count(&self, server: IpAddr) -> Option<(u64, Duration)> {
        let count = self.by_server.get(&server)?;
        Some((count.answers, count.last.since(count.first)))
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.by_server.expire(now, KEEP);
    }

    pub fn is_empty(&self) -> bool {
        self.by_server.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.by_server.bytes()
    }
}
