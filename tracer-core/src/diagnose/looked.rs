//! A lookup as rules see it: with the exchanges behind its steps and the pod's resolver configuration.

use super::memory::Seen;
use super::words;
use crate::identity::ResolverConfig;
use crate::model::dns::{DnsName, type_mnemonic};
use crate::model::lookup::{Lookup, Step};
use crate::model::units::{count, duration};

/// A decided lookup.
#[derive(Debug)]
pub(super) struct Looked<'a> {
    pub lookup: &'a Lookup,
    /// The exchanges behind its steps, as far as they are remembered.
    pub seen: Vec<Seen>,
    /// The pod's resolver configuration, where it is known.
    pub resolver: Option<ResolverConfig>,
    /// The input ended while it was not decided: other candidates may have followed.
    pub cut_short: bool,
    /// The pod asked just before that without a name: other candidates may have preceded.
    pub begun_unnamed: bool,
}

/// What an application asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AskedName<'a> {
    /// Without a trailing dot.
    pub name: &'a str,
    /// Whether search domains were tried.
    pub how: How,
}

/// Whether a name went through the search list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It did.
    Searched,
    /// It did not: it had a trailing dot, or the program does not use the search list.
    Absolute,
    /// The wire does not tell.
    Unknown,
}

impl<'a> Looked<'a> {
    /// What was asked for; where the wire cannot tell, the first name on it.
    pub fn asked(&self) -> Option<AskedName<'a>> {
        if let Some(asked) = &self.lookup.asked {
            return Some(match asked.strip_suffix('.') {
                Some(name) => AskedName {
                    name,
                    how: How::Absolute,
                },
                None => AskedName {
                    name: asked,
                    how: How::Searched,
                },
            });
        }
        let first = &self.lookup.steps.first()?.name;
        // A resolver that searches does not stop at its first search domain.
        let stopped_there = self.resolver.as_ref().is_some_and(|resolver| {
            let domain = resolver.search.first();
            domain.is_some_and(|domain| first.below(domain).is_some())
        });
        Some(AskedName {
            name: first.relative(),
            how: if stopped_there {
                How::Absolute
            } else {
                How::Unknown
            },
        })
    }

    /// The names that were tried, each once, in order.
    pub fn names(&self) -> Vec<&'a DnsName> {
        let mut names: Vec<&DnsName> = Vec::new();
        for step in &self.lookup.steps {
            if !names.contains(&&step.name) {
                names.push(&step.name);
            }
        }
        names
    }

    /// The search domains that were tried.
    pub fn domains(&self) -> Vec<&'a str> {
        let Some(asked) = self.asked().filter(|asked| asked.how == How::Searched) else {
            return Vec::new();
        };
        let below = |name: &&'a DnsName| {
            let rest = name.relative().strip_prefix(asked.name)?;
            rest.strip_prefix('.')
        };
        self.names().iter().filter_map(below).collect()
    }

    /// What the resolver tried, without success.
    pub fn tried(&self) -> String {
        match self.asked().map(|asked| asked.how) {
            Some(How::Searched) => format!(
                "None of its search domains has that name: {}; nor is it a name by itself.",
                self.domains().join(", ")
            ),
            Some(How::Absolute) => {
                "It was looked up as it is: no search domain was tried.".to_owned()
            }
            _ => "Whether search domains were tried is not known.".to_owned(),
        }
    }

    /// `4 queries, 3.1 ms`.
    pub fn figures(&self) -> String {
        let queries = count(self.lookup.queries.into(), "query");
        if self.lookup.steps.iter().all(|step| step.latency.is_none()) {
            return queries;
        }
        format!("{queries}, {}", duration(self.lookup.duration))
    }

    /// Each query with its answer, a line each.
    pub fn evidence(&self) -> Vec<String> {
        let line = |step: &Step| {
            let seen = self.seen.iter().find(|seen| {
                seen.asked == step.asked && seen.qtype == step.qtype && seen.name == step.name
            });
            let mut line = format!("{} {}: ", step.name, type_mnemonic(step.qtype));
            line.push_str(match step.outcome {
                Some(outcome) => words::outcome(outcome),
                None => "no answer yet",
            });
            if let Some(latency) = step.latency {
                line.push_str(&format!(" in {}", duration(latency)));
            }
            let Some(seen) = seen else { return line };
            line.push_str(&format!(", server {}", seen.server.ip()));
            if seen.attempts > 1 {
                line.push_str(&format!(", asked {} times", seen.attempts));
            }
            if let (Some(zone), Some(ttl)) = (&seen.zone, seen.negative_ttl) {
                line.push_str(&format!(", negative TTL {ttl} s of zone {zone}"));
            }
            if let Some(icmp) = &seen.icmp {
                line.push_str(&format!(", {}", words::icmp(icmp)));
            }
            line
        };
        self.lookup.steps.iter().map(line).collect()
    }
}
