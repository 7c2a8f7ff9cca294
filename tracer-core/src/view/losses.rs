//! Losses that grew, as events, so that they stand beside the results while these come.

use crate::model::event::{Body, Event};
use crate::model::loss::{Loss, Losses};
use crate::model::time::Timestamp;

/// Remembers what was told.
#[derive(Clone, Debug, Default)]
pub struct LossReporter {
    told: Losses,
}

impl LossReporter {
    /// With nothing told yet.
    pub fn new() -> LossReporter {
        LossReporter::default()
    }

    /// One event for each stage and reason whose total grew since the last call, with how many came on top.
    pub fn grown(&mut self, at: Timestamp, totals: &Losses) -> Vec<Event> {
        let mut events = Vec::new();
        for total in totals.iter() {
            let told = self
                .told
                .iter()
                .find(|told| told.stage == total.stage && told.reason == total.reason)
                .map_or(0, |told| told.count);
            let count = total.count.saturating_sub(told);
            if count > 0 {
                self.told.add(total.stage, total.reason, count);
                events.push(Event {
                    time: at,
                    ends: None,
                    body: Body::Lost(Loss { count, ..*total }),
                });
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::LossReporter;
    use crate::model::event::Body;
    use crate::model::loss::{Losses, Stage};
    use crate::model::time::Timestamp;

    #[test]
    fn each_loss_is_told_once_with_what_came_on_top() {
        let mut totals = Losses::default();
        let mut reporter = LossReporter::new();
        let mut told = |totals: &Losses| -> Vec<(Stage, u64)> {
            reporter
                .grown(Timestamp(7), totals)
                .iter()
                .map(|event| match &event.body {
                    Body::Lost(loss) => (loss.stage, loss.count),
                    other => panic!("not a loss: {other:?}"),
                })
                .collect()
        };
        assert_eq!(told(&totals), []);
        totals.add(Stage::Ring, "ring full", 3);
        assert_eq!(told(&totals), [(Stage::Ring, 3)]);
        assert_eq!(told(&totals), []);
        totals.add(Stage::Ring, "ring full", 2);
        totals.add(Stage::Table, "dns table full", 1);
        assert_eq!(told(&totals), [(Stage::Ring, 2), (Stage::Table, 1)]);
    }
}
