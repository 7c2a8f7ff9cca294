//! Messages compared with dig's output for them (`vectors/content.txt`, made by `vectors/content.py`).

use hickory_proto::rr::RecordType;

use super::{message, rdata};
use crate::decode::testing::unhex;
use crate::model::dns::{Message, ResourceRecord, opcode_mnemonic, rcode_mnemonic, type_mnemonic};
use crate::model::edns::Edns;

/// One message, and dig's lines by section.
#[derive(Default)]
struct Vector {
    case: &'static str,
    query: Vec<u8>,
    response: Vec<u8>,
    opcode: &'static str,
    status: &'static str,
    flags: Vec<&'static str>,
    questions: Vec<&'static str>,
    answers: Vec<&'static str>,
    authorities: Vec<&'static str>,
    opt: Vec<&'static str>,
    tsig: Vec<&'static str>,
}

/// All queries and responses.
pub(super) fn messages() -> Vec<Vec<u8>> {
    vectors()
        .into_iter()
        .flat_map(|vector| [vector.query, vector.response])
        .collect()
}

fn vectors() -> Vec<Vector> {
    include_str!("../vectors/content.txt")
        .split("\n\n")
        .filter(|block| block.starts_with("case"))
        .map(|block| {
            let mut vector = Vector::default();
            for line in block.lines() {
                let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                match key {
                    "case" => vector.case = value,
                    "query" => vector.query = unhex(value),
                    "response" => vector.response = unhex(value),
                    "opcode" => vector.opcode = value,
                    "status" => vector.status = value,
                    "flags" => vector.flags = value.split(' ').collect(),
                    "question" => vector.questions.push(value),
                    "answer" => vector.answers.push(value),
                    "authority" => vector.authorities.push(value),
                    "opt" => vector.opt.push(value),
                    "tsig" => vector.tsig.push(value),
                    other => panic!("unknown key {other}"),
                }
            }
            vector
        })
        .collect()
}

fn vector(case: &str) -> Vector {
    vectors()
        .into_iter()
        .find(|vector| vector.case.contains(case))
        .unwrap_or_else(|| panic!("no case {case}"))
}

fn read(bytes: &[u8]) -> Message {
    message(bytes, false).expect("a message")
}

/// dig's line for a record without its class, the owner in lower case. (Names in the data have no capitals.)
fn expected(line: &str) -> String {
    let fields: Vec<&str> = line.splitn(5, ' ').collect();
    let [owner, ttl, _class, rtype, data] = fields[..] else {
        panic!("five fields in {line}")
    };
    // ANAME was never assigned, so dig does not know it.
    if rtype == "TYPE65305" {
        let target = if owner.starts_with("aname.made") {
            "a.example."
        } else {
            "a.vec.test."
        };
        return format!("{owner} {ttl} ANAME {target}");
    }
    let rtype = rtype.replace("TYPE29", "LOC");
    format!("{} {ttl} {rtype} {data}", owner.to_ascii_lowercase())
}

fn printed(record: &ResourceRecord) -> String {
    format!(
        "{} {} {} {}",
        record.name,
        record.ttl,
        type_mnemonic(record.rtype),
        record.data
    )
}

fn lines(records: &[ResourceRecord]) -> Vec<String> {
    records.iter().map(printed).collect()
}

fn all_expected(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| expected(line)).collect()
}

#[test]
fn every_record_is_printed_as_dig_prints_it() {
    let mut types = std::collections::BTreeSet::new();
    for vector in vectors() {
        let response = read(&vector.response);
        let case = vector.case;
        assert_eq!(
            lines(&response.answers),
            all_expected(&vector.answers),
            "{case}"
        );
        assert_eq!(
            lines(&response.authorities),
            all_expected(&vector.authorities),
            "{case}"
        );
        for record in response.answers.iter().chain(&response.authorities) {
            types.insert(type_mnemonic(record.rtype).into_owned());
        }
    }
    // TSIG, which has a test of its own, and OPT are not in these sections.
    let seen: Vec<&str> = types.iter().map(String::as_str).collect();
    assert_eq!(
        seen.join(" "),
        "A AAAA ANAME CAA CDNSKEY CDS CERT CNAME CSYNC DNAME DNSKEY DS HINFO HTTPS KEY LOC MX NAPTR NS NSEC NSEC3 \
         NSEC3PARAM NULL OPENPGPKEY PTR RRSIG SIG SMIMEA SOA SRV SSHFP SVCB TLSA TXT TYPE65280 TYPE65281"
    );
}

