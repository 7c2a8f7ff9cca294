//! Types of option values that only an agent and the probes have: sizes of memory, the name of an instance.

use std::fmt;
use std::str::FromStr;

use bytesize::ByteSize;

/// The size of the ring buffer. The kernel requires a power of two of whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct RingSize(pub u32);

impl fmt::Display for RingSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(u64::from(self.0), f)
    }
}

impl FromStr for RingSize {
    type Err = String;

    fn from_str(written: &str) -> Result<RingSize, String> {
        let bytes = bytes(written)?;
        let (min, max) = (64 * 1024, 1024 * 1024 * 1024);
        if (min..=max).contains(&bytes) && bytes.is_power_of_two() {
            let bytes = u32::try_from(bytes).map_err(|error| error.to_string())?;
            return Ok(RingSize(bytes));
        }
        let next = bytes
            .clamp(min, max)
            .checked_next_power_of_two()
            .unwrap_or(max);
        Err(format!(
            "expected a power of two from 64 KiB to 1 GiB, for example {}",
            ByteSize::b(next).display().iec()
        ))
    }
}

/// The size of an agent's event history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct HistorySize(pub u64);

impl fmt::Display for HistorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(self.0, f)
    }
}

impl FromStr for HistorySize {
    type Err = String;

    fn from_str(written: &str) -> Result<HistorySize, String> {
        let bytes = bytes(written)?;
        if (64 * 1024..=64 << 30).contains(&bytes) {
            return Ok(HistorySize(bytes));
        }
        Err("expected 64 KiB to 64 GiB".to_owned())
    }
}

/// The size at which a file is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct FileSize(pub u64);

impl fmt::Display for FileSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(self.0, f)
    }
}

impl FromStr for FileSize {
    type Err = String;

    fn from_str(written: &str) -> Result<FileSize, String> {
        let bytes = bytes(written)?;
        if (64 * 1024..=16 << 30).contains(&bytes) {
            return Ok(FileSize(bytes));
        }
        Err("expected 64 KiB to 16 GiB".to_owned())
    }
}

/// Writes a size as the options take it: `8MiB`.
fn write_bytes(bytes: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match bytes {
        bytes if bytes % (1 << 20) == 0 => write!(f, "{}MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => write!(f, "{}KiB", bytes >> 10),
        bytes => write!(f, "{bytes}"),
    }
}

/// Parses a number of bytes, with or without a unit. `8MB` means 8 MiB, the usual meaning for memory.
fn bytes(written: &str) -> Result<u64, String> {
    let upper = written.trim().to_ascii_uppercase();
    let binary = match upper.strip_suffix('B') {
        Some(prefix) if prefix.ends_with(['K', 'M', 'G']) => format!("{prefix}IB"),
        None if upper.ends_with(['K', 'M', 'G']) => format!("{upper}IB"),
        _ => upper,
    };
    binary
        .parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "expected a number with a unit, as in 512KiB or 16MiB".to_owned())
}

/// The name of one of several tracers on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Instance(pub String);

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(written: &str) -> Result<Instance, String> {
        let valid = (1..=32).contains(&written.len())
            && written
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if valid {
            Ok(Instance(written.to_owned()))
        } else {
            Err("expected 1 to 32 letters, digits, '-' or '_'".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HistorySize, Instance, RingSize};

    #[test]
    fn a_ring_size_is_a_power_of_two_and_the_error_names_the_next() {
        let ring = |written: &str| written.parse::<RingSize>().map(|size| size.0);
        assert_eq!(ring("16MiB"), Ok(16 << 20));
        assert_eq!(ring("16MB"), Ok(16 << 20));
        assert_eq!(ring("16m"), Ok(16 << 20));
        assert_eq!(ring("65536"), Ok(65_536));
        assert!(ring("5MiB").is_err_and(|error| error.contains("8.0 MiB")));
        assert!(ring("1k").is_err_and(|error| error.contains("64.0 KiB")));
        assert!(ring("16 GiB").is_err_and(|error| error.contains("1.0 GiB")));
        assert!(ring("many").is_err());
    }

    #[test]
    fn a_size_is_printed_as_it_is_parsed() {
        for (bytes, text) in [
            (16 << 20, "16MiB"),
            (64 << 10, "64KiB"),
            (100_000, "100000"),
        ] {
            assert_eq!(HistorySize(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(HistorySize(bytes)));
        }
        assert!("1KiB".parse::<HistorySize>().is_err());
    }

    #[test]
    fn an_instance_is_a_short_name() {
        assert!("second-1".parse::<Instance>().is_ok());
        for wrong in ["", "a/b", &"a".repeat(33)] {
            assert!(wrong.parse::<Instance>().is_err(), "{wrong}");
        }
    }
}
