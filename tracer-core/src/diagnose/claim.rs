//! A rule's claim about a case, as data: its cause, the facts that explain it, commands, evidence, cures.
//!
//! A claim has no sentences. [`super::wording`] makes them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::attempt::Failure;
use super::command::Command;
use super::cure::Cure;
use super::fact::{Destination, Fact, Figures, ObjectName, Server, TcpFailure, Upstream};
use super::headline::{Fix, Reason};
use super::memory::{NameScope, Share};
use super::route::Access;
use super::search_domains::Caught;
use crate::model::dns::{DnsName, RecordType, ResponseCode, type_mnemonic};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;
use crate::model::observation::IcmpError;

/// A rule's claim about a case.
#[derive(Debug)]
pub(super) struct Claim {
    /// Distinguishes the cause from others of the same rule and pod.
    pub cause: Cause,
    /// The workload that the claim is about; `None`: the case's pod.
    pub workload: Option<String>,
    /// A severity other than the rule's.
    pub severity: Option<Severity>,
    /// The severity of a first occurrence. From the second on the rule's severity holds.
    pub once: Option<Severity>,
    /// What failed.
    pub summary: Summary,
    /// The cause in a clause, for the headline.
    pub because: Option<Reason>,
    /// The fix in a clause, for the headline.
    pub fix: Option<Fix>,
    /// Why.
    pub why: Vec<Fact>,
    /// What to do, ready to be copied.
    pub commands: Vec<Command>,
    /// What the claim rests on.
    pub evidence: Vec<Evidence>,
    /// Each of these shows that the cause is gone.
    pub cures: Vec<Cure>,
    /// The finding waits for this long: a cure may be on its way.
    pub delay: Duration,
    /// One occurrence is ordinary: there is a finding only if it recurs.
    pub recurring: bool,
}

impl Claim {
    /// A claim without facts.
    pub fn new(cause: Cause, summary: Summary) -> Claim {
        Claim {
            cause,
            workload: None,
            severity: None,
            once: None,
            summary,
            because: None,
            fix: None,
            why: Vec::new(),
            commands: Vec::new(),
            evidence: Vec::new(),
            cures: Vec::new(),
            delay: Duration::ZERO,
            recurring: false,
        }
    }

    /// Makes it a claim about a workload.
    pub fn about_workload(mut self, workload: String) -> Claim {
        self.workload = Some(workload);
        self
    }

    /// Replaces the rule's severity.
    pub fn severity(mut self, severity: Severity) -> Claim {
        self.severity = Some(severity);
        self
    }

    /// Sets the severity of a first occurrence.
    pub fn once(mut self, severity: Severity) -> Claim {
        self.once = Some(severity);
        self
    }

    /// Makes it a finding only if it recurs, and not too rarely.
    pub fn if_recurring(mut self) -> Claim {
        self.recurring = true;
        self
    }

    /// Sets how long the finding waits for a cure.
    pub fn delay(mut self, delay: Duration) -> Claim {
        self.delay = delay;
        self
    }

    /// Sets the cause that the headline states.
    pub fn because(mut self, reason: Reason) -> Claim {
        self.because = Some(reason);
        self
    }

    /// Sets the fix that the headline states.
    pub fn fix(mut self, fix: Fix) -> Claim {
        self.fix = Some(fix);
        self
    }

    /// Adds a fact that explains the failure.
    pub fn why(mut self, fact: impl Into<Fact>) -> Claim {
        self.why.push(fact.into());
        self
    }

    /// Adds a command, or a name to use.
    pub fn command(mut self, command: impl Into<Command>) -> Claim {
        let command = command.into();
        if !self.commands.contains(&command) {
            self.commands.push(command);
        }
        self
    }

    /// Adds commands.
    pub fn commands(self, commands: impl IntoIterator<Item = Command>) -> Claim {
        commands.into_iter().fold(self, Claim::command)
    }

