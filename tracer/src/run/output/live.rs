//! The parts of the output that only the probes and the agent use.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Output;
use tracer_core::identity::Index;
use tracer_core::model::flow::Ifindex;
use tracer_core::model::time::Timestamp;
use tracer_core::view::filter::emission::Unrecorded;
use tracer_core::view::privacy::Privacy;

impl Output {
    /// Applies these privacy settings to every event before anything else sees it.
    pub(in crate::run) fn with_privacy(mut self, privacy: Arc<Mutex<Privacy>>) -> Output {
        self.privacy = Some(privacy);
        self
    }

    /// Makes the screen's filter account for packets that the source does not record.
    pub(in crate::run) fn without(mut self, unrecorded: Unrecorded) -> Output {
        if let Some(screen) = &mut self.screen {
            screen.set_unrecorded(unrecorded);
        }
        self
    }

    /// Identities as the pipeline knows them.
    pub(in crate::run) fn index(&self) -> &Index {
        self.pipeline.index()
    }

    /// Those of the `traced` interfaces that have nothing to show. None where taps take every event.
    pub(in crate::run) fn silent_interfaces(
        &self,
        traced: &BTreeSet<Ifindex>,
        at: Timestamp,
    ) -> BTreeSet<Ifindex> {
        match &self.screen {
            Some(screen) if self.taps.is_empty() => {
                screen.filter().mute(traced, self.pipeline.index(), at)
            }
            _ => BTreeSet::new(),
        }
    }
}
