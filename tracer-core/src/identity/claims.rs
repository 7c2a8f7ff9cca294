//! The owners of an address, or of a node port, over time: claims that begin and end, with a bounded memory of ended ones.
//!
//! Owns the rules of time. A claim holds from its beginning to its end. An address without an owner is
//! attributed to the claim that follows shortly after, because the API reports an address after its first
//! packets.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::model::time::Timestamp;

/// How much later than a packet the API may report its address: the kubelet reports a pod's address once its
/// sandbox runs, and a watch delivers that within seconds.
const API_LAG: Duration = Duration::from_secs(10);

/// Claims by one kind of owner.
#[derive(Debug)]
pub(super) struct Claims<T, A = IpAddr> {
    by_address: HashMap<A, Vec<Claim<T>>, RandomState>,
    /// Addresses with an ended claim, by the time of its end.
    past: VecDeque<(Timestamp, A)>,
}

#[derive(Debug)]
struct Claim<T> {
    owner: T,
    from: Timestamp,
    until: Option<Timestamp>,
    /// How many objects make this claim: two slices can list the same endpoint.
    holders: u32,
}

impl<T> Claim<T> {
    fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

impl<T, A> Default for Claims<T, A> {
    fn default() -> Claims<T, A> {
        Claims {
            by_address: HashMap::default(),
            past: VecDeque::new(),
        }
    }
}

impl<T: Eq, A: Copy + Eq + Hash> Claims<T, A> {
    /// An object claimed `before` and claims `after` from `at` on. New claims begin at `from`; claims in both
    /// continue.
    pub fn change(
        &mut self,
        at: Timestamp,
        from: Timestamp,
        before: impl IntoIterator<Item = (A, T)>,
        after: impl IntoIterator<Item = (A, T)>,
    ) {
        // New claims begin before old ones end, so that a claim in both always has a holder.
        for (ip, owner) in after {
            self.begin(from, ip, owner);
        }
        for (ip, owner) in before {
            self.end(at, ip, &owner);
        }
    }

    fn begin(&mut self, from: Timestamp, ip: A, owner: T) {
        let held = self.by_address.entry(ip).or_default();
        let mut open = held.iter_mut().filter(|claim| claim.until.is_none());
        match open.find(|claim| claim.owner == owner) {
            Some(claim) => claim.holders += 1,
            None => {
                // Most addresses only ever have one claim.
                held.reserve_exact(1);
                held.push(Claim {
                    owner,
                    from,
                    until: None,
                    holders: 1,
                });
            }
        }
    }

    fn end(&mut self, at: Timestamp, ip: A, owner: &T) {
        let held = self.by_address.get_mut(&ip).into_iter().flatten();
        let mut open = held.filter(|claim| claim.until.is_none());
        let Some(claim) = open.find(|claim| claim.owner == *owner) else {
            return;
        };
        claim.holders -= 1;
        if claim.holders == 0 {
            claim.until = Some(at);
            self.past.push_back((at, ip));
        }
    }

    /// The owners of this address at this time: none, one, or several that cannot be distinguished.
    pub fn owners(&self, ip: A, at: Timestamp) -> SmallVec<[&T; 2]> {
        let Some(claims) = self.by_address.get(&ip) else {
            return SmallVec::new();
        };
        let holders: SmallVec<[&T; 2]> = claims
            .iter()
            .filter(|claim| claim.holds(at))
            .map(|claim| &claim.owner)
            .collect();
        if !holders.is_empty() {
            return holders;
        }
        let latest = at.after(API_LAG);
        let later = claims
            .iter()
            .map(|claim| claim.from)
            .filter(|from| *from > at && *from <= latest)
            .min();
        claims
            .iter()
            .filter(|claim| Some(claim.from) == later)
            .map(|claim| &claim.owner)
            .collect()
    }

    /// The last owner of this address before this time, and until when.
    pub fn last(&self, ip: A, at: Timestamp) -> Option<(&T, Timestamp)> {
        let claims = self.by_address.get(&ip)?.iter();
        let ended = claims.filter_map(|claim| claim.until.map(|until| (&claim.owner, until)));
        ended
            .filter(|(_, until)| *until <= at)
            .max_by_key(|(_, until)| *until)
    }

    /// Forgets claims that ended before `before`, and the oldest beyond `limit`. Returns how many were
    /// evicted by the limit.
    pub fn forget(&mut self, before: Timestamp, limit: usize) -> u64 {
        let mut evicted = 0;
        while let Some((ended, ip)) = self.past.front().copied() {
            if ended >= before {
                if self.past.len() <= limit {
                    break;
                }
                evicted += 1;
            }
            self.past.pop_front();
            if let Some(claims) = self.by_address.get_mut(&ip) {
                if let Some(oldest) = claims.iter().position(|claim| claim.until == Some(ended)) {
                    claims.swap_remove(oldest);
                }
                if claims.is_empty() {
                    self.by_address.remove(&ip);
                }
            }
        }
        evicted
    }
}
