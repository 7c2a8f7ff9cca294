//! Mnemonics for response codes, opcodes and types, as dig prints them. A number without a mnemonic stays a
//! number.

use std::borrow::Cow;

use super::{OpCode, RecordType, ResponseCode};

/// Response codes and their mnemonics (IANA "DNS RCODEs"). In a header 16 is BADVERS; its other meaning,
/// BADSIG, occurs only in a TSIG record. hickory-proto reads it as BADSIG, so numbers are compared.
const RCODES: [(ResponseCode, &str); 19] = [
    (ResponseCode::NoError, "NOERROR"),
    (ResponseCode::FormErr, "FORMERR"),
    (ResponseCode::ServFail, "SERVFAIL"),
    (ResponseCode::NXDomain, "NXDOMAIN"),
    (ResponseCode::NotImp, "NOTIMP"),
    (ResponseCode::Refused, "REFUSED"),
    (ResponseCode::YXDomain, "YXDOMAIN"),
    (ResponseCode::YXRRSet, "YXRRSET"),
    (ResponseCode::NXRRSet, "NXRRSET"),
    (ResponseCode::NotAuth, "NOTAUTH"),
    (ResponseCode::NotZone, "NOTZONE"),
    (ResponseCode::BADVERS, "BADVERS"),
    (ResponseCode::BADKEY, "BADKEY"),
    (ResponseCode::BADTIME, "BADTIME"),
    (ResponseCode::BADMODE, "BADMODE"),
    (ResponseCode::BADNAME, "BADNAME"),
    (ResponseCode::BADALG, "BADALG"),
    (ResponseCode::BADTRUNC, "BADTRUNC"),
    (ResponseCode::BADCOOKIE, "BADCOOKIE"),
];

/// The code as dig prints it; `RCODE<n>` for one without a mnemonic.
pub fn rcode_mnemonic(rcode: ResponseCode) -> Cow<'static, str> {
    let number = u16::from(rcode);
    match RCODES.iter().find(|(code, _)| u16::from(*code) == number) {
        Some((_, mnemonic)) => Cow::Borrowed(mnemonic),
        None => Cow::Owned(format!("RCODE{number}")),
    }
}

/// The code for a mnemonic in any case, for `RCODE<n>` or for a plain number.
pub fn rcode_from_mnemonic(written: &str) -> Option<ResponseCode> {
    let upper = written.to_ascii_uppercase();
    match RCODES.iter().find(|(_, mnemonic)| *mnemonic == upper) {
        Some((code, _)) => Some(*code),
        None => upper
            .strip_prefix("RCODE")
            .unwrap_or(&upper)
            .parse::<u16>()
            .ok()
            .map(Into::into),
    }
}

/// The opcode as IANA names it; `OPCODE<n>` for one without a mnemonic.
pub fn opcode_mnemonic(opcode: OpCode) -> Cow<'static, str> {
    Cow::Borrowed(match opcode {
        OpCode::Query => "QUERY",
        OpCode::Unknown(1) => "IQUERY",
        OpCode::Status => "STATUS",
        OpCode::Notify => "NOTIFY",
        OpCode::Update => "UPDATE",
        OpCode::Unknown(6) => "DSO",
        OpCode::Unknown(number) => return Cow::Owned(format!("OPCODE{number}")),
    })
}

/// Types that hickory-proto does not name (IANA "Resource Record (RR) TYPEs"), except those that never came
/// into use.
const OTHER_TYPES: [(u16, &str); 34] = [
    (14, "MINFO"),
    (17, "RP"),
    (18, "AFSDB"),
    (19, "X25"),
    (20, "ISDN"),
    (21, "RT"),
    (22, "NSAP"),
    (26, "PX"),
    (27, "GPOS"),
    (29, "LOC"),
    (30, "NXT"),
    (36, "KX"),
    (38, "A6"),
    (42, "APL"),
    (45, "IPSECKEY"),
    (49, "DHCID"),
    (55, "HIP"),
    (56, "NINFO"),
    (57, "RKEY"),
    (58, "TALINK"),
    (63, "ZONEMD"),
    (99, "SPF"),
    (104, "NID"),
    (105, "L32"),
    (106, "L64"),
    (107, "LP"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (256, "URI"),
    (258, "AVC"),
    (260, "AMTRELAY"),
    (32_768, "TA"),
    (32_769, "DLV"),
];

/// The type as dig prints it; `TYPE<n>` (RFC 3597 section 5) for one without a mnemonic.
pub fn type_mnemonic(rtype: RecordType) -> Cow<'static, str> {
    match rtype {
        RecordType::Unknown(number) => {
            match OTHER_TYPES.iter().find(|(other, _)| *other == number) {
                Some((_, mnemonic)) => Cow::Borrowed(mnemonic),
                None => Cow::Owned(format!("TYPE{number}")),
            }
        }
        // Only hickory calls this type ZERO.
        RecordType::ZERO => Cow::Borrowed("TYPE0"),
        known => Cow::Borrowed(known.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        OpCode, RecordType, ResponseCode, opcode_mnemonic, rcode_from_mnemonic, rcode_mnemonic,
        type_mnemonic,
    };

    #[test]
    fn codes_and_types_without_a_mnemonic_keep_their_number() {
        assert_eq!(rcode_mnemonic(ResponseCode::NXDomain), "NXDOMAIN");
        assert_eq!(rcode_mnemonic(3000_u16.into()), "RCODE3000");
        assert_eq!(rcode_mnemonic(16_u16.into()), "BADVERS");
        assert_eq!(
            rcode_from_mnemonic("nxdomain"),
            Some(ResponseCode::NXDomain)
        );
        assert_eq!(rcode_from_mnemonic("3"), Some(ResponseCode::NXDomain));
        assert_eq!(rcode_from_mnemonic("RCODE3000"), Some(3000_u16.into()));
        assert_eq!(rcode_from_mnemonic("no such code"), None);
        assert_eq!(type_mnemonic(RecordType::AAAA), "AAAA");
        assert_eq!(type_mnemonic(RecordType::from(65_280_u16)), "TYPE65280");
        assert_eq!(type_mnemonic(RecordType::from(29)), "LOC");
        assert_eq!(type_mnemonic(RecordType::from(0)), "TYPE0");
        assert_eq!(opcode_mnemonic(OpCode::from_u8(4)), "NOTIFY");
        assert_eq!(opcode_mnemonic(OpCode::from_u8(6)), "DSO");
        assert_eq!(opcode_mnemonic(OpCode::from_u8(15)), "OPCODE15");
    }
}
