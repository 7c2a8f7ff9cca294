//! Connections that are established only after lost SYNs.

use std::net::SocketAddr;

use crate::diagnose::attempt::{Attempt, Late};
use crate::diagnose::case::Case;
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::Command;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, FlowFact};
use crate::diagnose::headline::Reason;
use crate::diagnose::rule::Rule;
use crate::diagnose::{attempt, services, suspects};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "connect-slow",
    severity: Severity::Warning,
    finds: "connections that are established only after lost SYNs",
    means: "A connection was established, but its first SYNs, or their answers, were lost. The application waited until the \
            client's system sent the SYN again: one second, three, seven, and so on.",
    looks_at: "TCP connections with a SYN-ACK after repeated SYNs: one that waited longer than 2.5 seconds, or three to one \
               destination within ten minutes. A single lost SYN is ordinary. What waited longer than seven seconds is counted \
               as connect-timeout.",
    cannot_know: "Where the packets were lost. Which endpoint of a Service it was: each is offered to be tested.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (attempt, late) = Attempt::late(case)?;
    let Late::Established(waited) = late else {
        return None;
    };
    let socket = SocketAddr::new(case.ends.peer.ip, attempt.port);
    let summary = Summary::ConnectedSlowly {
        destination: attempt::destination(case, attempt.port),
        waited,
        sent: attempt.sent,
    };
    let backends = suspects::of_attempt(case, &attempt);
    let mut claim = Claim::new(Cause::Socket(socket, attempt.protocol), summary)
        .because(Reason::SynsLost { elsewhere: false })
        .why(FlowFact::SynsLost)
        .evidence([attempt.evidence(case)])
        .cure(Cure::Connects(socket.ip(), Some(socket.port())));
    claim.fix = suspects::fix(&backends);
    if let Some(service) = case.service() {
        let endpoints = services::ready_or_unknown(case.index, service);
        claim = claim.why(ConnectionFact::ReadyEndpoints(endpoints));
        if backends.len() > 1 {
            claim = claim.why(ConnectionFact::WhichEndpoint(backends.len()));
        }
    }
    claim = suspects::syn_loss(claim, &backends)
        .command(Command::ConntrackFailures)
        .command(Command::ChecksumOffload);
    Some(super::connect_timeout::conntrack(case, claim, &attempt))
}