    /// Adds evidence.
    pub fn evidence(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Claim {
        self.evidence.extend(evidence);
        self
    }

    /// Adds a cure.
    pub fn cure(mut self, cure: Cure) -> Claim {
        self.cures.push(cure);
        self
    }

    /// Adds cures.
    pub fn cures(mut self, cures: impl IntoIterator<Item = Cure>) -> Claim {
        self.cures.extend(cures);
        self
    }

    /// The name to use instead, if the claim has one.
    pub fn name_to_use(&self) -> Option<&str> {
        match self.commands.first()? {
            Command::UseName(name) => Some(name),
            _ => None,
        }
    }
}

/// What distinguishes a cause from others of the same rule and pod. Its text is a part of the finding's id,
/// which is stable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An address.
    Address(IpAddr),
    /// A destination and its protocol.
    Socket(SocketAddr, &'static str),
    /// A ping to an address.
    Ping(IpAddr),
    /// A name as the application asked for it.
    Name(String),
    /// The same, and the types asked for.
    NameAndTypes(String, Vec<RecordType>),
    /// A destination, while connections to it are idle.
    Idle(SocketAddr),
    /// Any name of a zone.
    Zone(DnsName),
    /// A server and the domain of the names.
    ServerAndDomain(IpAddr, DnsName),
    /// A server and the scope of the names.
    ServerAndScope(IpAddr, NameScope),
    /// A search domain.
    SearchDomain(DnsName),
    /// A server and a name.
    ServerAndName(IpAddr, DnsName),
    /// The search path.
    SearchPath,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Address(ip) => write!(f, "{ip}"),
            Cause::Socket(socket, protocol) => write!(f, "{socket}/{}", protocol.to_lowercase()),
            Cause::Idle(socket) => write!(f, "{socket}/idle"),
            Cause::Ping(ip) => write!(f, "{ip}/icmp"),
            Cause::Name(name) => f.write_str(name),
            Cause::NameAndTypes(name, types) => {
                let types: Vec<_> = types.iter().map(|qtype| type_mnemonic(*qtype)).collect();
                write!(f, "{name}:{}", super::wording::list(&types))
            }
            Cause::Zone(zone) => write!(f, "*.{}", zone.relative()),
            Cause::ServerAndDomain(server, domain) => write!(f, "{server}:{}", domain.relative()),
            Cause::ServerAndScope(server, NameScope::Cluster) => write!(f, "{server}:cluster"),
            Cause::ServerAndScope(server, NameScope::External) => write!(f, "{server}:outside"),
            Cause::SearchDomain(domain) => f.write_str(domain.relative()),
            Cause::ServerAndName(server, name) => write!(f, "{server}:{}", name.relative()),
            Cause::SearchPath => f.write_str("search-path"),
        }
    }
}

/// What failed. The subject is the case's pod.
#[derive(Clone, Debug)]
pub(super) enum Summary {
    /// A lookup got NXDOMAIN.
    NoSuchName { asked: String, figures: Figures },
    /// A lookup got NOERROR without a record of these types.
    NoSuchType {
        asked: String,
        types: Vec<RecordType>,
        figures: Figures,
    },
    /// A was answered, another type was not; attempts and their span if there were several.
    TypeFails {
        name: DnsName,
        qtype: RecordType,
        outcome: Outcome,
        repeated: Option<(u32, Duration)>,
    },
    /// Queries were rejected.
    QueriesRejected {
        asked: String,
        server: Server,
        figures: Figures,
    },
    /// A search domain caught the name.
    SearchDomain {
        asked: String,
        domain: DnsName,
        caught: Caught,
    },
    /// The pod's question came back to it, this many times.
    Loop {
        name: DnsName,
        server: Server,
        times: u64,
        within: Duration,
    },
    /// A connection to a DNS server was refused.
    ServerRefusesTcp(Server),
    /// One of two queries sent together got no answer until it was repeated.
    Race {
        waited: Duration,
        asked: String,
        lost: RecordType,
        server: Server,
    },
    /// The server answered SERVFAIL.
    Servfail {
        asked: String,
        server: Server,
        figures: Figures,
    },
    /// The server answered REFUSED.
    Refused {
        asked: String,
        server: Server,
        figures: Figures,
    },
    /// A query got no answer until it was repeated.
    Retried {
        asked: String,
        server: Server,
        waited: Duration,
        figures: Figures,
    },
    /// The answers came from another address than the one asked.
    RepliesFromElsewhere {
        asked: String,
        server: Server,
        from: IpAddr,
        figures: Figures,
    },
    /// The server did not understand the query.
    NotUnderstood {
        asked: String,
        server: Server,
        rcode: ResponseCode,
        figures: Figures,
    },
    /// Only a part of the answer arrived.
    FragmentsLost {
        asked: String,
        server: Server,
        figures: Figures,
    },
    /// The server did not answer.
    NoAnswer {
        asked: String,
        server: Server,
        figures: Figures,
    },
    /// The answer was truncated, and TCP failed.
    Truncated {
        asked: String,
        server: Server,
        tcp: TcpFailure,
    },
    /// The server answered slowly, for this many times within a minute.
    SlowServer {
        server: Server,
        latency: Duration,
        name: DnsName,
        times: usize,
    },
    /// The cluster's domain is another one than configured.
    OtherClusterDomain {
        domain: DnsName,
        configured: DnsName,
    },
    /// Most of a workload's queries go to names that do not exist.
    SearchPathWaste {
        workload: String,
        /// Queries per lookup, times ten.
        tenths: u64,
        wasted: u64,
        queries: u64,
    },
    /// A connection, or UDP packets, failed.
    CannotReach {
        protocol: &'static str,
        failure: Failure,
        /// SYNs or packets.
        sent: u64,
        destination: Destination,
    },
    /// A connection was established after lost SYNs.
    ConnectedSlowly {
        destination: Destination,
        waited: Duration,
        /// SYNs.
        sent: u64,
    },
    /// The other end's replies come from another address.
    RepliesFromOther {
        protocol: &'static str,
        destination: Destination,
        from: SocketAddr,
        packets: u64,
        /// The connection could not even be established.
        syn_ack: bool,
    },
    /// Connections were reset instead of an answer to their first data.
    ResetAfterData {
        destination: Destination,
        share: Share,
    },
    /// A connection was reset by the first data after a pause.
    ResetAfterIdle {
        destination: Destination,
        idle: Duration,
    },
    /// Sends on an established connection got no answer.
    Stalled {
        destination: Destination,
        packets: u64,
        /// How many of them are keepalive probes.
        probes: u64,
        span: Duration,
    },
    /// The other end repeats its SYN-ACK though it was acknowledged.
    SynAckRepeated {
        destination: Destination,
        repeats: u64,
    },
    /// A large segment never arrived, though smaller ones did.
    LargeLost {
        destination: Destination,
        from_pod: bool,
        bytes: u32,
        span: Duration,
    },
    /// A UDP flow that was answered is no longer.
    UdpUnanswered {
        destination: Destination,
        packets: u64,
        span: Duration,
    },
    /// A ping to a Service's address.
    PingedClusterIp {
        ip: IpAddr,
        access: Access,
        service: ObjectName,
        sent: u64,
        received: u64,
        errors: u64,
    },
    /// A ping without a reply.
    PingUnanswered { ip: IpAddr, sent: u64 },
    /// A ping without a reply to an address of the Services' range.
    PingedServiceRange { ip: IpAddr, sent: u64 },
    /// The latest of the failures of a rule that have no finding of their own: a pod has too many.
    Rest(Box<Summary>),
    /// Packets are too big for their path.
    PacketsTooBig {
        to: IpAddr,
        times: u64,
        within: Duration,
    },
}

