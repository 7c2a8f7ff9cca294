//! Replaces names by hashes, and finds names in free text.
//!
//! A name below a redacted domain keeps the domain: `a.b.corp.example.` becomes `h-<hex>.corp.example.`, with
//! or without a search domain behind it. An application can ask for the beginning of such a name (`a.b`, with
//! `corp.example` on the search path). Within one event, that beginning is hashed too, and so are the other
//! candidates of the resolver.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::fields::{Field, visit};
use crate::model::dns::DnsName;
use crate::model::event::Event;

/// 48 bits: the names that a node sees do not collide, and a hash stays readable.
const HASH_BYTES: usize = 6;
/// Replaces bytes that may hold a name.
const WITHHELD: &str = "(withheld)";

/// The secret of an agent's hashes. Without it, a known name cannot be looked up in the output of an agent.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// A new key, from the operating system's source of randomness.
    pub fn random() -> Key {
        Key(rand::random())
    }

    /// A key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }
}

/// The secret is not shown.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A domain whose names are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactedDomain {
    /// Leftmost first, lower case, not empty.
    labels: Vec<String>,
}

/// Why a text is not a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedactedDomainError {
    /// It is not a name.
    #[error("a domain is labels with dots between, as in corp.example or internal")]
    NotAName,
    /// It is a pattern.
    #[error("it takes a domain and no pattern: corp.example is all names below it")]
    Pattern,
}

impl FromStr for RedactedDomain {
    type Err = RedactedDomainError;

    fn from_str(written: &str) -> Result<RedactedDomain, RedactedDomainError> {
        let relative = written.strip_suffix('.').unwrap_or(written);
        // A leading dot has the same meaning.
        let relative = relative.strip_prefix('.').unwrap_or(relative);
        if relative.contains('*') {
            return Err(RedactedDomainError::Pattern);
        }
        let fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let labels: Vec<String> = relative.split('.').map(str::to_ascii_lowercase).collect();
        if relative.len() <= 253 && labels.iter().all(|label| fits(label)) {
            Ok(RedactedDomain { labels })
        } else {
            Err(RedactedDomainError::NotAName)
        }
    }
}

impl fmt::Display for RedactedDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.labels.join("."))
    }
}

/// Redacts events.
#[derive(Clone, Debug)]
pub struct Redactor {
    domains: Vec<RedactedDomain>,
    key: Key,
}

impl Redactor {
    /// Redacts names below these domains.
    pub fn new(domains: Vec<RedactedDomain>, key: Key) -> Redactor {
        Redactor { domains, key }
    }

    /// Replaces the domains.
    pub fn set(&mut self, domains: Vec<RedactedDomain>) {
        self.domains = domains;
    }

    /// Replaces every name of an event that is below a redacted domain.
    pub fn redact(&self, event: &mut Event) {
        if self.domains.is_empty() {
            return;
        }
        let mut heads = Heads::default();
        visit(event, &mut |field| match field {
            Field::Name(name) => heads.learn(self.head(name.as_str())),
            Field::Asked(asked) => heads.learn(self.head(asked)),
            Field::Text(text) => words(text).for_each(|word| heads.learn(self.head(word))),
            Field::SharedName(name) => heads.learn(self.head(name)),
            Field::Opaque(data) => WITHHELD.clone_into(data),
        });
        if heads.0.is_empty() {
            return;
        }
        visit(event, &mut |field| match field {
            Field::Name(name) => {
                if let Some(hashed) = self.hashed(name.as_str(), &heads) {
                    *name = DnsName::new(&hashed);
                }
            }
            Field::Asked(asked) => {
                if let Some(hashed) = self.hashed(asked, &heads) {
                    *asked = hashed;
                }
            }
            Field::Text(text) => {
                if let Some(hashed) = self.text(text, &heads) {
                    *text = hashed;
                }
            }
            Field::SharedName(name) => {
                if let Some(hashed) = self.hashed(name, &heads) {
                    *name = Arc::from(hashed);
                }
            }
            Field::Opaque(_) => {}
        });
    }

