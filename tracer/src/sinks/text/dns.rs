//! DNS exchanges and lookups as lines.

use super::line::{Row, Verdict};
use super::units::{count, duration};
use super::{icmp, names};
use crate::model::dns::{
    DnsFault, DnsName, Flags, OpCode, RecordType, ResourceRecord, opcode_mnemonic, rcode_mnemonic,
    type_mnemonic,
};
use crate::model::edns::{Edns, ExtendedError};
use crate::model::event::Ends;
use crate::model::exchange::{self, ConnectionEnd, Exchange, Outcome, Transport};
use crate::model::flow::Role;
use crate::model::lookup::{Lookup, Step};

/// How many answers a line shows unless it is wide.
const ANSWERS: usize = 3;

/// One exchange; in the wide form with its answers below.
pub(super) fn exchange(exchange: &Exchange, ends: Option<&Ends>, wide: bool) -> Vec<Row> {
    let (name, mut kind) = match &exchange.question {
        Some(question) => (
            question.name.as_str().to_owned(),
            type_mnemonic(question.qtype).into_owned(),
        ),
        None => (no_question(exchange).to_owned(), String::new()),
    };
    // Of what is not a query the type says nothing: it is SOA, the zone's.
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
    if let Some(asked) = exchange.asked_peer {
        detail.push(format!("unexpected: {asked} was asked"));
    }
    if let Some(error) = &exchange.icmp {
        detail.push(icmp::sentence(error));
    }
    detail.extend(fault(exchange));
    let client = ends.is_none_or(|ends| ends.role == Role::Client);
    let data: Vec<&str> = match &exchange.question {
        Some(question) => of_type(&exchange.answers, question.qtype),
        None => Vec::new(),
    };
    let mut tail = server(ends);
    if !wide && !data.is_empty() {
        tail = format!("{tail}  {}", some(&data));
    }
    push_reasons(&mut tail, exchange.extended_errors());
    let mut rows = vec![Row {
        mark: if client { "?" } else { "←" },
        subject: name,
        kind,
        verdict: Some(ending(exchange)),
        detail: detail.join(", "),
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

/// How it ended, in a word.
fn ending(exchange: &Exchange) -> (Verdict, String) {
    match exchange.rcode {
        _ if exchange.referral() => (Verdict::Warn, "referral".to_owned()),
        Some(rcode) if exchange.outcome == Outcome::Other => {
            (Verdict::Bad, rcode_mnemonic(rcode).into_owned())
        }
        None if exchange.outcome == Outcome::Other => (Verdict::Bad, "no answer".to_owned()),
        _ => (verdict(exchange.outcome), word(exchange.outcome).to_owned()),
    }
}

fn no_question(exchange: &Exchange) -> &'static str {
    match (&exchange.fault, &exchange.details.query_fault) {
        (None, None) => "(no question)",
        _ => "(question not readable)",
    }
}

/// What was wrong, in few words; JSON has all of them.
fn fault(exchange: &Exchange) -> Option<String> {
    let of = |fault: &DnsFault, whose: &str| match fault {
        DnsFault::CutShort => "capture cut short".to_owned(),
        DnsFault::Questions(count) => format!("{count} questions"),
        _ => format!("malformed {whose}"),
    };
    match (&exchange.fault, &exchange.details.query_fault) {
        (Some(fault), _) => Some(of(fault, "answer")),
        (None, Some(fault)) => Some(of(fault, "query")),
        (None, None) => None,
    }
}

/// Why the server says it answered as it did, behind what is there.
fn push_reasons(tail: &mut String, errors: &[ExtendedError]) {
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

/// What the wide form tells of flags, TTL and EDNS.
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

/// A lookup as one block: what was asked, then each candidate.
pub(super) fn lookup(lookup: &Lookup, ends: Option<&Ends>, wide: bool) -> Vec<Row> {
    let candidates = grouped(&lookup.steps);
    let asked = match (&lookup.asked, candidates.first()) {
        (Some(asked), _) => asked.clone(),
        // The wire cannot tell what was asked for, but what was asked of the server it can.
        (None, Some(first)) => first.name.as_str().to_owned(),
        (None, None) => "(no query kept)".to_owned(),
    };
    let types: Vec<_> = lookup.qtypes.iter().copied().map(type_mnemonic).collect();
    let mut detail = count(u64::from(lookup.queries), "query");
    // First query to last answer: without an answer there is nothing to measure.
    if !lookup.duration.is_zero() {
        detail.push_str(&format!(", {}", duration(lookup.duration)));
    }
    let mut head = Row {
        mark: "?",
        subject: asked.clone(),
        kind: types.join("+"),
        verdict: Some((verdict(lookup.outcome), word(lookup.outcome).to_owned())),
        detail,
        tail: server(ends),
        ..Row::default()
    };
    // One query for the very name that was asked for: the block's head says it all.
    if let [only] = candidates.as_slice()
        && *only.name == DnsName::new(&asked)
    {
        if !only.data.is_empty() {
            head.tail = format!("{}  {}", head.tail, shown(&only.data, wide));
        }
        push_reasons(&mut head.tail, &only.errors);
        return vec![head];
    }
    let mut rows = vec![head];
    let last = candidates.len().saturating_sub(1);
    for (index, candidate) in candidates.iter().enumerate() {
        let mut tail = shown(&candidate.data, wide);
        push_reasons(&mut tail, &candidate.errors);
        rows.push(Row {
            branch: branch(index == last),
            subject: abbreviated(candidate.name, &asked, wide),
            kind: candidate.types.join("+"),
            verdict: Some(match candidate.outcome {
                Some(outcome) => (verdict(outcome), word(outcome).to_owned()),
                None => (Verdict::Neutral, "open".to_owned()),
            }),
            detail: candidate.latency.map(duration).unwrap_or_default(),
            tail,
            ..Row::default()
        });
    }
    rows
}

/// Steps of one name that ended the same way, told on one line.
struct Candidate<'a> {
    name: &'a DnsName,
    types: Vec<std::borrow::Cow<'static, str>>,
    outcome: Option<Outcome>,
    latency: Option<std::time::Duration>,
    data: Vec<&'a str>,
    errors: Vec<ExtendedError>,
}

fn grouped(steps: &[Step]) -> Vec<Candidate<'_>> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for step in steps {
        let mnemonic = type_mnemonic(step.qtype);
        match candidates.last_mut() {
            Some(last)
                if *last.name == step.name
                    && last.outcome == step.outcome
                    && !last.types.contains(&mnemonic) =>
            {
                last.types.push(mnemonic);
                // Both were asked at once: the slower one is what the application waited for.
                last.latency = last.latency.max(step.latency);
                last.data.extend(step.data.iter().map(String::as_str));
                for error in &step.errors {
                    if !last.errors.contains(error) {
                        last.errors.push(error.clone());
                    }
                }
            }
            _ => candidates.push(Candidate {
                name: &step.name,
                types: vec![mnemonic],
                outcome: step.outcome,
                latency: step.latency,
                data: step.data.iter().map(String::as_str).collect(),
                errors: step.errors.clone(),
            }),
        }
    }
    candidates
}

