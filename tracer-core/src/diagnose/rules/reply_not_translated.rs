//! Replies from an endpoint's own address instead of the Service's.

use crate::diagnose::attempt;
use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Break, Cause, Claim, Evidence, Summary};
use crate::diagnose::command::{Command, Kubectl};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{AddressHolder, FlowFact};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::rule::Rule;
use crate::diagnose::{holder, route, services};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "reply-not-translated",
    severity: Severity::Error,
    finds: "replies from an endpoint's own address instead of the Service's",
    means: "A pod connected to a Service, and the replies have the address of the endpoint: the node translated the request and \
            not the reply. The pod does not know that connection and discards or resets it.",
    looks_at: "TCP segments that acknowledge what the pod sent to one address and come from another; UDP packets to the pod's socket \
               from an endpoint of the Service that it sent to.",
    cannot_know: "Why the reply was not translated.",
    check,
};

fn check(case: &Case<'_>) -> Option<Claim> {
    let (protocol, flow, other) = match case.symptom {
        Symptom::Tcp(connection) => ("TCP", connection.flow, connection.evidence.reply_from?),
        Symptom::Udp(flow) => {
            let other = flow.reply_from?;
            // A UDP client may well expect answers from other addresses, but not from behind a Service.
            let service = case.service()?;
            let mut same = services::with_endpoint(case.index, other.from.ip());
            same.find(|one| one.namespace == service.namespace && one.name == service.name)?;
            ("UDP", flow.flow, other)
        }
        _ => return None,
    };
    let peer = flow.peer;
    let holder = holder::of(case, other.from.ip());
    let summary = Summary::RepliesFromOther {
        protocol,
        destination: attempt::destination(case, peer.port()),
        from: other.from,
        packets: other.packets.into(),
        syn_ack: other.syn_ack,
    };
    let claim = Claim::new(Cause::Socket(peer, protocol), summary)
        .because(Reason::NotTranslated(other.from.ip()))
        .why(FlowFact::OtherSender(other.from, holder.clone()))
        .evidence([Evidence::Broken {
            protocol,
            from: flow.pod,
            to: peer,
            end: Break::OtherSender {
                from: other.from,
                packets: other.packets.into(),
            },
        }])
        .cure(match protocol {
            "TCP" => Cure::Connects(peer.ip(), Some(peer.port())),
            _ => Cure::Carries(peer.ip(), peer.port()),
        });
    // From the first packet on, or after the connection had worked.
    let at_once = other.syn_ack || protocol == "UDP";
    let claim = claim.why(FlowFact::NotTranslatedCauses { at_once });
    let claim = match at_once {
        true => claim
            .fix(Fix::BridgeNetfilter)
            .command(Command::BridgeNetfilter(route::own_node(case))),
        false => claim.command(Command::ConntrackFailures),
    };
    Some(match holder {
        AddressHolder::Pod(pod) => claim.command(Kubectl::DescribePod(pod)),
        _ => claim.command(Kubectl::PodWithAddress(other.from.ip())),
    })
}