#[test]
fn header_and_question_match_digs_output() {
    for vector in vectors() {
        let response = read(&vector.response);
        let case = vector.case;
        assert_eq!(response.fault, None, "{case}");
        let mut flags: Vec<&str> = response.flags.mnemonics().collect();
        flags.insert(0, "qr");
        assert_eq!(flags, vector.flags, "{case}");
        // Without a mnemonic, dig's wording differs from that of RFC 2136.
        let status = vector.status.replace('?', "RCODE");
        assert_eq!(rcode_mnemonic(response.rcode), status, "{case}");
        let opcode = vector.opcode.replace("RESERVED6", "DSO");
        assert_eq!(opcode_mnemonic(response.opcode), opcode, "{case}");
        let question: Vec<String> = response
            .question
            .iter()
            .map(|question| format!("{} {}", question.name, type_mnemonic(question.qtype)))
            .collect();
        let dig: Vec<String> = vector
            .questions
            .iter()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let qtype = words[2]
                    .replace("TYPE65305", "ANAME")
                    .replace("TYPE29", "LOC");
                format!("{} {qtype}", words[0].to_ascii_lowercase())
            })
            .collect();
        assert_eq!(question, dig, "{case}");
    }
}

/// The OPT record as dig prints it.
fn as_dig(edns: &Edns) -> Vec<String> {
    let wants = if edns.dnssec_ok { " do" } else { "" };
    let mut lines = vec![format!(
        "EDNS: version: {}, flags:{wants}; udp: {}",
        edns.version, edns.udp_size
    )];
    let spaced = |hex: &[u8]| {
        let bytes: Vec<String> = hex
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).into_owned())
            .collect();
        bytes.join(" ")
    };
    if let Some(nsid) = &edns.nsid {
        let hex: String = nsid.bytes().map(|byte| format!("{byte:02x}")).collect();
        lines.push(format!("NSID: {} (\"{nsid}\")", spaced(hex.as_bytes())));
    }
    if let Some(subnet) = &edns.client_subnet {
        lines.push(format!("CLIENT-SUBNET: {subnet}"));
    }
    if let Some(cookie) = &edns.cookie {
        lines.push(format!("COOKIE: {cookie}"));
    }
    for error in &edns.errors {
        let mut line = format!("EDE: {}", error.code);
        if let Some(meaning) = error.meaning() {
            line.push_str(&format!(" ({meaning})"));
        }
        if !error.text.is_empty() {
            line.push_str(&format!(": ({})", error.text));
        }
        lines.push(line);
    }
    for option in &edns.others {
        let hex = spaced(option.data.as_bytes());
        lines.push(format!("OPT={}: {hex} (\"...\")", option.code));
    }
    lines
}

#[test]
fn edns_and_extended_errors_read_as_dig_printed_them() {
    let mut errors = std::collections::BTreeSet::new();
    for vector in vectors() {
        let response = read(&vector.response);
        let lines = response.edns.as_deref().map(as_dig).unwrap_or_default();
        // dig's interpretation of a cookie's value is not in the message.
        let dig: Vec<&str> = vector
            .opt
            .iter()
            .map(|line| line.trim_end_matches(" (good)").trim_end_matches(" (bad)"))
            .collect();
        assert_eq!(lines, dig, "{}", vector.case);
        errors.extend(response.edns.iter().flat_map(|edns| {
            let codes = edns.errors.iter();
            codes.map(|error| error.code).collect::<Vec<_>>()
        }));
    }
    let known: Vec<u16> = (0..25).chain([49_152]).collect();
    assert_eq!(errors.into_iter().collect::<Vec<_>>(), known);
}

#[test]
fn tsig_is_printed_as_dig_prints_it() {
    let vector = vector("tsig.made.up");
    let fields: Vec<&str> = vector.tsig[0].splitn(5, ' ').collect();
    // It ends the message: 39 octets of data.
    let end = vector.response.len();
    let text = rdata::text(&vector.response, RecordType::TSIG, end - 39, end);
    assert_eq!(text.expect("well formed"), fields[4]);
}

#[test]
fn the_negative_ttl_is_the_lesser_of_a_soas_two() {
    let of = |case: &str| read(&vector(case).response).negative_ttl;
    assert_eq!(of("soa-ttl-less"), Some(30));
    assert_eq!(of("soa-minimum-less"), Some(7));
    assert_eq!(of("nothere.vec.test A"), Some(5), "nothing of that name");
    assert_eq!(of("a.vec.test AAAA"), Some(5), "nothing of that type");
    assert_eq!(of("x.sub.vec.test A"), None, "a referral");
    assert_eq!(of("other.example A"), None, "refused");
}

#[test]
fn every_query_of_dig_decodes_without_fault() {
    for vector in vectors() {
        let query = read(&vector.query);
        let response = read(&vector.response);
        assert_eq!(
            (query.response, &query.fault),
            (false, &None),
            "{}",
            vector.case
        );
        assert_eq!(query.id, response.id, "{}", vector.case);
        assert_eq!(query.opcode, response.opcode, "{}", vector.case);
        // named omits the question when it refuses to parse the query.
        if response.question.is_some() {
            assert_eq!(query.question, response.question, "{}", vector.case);
        }
        assert_eq!(
            query.edns.is_some(),
            !vector.case.contains("+noedns "),
            "{}",
            vector.case
        );
    }
}
