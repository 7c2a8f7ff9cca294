//! A shell-like pattern for names: what `--name`, `--pod` and `--interface` take.

use std::fmt;
use std::str::FromStr;

use wildmatch::WildMatch;

/// `*` stands for any characters (dots included), `?` for one; anything else for itself. Case does not matter in ASCII,
/// as in DNS (RFC 4343). A name without a wildcard is a pattern that fits that name only.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob {
    written: String,
    pattern: WildMatch,
}

/// Why something is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is empty, so it would fit nothing.
    #[error("an empty pattern fits nothing; `*` fits everything")]
    Empty,
}

impl Glob {
    /// Whether the whole of `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        self.pattern.matches(&name.to_ascii_lowercase())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it fits more than one name.
    pub fn is_wild(&self) -> bool {
        self.written.contains(['*', '?'])
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(written: &str) -> Result<Glob, GlobError> {
        if written.is_empty() {
            return Err(GlobError::Empty);
        }
        Ok(Glob {
            written: written.to_owned(),
            pattern: WildMatch::new(&written.to_ascii_lowercase()),
        })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn fits_the_whole_name_whatever_its_case() {
        for (pattern, name, fits) in [
            ("coredns-*", "coredns-6f5f9b5d74-pf4ld", true),
            ("coredns-*", "my-coredns-1", false),
            ("*.cluster.local.", "a.b.svc.cluster.local.", true),
            ("veth?", "veth1", true),
            ("veth?", "veth10", false),
            ("WWW.Example.com.", "www.example.com.", true),
            ("a\\032b.", "a\\032b.", true),
        ] {
            let glob: Glob = pattern.parse().expect("a pattern");
            assert_eq!(glob.matches(name), fits, "{pattern} on {name}");
        }
    }
}
