//! The names of findings as objects: the same in every replica and after every restart.

use sha2::{Digest as _, Sha256};

/// Longest part of a name that comes from the rule: names have at most 253 characters.
const MAX_RULE: usize = 200;

/// The name and UID of a finding's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// A DNS subdomain name (RFC 1123): the rule and ten digits that differ by pod and cause.
    pub name: String,
    /// In the form of a UUID.
    pub uid: String,
}

/// The name of the finding `id` of a pod.
pub fn object_name(rule: &str, pod_uid: &str, id: &str) -> ObjectName {
    let mut hash = Sha256::new();
    hash.update(pod_uid.as_bytes());
    hash.update([0]);
    hash.update(id.as_bytes());
    let hex: String = hash
        .finalize()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    ObjectName {
        name: format!("{}-{}", safe_rule(rule), part(0, 10)),
        uid: format!(
            "{}-{}-{}-{}-{}",
            part(10, 18),
            part(18, 22),
            part(22, 26),
            part(26, 30),
            part(30, 42)
        ),
    }
}

/// An agent of a later version can have other rules, and a hostile one anything.
fn safe_rule(rule: &str) -> String {
    let safe: String = rule
        .chars()
        .take(MAX_RULE)
        .map(|character| match character.to_ascii_lowercase() {
            safe @ ('a'..='z' | '0'..='9') => safe,
            _ => '-',
        })
        .collect();
    match safe.trim_matches('-') {
        "" => "unknown".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// Whether a text can be the value of a label.
pub fn is_label(value: &str) -> bool {
    let edge = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphanumeric);
    let octets = value.as_bytes();
    octets.len() <= 63
        && edge(octets.first())
        && edge(octets.last())
        && octets
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_subdomain_and_differs_by_pod_and_cause() {
        let one = object_name("dns-timeout", "uid-1", "dns-timeout:kube-dns");
        // By `printf 'uid-1\0dns-timeout:kube-dns' | sha256sum`.
        assert_eq!(one.name, "dns-timeout-1e5f209aeb");
        assert_eq!(one.uid, "09547c49-3854-2a7c-850f-90ce306b1b92");
        for (uid, id) in [("uid-2", "dns-timeout:kube-dns"), ("uid-1", "other")] {
            assert_ne!(object_name("dns-timeout", uid, id), one);
        }
        for (rule, start) in [
            ("", "unknown-"),
            ("../x", "x-"),
            ("A_b.c", "a-b-c-"),
            ("\u{1b}[31m", "31m-"),
        ] {
            let name = object_name(rule, "u", "i").name;
            assert!(name.starts_with(start), "{name}");
        }
        assert!(object_name(&"x".repeat(999), "u", "i").name.len() < 253);
    }

    #[test]
    fn values_that_labels_cannot_have_are_recognised() {
        for (value, fits) in [
            ("web-7d9f", true),
            ("a.b_c", true),
            ("", false),
            ("-a", false),
            ("a/b", false),
            (&*"x".repeat(64), false),
        ] {
            assert_eq!(is_label(value), fits, "{value}");
        }
    }
}