    /// The part of a name before a redacted domain.
    fn head<'a>(&self, name: &'a str) -> Option<&'a str> {
        let ends = label_ends(name);
        let label = |index: usize| {
            let start = match index {
                0 => 0,
                index => ends[index - 1] + 1,
            };
            &name[start..ends[index]]
        };
        // The rightmost match hides most.
        let at = (1..ends.len()).rfind(|at| {
            self.domains.iter().any(|domain| {
                let labels = &domain.labels;
                at + labels.len() <= ends.len()
                    && labels
                        .iter()
                        .zip(*at..)
                        .all(|(wanted, index)| label(index).eq_ignore_ascii_case(wanted))
            })
        })?;
        Some(&name[..ends[at - 1]]).filter(|head| !head.is_empty())
    }

    /// The name with its secret part replaced, if it has one.
    fn hashed(&self, name: &str, heads: &Heads) -> Option<String> {
        if let Some(head) = self.head(name) {
            return Some(format!("{}{}", self.hash(head), &name[head.len()..]));
        }
        // Another candidate of the same lookup, or the name that the application asked for.
        if let Some(head) = heads.beginning_of(name) {
            return Some(format!("{}{}", self.hash(head), &name[head.len()..]));
        }
        let relative = name.strip_suffix('.').unwrap_or(name);
        heads.begin_with(relative).then(|| self.hash(relative))
    }

    /// The text with its secret names replaced, if it has any.
    fn text(&self, text: &str, heads: &Heads) -> Option<String> {
        let mut out = String::new();
        let mut done = 0;
        for word in words(text) {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            if let Some(hashed) = self.hashed(word, heads) {
                out.push_str(&text[done..start]);
                out.push_str(&hashed);
                done = start + word.len();
            }
        }
        (done > 0).then(|| {
            out.push_str(&text[done..]);
            out
        })
    }

    fn hash(&self, head: &str) -> String {
        let digest = Sha256::new()
            .chain_update(self.key.0)
            .chain_update(head.to_ascii_lowercase())
            .finalize();
        let mut out = "h-".to_owned();
        for byte in digest.iter().take(HASH_BYTES) {
            // Writing to a string does not fail.
            let _ = write!(out, "{byte:02x}");
        }
        out
    }
}

/// The secret parts of an event's names, lower case.
#[derive(Debug, Default)]
struct Heads(Vec<String>);

impl Heads {
    fn learn(&mut self, head: Option<&str>) {
        if let Some(head) = head.map(str::to_ascii_lowercase)
            && !self.0.contains(&head)
        {
            self.0.push(head);
        }
    }

    /// The longest head that a name begins with, as the name writes it.
    fn beginning_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let longest = self
            .0
            .iter()
            .filter(|head| is_beginning(head, name))
            .map(String::len)
            .max()?;
        Some(&name[..longest])
    }

    /// Whether a head starts with this name.
    fn begin_with(&self, name: &str) -> bool {
        !name.is_empty() && self.0.iter().any(|head| is_beginning(name, head))
    }
}

/// Whether the labels of `short` are the first labels of `long`.
fn is_beginning(short: &str, long: &str) -> bool {
    let Some(beginning) = long.get(..short.len()) else {
        return false;
    };
    beginning.eq_ignore_ascii_case(short)
        && matches!(long.as_bytes().get(short.len()), None | Some(b'.'))
}

/// The end of each label of a name. A dot after a backslash is part of its label; a trailing dot ends the
/// last label.
fn label_ends(name: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut escaped = false;
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'.' => ends.push(at),
            _ => {}
        }
    }
    if !name.is_empty() && !name.ends_with('.') {
        ends.push(name.len());
    }
    ends
}

/// The possible names in a text: runs of characters that neither quote nor delimit a name.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |c: char| match c {
        // Characters with a meaning in a zone file are escaped in a name.
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        c => {
            !c.is_ascii_graphic()
                || matches!(
                    c,
                    '"' | '\''
                        | '`'
                        | '('
                        | ')'
                        | '<'
                        | '>'
                        | '['
                        | ']'
                        | '{'
                        | '}'
                        | ','
                        | ';'
                        | ':'
                        | '/'
                        | '='
                        | '@'
                        | '|'
                        | '!'
                        | '?'
                )
        }
    })
    .filter(|word| !word.is_empty())
}
