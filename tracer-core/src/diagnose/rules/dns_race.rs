//! One of two queries sent together gets no answer until the resolver repeats it.

use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::{Command, Setting};
use crate::diagnose::fact::{PathFact, ServerFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::memory::{ExchangeEvidence, FlowDrops, Rise};
use crate::diagnose::rule::Rule;
use crate::diagnose::{drops, server};
use crate::model::dns::RecordType;
use crate::model::exchange::Transport;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-race",
    severity: Severity::Warning,
    finds: "one of two queries sent together got no answer, and the lookup took seconds",
    means: "A resolver sent A and AAAA from one socket at the same moment. One was answered at once, the other only after the \
            resolver repeated it, seconds later. Once, this is an ordinary loss (severity info). If it recurs, it is a symptom \
            of a known race on nodes that translate the DNS server's address: both packets create the same connection tracking \
            entry, and the kernel drops one (severity warning from the second time within ten minutes).",
    looks_at: "The two exchanges of a lookup: they use one socket, neither waited for the other, one was answered within a second, \
               the other after a repetition 0.9 s later or more. The node's counter insert_failed, and a packet of the socket that \
               the kernel dropped: both in the same seconds prove the race, the counter alone is a hint.",
    cannot_know: "Without both of these, whether the cause was that race, another loss, or a server that did not answer. The race happens by chance, so no lookup proves that it is over: the finding is dropped \
                  after ten minutes without a recurrence.",
    check,
};

/// A resolver that asks in parallel sends both without waiting. A busy node may delay the second one by this
/// much.
const MAX_GAP: Duration = Duration::from_millis(50);
/// The other query was answered within this time: the server was not slow.
const PROMPT: Duration = Duration::from_secs(1);
/// No resolver repeats a query earlier (musl 2.5 s, glibc 5 s; 1 s with an option).
const MIN_RETRY: Duration = Duration::from_millis(900);

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    let exchanges = lookup.exchanges();
    let (answered, lost) = exchanges
        .iter()
        .flat_map(|one| exchanges.iter().map(move |other| (one, other)))
        .find(|(one, other)| is_race(one, other))?;
    let summary = Summary::Race {
        waited: lost.latency?,
        asked: lookup.asked()?.name.to_owned(),
        lost: lost.qtype,
        server: server::named(case),
    };
    let claim = Claim::new(Cause::Address(case.ends.peer.ip), summary)
        .once(Severity::Info)
        .because(Reason::QueryLost)
        .fix(Fix::SingleRequestReopen)
        .why(ServerFact::Race {
            answered: answered.qtype,
            lost: lost.qtype,
            name: lost.name.clone(),
            gap: gap(answered, lost),
            latency: answered.latency?,
            attempts: lost.attempts,
        })
        .why(ServerFact::RaceCauses)
        .command(Command::ConntrackFailures)
        .command(Setting::SingleRequestReopen)
        .evidence(lookup.evidence());
    Some(conntrack(case, claim, lost))
}

/// Adds that conntrack failed to insert an entry when the lost query was sent, and whether the kernel dropped a
/// packet of that socket.
fn conntrack(case: &Case<'_>, claim: Claim, lost: &ExchangeEvidence) -> Claim {
    let failed = |rise: &Rise| rise.insert_failed > 0;
    let Some(rise) = case.memory.conntrack.at(lost.asked, failed) else {
        return claim;
    };
    let claim = claim.why(PathFact::InsertFailed(rise));
    let netfilter = |drops: &&FlowDrops| {
        drops.from_pod && drops.reason == "NETFILTER_DROP" && drops.last <= rise.until
    };
    match drops::of_query(case, lost).filter(netfilter) {
        Some(drops) => drops::explain(case, claim, drops).why(PathFact::InsertFailedProven),
        None => claim,
    }
}

fn is_race(answered: &ExchangeEvidence, lost: &ExchangeEvidence) -> bool {
    let pair = matches!(
        (answered.qtype, lost.qtype),
        (RecordType::A, RecordType::AAAA) | (RecordType::AAAA, RecordType::A)
    );
    pair && answered.transport == Transport::Udp
        && lost.transport == Transport::Udp
        && answered.name == lost.name
        && answered.from == lost.from
        && answered.server == lost.server
        && sent_together(answered, lost)
        && answered.attempts == 1
        && answered.latency.is_some_and(|latency| latency < PROMPT)
        && lost.attempts > 1
        && lost.latency.is_some_and(|latency| latency >= MIN_RETRY)
}

/// Whether neither query waited for the other. A resolver that asks for one type after the other has the
/// first answer before it sends the second query.
fn sent_together(one: &ExchangeEvidence, other: &ExchangeEvidence) -> bool {
    let (first, second) = if one.asked <= other.asked {
        (one, other)
    } else {
        (other, one)
    };
    let gap = gap(one, other);
    gap <= MAX_GAP || gap < PROMPT && second.asked < first.last
}

fn gap(one: &ExchangeEvidence, other: &ExchangeEvidence) -> Duration {
    one.asked
        .since(other.asked)
        .max(other.asked.since(one.asked))
}
