//! Which traced interfaces are muted in the probes, because the filter shows nothing of them.
//!
//! Their packets are still counted.

use std::collections::BTreeSet;

use tracer_core::model::flow::Ifindex;

/// The traced interfaces and those of them that are muted.
#[derive(Debug)]
pub(super) struct Muting {
    /// Whether the filter can mute interfaces at all.
    enabled: bool,
    traced: BTreeSet<Ifindex>,
    muted: BTreeSet<Ifindex>,
}

/// The probes should start or stop muting this interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) ifindex: Ifindex,
    pub(super) mute: bool,
}

impl Muting {
    /// Starts with no interfaces.
    pub(super) fn new(enabled: bool) -> Muting {
        Muting {
            enabled,
            traced: BTreeSet::new(),
            muted: BTreeSet::new(),
        }
    }

    /// Whether the filter can mute interfaces at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The traced interfaces.
    pub(super) fn traced(&self) -> &BTreeSet<Ifindex> {
        &self.traced
    }

    /// An interface is traced, and unmuted at first.
    pub(super) fn attached(&mut self, ifindex: Ifindex) {
        self.traced.insert(ifindex);
    }

    /// An interface is gone.
    pub(super) fn gone(&mut self, ifindex: Ifindex) {
        self.traced.remove(&ifindex);
        self.muted.remove(&ifindex);
    }

    /// Mutes exactly the interfaces that have nothing to show. Returns what has to change for that.
    pub(super) fn mute(&mut self, silent: BTreeSet<Ifindex>) -> Vec<Switch> {
        let switches = self
            .muted
            .symmetric_difference(&silent)
            .map(|ifindex| Switch {
                ifindex: *ifindex,
                mute: silent.contains(ifindex),
            })
            .collect();
        self.muted = silent;
        switches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_interfaces_are_switched() {
        let [one, two] = [Ifindex(1), Ifindex(2)];
        let switch = |ifindex, mute| Switch { ifindex, mute };
        let mut muting = Muting::new(true);
        muting.attached(one);
        muting.attached(two);
        assert_eq!(muting.mute([one].into()), [switch(one, true)]);
        assert_eq!(muting.mute([one].into()), []);
        assert_eq!(
            muting.mute([two].into()),
            [switch(one, false), switch(two, true)]
        );
        muting.gone(two);
        assert_eq!(muting.mute(BTreeSet::new()), []);
        assert_eq!(muting.traced().len(), 1);
    }
}
