//! What the OPT record of a message says (EDNS, RFC 6891): sizes, flags and options, the reason for a failure (RFC 8914)
//! among them. Wire decoding is `decode::dns`.

/// The OPT record of a message. All text in it is printable ASCII, other bytes are escaped as in a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP payload that the sender takes. For a query it decides what has to be truncated.
    pub udp_size: u16,
    /// Version; 0 is the only one.
    pub version: u8,
    /// DNSSEC records are wanted (DO).
    pub dnssec_ok: bool,
    /// Which server of several it is (NSID, RFC 5001).
    pub nsid: Option<String>,
    /// Client and server cookie (RFC 7873), hexadecimal.
    pub cookie: Option<String>,
    /// Client subnet (RFC 7871) as `ADDRESS/SOURCE/SCOPE`.
    pub client_subnet: Option<String>,
    /// Extended errors; a message can carry several.
    pub errors: Vec<ExtendedError>,
    /// The other options, in order.
    pub others: Vec<EdnsOption>,
}

impl Edns {
    /// Without what belongs to one message only: what an open query keeps.
    pub fn capabilities(&self) -> Edns {
        Edns {
            udp_size: self.udp_size,
            version: self.version,
            dnssec_ok: self.dnssec_ok,
            ..Edns::default()
        }
    }
}

/// An option without a meaning here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdnsOption {
    /// Its number (IANA "DNS EDNS0 Option Codes").
    pub code: u16,
    /// Its data, hexadecimal.
    pub data: String,
}

/// Why the server answered as it did (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// Its number.
    pub code: u16,
    /// What the server added in its own words; empty if nothing.
    pub text: String,
}

impl ExtendedError {
    /// The number in words, if it is a known one.
    pub fn meaning(&self) -> Option<&'static str> {
        EXTENDED_ERRORS.get(usize::from(self.code)).copied()
    }
}

/// IANA "Extended DNS Error Codes", by number.
const EXTENDED_ERRORS: [&str; 31] = [
    "Other",
    "Unsupported DNSKEY Algorithm",
    "Unsupported DS Digest Type",
    "Stale Answer",
    "Forged Answer",
    "DNSSEC Indeterminate",
    "DNSSEC Bogus",
    "Signature Expired",
    "Signature Not Yet Valid",
    "DNSKEY Missing",
    "RRSIGs Missing",
    "No Zone Key Bit Set",
    "NSEC Missing",
    "Cached Error",
    "Not Ready",
    "Blocked",
    "Censored",
    "Filtered",
    "Prohibited",
    "Stale NXDOMAIN Answer",
    "Not Authoritative",
    "Not Supported",
    "No Reachable Authority",
    "Network Error",
    "Invalid Data",
    "Signature Expired before Valid",
    "Too Early",
    "Unsupported NSEC3 Iterations Value",
    "Unable to conform to policy",
    "Synthesized",
    "Invalid Query Type",
];
