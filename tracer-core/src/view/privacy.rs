//! Privacy settings: excluded namespaces and redacted names.
//!
//! Sits between the pipeline and every sink, so that no sink can leak what it withholds: neither the stream
//! nor the metrics nor Kubernetes Events. Owns which events pass ([`Privacy::pass`]) and the form of a hashed
//! name ([`redact`]). Never uses a clock, a file or the network. The pipeline sees everything: a finding
//! about a redacted name is emitted, with a hash in place of the name.

use crate::model::event::{Ends, Event};
use crate::model::flow::Role;
use crate::model::glob::Glob;
use crate::model::identity::PodIdentity;

mod fields;
mod redact;
#[cfg(test)]
mod tests;

pub use self::redact::{Key, RedactedDomain, RedactedDomainError, Redactor};

/// What is withheld. Can change while the agent runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrivacySettings {
    /// Events whose pod is in one of these namespaces, or is not known, are dropped.
    pub exclude_namespaces: Vec<Glob>,
    /// Names below these domains are hashed.
    pub redact: Vec<RedactedDomain>,
}

/// Applies the privacy settings to events.
#[derive(Debug)]
pub struct Privacy {
    exclude: Vec<Glob>,
    redactor: Redactor,
    excluded: u64,
}

impl Privacy {
    /// `key` is this agent's secret. A name has the same hash for as long as the key is in use.
    pub fn new(settings: PrivacySettings, key: Key) -> Privacy {
        Privacy {
            exclude: settings.exclude_namespaces,
            redactor: Redactor::new(settings.redact, key),
            excluded: 0,
        }
    }

    /// Replaces the settings. The hashes of names stay the same.
    pub fn set(&mut self, settings: PrivacySettings) {
        self.exclude = settings.exclude_namespaces;
        self.redactor.set(settings.redact);
    }

    /// The event with its names redacted; `None` if its namespace is excluded, or not known yet.
    pub fn pass(&mut self, mut event: Event) -> Option<Event> {
        if event.ends.as_ref().is_some_and(|ends| self.withholds(ends)) {
            self.excluded += 1;
            return None;
        }
        self.redactor.redact(&mut event);
        Some(event)
    }

    /// Whether an event between these ends is withheld. With an exclusion set, that needs the pod's name: in a
    /// pod's first seconds, or while the API server is away, its namespace may be an excluded one.
    fn withholds(&self, ends: &Ends) -> bool {
        if self.exclude.is_empty() {
            return false;
        }
        let excluded =
            |pod: &PodIdentity| self.exclude.iter().any(|glob| glob.matches(&pod.namespace));
        match &ends.pod.identity {
            Err(_) => return true,
            Ok(pod) if excluded(pod) => return true,
            Ok(_) => {}
        }
        // What an excluded pod asks or opens has an event at the other end, too.
        ends.role == Role::Server && ends.peer.any_pod().is_some_and(|pod| excluded(pod))
    }

    /// The number of events dropped because of their namespace, or because it is not known.
    pub fn excluded(&self) -> u64 {
        self.excluded
    }
}
