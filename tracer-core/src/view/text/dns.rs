//! DNS exchanges as lines, and the words that lookups share with them.

use super::line::{Row, Verdict};
use super::units::{count, duration};
use super::{INCOMPLETE, icmp, names};
use crate::model::dns::{
    DnsFault, Flags, OpCode, RecordType, ResourceRecord, ResponseCode, opcode_mnemonic,
    rcode_mnemonic, type_mnemonic,
};
use crate::model::edns::{Edns, ExtendedError};
use crate::model::event::Ends;
use crate::model::exchange::{self, ConnectionEnd, Exchange, Outcome, Transport};
use crate::model::flow::Role;

/// How many answers a line of the narrow form shows.
const MAX_ANSWERS: usize = 3;

/// One exchange; the wide form lists its answers below.
pub(super) fn exchange(
    exchange: &Exchange,
    ends: Option<&Ends>,
    incomplete: bool,
    wide: bool,
) -> Vec<Row> {
    let (name, mut kind) = match &exchange.question {
        Some(question) => (
            question.name.as_str().to_owned(),
            type_mnemonic(question.qtype).into_owned(),
        ),
        None => (no_question(exchange).to_owned(), String::new()),
    };
    // In other messages than queries the type is always SOA: the opcode says more.
    if exchange.details.opcode != OpCode::Query {
        kind = opcode_mnemonic(exchange.details.opcode).into_owned();
    }
    let mut detail = Vec::new();
    if let Some(latency) = exchange.latency {
        detail.push(duration(latency));
    }
    match exchange.attempts {
        0 if exchange.asked_peer.is_some() => {}
        0 => detail.push("query not seen".to_owned()),
        1 => {}
        attempts => detail.push(count(u64::from(attempts), "attempt")),
    }
    if exchange.late {
        detail.push("late".to_owned());
    }
    if incomplete {
        detail.push(INCOMPLETE.to_owned());
    } else if exchange.outcome == Outcome::Undecided && !exchange.is_unsolicited() {
        detail.push("no answer yet".to_owned());
    }
    match exchange.steps.as_slice() {
        [first, .., last] => detail.push(format!(
            "{} over UDP, then {} over TCP",
            word(first.outcome),
            step_word(last, exchange),
        )),
        _ if exchange.transport == Transport::Tcp => detail.push("over TCP".to_owned()),
        _ => {}
    }
    if exchange.steps.is_empty()
        && let Some(end) = exchange.connection
    {
        detail.push(format!("connection {}", ended(end)));
    }
    if exchange.details.resynchronised {
        detail.push("message boundary guessed".to_owned());
    }
    if let Some(asked) = exchange.asked_peer {
        detail.push(format!("query sent to {asked}"));
    }
    if let Some(error) = &exchange.icmp {
        detail.push(icmp::sentence(error));
    }
    detail.extend(fault(exchange));
    let data: Vec<&str> = match &exchange.question {
        Some(question) => data_of_type(&exchange.answers, question.qtype),
        None => Vec::new(),
    };
    let mut tail = String::new();
    if !wide && !data.is_empty() {
        tail = some(&data);
    }
    push_reasons(&mut tail, exchange.extended_errors());
    let mut rows = vec![Row {
        kind: "dns",
        subject: format!("{name} {kind}").trim_end().to_owned(),
        verdict: Some(ending(exchange)),
        detail: detail.join(", "),
        server: server(ends),
        tail,
        ..Row::default()
    }];
    if wide {
        let last = exchange.answers.len().saturating_sub(1);
        for (index, answer) in exchange.answers.iter().enumerate() {
            rows.push(Row {
                branch: branch(index == last),
                subject: format!(
                    "{} {} {} {}",
                    answer.name,
                    answer.ttl,
                    type_mnemonic(answer.rtype),
                    answer.data
                ),
                ..Row::default()
            });
        }
    }
    rows
}

/// The verdict and its word.
fn ending(exchange: &Exchange) -> (Verdict, String) {
    match exchange.rcode {
        _ if exchange.asked_peer.is_some() => (Verdict::Warn, "unexpected".to_owned()),
        Some(rcode) if exchange.is_unsolicited() => (Verdict::Neutral, unsolicited(rcode)),
        _ if exchange.referral() => (Verdict::Warn, "referral".to_owned()),
        Some(rcode) if exchange.outcome == Outcome::Other => {
            (Verdict::Bad, rcode_mnemonic(rcode).into_owned())
        }
        None if exchange.outcome == Outcome::Other => (Verdict::Bad, "no answer".to_owned()),
        _ => (verdict(exchange.outcome), word(exchange.outcome).to_owned()),
    }
}

/// An answer whose query was not seen is neither a success nor a failure.
fn unsolicited(rcode: ResponseCode) -> String {
    match rcode {
        ResponseCode::NoError => "answer".to_owned(),
        _ => rcode_mnemonic(rcode).into_owned(),
    }
}

