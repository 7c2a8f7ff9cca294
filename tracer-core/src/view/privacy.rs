//! What leaves this node: namespaces that are left out, names that are hashed.
//!
//! Stands between the pipeline and every sink, so nothing behind it can show what it holds back: not the stream, not the
//! metrics, not the Events of the cluster. Owns which events pass ([`Privacy::pass`]) and what a hashed name looks like
//! ([`redact`]). Never looks at a clock, a file or the network. What the pipeline concludes is concluded before: a finding
//! about a hidden name is told, with the name hashed.

use crate::model::event::Event;
use crate::model::glob::Glob;

mod fields;
mod redact;
#[cfg(test)]
mod tests;

pub use self::redact::{Key, RedactedDomain, RedactedDomainError, Redactor};

/// What is held back. Can change while the agent runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrivacySettings {
    /// Events whose pod is in one of these namespaces are dropped.
    pub exclude_namespaces: Vec<Glob>,
    /// Names below these domains are hashed.
    pub redact: Vec<RedactedDomain>,
}

/// Holds back what is to be held back.
#[derive(Debug)]
pub struct Privacy {
    exclude: Vec<Glob>,
    redactor: Redactor,
    excluded: u64,
}

impl Privacy {
    /// `key` makes this agent's hashes its own: one name is one hash for as long as the key lives.
    pub fn new(settings: PrivacySettings, key: Key) -> Privacy {
        Privacy {
            exclude: settings.exclude_namespaces,
            redactor: Redactor::new(settings.redact, key),
            excluded: 0,
        }
    }

    /// Holds back something else from now on; hashes of names stay the same.
    pub fn set(&mut self, settings: PrivacySettings) {
        self.exclude = settings.exclude_namespaces;
        self.redactor.set(settings.redact);
    }

    /// What may be told of an event: nothing, or the event with its names hashed.
    pub fn pass(&mut self, mut event: Event) -> Option<Event> {
        let pod = event.ends.as_ref().map(|ends| &ends.pod.identity);
        if let Some(Ok(pod)) = pod
            && self.exclude.iter().any(|glob| glob.matches(&pod.namespace))
        {
            self.excluded += 1;
            return None;
        }
        self.redactor.redact(&mut event);
        Some(event)
    }

    /// How many events were dropped for their namespace.
    pub fn excluded(&self) -> u64 {
        self.excluded
    }
}
