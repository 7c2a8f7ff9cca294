//! Facts about a DNS server and its answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{EndpointPlace, EndpointShare, NotReady, ObjectName, Others, Ready, Server};
use crate::diagnose::memory::NameScope;
use crate::model::dns::{DnsName, RecordType, ResponseCode};
use crate::model::exchange::Outcome;
use crate::model::observation::IcmpError;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum ServerFact {
    /// What came back instead of an answer.
    CameBack(Rejection),
    /// The server is a cache on the pod's node, and this pod of it; `None`: the inventory shows none.
    IsNodeCache(Option<CachePod>),
    /// The server has this node's address.
    IsOnNode(Arc<str>),
    /// It answered this many queries of the same pod, within this time.
    AnsweredPod { answers: u64, within: Duration },
    /// It was not seen to answer this pod.
    NeverAnsweredPod,
    /// Which queries got no answer, of all in one lookup.
    Lost {
        server: Server,
        lost: u64,
        sent: u64,
    },
    /// Another server answered instead.
    AnsweredInstead(Server),
    /// This endpoint of the server left queries of the pod unanswered.
    SilentEndpoint(EndpointPlace, EndpointShare),
    /// Why a query or its answer may be lost.
    LossOnTheWay,
    /// Why the server may not answer it.
    LossAtServer,
    /// The answers came from this address, not from the one asked.
    RepliesFrom {
        from: EndpointPlace,
        asked: Server,
        replies: u64,
    },
    /// Why a reply keeps the endpoint's own address; whether both ends are on this node.
    UntranslatedCauses(Option<Arc<str>>),
    /// The server does not understand the query: this response code, and whether the query used EDNS.
    NotUnderstood { rcode: ResponseCode, edns: bool },
    /// The pod's own question came back from this address.
    CameBackFrom(EndpointPlace),
    /// Why questions may go in a circle.
    LoopCauses,
    /// Only the first fragment of the answer arrived.
    FragmentsLost,
    /// Why fragments may be lost.
    FragmentCauses,
    /// The cache failed for a name of the cluster.
    CacheFailed(DnsName),
    /// The server is this Service.
    IsService(ObjectName, Ready),
    /// The server is this Service, which has no ready endpoint.
    NoReadyEndpoint(ObjectName, NotReady),
    /// Whether it answered other pods.
    AnsweredOthers(Others),
    /// An empty answer to a query for this type is right; this came instead.
    EmptyExpected {
        qtype: RecordType,
        server: Server,
        outcome: Outcome,
    },
    /// Something does not understand the type.
    TypeNotUnderstood(RecordType),
    /// The same, or drops such queries.
    TypeDropped(RecordType),
    /// Two queries from one socket, one of them answered only after further attempts.
    Race {
        answered: RecordType,
        lost: RecordType,
        name: DnsName,
        gap: Duration,
        latency: Duration,
        attempts: u32,
    },
    /// What may cause a race.
    RaceCauses,
    /// Why a server refuses.
    RefusalCauses,
    /// It failed for a name of the cluster.
    FailedItself(DnsName),
    /// It failed for a name that it asks others for.
    UpstreamFailed(DnsName),
    /// Its pod asked another server for the same question at the same time, and that failed.
    AskedUpstream(Upstream),
    /// Its explanation (RFC 8914): the code's meaning and its own text.
    Explanation {
        meaning: Option<&'static str>,
        text: String,
    },
    /// The latency that the pod is used to.
    UsualLatency(NameScope, Option<Duration>),
    /// Why it may be slow.
    SlowCauses(NameScope),
    /// Why the query over TCP failed.
    Tcp(TcpFailure),
}

/// What a DNS server's pod asked another one, and how that went by then: `None` is silence.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct Upstream {
    pub by: ObjectName,
    pub to: IpAddr,
    pub name: DnsName,
    pub qtype: RecordType,
    pub outcome: Option<Outcome>,
    pub after: Duration,
}

/// The pod of a cache on a node.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct CachePod {
    pub name: ObjectName,
    pub node: Arc<str>,
    /// `None`: its status does not have it.
    pub ready: Option<bool>,
}

/// What rejected a query or a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnose) enum Rejection {
    Reset,
    Icmp(IcmpError),
}

/// How the query over TCP failed after a truncated answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnose) enum TcpFailure {
    /// The connection was refused.
    Refused,
    /// The connection was not answered.
    NoConnection,
    /// The connection ended before the answer.
    Closed,
    /// The query was not answered.
    NoAnswer,
    /// It was not sent.
    NotTried,
}
