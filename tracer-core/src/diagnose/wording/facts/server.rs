//! DNS servers and their answers.

use super::super::parts::Opaque;
use super::super::sentence;
use super::{not_ready, ready};
use crate::diagnose::fact::{Others, Rejection, ServerFact, TcpFailure};
use crate::diagnose::memory::NameScope;
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &ServerFact) -> Sentence {
    match fact {
        ServerFact::CameBack(Rejection::Reset) => sentence!("What came back: a reset."),
        ServerFact::CameBack(Rejection::Icmp(error)) => sentence!("What came back: {}.", error),
        ServerFact::IsService(service, endpoints) => {
            sentence!(
                "The DNS server is Service {}. {}",
                service,
                ready(endpoints)
            )
        }
        ServerFact::NoReadyEndpoint(service, why) => {
            sentence!(
                "Service {} has no ready endpoint. {}",
                service,
                not_ready(why)
            )
        }
        ServerFact::AnsweredOthers(Others::Meanwhile(pod)) => {
            sentence!("It answered {} of this node meanwhile.", pod)
        }
        ServerFact::AnsweredOthers(Others::Before(pod, ago)) => {
            sentence!("It answered {} of this node {} before.", pod, ago)
        }
        ServerFact::AnsweredOthers(Others::None) => {
            sentence!("It was not seen to answer another pod of this node in the last 5 minutes.")
        }
        ServerFact::EmptyAaaaExpected { server, outcome } => sentence!(
            "For a name without IPv6 addresses the right answer is an empty one. From DNS server {} came: {}.",
            server,
            outcome
        ),
        ServerFact::AaaaDropped => sentence!(
            "Possible causes: the domain's own servers, or a firewall in front of them, do not understand AAAA; or something on the way drops these queries."
        ),
        ServerFact::AaaaNotUnderstood => sentence!(
            "Possible cause: the domain's own servers, or a firewall in front of them, do not understand AAAA."
        ),
        ServerFact::Race {
            answered,
            lost,
            name,
            gap,
            latency,
            attempts,
        } => sentence!(
            "{} and {} of {} were asked from one socket within {}; {} was answered in {}, {} after {} attempts.",
            answered,
            lost,
            name,
            gap,
            answered,
            latency,
            lost,
            attempts
        ),
        ServerFact::RaceCauses => sentence!(
            "The query was lost, or its answer was, or the server left it unanswered. Once, that is ordinary. If it happens again and again, possible cause: the race of two packets of one socket in the node's connection tracking (kubernetes/kubernetes issue 56903)."
        ),
        ServerFact::RefusalCauses => sentence!(
            "Possible causes: the server has no zone for that name and does not forward it (a Corefile without forward), or it does not serve this client (an access list)."
        ),
        ServerFact::FailedItself(name) => sentence!(
            "{} is a name of the cluster, so the DNS server failed itself. Possible cause: it cannot reach the API server.",
            name
        ),
        ServerFact::UpstreamFailed(name) => sentence!(
            "{} is no name of the cluster, so a DNS server of the cluster has to ask another one. Possible causes: its upstream does not answer or fails, or the domain itself is broken.",
            name
        ),
        ServerFact::Explanation { meaning, text } => sentence!(
            "The server says why: {}{}.",
            meaning.unwrap_or("an unknown extended error"),
            (!text.is_empty()).then(|| sentence!(" ({})", Opaque(text)))
        ),
        ServerFact::UsualLatency(scope, normal) => match normal {
            Some(normal) => {
                sentence!("For {} this pod is used to {}.", names(*scope), normal)
            }
            None => sentence!(
                "What this pod is used to for {} is not known yet.",
                names(*scope)
            ),
        },
        ServerFact::SlowCauses(NameScope::Cluster) => sentence!(
            "The cluster's DNS knows these names itself. Possible causes: it is short of CPU, or the network to it is slow."
        ),
        ServerFact::SlowCauses(NameScope::External) => sentence!(
            "These names a DNS server of the cluster asks of another one. Possible cause: that one is slow."
        ),
        ServerFact::Tcp(failure) => sentence!(
            "{}",
            match failure {
                TcpFailure::Refused =>
                    "Port 53 over TCP is refused: the server, or its Service, serves UDP only, or something on the way rejects TCP.",
                TcpFailure::NoConnection =>
                    "Nobody answers on port 53 over TCP. Possible cause: a firewall or NetworkPolicy that lets UDP through and drops TCP.",
                TcpFailure::Closed => "The connection was made and closed before an answer came.",
                TcpFailure::NoAnswer =>
                    "The connection was made, and the server did not answer on it.",
                TcpFailure::NotTried =>
                    "A resolver has to ask again over TCP (RFC 7766). Possible cause: one that does not, as musl before 1.2.4.",
            }
        ),
    }
}

fn names(scope: NameScope) -> &'static str {
    match scope {
        NameScope::Cluster => "names of the cluster",
        NameScope::External => "names outside of the cluster",
    }
}
