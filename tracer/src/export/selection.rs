//! Which events an export takes.
//!
//! Events that `tracer observe` leaves out by default, such as the queries of a lookup, are never taken.

use std::fmt;
use std::str::FromStr;

use tracer_core::model::event::{Body, Event};
use tracer_core::view::filter::{self, Detail, Filter, FilterConfig};

/// A class of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// Findings of any severity and state.
    Findings,
    /// Failed queries, lookups, connections, flows and pings.
    Failed,
    /// Every event.
    All,
    /// No event.
    None,
}

impl EventClass {
    const ALL: [EventClass; 4] = [
        EventClass::Findings,
        EventClass::Failed,
        EventClass::All,
        EventClass::None,
    ];

    fn as_str(self) -> &'static str {
        match self {
            EventClass::Findings => "findings",
            EventClass::Failed => "failed",
            EventClass::All => "all",
            EventClass::None => "none",
        }
    }
}

impl fmt::Display for EventClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventClass {
    type Err = String;

    fn from_str(written: &str) -> Result<EventClass, String> {
        EventClass::ALL
            .into_iter()
            .find(|known| known.as_str() == written)
            .ok_or_else(|| "expected findings, failed, all or none".to_owned())
    }
}

/// What an export does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Exports it.
    Take,
    /// Exports it if the sample of successes includes it.
    Sample,
    /// Leaves it out.
    Leave,
}

/// The classes that an export takes.
#[derive(Clone, Debug)]
pub struct Selection {
    classes: Vec<EventClass>,
    shown: Filter,
}

impl Selection {
    /// An export that takes these classes.
    pub fn new(classes: &[EventClass]) -> Selection {
        Selection {
            classes: classes.to_vec(),
            shown: Filter::from(FilterConfig {
                detail: Detail::Digest,
                ..FilterConfig::default()
            }),
        }
    }

    pub(super) fn choose(&self, event: &Event) -> Choice {
        let has = |class| self.classes.contains(&class);
        if !self.shown.matches(event) {
            return Choice::Leave;
        }
        let taken = match &event.body {
            Body::Finding(_) => has(EventClass::Findings) || has(EventClass::All),
            // Losses show how far the other events can be trusted.
            Body::Lost(_) => self.classes.iter().any(|class| *class != EventClass::None),
            body if filter::failed(body) => has(EventClass::Failed) || has(EventClass::All),
            _ if has(EventClass::All) => true,
            _ => return Choice::Sample,
        };
        if taken { Choice::Take } else { Choice::Leave }
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, EventClass, Selection};
    use tracer_core::view::{gallery, words};

    /// How the selection treats an event of the gallery, by name.
    fn chosen(classes: &[EventClass]) -> Vec<(&'static str, &'static str, Choice)> {
        let selection = Selection::new(classes);
        gallery::all()
            .into_iter()
            .map(|(name, event)| (name, words::kind(&event.body), selection.choose(&event)))
            .collect()
    }

    #[test]
    fn findings_and_failures_are_separate_classes() {
        for (name, kind, choice) in chosen(&[EventClass::Findings]) {
            let expected = matches!(kind, "finding" | "lost");
            assert_eq!(choice == Choice::Take, expected, "{name}");
        }
        let failed = chosen(&[EventClass::Failed]);
        assert!(
            failed
                .iter()
                .all(|(_, kind, choice)| *kind != "finding" || *choice == Choice::Leave)
        );
        for kind in ["lookup", "tcp", "udp", "icmp", "lost"] {
            let taken =
                |(_, known, choice): &(_, &str, _)| *known == kind && *choice == Choice::Take;
            assert!(failed.iter().any(taken), "{kind}");
        }
        assert!(
            failed
                .iter()
                .any(|(_, _, choice)| *choice == Choice::Sample)
        );
    }

    #[test]
    fn none_takes_no_event_but_may_sample_successes() {
        let none = chosen(&[EventClass::None]);
        assert!(none.iter().all(|(_, _, choice)| *choice != Choice::Take));
        let all = chosen(&[EventClass::All]);
        assert!(all.iter().all(|(_, _, choice)| *choice != Choice::Sample));
    }
}
