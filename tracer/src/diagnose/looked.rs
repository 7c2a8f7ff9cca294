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
    /// It was quiet for so long that no further candidate comes.
    pub over: bool,
}

/// What an application asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AskedName<'a> {
    /// Without a trailing dot.
    pub name: &'a str,
    /// As an absolute name: no search domain was tried.
    pub absolute: bool,
}

impl<'a> Looked<'a> {
    /// What was asked for; where the wire cannot tell, the first name on it.
    pub fn asked(&self) -> Option<AskedName<'a>> {
        let (written, known) = match &self.lookup.asked {
            Some(asked) => (asked.as_str(), true),
            None => (self.lookup.steps.first()?.name.as_str(), false),
        };
        let name = written.strip_suffix('.').unwrap_or(written);
        Some(AskedName {
            name,
            absolute: !known || name.len() < written.len(),
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
        let Some(asked) = self.asked().filter(|asked| !asked.absolute) else {
            return Vec::new();
        };
        let below = |name: &&'a DnsName| {
            let rest = name.relative().strip_prefix(asked.name)?;
            rest.strip_prefix('.')
        };
        self.names().iter().filter_map(below).collect()
    }

    /// Whether its resolver has nothing left to try, so that its outcome is final.
    pub fn complete(&self) -> bool {
        if self.over {
            return true;
        }
        match (&self.lookup.asked, &self.resolver) {
            (Some(asked), _) if asked.ends_with('.') => true,
            (Some(asked), Some(resolver)) => {
                let names = self.names();
                names.contains(&&DnsName::new(asked)) && names.len() > resolver.search.len()
            }
            _ => false,
        }
    }

    /// What the resolver tried, without success.
    pub fn tried(&self) -> String {
        if self.resolver.is_none() {
            return "Which search domains the pod has, and whether they were tried, is not known."
                .to_owned();
        }
        let domains = self.domains();
        if domains.is_empty() {
            return "It was looked up as it is: no search domain was tried.".to_owned();
        }
        format!(
            "None of its search domains has that name: {}; nor is it a name by itself.",
            domains.join(", ")
        )
    }

    /// `4 queries, 3.1 ms`.
    pub fn figures(&self) -> String {
        format!(
            "{}, {}",
            count(self.lookup.queries.into(), "query"),
            duration(self.lookup.duration)
        )
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
