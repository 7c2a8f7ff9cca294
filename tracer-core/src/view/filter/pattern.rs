//! The patterns of `--pod`, `--peer` and `--name`: for pods, for other ends and for DNS names.
//!
//! Owns their syntax and what they match. [`warnings`](super::Filter::warnings) checks whether a pod or
//! Service of that name exists. Input: words from the command line.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::model::dns::DnsName;
use crate::model::glob::{Glob, GlobError};
use crate::model::identity::{PeerEnd, PodEnd, PodIdentity};

/// `[namespace/]name` with wildcards.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectPattern {
    /// The namespace; `None` matches every namespace.
    pub namespace: Option<Glob>,
    /// The object's name.
    pub name: Glob,
}

impl FromStr for ObjectPattern {
    type Err = GlobError;

    fn from_str(written: &str) -> Result<ObjectPattern, GlobError> {
        Ok(match written.split_once('/') {
            Some((namespace, name)) => ObjectPattern {
                namespace: Some(namespace.parse()?),
                name: name.parse()?,
            },
            None => ObjectPattern {
                namespace: None,
                name: written.parse()?,
            },
        })
    }
}

impl fmt::Display for ObjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}", self.name)
    }
}

impl ObjectPattern {
    /// Whether the pattern matches this object.
    pub fn names(&self, namespace: &str, name: &str) -> bool {
        self.namespace
            .as_ref()
            .is_none_or(|pattern| pattern.matches(namespace))
            && self.name.matches(name)
    }

    fn names_pod(&self, pod: &PodIdentity) -> bool {
        self.names(&pod.namespace, &pod.name)
    }
}

/// A pod by name, or by address for a pod whose name is not known.
#[derive(Clone, Debug, PartialEq)]
pub enum PodPattern {
    /// By name.
    Named(ObjectPattern),
    /// By address.
    Address(IpAddr),
}

impl FromStr for PodPattern {
    type Err = GlobError;

    fn from_str(written: &str) -> Result<PodPattern, GlobError> {
        match written.parse() {
            Ok(address) => Ok(PodPattern::Address(address)),
            Err(_) => written.parse().map(PodPattern::Named),
        }
    }
}

impl fmt::Display for PodPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PodPattern::Named(object) => object.fmt(f),
            PodPattern::Address(address) => address.fmt(f),
        }
    }
}

impl PodPattern {
    pub(super) fn fits(&self, ip: IpAddr, pod: Option<&PodIdentity>) -> bool {
        match self {
            PodPattern::Address(address) => *address == ip,
            PodPattern::Named(object) => pod.is_some_and(|pod| object.names_pod(pod)),
        }
    }
}

/// The other end of a flow: a Service or pod by name, or addresses.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerPattern {
    /// A Service or pod by name.
    Named(ObjectPattern),
    /// One address or a range.
    Addresses(IpNet),
}

/// Why a word is not a [`PeerPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerPatternError {
    /// An address with an impossible prefix length.
    #[error("`{written}` is not a range of addresses: write it like 10.1.0.0/16 or fd00::/8")]
    Range {
        /// The word.
        written: String,
    },
    /// Not a name or a pattern for names.
    #[error(transparent)]
    Name(#[from] GlobError),
}

impl FromStr for PeerPattern {
    type Err = PeerPatternError;

    fn from_str(written: &str) -> Result<PeerPattern, PeerPatternError> {
        if let Ok(address) = written.parse::<IpAddr>() {
            return Ok(PeerPattern::Addresses(address.into()));
        }
        if let Ok(range) = written.parse::<IpNet>() {
            return Ok(PeerPattern::Addresses(range));
        }
        // A namespace cannot look like an address.
        match written.split_once('/') {
            Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
                Err(PeerPatternError::Range {
                    written: written.to_owned(),
                })
            }
            _ => Ok(PeerPattern::Named(written.parse()?)),
        }
    }
}

impl fmt::Display for PeerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerPattern::Named(object) => object.fmt(f),
            PeerPattern::Addresses(range) => range.fmt(f),
        }
    }
}

impl PeerPattern {
    pub(super) fn fits(&self, peer: &PeerEnd) -> bool {
        match self {
            PeerPattern::Addresses(range) => range.contains(&peer.ip),
            PeerPattern::Named(object) => {
                peer.any_pod().is_some_and(|pod| object.names_pod(pod))
                    || peer
                        .service
                        .as_ref()
                        .is_some_and(|service| object.names(&service.namespace, &service.name))
            }
        }
    }

    /// Whether the pattern matches this pod, seen from the other end as the peer.
    pub(super) fn fits_mirrored(&self, pod: &PodEnd) -> bool {
        match self {
            PeerPattern::Addresses(range) => range.contains(&pod.ip),
            PeerPattern::Named(object) => {
                pod.identity.as_ref().is_ok_and(|pod| object.names_pod(pod))
            }
        }
    }
}

/// A pattern for DNS names. A trailing dot makes no difference, in the pattern or in the name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamePattern(Glob);

impl FromStr for NamePattern {
    type Err = GlobError;

    fn from_str(written: &str) -> Result<NamePattern, GlobError> {
        match written.strip_suffix('.') {
            Some(relative) if !relative.is_empty() => relative.parse().map(NamePattern),
            _ => written.parse().map(NamePattern),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl NamePattern {
    pub(super) fn matches(&self, name: &DnsName) -> bool {
        self.0.matches(name.relative())
    }

    pub(super) fn matches_written(&self, name: &str) -> bool {
        self.0.matches(name.strip_suffix('.').unwrap_or(name))
    }
}
