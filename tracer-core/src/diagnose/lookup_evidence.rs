//! A lookup with its evidence: the exchanges behind its steps, and the pod's resolver configuration.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use super::claim::{Evidence, QueryDetails};
use super::fact::{Figures, Tried};
use super::memory::{ExchangeEvidence, Misdirected};
use crate::identity::ResolverConfig;
use crate::model::dns::DnsName;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::lookup::{Lookup, Step};

/// A decided lookup.
#[derive(Debug)]
pub(super) struct LookupEvidence<'a> {
    pub event: &'a Lookup,
    /// The exchanges behind its steps that memory still has.
    pub taken: Vec<Arc<Exchange>>,
    /// What rules need of them: most lookups need no rule.
    pub exchanges: OnceCell<Vec<ExchangeEvidence>>,
    /// Answers to its questions from addresses that it did not ask.
    pub misdirected: Vec<Misdirected>,
    /// The pod's resolver configuration, if it is known.
    pub resolver: Option<Arc<ResolverConfig>>,
    /// The input ended before the decision: other candidates may have followed.
    pub cut_short: bool,
    /// The pod asked shortly before without a known name: other candidates may have preceded.
    pub begun_unnamed: bool,
}

/// The name that an application asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AskedName<'a> {
    /// Without a trailing dot.
    pub name: &'a str,
    /// Whether the search list was used.
    pub search: Search,
}

/// Whether a resolver used its search list for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// It did.
    Searched,
    /// It did not: the name had a trailing dot, or the program does not use the list.
    Absolute,
    /// The wire does not show it.
    Unknown,
}

impl<'a> LookupEvidence<'a> {
    /// The exchanges behind its steps that memory still has.
    pub fn exchanges(&self) -> &[ExchangeEvidence] {
        self.exchanges.get_or_init(|| {
            let taken = self.taken.iter();
            taken
                .filter_map(|exchange| ExchangeEvidence::from_exchange(exchange))
                .collect()
        })
    }

    /// The name asked for. If the wire does not show it, the first name on the wire.
    pub fn asked(&self) -> Option<AskedName<'a>> {
        if let Some(asked) = &self.event.asked {
            return Some(match asked.strip_suffix('.') {
                Some(name) => AskedName {
                    name,
                    search: Search::Absolute,
                },
                None => AskedName {
                    name: asked,
                    search: Search::Searched,
                },
            });
        }
        let first = &self.event.steps.first()?.name;
        // A resolver that searches does not stop at its first candidate, whether that is the name itself or not.
        let searches = self.resolver.as_ref().map(|resolver| &resolver.search);
        let stopped = searches.is_some_and(|domains| match domains.first() {
            Some(domain) => first.below(domain).is_some() || self.asked_once(),
            None => false,
        });
        Some(AskedName {
            name: first.relative(),
            search: if stopped {
                Search::Absolute
            } else {
                Search::Unknown
            },
        })
    }

    /// Whether nothing followed its only candidate, which does not exist.
    fn asked_once(&self) -> bool {
        !self.cut_short && self.event.outcome == Outcome::Nxdomain && self.names().len() == 1
    }

    /// The candidates, each once, in order.
    pub fn names(&self) -> Vec<&'a DnsName> {
        let mut names: Vec<&DnsName> = Vec::new();
        for step in &self.event.steps {
            if !names.contains(&&step.name) {
                names.push(&step.name);
            }
        }
        names
    }

    /// Whether a query asked for exactly this name.
    pub fn asked_for(&self, name: &str) -> bool {
        let name = DnsName::new(name);
        self.event.steps.iter().any(|step| step.name == name)
    }

    /// What the resolver tried.
    pub fn tried(&self) -> Tried {
        match self.asked() {
            Some(asked) if asked.search == Search::Searched => {
                let names = self.names();
                let domain = |name: &&'a DnsName| {
                    let rest = name.relative().strip_prefix(asked.name)?;
                    rest.strip_prefix('.').map(str::to_owned)
                };
                let itself = DnsName::new(asked.name);
                Tried::SearchDomains {
                    domains: names.iter().filter_map(domain).collect(),
                    itself: names.contains(&&itself),
                }
            }
            Some(asked) if asked.search == Search::Absolute => Tried::AsIs,
            _ => Tried::Unknown,
        }
    }

    /// How many of its queries this server answered, with or without a record.
    pub fn answers_from(&self, server: IpAddr) -> u64 {
        let mut answers = 0;
        for query in self.event.steps.iter().flat_map(|step| &step.sent) {
            let answered = matches!(
                query.outcome,
                Some(Outcome::Answered | Outcome::Nodata | Outcome::Nxdomain | Outcome::Truncated)
            );
            answers += u64::from(query.server == server && answered);
        }
        answers
    }

    /// The cost of the lookup.
    pub fn figures(&self) -> Figures {
        Figures {
            queries: self.event.queries.into(),
            duration: Some(self.event.duration).filter(|duration| !duration.is_zero()),
        }
    }

    /// Each query with its answer.
    pub fn evidence(&self) -> Vec<Evidence> {
        self.event
            .steps
            .iter()
            .map(|step| self.query(step))
            .collect()
    }

    fn query(&self, step: &Step) -> Evidence {
        let exchange = self.exchanges().iter().find(|exchange| {
            exchange.asked == step.asked
                && exchange.qtype == step.qtype
                && exchange.name == step.name
        });
        let details = exchange.map(|exchange| QueryDetails {
            server: exchange.server.ip(),
            attempts: exchange.attempts,
            negative: exchange.zone.clone().zip(exchange.negative_ttl),
            icmp: exchange.icmp,
        });
        Evidence::Query {
            name: step.name.clone(),
            qtype: step.qtype,
            outcome: step.outcome,
            latency: step.latency,
            details,
        }
    }
}
