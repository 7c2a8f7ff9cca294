//! A UDP flow that was answered and is no more.

use std::time::Duration;

use crate::diagnose::attempt;
use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Break, Cause, Claim, Evidence, Summary};
use crate::diagnose::command::Command;
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{ConnectionFact, FlowFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::{drops, services};
use crate::model::finding::Severity;
use crate::model::flow::Direction;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "udp-unanswered",
    severity: Severity::Warning,
    finds: "a UDP flow that was answered and is no more",
    means: "A pod sends UDP packets from the same socket as before, and the answers that used to come do not come any more. The \
            node's connection tracking keeps a flow at its endpoint for as long as packets are sent, even when that endpoint is \
            gone.",
    looks_at: "UDP flows other than DNS with an answer to at least every other packet, five or more, and then five packets or \
               more within ten seconds or longer without one.",
    cannot_know: "Whether an answer was due: a flow that was never answered, or seldom, says nothing.",
    check,
};

const MIN_SPAN: Duration = Duration::from_secs(10);
const MIN_SENDS: u64 = 5;
const MIN_ANSWERS: u64 = 5;

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Udp(flow) = case.symptom else {
        return None;
    };
    let unanswered = flow.unanswered?;
    if flow.reply_from.is_some() {
        return None;
    }
    let received = flow.totals.rx.packets;
    let sent = flow.totals.tx.packets.saturating_sub(unanswered.packets);
    let was_answered =
        received >= MIN_ANSWERS && received * 2 >= sent && unanswered.heard.is_some();
    if unanswered.sender != Direction::FromPod
        || unanswered.packets < MIN_SENDS
        || unanswered.span() < MIN_SPAN
        || !was_answered
    {
        return None;
    }
    let peer = flow.flow.peer;
    let summary = Summary::UdpUnanswered {
        destination: attempt::destination(case, peer.port()),
        packets: unanswered.packets,
        span: unanswered.span(),
    };
    let mut claim = Claim::new(Cause::Socket(peer, "UDP"), summary)
        .because(Reason::PeerGone)
        .why(FlowFact::WasAnswered { sent, received })
        .why(FlowFact::UdpEndpointGone)
        .why(FlowFact::UdpServerSilent)
        .cure(Cure::Carries(peer.ip(), peer.port()))
        .evidence([Evidence::Broken {
            protocol: "UDP",
            from: flow.flow.pod,
            to: peer,
            end: Break::Unanswered {
                packets: unanswered.packets,
                span: unanswered.span(),
            },
        }]);
    claim = drops::explain_attempt(case, claim);
    if let Some(service) = case.service() {
        let endpoints = services::ready_or_unknown(case.index, service);
        claim = claim
            .fix(Fix::CheckPods(service.into()))
            .why(ConnectionFact::ReadyEndpoints(endpoints))
            .commands(services::whereabouts(service));
    }
    Some(claim.command(Command::ConntrackFlows(peer.ip(), peer.port())))
}
