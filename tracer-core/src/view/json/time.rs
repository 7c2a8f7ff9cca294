//! Wall time in the form of RFC 3339, UTC, with nine digits.

/// Seconds kept, one text for each remainder.
const SECONDS: usize = 8;

/// Formats times. Keeps the text of the last seconds: date arithmetic costs more than everything else in it, and
/// events come thousands a second. A lookup without an answer is decided seconds after it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Rfc3339 {
    kept: [Second; SECONDS],
}

#[derive(Clone, Debug, Default)]
struct Second {
    second: Option<i64>,
    /// `2026-11-29T12:00:00.123456789Z`.
    text: String,
}

impl Rfc3339 {
    /// The text of a time, until the next call.
    pub(super) fn format(&mut self, time: jiff::Timestamp) -> &str {
        let second = time.as_second();
        let kept = &mut self.kept[second.rem_euclid(SECONDS as i64) as usize];
        // Negative before 1970; then the fraction counts backwards.
        match u32::try_from(time.subsec_nanosecond()) {
            Ok(fraction) if kept.second == Some(second) => kept.set_fraction(fraction),
            _ => {
                kept.text = rfc3339(time);
                kept.second = Some(second).filter(|&second| second > 0);
            }
        }
        &kept.text
    }
}

impl Second {
    /// Replaces the nine digits before the final `Z`.
    fn set_fraction(&mut self, mut fraction: u32) {
        self.text.truncate(self.text.len() - 10);
        let mut digits = *b"000000000Z";
        for digit in digits[..9].iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        self.text.extend(str::from_utf8(&digits));
    }
}

/// The text of a single time.
pub(super) fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.9}")
}

#[cfg(test)]
mod tests {
    use super::{Rfc3339, rfc3339};

    #[test]
    fn a_kept_second_changes_no_text() {
        let mut kept = Rfc3339::default();
        for nanoseconds in [
            0,
            1,
            -1,
            -1_000_000_001,
            1_790_000_000_000_000_000,
            1_790_000_000_000_000_001,
            1_790_000_000_999_999_999,
            1_790_000_000_100_000_000,
            1_790_000_001_000_000_000,
            1_789_999_999_999_999_999,
            253_402_207_200_999_999_999,
        ] {
            let time = jiff::Timestamp::from_nanosecond(nanoseconds).expect("in range");
            assert_eq!(kept.format(time), rfc3339(time));
            assert_eq!(kept.format(time), rfc3339(time), "again");
        }
    }
}
