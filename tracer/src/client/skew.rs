//! How an agent differs from this program: another version, another clock. Pure.
//!
//! Both are told and neither is a reason to refuse: an agent that is being updated, or whose clock is wrong, is looked at
//! all the more.

/// Clocks further apart than this are told of: what stands in the wrong place by less is not noticed.
const APART_NS: i64 = 2_000_000_000;

/// How far an agent's clock is off this machine's, at least: what it took to ask and to hear is no difference. All three in
/// nanoseconds since 1970: when it was asked and when its answer came by this machine's clock, and the agent's own in it.
pub fn clock_off_ns(asked: i64, agent: i64, heard: i64) -> i64 {
    if agent < asked {
        agent.saturating_sub(asked)
    } else {
        agent.saturating_sub(heard).max(0)
    }
}

/// What to say of a clock that is so far off, if it is worth a word.
pub fn clock_sentence(off_ns: i64) -> Option<String> {
    let seconds = off_ns.unsigned_abs() as f64 / 1e9;
    let way = if off_ns > 0 { "ahead of" } else { "behind" };
    (off_ns.saturating_abs() > APART_NS).then(|| {
        format!(
            "its clock is {seconds:.1} s {way} this machine's: the times of its events are by that clock, and among other \
             nodes' events they may stand in the wrong place"
        )
    })
}

/// What to say of an agent of another version.
pub fn version_sentence(agent: &str) -> Option<String> {
    let own = env!("CARGO_PKG_VERSION");
    (agent != own).then(|| {
        format!(
            "its agent is version {agent}, this program is {own}: what only one of them knows is left out. Install one \
             version of both to see everything"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_way_there_and_back_is_no_difference_of_clocks() {
        // Asked at 100 s, heard at 108 s: any clock in between may be right.
        for agent in [100, 104, 108] {
            assert_eq!(clock_off_ns(100 * SECOND, agent * SECOND, 108 * SECOND), 0);
        }
        assert_eq!(
            clock_off_ns(100 * SECOND, 97 * SECOND, 108 * SECOND),
            -3 * SECOND
        );
        assert_eq!(
            clock_off_ns(100 * SECOND, 111 * SECOND, 108 * SECOND),
            3 * SECOND
        );
        assert_eq!(clock_off_ns(0, i64::MIN, 0), i64::MIN);
        assert_eq!(clock_off_ns(i64::MAX, i64::MIN, i64::MAX), i64::MIN);
    }

    #[test]
    fn only_a_difference_that_matters_is_told_and_in_which_direction() {
        assert_eq!(clock_sentence(2 * SECOND), None);
        assert_eq!(clock_sentence(-2 * SECOND), None);
        let ahead = clock_sentence(90 * SECOND).expect("told");
        assert!(
            ahead.starts_with("its clock is 90.0 s ahead of "),
            "{ahead}"
        );
        let behind = clock_sentence(-2 * SECOND - 500_000_000).expect("told");
        assert!(behind.starts_with("its clock is 2.5 s behind "), "{behind}");
        assert!(clock_sentence(i64::MIN).is_some());
    }

    #[test]
    fn the_same_version_is_no_news() {
        assert_eq!(version_sentence(env!("CARGO_PKG_VERSION")), None);
        let other = version_sentence("0.0.9").expect("told");
        assert!(other.contains("version 0.0.9"), "{other}");
    }
}
