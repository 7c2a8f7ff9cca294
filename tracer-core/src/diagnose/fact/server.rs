//! Facts about a DNS server and its answers.

use std::time::Duration;

use super::{NotReady, ObjectName, Others, Ready, Server};
use crate::diagnose::memory::NameScope;
use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::Outcome;
use crate::model::observation::IcmpError;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum ServerFact {
    /// What came back instead of an answer.
    CameBack(Rejection),
    /// The server is this Service.
    IsService(ObjectName, Ready),
    /// The server is this Service, which has no ready endpoint.
    NoReadyEndpoint(ObjectName, NotReady),
    /// Whether it answered other pods.
    AnsweredOthers(Others),
    /// An empty answer to AAAA is right; this came instead.
    EmptyAaaaExpected { server: Server, outcome: Outcome },
    /// Something does not understand AAAA.
    AaaaNotUnderstood,
    /// The same, or drops such queries.
    AaaaDropped,
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