fn no_question(exchange: &Exchange) -> &'static str {
    match (&exchange.fault, &exchange.details.query_fault) {
        (None, None) => "(no question)",
        _ => "(question not readable)",
    }
}

/// A message's fault in a few words; JSON has the details.
fn fault(exchange: &Exchange) -> Option<String> {
    let words = |fault: &DnsFault, message: &str| match fault {
        DnsFault::CutShort => "capture cut short".to_owned(),
        DnsFault::Questions(count) => format!("{count} questions"),
        _ => format!("malformed {message}"),
    };
    match (&exchange.fault, &exchange.details.query_fault) {
        (Some(fault), _) => Some(words(fault, "answer")),
        (None, Some(fault)) => Some(words(fault, "query")),
        (None, None) => None,
    }
}

/// Appends the server's reasons (Extended DNS Errors, RFC 8914) to the tail.
pub(super) fn push_reasons(tail: &mut String, errors: &[ExtendedError]) {
    for error in errors {
        if !tail.is_empty() {
            tail.push_str("  ");
        }
        let parts = [error.meaning().unwrap_or_default(), &error.text];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        tail.push_str(&format!("(EDE {}", error.code));
        if !parts.is_empty() {
            tail.push_str(&format!(": {}", parts.join(": ")));
        }
        tail.push(')');
    }
}

/// The wide form's flags, TTL and EDNS.
pub(super) fn add_details(exchange: &Exchange, pairs: &mut Vec<String>) {
    let details = &exchange.details;
    if let Some(flags) = details.flags {
        let flags: Vec<_> = Flags::mnemonics(flags).collect();
        pairs.push(format!("flags={}", flags.join(",")));
    }
    if let Some(ttl) = exchange.negative_ttl() {
        pairs.push(format!("negative-ttl={ttl}s"));
    }
    let edns = |edns: &Edns| {
        let wants = if edns.dnssec_ok { ",do" } else { "" };
        let version = match edns.version {
            0 => String::new(),
            other => format!(",version-{other}"),
        };
        format!("{}{wants}{version}", edns.udp_size)
    };
    if let Some(asked) = &details.query_edns {
        pairs.push(format!("query-edns={}", edns(asked)));
    }
    if let Some(answered) = &details.edns {
        pairs.push(format!("edns={}", edns(answered)));
        let options = [
            ("nsid", &answered.nsid),
            ("cookie", &answered.cookie),
            ("subnet", &answered.client_subnet),
        ];
        for (key, value) in options {
            if let Some(value) = value {
                pairs.push(format!("{key}={value}"));
            }
        }
    }
}

fn data_of_type(answers: &[ResourceRecord], qtype: RecordType) -> Vec<&str> {
    answers
        .iter()
        .filter(|answer| answer.rtype == qtype)
        .map(|answer| answer.data.as_str())
        .collect()
}

pub(super) fn shown(data: &[&str], wide: bool) -> String {
    if wide { data.join(", ") } else { some(data) }
}

fn some(data: &[&str]) -> String {
    match data.len().saturating_sub(MAX_ANSWERS) {
        0 => data.join(", "),
        more => format!("{} and {more} more", data[..MAX_ANSWERS].join(", ")),
    }
}

pub(super) fn server(ends: Option<&Ends>) -> String {
    match ends {
        Some(ends) if ends.role == Role::Server => format!("from {}", names::peer(&ends.peer)),
        Some(ends) => names::peer(&ends.peer),
        None => String::new(),
    }
}

pub(super) fn branch(last: bool) -> &'static str {
    if last { "└ " } else { "├ " }
}

/// The outcome of a step over TCP in words.
fn step_word(step: &exchange::Step, exchange: &Exchange) -> String {
    match exchange.connection {
        Some(end) => format!("connection {}", ended(end)),
        None => word(step.outcome).to_owned(),
    }
}

fn ended(end: ConnectionEnd) -> &'static str {
    match end {
        ConnectionEnd::Refused => "refused",
        ConnectionEnd::Timeout => "timed out",
        ConnectionEnd::Reset => "reset",
        ConnectionEnd::Closed => "closed",
    }
}

pub(super) fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Answered => Verdict::Good,
        Outcome::Nodata | Outcome::Truncated | Outcome::Undecided => Verdict::Neutral,
        _ => Verdict::Bad,
    }
}

/// An outcome's word; dig's word where dig has one.
pub(super) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Nodata => "no data",
        Outcome::Nxdomain => "NXDOMAIN",
        Outcome::Servfail => "SERVFAIL",
        Outcome::Refused => "REFUSED",
        Outcome::Formerr => "FORMERR",
        Outcome::Truncated => "truncated",
        Outcome::Timeout => "timeout",
        Outcome::Undecided => "undecided",
        Outcome::IcmpError => "ICMP error",
        Outcome::Other => "other",
    }
}
