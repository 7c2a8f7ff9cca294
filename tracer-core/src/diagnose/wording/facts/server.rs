//! DNS servers and their answers.

use super::super::parts::{Count, Opaque};
use super::super::sentence;
use super::route::shares;
use super::{not_ready, ready};
use crate::diagnose::fact::{Others, Rejection, ServerFact, TcpFailure};
use crate::diagnose::memory::NameScope;
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &ServerFact) -> Sentence {
    match fact {
        ServerFact::CameBack(Rejection::Reset) => sentence!("What came back: a reset."),
        ServerFact::CameBack(Rejection::Icmp(error)) => sentence!("What came back: {}.", error),
        ServerFact::IsNodeCache(Some(cache)) => sentence!(
            "The DNS server is the cache on the pod's node, NodeLocal DNSCache: pod {} on node {}, which is {}. It asks the cluster's DNS, or the node's upstream servers, for what it does not have.",
            cache.name,
            cache.node,
            match cache.ready {
                Some(true) => "ready",
                Some(false) => "not ready",
                None => "of unknown readiness",
            }
        ),
        ServerFact::IsNodeCache(None) => sentence!(
            "The DNS server has a link-local address, so it runs on the pod's node, possibly NodeLocal DNSCache. It asks other servers for what it does not have."
        ),
        ServerFact::IsOnNode(node) => sentence!(
            "The DNS server has the address of node {}: a cache or a forwarder on the node, which asks other servers for what it does not have.",
            node
        ),
        ServerFact::AnsweredPod { answers, within } => match answers {
            1 => sentence!("It answered another query of this pod."),
            several => sentence!(
                "It answered {} other queries of this pod within {}.",
                several,
                within
            ),
        },
        ServerFact::NeverAnsweredPod => {
            sentence!("It was not seen to answer this pod in the last 10 minutes.")
        }
        ServerFact::Lost { server, lost, sent } => sentence!(
            "DNS server {} left {} of {} unanswered in this lookup.",
            server,
            lost,
            Count(*sent, "query")
        ),
        ServerFact::AnsweredInstead(server) => sentence!(
            "DNS server {}, which the resolver asked next, answered.",
            server
        ),
        ServerFact::SilentEndpoint(endpoint, share) => sentence!(
            "The conntrack table of the pod's node shows that unanswered queries went to endpoint {}: {}.",
            endpoint,
            shares(share)
        ),
        ServerFact::LossOnTheWay => sentence!(
            "Possible cause: the query or its answer was lost on the way (a full connection tracking table, an overloaded node or network)."
        ),
        ServerFact::LossAtServer => sentence!(
            "Possible cause: one of the server's endpoints does not answer, or needs longer than the resolver waits."
        ),
        ServerFact::RepliesFrom {
            from,
            asked,
            replies,
        } => sentence!(
            "{} came from {} to queries that went to {}. A resolver discards such answers, so it asks again.",
            Count(*replies, "answer"),
            from,
            asked
        ),
        ServerFact::UntranslatedCauses(Some(node)) => sentence!(
            "Both pods are on node {}. Possible cause: its bridge passes packets between its ports without netfilter, so the reply is not translated back (net.bridge.bridge-nf-call-iptables is 0, or br_netfilter is not loaded).",
            node
        ),
        ServerFact::UntranslatedCauses(None) => sentence!(
            "The reply is not translated back to the address asked. Possible causes: it does not pass the node that translated the query (asymmetric routes), that node's connection tracking considers it invalid, or a bridge passes it without netfilter (net.bridge.bridge-nf-call-iptables)."
        ),
        ServerFact::NotUnderstood { rcode, edns: true } => sentence!(
            "The queries use EDNS (RFC 6891). Possible cause: the server, or a firewall on the way, does not understand EDNS or an option of it and answers {}.",
            rcode
        ),
        ServerFact::NotUnderstood { rcode, edns: false } => sentence!(
            "The queries do not use EDNS, and the server answers {}: it does not accept the query itself.",
            rcode
        ),
        ServerFact::FragmentsLost => sentence!(
            "The server answered, but of its answer only the first fragment arrived. The pod's kernel delivers an answer only with all of its fragments."
        ),
        ServerFact::CameBackFrom(from) => sentence!(
            "Each time after the pod had sent the question, the same question came back from {}.",
            from
        ),
        ServerFact::LoopCauses => sentence!(
            "Possible cause: the pod forwards to the nameservers of its node's resolv.conf, and one of them (the cluster's DNS itself, NodeLocal DNSCache, or a stub resolver) forwards to the pod."
        ),
        ServerFact::FragmentCauses => sentence!(
            "Possible causes: a firewall, a NetworkPolicy or a tunnel drops fragments without a port number; the server sends answers larger than the path takes (its EDNS buffer size)."
        ),
        ServerFact::CacheFailed(name) => sentence!(
            "{} is a name of the cluster, for which the cache asks the cluster's DNS. Possible cause: it got no answer from there in time, usually 2 s.",
            name
        ),
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
        ServerFact::EmptyExpected {
            qtype,
            server,
            outcome,
        } => sentence!(
            "For a name that exists without a record of type {} the right answer is an empty one. DNS server {} gave: {}.",
            qtype,
            server,
            outcome
        ),
        ServerFact::TypeDropped(qtype) => sentence!(
            "Possible causes: the domain's own servers, or a firewall in front of them, do not understand {}; or something on the way drops these queries.",
            qtype
        ),
        ServerFact::TypeNotUnderstood(qtype) => sentence!(
            "Possible cause: the domain's own servers, or a firewall in front of them, do not understand {}.",
            qtype
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
            "The query was lost, or its answer was, or the server left it unanswered. Once, that is ordinary. If it recurs, possible cause: the race of two packets of one socket in the node's connection tracking (kubernetes/kubernetes issue 56903)."
        ),
        ServerFact::RefusalCauses => sentence!(
            "Possible causes: the server has no zone for that name and does not forward it (a Corefile without forward); it does not serve this client (an access list); or a network policy that knows DNS names (Cilium's toFQDNs rules) does not allow this name."
        ),
        ServerFact::FailedItself(name) => sentence!(
            "{} is a name of the cluster, for which the DNS server needs no other one. Possible causes: it has not read the Services from the API server yet, or one of its endpoints is in trouble.",
            name
        ),
        ServerFact::UpstreamFailed(name) => sentence!(
            "{} is not a name of the cluster, so the cluster's DNS has to ask another server. Possible causes: its upstream does not answer or fails, or the domain itself is broken.",
            name
        ),
        ServerFact::AskedUpstream(asked) => sentence!(
            "At the same time pod {} asked {} for {} {}, and {} within {}. That this was for the same question is inferred from name, type and time.",
            asked.by,
            asked.to,
            asked.name,
            asked.qtype,
            match asked.outcome {
                Some(outcome) => sentence!("got {}", outcome),
                None => sentence!("got no answer"),
            },
            asked.after
        ),
        ServerFact::Explanation { meaning, text } => sentence!(
            "The server says why: {}{}.",
            meaning.unwrap_or("an unknown extended error"),
            (!text.is_empty()).then(|| sentence!(" ({})", Opaque(text)))
        ),
        ServerFact::UsualLatency(scope, normal) => match normal {
            Some(normal) => {
                sentence!("For {} it usually takes {}.", names(*scope), normal)
            }
            None => sentence!(
                "How long it usually takes for {} is not known yet.",
                names(*scope)
            ),
        },
        ServerFact::SlowCauses(NameScope::Cluster) => sentence!(
            "The cluster's DNS knows these names itself. Possible causes: it is short of CPU, or the network to it is slow."
        ),
        ServerFact::SlowCauses(NameScope::External) => sentence!(
            "For these names the cluster's DNS asks another server. Possible cause: that one is slow."
        ),
        ServerFact::Tcp(failure) => sentence!(
            "{}",
            match failure {
                TcpFailure::Refused =>
                    "Port 53 over TCP is refused: the server, or its Service, serves UDP only, or something on the way rejects TCP.",
                TcpFailure::NoConnection =>
                    "Port 53 does not answer over TCP. Possible cause: a firewall or NetworkPolicy that lets UDP through and drops TCP.",
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
