//! The OPT record of a message (EDNS, RFC 6891): sizes, flags and options, extended errors (RFC 8914) among
//! them. `decode::dns` reads the wire format.

/// The OPT record of a message. All text in it is printable ASCII; other bytes are escaped as in a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP payload that the sender accepts. In a query it decides what the server must truncate.
    pub udp_size: u16,
    /// Version; 0 is the only one.
    pub version: u8,
    /// DNSSEC records are wanted (DO).
    pub dnssec_ok: bool,
    /// Identifier of the answering server (NSID, RFC 5001).
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
    /// Without the parts that belong to one message only, for an open query.
    pub fn capabilities(&self) -> Edns {
        Edns {
            udp_size: self.udp_size,
            version: self.version,
            dnssec_ok: self.dnssec_ok,
            ..Edns::default()
        }
    }
}

/// An option without further interpretation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdnsOption {
    /// Its number (IANA "DNS EDNS0 Option Codes").
    pub code: u16,
    /// Its data, hexadecimal.
    pub data: String,
}

/// The server's reason for its answer (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// Its number.
    pub code: u16,
    /// The server's additional text; empty if none.
    pub text: String,
}

impl ExtendedError {
    /// The code's meaning, if known.
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
