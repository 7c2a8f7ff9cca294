//! Versions as clients see them.
//!
//! A `resourceVersion` is the store's version, microseconds since 1970, followed by three digits of this
//! replica: so it is a number that grows, also between replicas, and a replica knows its own. A watch that
//! resumes at the replica that sent the version gets nothing twice.

use super::status::Failure;

/// Replicas with a number of their own.
const REPLICAS: u64 = 1000;

/// This replica's versions.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    replica: u64,
}

/// A version from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Microseconds since 1970.
    pub at_us: u64,
    /// This replica sent it.
    pub own: bool,
}

impl Versions {
    /// The versions of a replica with a random number.
    pub fn new(random: u64) -> Versions {
        Versions {
            replica: random % REPLICAS,
        }
    }

    /// As a client sees it.
    pub fn text(self, at_us: u64) -> String {
        at_us
            .saturating_mul(REPLICAS)
            .saturating_add(self.replica)
            .to_string()
    }

    /// The version that a client names; `None` if it wants the current state, whatever its version.
    ///
    /// # Errors
    /// If it is not a version of any replica.
    pub fn parse(self, text: Option<&str>) -> Result<Option<Version>, Failure> {
        let number: u64 = match text {
            None | Some("" | "0") => return Ok(None),
            Some(text) => text.parse().map_err(|_| {
                Failure::bad_request(format!("resourceVersion: {text:?} is not a version"))
            })?,
        };
        Ok(Some(Version {
            at_us: number / REPLICAS,
            own: number % REPLICAS == self.replica,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_that_every_replica_reads() {
        let (one, two) = (Versions::new(1), Versions::new(2));
        let text = one.text(1_800_000_000_123_456);
        assert_eq!(text, "1800000000123456001");
        // A signed number, as clients compare them.
        assert!(text.parse::<i64>().is_ok());
        let parse = |versions: Versions| versions.parse(Some(&text)).expect("a version");
        let at_us = 1_800_000_000_123_456;
        assert_eq!(parse(one), Some(Version { at_us, own: true }));
        assert_eq!(parse(two), Some(Version { at_us, own: false }));
        for none in [None, Some(""), Some("0")] {
            assert_eq!(one.parse(none), Ok(None));
        }
        assert_eq!(one.parse(Some("abc")).expect_err("refused").code, 400);
    }
}
