//! The common form of DNS messages in which both sides are compared.

use std::fmt;

/// Nanoseconds since the epoch.
pub type Time = i128;

/// A DNS record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// Owner, absolute and in lower case.
    pub name: String,
    /// The mnemonic.
    pub rtype: String,
    /// The TTL in seconds.
    pub ttl: u64,
    /// In the form of a zone file; `None` for a type whose fields are not put together here.
    pub data: Option<String>,
}

/// An end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The address.
    pub ip: String,
    /// The port.
    pub port: u64,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.ip, self.port)
    }
}

/// The mnemonic of a record type.
pub fn type_name(number: u64) -> String {
    let known = [
        (1, "A"),
        (2, "NS"),
        (5, "CNAME"),
        (6, "SOA"),
        (12, "PTR"),
        (13, "HINFO"),
        (15, "MX"),
        (16, "TXT"),
        (28, "AAAA"),
        (33, "SRV"),
        (35, "NAPTR"),
        (39, "DNAME"),
        (41, "OPT"),
        (43, "DS"),
        (44, "SSHFP"),
        (46, "RRSIG"),
        (47, "NSEC"),
        (48, "DNSKEY"),
        (50, "NSEC3"),
        (51, "NSEC3PARAM"),
        (52, "TLSA"),
        (64, "SVCB"),
        (65, "HTTPS"),
        (251, "IXFR"),
        (252, "AXFR"),
        (255, "ANY"),
        (257, "CAA"),
    ];
    mnemonic(&known, number, "TYPE")
}

/// The mnemonic of a response code.
pub fn rcode_name(number: u64) -> String {
    let known = [
        (0, "NOERROR"),
        (1, "FORMERR"),
        (2, "SERVFAIL"),
        (3, "NXDOMAIN"),
        (4, "NOTIMP"),
        (5, "REFUSED"),
        (6, "YXDOMAIN"),
        (7, "YXRRSET"),
        (8, "NXRRSET"),
        (9, "NOTAUTH"),
        (10, "NOTZONE"),
        (16, "BADVERS"),
        (23, "BADCOOKIE"),
    ];
    mnemonic(&known, number, "RCODE")
}

fn mnemonic(known: &[(u64, &str)], number: u64, otherwise: &str) -> String {
    known.iter().find(|(code, _)| *code == number).map_or_else(
        || format!("{otherwise}{number}"),
        |(_, name)| (*name).to_owned(),
    )
}

/// Nanoseconds as milliseconds, for people.
pub fn milliseconds(ns: Time) -> String {
    format!("{}.{:06} ms", ns / 1_000_000, ns % 1_000_000)
}
