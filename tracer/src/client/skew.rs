//! How an agent differs from this program: another version, another clock. Pure.
//!
//! Both are reported, and neither is a reason to refuse an agent: one that is being updated, or has a wrong
//! clock, is worth a look.

/// Clocks that differ by more than this are reported. A smaller difference puts no event visibly out of
/// order.
const MAX_OFFSET_NS: i64 = 2_000_000_000;

/// The least difference between an agent's clock and this machine's: the time of the exchange does not count.
/// All arguments are nanoseconds since 1970: when this machine asked, the agent's time in its answer, and
/// when the answer arrived.
pub fn clock_offset_ns(asked: i64, agent: i64, answered: i64) -> i64 {
    if agent < asked {
        agent.saturating_sub(asked)
    } else {
        agent.saturating_sub(answered).max(0)
    }
}

/// A sentence about a clock with this offset, if it is large enough to matter.
pub fn clock_sentence(offset_ns: i64) -> Option<String> {
    let seconds = offset_ns.unsigned_abs() as f64 / 1e9;
    let side = if offset_ns > 0 { "ahead of" } else { "behind" };
    (offset_ns.saturating_abs() > MAX_OFFSET_NS).then(|| {
        format!(
            "its clock is {seconds:.1} s {side} this machine's: its events have times by that clock and may be out of \
             order among those of other nodes"
        )
    })
}

/// A sentence about an agent of another version.
pub fn version_sentence(agent: &str) -> Option<String> {
    let own = env!("CARGO_PKG_VERSION");
    (agent != own).then(|| {
        format!(
            "its agent is version {agent}, this program is {own}: what only one of them knows is left out. Install \
             the same version of both to see everything"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_time_of_the_exchange_is_not_a_clock_offset() {
        // Asked at 100 s, answered at 108 s: any clock in between may be right.
        for agent in [100, 104, 108] {
            assert_eq!(
                clock_offset_ns(100 * SECOND, agent * SECOND, 108 * SECOND),
                0
            );
        }
        assert_eq!(
            clock_offset_ns(100 * SECOND, 97 * SECOND, 108 * SECOND),
            -3 * SECOND
        );
        assert_eq!(
            clock_offset_ns(100 * SECOND, 111 * SECOND, 108 * SECOND),
            3 * SECOND
        );
        assert_eq!(clock_offset_ns(0, i64::MIN, 0), i64::MIN);
        assert_eq!(clock_offset_ns(i64::MAX, i64::MIN, i64::MAX), i64::MIN);
    }

    #[test]
    fn only_a_large_offset_is_reported_with_its_direction() {
        assert_eq!(clock_sentence(2 * SECOND), None);
        assert_eq!(clock_sentence(-2 * SECOND), None);
        let ahead = clock_sentence(90 * SECOND).expect("a sentence");
        assert!(
            ahead.starts_with("its clock is 90.0 s ahead of "),
            "{ahead}"
        );
        let behind = clock_sentence(-2 * SECOND - 500_000_000).expect("a sentence");
        assert!(behind.starts_with("its clock is 2.5 s behind "), "{behind}");
        assert!(clock_sentence(i64::MIN).is_some());
    }

    #[test]
    fn the_same_version_is_not_reported() {
        assert_eq!(version_sentence(env!("CARGO_PKG_VERSION")), None);
        let other = version_sentence("0.0.9").expect("a sentence");
        assert!(other.contains("version 0.0.9"), "{other}");
    }
}
