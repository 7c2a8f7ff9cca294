//! The headline of a finding that counts what has no finding of its own.

use super::headline::{MAX_HEADLINE, shortened, symptom};
use super::parts::Count;
use super::sentence;
use crate::diagnose::claim::Summary;
use crate::diagnose::fact::Who;
use crate::diagnose::tally::Tally;
use crate::model::sentence::Sentence;

/// The latest failure, and how many it stands for. A long name is clipped, because without the number the line
/// would read as that of one failure.
pub(super) fn rest(who: &Who, latest: &Summary, failures: u64) -> Sentence {
    let stands_for = match failures {
        0 | 1 => sentence!("; a failure that has no finding of its own"),
        _ => sentence!(
            "; the latest of {} that have no finding of their own",
            Count(failures, "failure")
        ),
    };
    let room = MAX_HEADLINE.saturating_sub(stands_for.chars());
    let mut line = symptom(who, latest, &Tally::default());
    if line.chars() > room {
        line = symptom(&shortened(who), latest, &Tally::default()).clipped(room);
    }
    line.append(stands_for);
    line
}

#[cfg(test)]
mod tests {
    use super::super::headline::headline;
    use super::*;
    use crate::diagnose::fact::{Figures, ObjectName};

    fn line(pod: &str, asked: &str, failures: u64) -> String {
        let who = Who::Pod(ObjectName {
            namespace: "shop".into(),
            name: pod.into(),
        });
        let latest = Summary::NoSuchName {
            asked: asked.to_owned(),
            figures: Figures {
                queries: 4,
                duration: None,
            },
        };
        let mut tally = Tally::default();
        (tally.failures, tally.attempts) = (failures, failures);
        let summary = Summary::Rest(Box::new(latest));
        headline(&who, &summary, &tally, None, None).to_string()
    }

    #[test]
    fn the_headline_of_further_failures_has_the_latest_and_their_number() {
        assert_eq!(
            line("web-0", "x71.example.com", 468),
            "shop/web-0 can't resolve \"x71.example.com\"; the latest of 468 failures that have no finding of their \
             own"
        );
        assert_eq!(
            line("web-0", "x71.example.com", 1),
            "shop/web-0 can't resolve \"x71.example.com\"; a failure that has no finding of its own"
        );
    }

    #[test]
    fn a_headline_of_further_failures_keeps_their_number_beside_long_names() {
        let label = "a-label-of-exactly-sixty-three-characters-as-long-as-dns-allows";
        for pod in ["web-0", &label.repeat(3)] {
            let long = line(pod, &[label; 3].join("."), 1_234_567);
            assert_eq!(long.chars().count(), MAX_HEADLINE, "{long}");
            assert!(long.starts_with("shop/"), "{long}");
            let end = "; the latest of 1234567 failures that have no finding of their own";
            assert!(long.ends_with(end), "{long}");
        }
    }
}
