//! Who had an address when: a table of claims that begin and end, with a bounded memory of those that ended.
//!
//! Owns the rules of time: a claim holds from its beginning to its end, and an address that nobody held may belong to who
//! claims it a little later, because the API tells of an address after its first packets.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
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

impl<T: Eq + Hash> Claims<T> {
    /// These claims and no others hold at `at`. Those that are new begin at `from`.
    pub fn replace(
        &mut self,
        at: Timestamp,
        from: Timestamp,
        claims: impl IntoIterator<Item = (IpAddr, T)>,
    ) {
        let mut new: HashMap<IpAddr, HashSet<T>> = HashMap::new();
        for (ip, owner) in claims {
            new.entry(ip).or_default().insert(owner);
        }
        for (ip, held) in &mut self.by_address {
            for claim in held.iter_mut().filter(|claim| claim.until.is_none()) {
                let stays = new
                    .get_mut(ip)
                    .is_some_and(|owners| owners.remove(&claim.owner));
                if !stays {
                    claim.until = Some(at);
                    self.past.push_back((at, *ip));
                }
            }
        }
        for (ip, owners) in new {
            let held = self.by_address.entry(ip).or_default();
            held.extend(owners.into_iter().map(|owner| Claim {
                owner,
                from,
                until: None,
            }));
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
