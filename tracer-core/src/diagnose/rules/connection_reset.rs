//! Established connections that the other end resets: after their first data, again and again, or when they
//! are used after a pause.

use std::time::Duration;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Break, Cause, Claim, Evidence, Summary};
use crate::diagnose::command::PodCommand;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, FlowFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::{attempt, logs_of, services};
use crate::model::connection::{TcpConnection, TcpState};
use crate::model::evidence::Reset;
use crate::model::finding::Severity;
use crate::model::flow::Direction;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "connection-reset",
    severity: Severity::Error,
    finds: "established connections that the other end resets",
    means: "A connection was established and then reset by the other end, or by something on the path: in answer to its first \
            data, or to the first data after a pause.",
    looks_at: "Resets that come instead of an answer to the pod's data: after the first data for at least three connections to one \
               destination and for most of them, or once after a pause of two minutes or longer. Resets by the pod, after an \
               answer and after a FIN are ordinary.",
    cannot_know: "Who reset it: an endpoint, its proxy or a device on the path. Live, the probes emit no data segments: what a \
                  reset answers is known only where the kernel's counters show it.",
    check,
};

/// Fewer resets after the first data are no pattern.
const MIN_RESETS: u64 = 3;
/// A shorter pause has no timer that would explain it.
const MIN_IDLE: Duration = Duration::from_secs(120);

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Tcp(connection) = case.symptom else {
        return None;
    };
    let reset = connection.evidence.reset?;
    let by_peer = connection.state == TcpState::Reset && reset.sender == Direction::ToPod;
    if !by_peer || !reset.answers_payload {
        return None;
    }
    let claim = if reset.idle >= MIN_IDLE {
        after_idle(case, connection, reset)
    } else {
        after_data(case, connection)?
    };
    Some(claim.evidence([Evidence::Broken {
        protocol: "TCP",
        from: connection.flow.pod,
        to: connection.flow.peer,
        end: Break::Reset {
            idle: reset.idle,
            age: reset.age,
        },
    }]))
}

fn after_data(case: &Case<'_>, connection: &TcpConnection) -> Option<Claim> {
    let share = case.share;
    if share.failures < MIN_RESETS {
        return None;
    }
    // The share begins with a failure, which says nothing about the others.
    let (failures, attempts) = (share.failures - 1, share.attempts.saturating_sub(1));
    if failures * 2 <= attempts {
        return None;
    }
    let peer = connection.flow.peer;
    let summary = Summary::ResetAfterData {
        destination: attempt::destination(case, peer.port()),
        share,
    };
    let mut claim = Claim::new(Cause::Socket(peer, "TCP"), summary)
        .because(Reason::OtherProtocolExpected)
        .fix(Fix::CheckProtocol)
        .why(FlowFact::ResetAfterDataCauses)
        .cure(Cure::Carries(peer.ip(), peer.port()));
    if let Some(service) = case.service() {
        let endpoints = services::ready_or_unknown(case.index, service);
        claim = claim.why(ConnectionFact::ReadyEndpoints(endpoints));
    }
    let claim = claim.command(PodCommand::TalkTls {
        ip: peer.ip(),
        port: peer.port(),
    });
    Some(logs_of::destination(case, claim))
}

fn after_idle(case: &Case<'_>, connection: &TcpConnection, reset: Reset) -> Claim {
    let peer = connection.flow.peer;
    let summary = Summary::ResetAfterIdle {
        destination: attempt::destination(case, peer.port()),
        idle: reset.idle,
    };
    Claim::new(Cause::Idle(peer), summary)
        .because(Reason::ForgottenWhileIdle)
        .fix(Fix::Keepalive)
        .why(FlowFact::ResetAfterIdleCauses(reset.idle))
        .command(PodCommand::Connections(peer.ip()))
}
