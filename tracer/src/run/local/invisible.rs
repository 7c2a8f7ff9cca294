//! Interfaces on which the probes see only one direction, each reported once.

use std::collections::HashSet;

use crate::capture::live::InterfaceStatus;
use tracer_core::model::flow::{Direction, Ifindex};

/// The directions that have been reported.
#[derive(Debug, Default)]
pub(super) struct InvisibleDirections(HashSet<(Ifindex, Direction)>);

impl InvisibleDirections {
    /// Sentences about those of `unseen` that have not been reported.
    pub(super) fn report(
        &mut self,
        unseen: impl Iterator<Item = (Ifindex, Direction)>,
        interfaces: &[InterfaceStatus],
    ) -> Vec<String> {
        unseen
            .filter(|direction| self.0.insert(*direction))
            .map(|(ifindex, direction)| {
                let link = interfaces
                    .iter()
                    .map(|status| &status.link)
                    .find(|link| link.ifindex == ifindex);
                let name = link.map_or_else(
                    || format!("interface {}", ifindex.0),
                    |link| link.name.clone(),
                );
                let of_node = link.is_some_and(|link| link.of.is_node());
                let packets = match direction {
                    Direction::ToPod if of_node => {
                        "to the node's own sockets are not visible (possibly they come by another interface)"
                    }
                    Direction::ToPod => "to the pod are not visible (possibly bpf_redirect_peer)",
                    Direction::FromPod => "from the pod are not visible",
                };
                format!("{name}: packets {packets}; nothing is concluded from silence")
            })
            .collect()
    }

    /// An interface is gone; another one may get its index.
    pub(super) fn gone(&mut self, ifindex: Ifindex) {
        self.0.retain(|(gone, _)| *gone != ifindex);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_reported_once_until_its_interface_is_gone() {
        let mut invisible = InvisibleDirections::default();
        let report = |invisible: &mut InvisibleDirections| {
            let unseen = [(Ifindex(7), Direction::ToPod)];
            invisible.report(unseen.into_iter(), &[])
        };
        let notes = report(&mut invisible);
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].starts_with("interface 7: packets to the pod are not visible"),
            "{notes:?}"
        );
        assert!(report(&mut invisible).is_empty());
        invisible.gone(Ifindex(7));
        assert_eq!(report(&mut invisible).len(), 1);
    }
}
