//! The first IP fragment of an answer whose other fragments were not seen: lost, or only not captured. A filter by
//! port passes first fragments alone, and live the others have no record. The client decides: it asks again if it
//! got no answer.

use std::time::Duration;

use crate::model::exchange::Exchange;
use crate::model::heap_bytes::HeapBytes;
use crate::model::time::Timestamp;

/// A query sooner after the fragment crossed it on its way.
const CROSSING: Duration = Duration::from_millis(100);

/// What is known of such an answer.
#[derive(Clone, Debug)]
pub(super) struct FirstFragment {
    /// The exchange if the answer arrived as a whole.
    answered: Exchange,
    seen: Timestamp,
    /// The client has not asked again since.
    believed: bool,
    /// Answers after which it did.
    lost: u32,
}

impl HeapBytes for FirstFragment {
    fn heap_bytes(&self) -> usize {
        self.answered.heap_bytes()
    }
}

impl FirstFragment {
    /// Adds an answer to what is known.
    pub(super) fn add(known: &mut Option<Box<FirstFragment>>, now: Timestamp, answered: Exchange) {
        let lost = known.as_ref().map_or(0, |known| known.lost);
        *known = Some(Box::new(FirstFragment {
            answered,
            seen: now,
            believed: true,
            lost,
        }));
    }

    /// The client asks again.
    pub(super) fn asked_again(&mut self, now: Timestamp) {
        if self.believed && now.since(self.seen) >= CROSSING {
            self.believed = false;
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// The number of answers that did not arrive as a whole.
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    /// The exchange, if nothing speaks against the answer's arrival. One that was lost before is likely to be
    /// lost again.
    pub(super) fn arrived(&self) -> Option<Exchange> {
        (self.lost == 0).then(|| self.answered.clone())
    }
}