/// What a claim rests on, a line each.
#[derive(Clone, Debug)]
pub(super) enum Evidence {
    /// A query and its answer.
    Query {
        name: DnsName,
        qtype: RecordType,
        outcome: Option<Outcome>,
        latency: Option<Duration>,
        details: Option<QueryDetails>,
    },
    /// A query of the server's pod, inferred to be for the one above.
    Upstream(Upstream),
    /// A failed connection, or UDP packets.
    Attempt {
        protocol: &'static str,
        from: SocketAddr,
        to: SocketAddr,
        sent: u64,
        failure: Failure,
    },
    /// A connection or flow that broke: what was seen of it last.
    Broken {
        protocol: &'static str,
        from: SocketAddr,
        to: SocketAddr,
        end: Break,
    },
    /// A run of echo requests.
    Pings {
        sent: u64,
        received: u64,
        errors: u64,
    },
    /// The last ICMP error of a run.
    LastError(IcmpError),
    /// A slow answer.
    SlowAnswer { name: DnsName, latency: Duration },
    /// Queries without success for a name.
    Wasted { name: String, queries: u64 },
    /// An ICMP error about packets that are too big.
    TooBig { error: IcmpError, to: IpAddr },
    /// Lines beyond the limit.
    More(usize),
}

/// How a connection or flow broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    /// Reset by the other end after this silence, this long after it was established.
    Reset { idle: Duration, age: Duration },
    /// This many sends since, unanswered for so long.
    Unanswered { packets: u64, span: Duration },
    /// This many packets from another address.
    OtherSender { from: SocketAddr, packets: u64 },
    /// The SYN-ACK was repeated this many times.
    SynAckRepeated(u64),
    /// A segment with this payload was seen so many times and never acknowledged; the largest that was has
    /// this payload.
    LargeLost {
        bytes: u32,
        seen: u32,
        delivered: u32,
    },
}

/// What an exchange adds to a query.
#[derive(Clone, Debug)]
pub(super) struct QueryDetails {
    pub server: IpAddr,
    pub attempts: u32,
    /// The zone of a negative answer and its TTL in seconds.
    pub negative: Option<(DnsName, u32)>,
    pub icmp: Option<IcmpError>,
}
