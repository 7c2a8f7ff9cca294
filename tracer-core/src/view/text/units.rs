//! Quantities for people.

use std::time::Duration;

pub use crate::model::units::{count, duration};

/// Milliseconds with as many digits as ping prints, without the unit.
pub(super) fn ping_milliseconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1e3)
}

/// `812 B`, `3.4 KiB`.
pub(super) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_use_binary_multiples() {
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(3_482), "3.4 KiB");
    }
}
