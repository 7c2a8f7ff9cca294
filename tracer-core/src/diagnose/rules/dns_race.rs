//! Two queries from one socket at the same moment, of which one was lost.

use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::Claim;
use crate::diagnose::memory::Seen;
use crate::diagnose::rule::Rule;
use crate::diagnose::server;
use crate::model::dns::{RecordType, type_mnemonic};
use crate::model::exchange::Transport;
use crate::model::finding::Severity;
use crate::model::units::duration;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "dns-race",
    severity: Severity::Warning,
    finds: "of two queries sent together one got no answer, and the lookup took seconds",
    means: "A resolver asked for A and AAAA from one socket at the same moment; one was answered at once, the other only when it was \
            asked again, seconds later. Once, that is an ordinary loss (severity info). Again and again, it is how a known race \
            shows on nodes that translate the DNS server's address: both packets make the same connection tracking entry, and one \
            is dropped (severity warning from the second time within ten minutes).",
    looks_at: "The two exchanges of a lookup: one socket, neither waited for the other, one answered within a second, the other after \
               it was sent again 0.9 s later or more.",
    cannot_know: "Whether it was that race, another loss, or a query that the server left unanswered: the node's insert_failed \
                  counter tells. It happens by chance, so no lookup shows that it is over: it is forgotten when it does not \
                  happen again for ten minutes.",
    check,
};

/// A resolver that asks in parallel sends both without waiting; on a busy node that may take a while all the same.
const TOGETHER: Duration = Duration::from_millis(50);
/// The one that was answered was answered as usual.
const AT_ONCE: Duration = Duration::from_secs(1);
/// No resolver asks again sooner (musl 2.5 s, glibc 5 s; 1 s by option).
const RETRY: Duration = Duration::from_millis(900);

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(looked) = case.symptom else {
        return None;
    };
    let seen = &looked.seen;
    let (answered, lost) = seen
        .iter()
        .flat_map(|one| seen.iter().map(move |other| (one, other)))
        .find(|(one, other)| race(one, other))?;
    let asked = looked.asked()?;
    let (one, other) = (type_mnemonic(answered.qtype), type_mnemonic(lost.qtype));
    let claim = Claim::new(
        case.ends.peer.ip.to_string(),
        format!(
            "{} waited {} for \"{}\": of two queries sent together {other} got no answer from DNS server {} until it was asked again.",
            case.who(),
            duration(lost.latency?),
            asked.name,
            server::name(case)
        ),
    )
    .once(Severity::Info)
    .why(format!(
        "{one} and {other} of {} were asked from one socket within {}; {one} was answered in {}, {other} after {} attempts.",
        lost.name,
        duration(gap(answered, lost)),
        duration(answered.latency?),
        lost.attempts
    ))
    .why("The query was lost, or its answer was, or the server left it unanswered. Once, that is ordinary. If it happens again and again, possible cause: the race of two packets of one socket in the node's connection tracking (kubernetes/kubernetes issue 56903).")
    .remedy("conntrack -S | grep -o 'insert_failed=[0-9]*'   # on the pod's node, a line each CPU: with that race they grow")
    .remedy("dnsConfig: {options: [{name: single-request-reopen}]}   # in the pod's spec, if they do; glibc heeds it, musl does not")
    .evidence(looked.evidence());
    Some(claim)
}

fn race(answered: &Seen, lost: &Seen) -> bool {
    let pair = matches!(
        (answered.qtype, lost.qtype),
        (RecordType::A, RecordType::AAAA) | (RecordType::AAAA, RecordType::A)
    );
    pair && answered.transport == Transport::Udp
        && lost.transport == Transport::Udp
        && answered.name == lost.name
        && answered.from == lost.from
        && answered.server == lost.server
        && together(answered, lost)
        && answered.attempts == 1
        && answered.latency.is_some_and(|latency| latency < AT_ONCE)
        && lost.attempts > 1
        && lost.latency.is_some_and(|latency| latency >= RETRY)
}

/// Whether neither waited for the other: one that asks for one type after the other has an answer to the first before.
fn together(one: &Seen, other: &Seen) -> bool {
    let (first, second) = if one.asked <= other.asked {
        (one, other)
    } else {
        (other, one)
    };
    let gap = gap(one, other);
    gap <= TOGETHER || gap < AT_ONCE && second.asked < first.last
}

fn gap(one: &Seen, other: &Seen) -> Duration {
    one.asked
        .since(other.asked)
        .max(other.asked.since(one.asked))
}
