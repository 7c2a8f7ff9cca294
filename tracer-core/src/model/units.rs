//! Quantities as people read them.

use std::time::Duration;

/// About three significant digits: `0.41 ms`, `3.1 ms`, `412 ms`, `5.02 s`, `2 min 5 s`.
pub fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    if milliseconds < 0.995 {
        format!("{milliseconds:.2} ms")
    } else if milliseconds < 99.95 {
        format!("{milliseconds:.1} ms")
    } else if milliseconds < 999.5 {
        format!("{milliseconds:.0} ms")
    } else if milliseconds < 9_995.0 {
        format!("{:.2} s", milliseconds / 1e3)
    } else if milliseconds < 59_950.0 {
        format!("{:.1} s", milliseconds / 1e3)
    } else {
        let seconds = duration.as_secs();
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
            (hours, minutes, _) => format!("{hours} h {minutes} min"),
        }
    }
}

/// A count with its noun: `1 packet`, `2 packets`, `1 query`, `2 queries`.
pub fn count(count: u64, one: &str) -> String {
    if count == 1 {
        return format!("1 {one}");
    }
    match one.strip_suffix('y') {
        Some(stem) => format!("{count} {stem}ies"),
        None if one.ends_with('s') => format!("{count} {one}es"),
        None => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{count, duration};

    #[test]
    fn durations_keep_about_three_digits() {
        for (nanoseconds, text) in [
            (0, "0.00 ms"),
            (410_000, "0.41 ms"),
            (3_100_000, "3.1 ms"),
            (412_300_000, "412 ms"),
            (999_400_000, "999 ms"),
            (999_600_000, "1.00 s"),
            (5_024_000_000, "5.02 s"),
            (42_000_000_000, "42.0 s"),
            (125_000_000_000, "2 min 5 s"),
            (7_325_000_000_000, "2 h 2 min"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanoseconds)), text);
        }
    }

    #[test]
    fn counts_have_their_plural() {
        assert_eq!(count(1, "query"), "1 query");
        assert_eq!(count(4, "query"), "4 queries");
        assert_eq!(count(0, "packet"), "0 packets");
    }
}
