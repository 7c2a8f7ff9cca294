//! Which sequence numbers the pod used, so that an ICMP error is believed only if it quotes one of them (RFC 5927
//! section 4). Any host can send an error about a connection; its numbers are hard to guess.
//!
//! Rests on the pod's own segments alone. Live, only its SYN and FIN have records; the bytes come from the
//! kernel's flow counters.

use std::time::Duration;

use crate::model::flow::Direction;
use crate::model::observation::TcpSegment;

/// How far numbers may be outside the known range: what the pod sent since the last sweep of the counters, or
/// before it was first seen.
const SLACK: u32 = 1 << 18;
/// Without a known number, an error is believed only this soon after the connection's last packet.
pub(super) const RECENT: Duration = Duration::from_secs(60);

/// The range of the pod's sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SentByPod {
    first: Option<u32>,
}

impl SentByPod {
    /// Takes a segment.
    pub(super) fn observe(&mut self, sender: Direction, segment: &TcpSegment) {
        // A reset can have any number, and answers what the pod did not ask for.
        if sender == Direction::FromPod && !segment.rst && self.first.is_none() {
            self.first = Some(match segment.syn {
                true => segment.sequence,
                false => segment.sequence.wrapping_sub(SLACK),
            });
        }
    }

    /// Whether a segment with this number is among what the pod sent, `bytes` in total with headers. `None` if
    /// its numbers are not known.
    pub(super) fn includes(self, sequence: u32, bytes: u64) -> Option<bool> {
        let offset = u64::from(sequence.wrapping_sub(self.first?));
        Some(offset <= bytes.saturating_add(2 * u64::from(SLACK)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, syn: bool, rst: bool) -> TcpSegment {
        TcpSegment {
            sequence,
            syn,
            rst,
            ..TcpSegment::default()
        }
    }

    #[test]
    fn numbers_from_the_syn_on_are_the_pods_up_to_what_it_sent() {
        let mut sent = SentByPod::default();
        sent.observe(Direction::ToPod, &segment(7, true, false));
        sent.observe(Direction::FromPod, &segment(9, false, true));
        assert_eq!(
            sent.includes(7, 0),
            None,
            "the peer's number, and a reset's"
        );
        let isn = u32::MAX - 10;
        sent.observe(Direction::FromPod, &segment(isn, true, false));
        sent.observe(Direction::FromPod, &segment(5_000, false, false));
        for (sequence, bytes, included) in [
            (isn, 60, true),
            (isn.wrapping_add(1_000), 60, true),
            (isn.wrapping_sub(1), 60, false),
            (isn.wrapping_add(1 << 20), 60, false),
            (isn.wrapping_add(1 << 20), 1 << 20, true),
            (isn.wrapping_add(1 << 31), 1 << 20, false),
        ] {
            assert_eq!(sent.includes(sequence, bytes), Some(included), "{sequence}");
        }
    }

    #[test]
    fn what_came_before_the_first_segment_seen_has_slack() {
        let mut sent = SentByPod::default();
        sent.observe(Direction::FromPod, &segment(1 << 20, false, false));
        assert_eq!(sent.includes((1 << 20) - 1_000, 60), Some(true));
        assert_eq!(sent.includes(0, 60), Some(false));
    }
}
