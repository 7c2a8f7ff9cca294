//! Who had an address when: a table of claims that begin and end, with a bounded memory of those that ended.
//!
//! Owns the rules of time: a claim holds from its beginning to its end, and an address that nobody held may belong to who
//! claims it a little later, because the API tells of an address after its first packets.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::model::time::Timestamp;

/// How much later than a packet the API may tell of its address: the kubelet reports a pod's address once its sandbox
/// runs, and a watch delivers that within seconds.
const API_LAG: Duration = Duration::from_secs(10);

/// Claims of one sort of owner.
#[derive(Debug)]
pub(super) struct Claims<T> {
    by_address: HashMap<IpAddr, Vec<Claim<T>>>,
    /// Addresses with an ended claim, by the time it ended.
    past: VecDeque<(Timestamp, IpAddr)>,
}

#[derive(Debug)]
struct Claim<T> {
    owner: T,
    from: Timestamp,
    until: Option<Timestamp>,
    /// How many objects say so: two slices can list the same endpoint.
    holders: u32,
}

impl<T> Claim<T> {
    fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

impl<T> Default for Claims<T> {
    fn default() -> Claims<T> {
        Claims {
            by_address: HashMap::new(),
            past: VecDeque::new(),
        }
    }
}

impl<T: Eq> Claims<T> {
    /// Somebody claimed `before` and claims `after` from `at` on. What is new begins at `from`; what both hold goes on.
    pub fn change(
        &mut self,
        at: Timestamp,
        from: Timestamp,
        before: impl IntoIterator<Item = (IpAddr, T)>,
        after: impl IntoIterator<Item = (IpAddr, T)>,
    ) {
        // Begun before the others end, so that a claim in both is never without a holder.
        for (ip, owner) in after {
            self.begin(from, ip, owner);
        }
        for (ip, owner) in before {
            self.end(at, ip, &owner);
        }
    }

    fn begin(&mut self, from: Timestamp, ip: IpAddr, owner: T) {
        let held = self.by_address.entry(ip).or_default();
        let mut open = held.iter_mut().filter(|claim| claim.until.is_none());
        match open.find(|claim| claim.owner == owner) {
            Some(claim) => claim.holders += 1,
            None => {
                // Most addresses have one claim for ever.
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

    fn end(&mut self, at: Timestamp, ip: IpAddr, owner: &T) {
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

    /// Who had this address at this time; nobody, one, or several that cannot be told apart.
    pub fn who(&self, ip: IpAddr, at: Timestamp) -> Vec<&T> {
        let Some(claims) = self.by_address.get(&ip) else {
            return Vec::new();
        };
        let holders: Vec<&T> = claims
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

    /// Who had this address last before this time, and until when.
    pub fn last(&self, ip: IpAddr, at: Timestamp) -> Option<(&T, Timestamp)> {
        let claims = self.by_address.get(&ip)?.iter();
        let ended = claims.filter_map(|claim| claim.until.map(|until| (&claim.owner, until)));
        ended
            .filter(|(_, until)| *until <= at)
            .max_by_key(|(_, until)| *until)
    }

    /// Forgets what ended before `before`, and the oldest of more than `limit`; says how many the limit cost.
    pub fn forget(&mut self, before: Timestamp, limit: usize) -> u64 {
        let mut cost = 0;
        while let Some((ended, ip)) = self.past.front().copied() {
            if ended >= before {
                if self.past.len() <= limit {
                    break;
                }
                cost += 1;
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
        cost
    }
}