/// `….default.svc.cluster.local.` for what was asked for with a search domain behind it.
fn abbreviated(candidate: &DnsName, asked: &str, wide: bool) -> String {
    if !wide
        && let Some(suffix) = candidate
            .as_str()
            .strip_prefix(asked.to_ascii_lowercase().as_str())
            .filter(|rest| rest.starts_with('.') && *rest != ".")
    {
        return format!("…{suffix}");
    }
    candidate.as_str().to_owned()
}

fn of_type(answers: &[ResourceRecord], qtype: RecordType) -> Vec<&str> {
    answers
        .iter()
        .filter(|answer| answer.rtype == qtype)
        .map(|answer| answer.data.as_str())
        .collect()
}

fn shown(data: &[&str], wide: bool) -> String {
    if wide { data.join(", ") } else { some(data) }
}

fn some(data: &[&str]) -> String {
    match data.len().saturating_sub(ANSWERS) {
        0 => data.join(", "),
        more => format!("{} and {more} more", data[..ANSWERS].join(", ")),
    }
}

fn server(ends: Option<&Ends>) -> String {
    match ends {
        Some(ends) if ends.role == Role::Server => format!("from {}", names::peer(&ends.peer)),
        Some(ends) => names::peer(&ends.peer),
        None => String::new(),
    }
}

fn branch(last: bool) -> &'static str {
    if last { "└ " } else { "├ " }
}

/// How a step over TCP ended, in words.
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

fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Answered => Verdict::Good,
        Outcome::Nodata | Outcome::Truncated => Verdict::Neutral,
        _ => Verdict::Bad,
    }
}

/// As dig says it, where dig says it.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Nodata => "no data",
        Outcome::Nxdomain => "NXDOMAIN",
        Outcome::Servfail => "SERVFAIL",
        Outcome::Refused => "REFUSED",
        Outcome::Formerr => "FORMERR",
        Outcome::Truncated => "truncated",
        Outcome::Timeout => "timeout",
        Outcome::IcmpError => "ICMP error",
        Outcome::Other => "other",
    }
}
