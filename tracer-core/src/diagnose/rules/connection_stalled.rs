//! Established connections whose sends get no answer.

use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Break, Cause, Claim, Evidence, Summary};
use crate::diagnose::command::{Kubectl, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, FlowFact, StallCause};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::{attempt, logs_of, services};
use crate::model::connection::{TcpConnection, TcpState};
use crate::model::evidence::Unanswered;
use crate::model::finding::Severity;
use crate::model::flow::Direction;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "connection-stalled",
    severity: Severity::Error,
    finds: "an established connection whose sends get no answer",
    means: "A connection was established, and then the pod's data or keepalive probes got no acknowledgment: the other end is \
            gone, or the path to it is. Or the other end repeats its SYN-ACK although the pod acknowledged it: its program \
            accepts connections too slowly.",
    looks_at: "At least five segments, or three keepalive probes, within ten seconds or longer after the last packet of the \
               other end; at least two repetitions of a SYN-ACK that the pod acknowledged.",
    cannot_know: "Whether the other end is gone or only the path. Live, the probes emit no data segments: the kernel's counters \
                  show packets sent and none received, and where the kernel shows retransmissions, how many segments were sent \
                  again.",
    check,
};

/// A shorter silence can be an ordinary loss: the system repeats a segment five times in six seconds.
const MIN_SPAN: Duration = Duration::from_secs(10);
const MIN_SENDS: u64 = 5;
const MIN_PROBES: u64 = 3;
/// A connection that was idle for this long was possibly forgotten on the path.
const MIN_IDLE: Duration = Duration::from_secs(120);
/// One repetition can be an acknowledgment that was lost.
const MIN_REPEATS: u32 = 2;

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Tcp(connection) = case.symptom else {
        return None;
    };
    let known = matches!(connection.state, TcpState::Established | TcpState::Idle)
        || matches!(connection.state, TcpState::Reset | TcpState::Closed);
    if !known || case.is_dns_port() {
        return None;
    }
    let unanswered = connection.evidence.unanswered.filter(is_stalled);
    if let Some(unanswered) = unanswered {
        return Some(stalled(case, connection, unanswered));
    }
    let repeats = connection.evidence.syn_ack_repeats;
    // Data that came shows that the program did accept.
    let accepted = connection.evidence.payload.to_pod;
    (repeats >= MIN_REPEATS && !accepted).then(|| accepts_slowly(case, connection, repeats))
}

fn is_stalled(unanswered: &Unanswered) -> bool {
    let enough = unanswered.packets >= MIN_SENDS || unanswered.probes >= MIN_PROBES;
    // Where the other end was never heard, perhaps it cannot be seen.
    unanswered.sender == Direction::FromPod
        && enough
        && unanswered.span() >= MIN_SPAN
        && unanswered.heard.is_some()
}

fn stalled(case: &Case<'_>, connection: &TcpConnection, unanswered: Unanswered) -> Claim {
    let peer = connection.flow.peer;
    let cause = match unanswered.probes == unanswered.packets {
        true => StallCause::Keepalive,
        false => StallCause::Data,
    };
    let summary = Summary::Stalled {
        destination: attempt::destination(case, peer.port()),
        packets: unanswered.packets,
        probes: unanswered.probes,
        span: unanswered.span(),
    };
    let mut claim = Claim::new(Cause::Socket(peer, "TCP"), summary)
        .because(Reason::PeerGone)
        .fix(Fix::UserTimeout)
        .cure(Cure::Carries(peer.ip(), peer.port()))
        .evidence([Evidence::Broken {
            protocol: "TCP",
            from: connection.flow.pod,
            to: peer,
            end: Break::Unanswered {
                packets: unanswered.packets,
                span: unanswered.span(),
            },
        }]);
    if let Some(segments) = unanswered.retransmits.filter(|segments| *segments > 0) {
        claim = claim.why(FlowFact::SentAgain(segments));
    }
    if let Some(heard) = unanswered.heard {
        claim = claim.why(FlowFact::LastAnswer(unanswered.last.since(heard)));
        let idle = unanswered.since.since(heard);
        if idle >= MIN_IDLE {
            claim = claim
                .because(Reason::ForgottenWhileIdle)
                .fix(Fix::Keepalive)
                .why(FlowFact::SilentAfterIdle(idle));
        }
    }
    claim = claim.why(FlowFact::StallCauses(cause));
    endpoints(case, claim).command(PodCommand::Connections(peer.ip()))
}

fn accepts_slowly(case: &Case<'_>, connection: &TcpConnection, repeats: u32) -> Claim {
    let peer = connection.flow.peer;
    let summary = Summary::SynAckRepeated {
        destination: attempt::destination(case, peer.port()),
        repeats: repeats.into(),
    };
    let claim = Claim::new(Cause::Socket(peer, "TCP"), summary)
        .because(Reason::AcceptQueueFull)
        .fix(Fix::CheckAccept)
        .why(FlowFact::StallCauses(StallCause::SynAck))
        .cure(Cure::Carries(peer.ip(), peer.port()))
        .evidence([Evidence::Broken {
            protocol: "TCP",
            from: connection.flow.pod,
            to: peer,
            end: Break::SynAckRepeated(repeats.into()),
        }]);
    let claim = endpoints(case, claim);
    match &case.ends.peer.pod {
        Some(pod) => claim.command(Kubectl::Sockets((&**pod).into())),
        None => logs_of::destination(case, claim),
    }
}

/// Adds the endpoints, and how to see whether they still are.
fn endpoints(case: &Case<'_>, claim: Claim) -> Claim {
    match (case.service(), &case.ends.peer.pod) {
        (Some(service), _) => claim
            .why(ConnectionFact::ReadyEndpoints(services::ready_or_unknown(
                case.index, service,
            )))
            .commands(services::whereabouts(service)),
        (None, Some(pod)) => claim.command(Kubectl::DescribePod((&**pod).into())),
        (None, None) => claim,
    }
}
