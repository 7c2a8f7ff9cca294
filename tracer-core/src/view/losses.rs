//! Losses as events, so that they appear beside the results that they affect.

use crate::model::event::{Body, Event};
use crate::model::loss::{Loss, Losses, UNDECIDED_AT_END};
use crate::model::time::Timestamp;
use crate::model::units::count;

/// Turns growing totals into events.
#[derive(Clone, Debug, Default)]
pub struct LossReporter {
    reported: Losses,
}

impl LossReporter {
    /// A reporter that has reported nothing yet.
    pub fn new() -> LossReporter {
        LossReporter::default()
    }

    /// One event for each stage and reason whose total grew since the last call, with the growth as its
    /// count.
    pub fn grown(&mut self, at: Timestamp, totals: &Losses) -> Vec<Event> {
        let mut events = Vec::new();
        for total in totals.iter() {
            let reported = self
                .reported
                .iter()
                .find(|loss| loss.stage == total.stage && loss.reason == total.reason)
                .map_or(0, |loss| loss.count);
            let count = total.count.saturating_sub(reported);
            if count > 0 {
                self.reported.add(total.stage, total.reason, count);
                events.push(Event {
                    time: at,
                    ends: None,
                    incomplete: false,
                    body: Body::Lost(Loss { count, ..*total }),
                });
            }
        }
        events
    }
}

/// Whether something was lost. A query that was open when the input ended was not.
pub(super) fn is_loss(loss: &Loss) -> bool {
    loss.reason != UNDECIDED_AT_END
}

/// A loss as a line of the summary.
pub(super) fn sentence(loss: &Loss) -> String {
    if is_loss(loss) {
        return format!(
            "lost: {} ({}): {}",
            loss.count,
            loss.stage.as_str(),
            loss.reason
        );
    }
    let were = if loss.count == 1 { "was" } else { "were" };
    format!(
        "{} {were} still unanswered when the capture ended",
        count(loss.count, "DNS query")
    )
}

#[cfg(test)]
mod tests {
    use super::LossReporter;
    use crate::model::event::Body;
    use crate::model::loss::{Losses, Stage};
    use crate::model::time::Timestamp;

    #[test]
    fn each_loss_is_reported_once_with_its_growth() {
        let mut totals = Losses::default();
        let mut reporter = LossReporter::new();
        let mut grown = |totals: &Losses| -> Vec<(Stage, u64)> {
            reporter
                .grown(Timestamp(7), totals)
                .iter()
                .map(|event| match &event.body {
                    Body::Lost(loss) => (loss.stage, loss.count),
                    other => panic!("not a loss: {other:?}"),
                })
                .collect()
        };
        assert_eq!(grown(&totals), []);
        totals.add(Stage::Ring, "ring full", 3);
        assert_eq!(grown(&totals), [(Stage::Ring, 3)]);
        assert_eq!(grown(&totals), []);
        totals.add(Stage::Ring, "ring full", 2);
        totals.add(Stage::Table, "dns table full", 1);
        assert_eq!(grown(&totals), [(Stage::Ring, 2), (Stage::Table, 1)]);
    }
}
