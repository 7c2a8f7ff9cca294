//! Shell-like patterns for names, used by `--name`, `--pod` and `--interface`.

use std::fmt;
use std::str::FromStr;

use wildmatch::WildMatch;

/// `*` matches any characters (dots included), `?` matches one, every other character itself. ASCII case does
/// not matter, as in DNS (RFC 4343). A pattern without a wildcard matches only that name.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob {
    written: String,
    pattern: WildMatch,
}

/// Why a pattern is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It is empty and would match nothing.
    #[error("an empty pattern fits nothing; `*` fits everything")]
    Empty,
}

impl Glob {
    /// Whether the pattern matches the whole of `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.pattern.matches(&name.to_ascii_lowercase())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it can match more than one name.
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
    fn a_pattern_matches_the_whole_name_in_any_case() {
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
