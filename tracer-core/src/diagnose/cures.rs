//! The index of what open findings wait for, so that a success is compared only with the cures it can be.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use foldhash::fast::FixedState;

use super::cure::{Cure, Sign};
use super::memory::is_answered;
use crate::model::dns::DnsName;
use crate::model::event::Ends;
use crate::model::exchange::Outcome;

/// What a cure and its sign have in common.
#[derive(Hash)]
enum Subject<'a> {
    /// A name, or a workload.
    Name(&'a str),
    /// A server, or a destination.
    Address(IpAddr),
}

/// A subject's hash. A cure with the key of a sign is compared in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CureKey(u64);

impl Subject<'_> {
    fn key(&self) -> CureKey {
        CureKey(FixedState::with_seed(3).hash_one(self))
    }
}

impl Cure {
    /// Its key; `None`: the inventory shows it.
    pub fn key(&self) -> Option<CureKey> {
        let subject = match self {
            Cure::Found(name) | Cure::AnswersType(_, name) => Subject::Name(name.as_str()),
            Cure::FoundBySearch(name) => Subject::Name(name),
            Cure::FewWasted(workload) => Subject::Name(workload),
            Cure::Answers(ip)
            | Cure::AnswersPromptly(ip)
            | Cure::Understands(ip)
            | Cure::Connects(ip, _)
            | Cure::Carries(ip, _)
            | Cure::Replies(ip)
            | Cure::Resolves(ip, _)
            | Cure::AnswersTcp(ip)
            | Cure::NormalLatency(ip, _) => Subject::Address(*ip),
            Cure::Ready(..) => return None,
        };
        Some(subject.key())
    }
}

impl Sign<'_> {
    /// The keys of the cures that it can show.
    pub fn keys(&self, ends: &Ends) -> Vec<CureKey> {
        let lookup = match self {
            Sign::LookupEnded(lookup) => lookup,
            Sign::FewWasted(workload) => return vec![Subject::Name(workload).key()],
            Sign::Connected(_) | Sign::Carried | Sign::Replied(_) | Sign::NormalLatency(_) => {
                return vec![Subject::Address(ends.peer.ip).key()];
            }
        };
        let mut keys = Vec::new();
        let mut add = |subject: Subject<'_>| {
            let key = subject.key();
            if !keys.contains(&key) {
                keys.push(key);
            }
        };
        for step in &lookup.event.steps {
            if matches!(step.outcome, Some(Outcome::Answered | Outcome::Nodata)) {
                add(Subject::Name(step.name.as_str()));
            }
        }
        if lookup.event.outcome == Outcome::Answered
            && let Some(asked) = &lookup.event.asked
        {
            add(Subject::Name(asked));
            add(Subject::Name(DnsName::new(asked).as_str()));
        }
        for exchange in &lookup.taken {
            if is_answered(exchange) {
                add(Subject::Address(exchange.flow.peer.ip()));
            }
        }
        keys
    }
}
