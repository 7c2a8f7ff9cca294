//! The cause and the fix of a finding as its headline states them: a clause each, as data.
//!
//! [`super::wording::headline`] puts them behind the symptom, which it takes from the claim's summary. The
//! facts of a claim explain in sentences; these are for the one line that people see first.

use std::net::IpAddr;
use std::sync::Arc;

use super::fact::{AddressHolder, Governs, Local, ObjectName, PortName, Server, Who, WrongForm};
use super::route::Access;
use crate::model::dns::DnsName;

/// The cause.
#[derive(Clone, Debug)]
pub(super) enum Reason {
    /// The Service exists in these namespaces.
    InNamespaces(Vec<Arc<str>>),
    /// The headless Service has no ready pod.
    HeadlessNotReady(ObjectName),
    /// The name's form is wrong.
    WrongForm(WrongForm),
    /// A cache has the answer from before the Service existed.
    CachedAbsence(ObjectName),
    /// No namespace has a Service of that name.
    NoSuchService(String),
    /// The name is an alias for one that does not exist.
    DanglingAlias(DnsName),
    /// The name is outside of the cluster's domain and does not exist.
    NoSuchExternalName,
    /// The Service serves these ports only.
    ServesOnly(Vec<PortName>),
    /// The Service has no ready endpoint.
    NoReadyEndpoint,
    /// No process listens on the port.
    NotListening(u16),
    /// No ICMP is expected: the Service serves only these ports.
    OnlyServicePorts(Access, Vec<PortName>),
    /// The address is no Service's.
    NoServiceHasAddress,
    /// The address was that of a pod that is gone.
    GonePod(ObjectName),
    /// No object of the inventory has the address.
    NobodyHasAddress,
    /// Of the queries sent together one was lost.
    QueryLost,
    /// This Service was meant.
    ServiceMeant(ObjectName),
    /// The name itself was not asked for.
    NotAsked,
    /// The server forwards to the one that forwards to it.
    ForwardsInACircle,
    /// Every candidate of the search path got NXDOMAIN, and no inventory shows why.
    NoCandidateExists,
    /// The repetition of the query was answered.
    RepetitionAnswered,
    /// This server is silent, and another one answers.
    AnotherServerAnswers { silent: IpAddr, answers: Server },
    /// The answers have the address of an endpoint.
    NotTranslatedBack(IpAddr),
    /// A server, or a device on the way, does not understand EDNS.
    EdnsNotUnderstood,
    /// The cache possibly gets no answer from the cluster's DNS.
    CacheGetsNoAnswer,
    /// Fragments of the answer are lost.
    FragmentsLost,
    /// The upstream servers of the DNS server fail.
    UpstreamFails,
    /// The DNS server fails for names of the cluster.
    ServerFails,
    /// This NetworkPolicy, perhaps with others, does not allow it.
    PolicyDenies(ObjectName, Governs),
    /// Only endpoints of this node serve, and there is none.
    NoLocalEndpoint(Arc<str>),
    /// The same, where it depends on how nodes and load balancer forward.
    PossiblyNoLocalEndpoint(Arc<str>),
    /// The client's address is in none of the source ranges.
    OutsideSourceRanges(IpAddr),
    /// No container declares a port of this name, which is the target port.
    TargetPortUndeclared(Arc<str>),
    /// The EndpointSlices do not list the port.
    PortUnlisted,
    /// The only endpoint is the client itself.
    OnlyEndpointIsSelf,
    /// The endpoints have no address of this family.
    NoEndpointOfFamily { v4: bool },
    /// The Service's address of the other family works.
    OtherFamilyWorks { v4: bool },
    /// The target of an ExternalName Service is an address.
    TargetIsAddress(ObjectName),
    /// The target of an ExternalName Service does not exist.
    TargetMissing(DnsName),
    /// The target of an ExternalName Service has no address.
    TargetNoAddress(DnsName),
    /// The server fails to resolve the target of an ExternalName Service.
    TargetUnresolved(DnsName),
    /// An ExternalName Service has no target, or itself.
    TargetUseless,
    /// The pod of a headless Service is not ready.
    PodNotReady(ObjectName),
    /// The path's MTU in bytes, and the node that reported it.
    PathMtu(u32, IpAddr),
    /// Possibly one of this many endpoints does not listen.
    OneOfEndpoints(usize),
    /// The endpoint that was chosen is the client itself.
    ChosenIsSelf,
    /// The conntrack table of the pod's node is full.
    ConntrackFull,
    /// A node possibly forwards to an endpoint that is gone.
    ForwardedToGone,
    /// The packets go around in a loop.
    RoutingLoop,
    /// SYNs are lost, to other destinations too.
    SynsLost { elsewhere: bool },
    /// Replies come from this address, not translated back.
    NotTranslated(IpAddr),
    /// The other end possibly expects another protocol.
    OtherProtocolExpected,
    /// The path, or the other end, possibly forgets idle connections.
    ForgottenWhileIdle,
    /// The other end is possibly gone.
    PeerGone,
    /// The other end possibly accepts too slowly.
    AcceptQueueFull,
    /// The kernel of the pod's node dropped the packets, or the answers, for this reason.
    DroppedOnNode { reason: &'static str, answers: bool },
    /// A firewall, or what enforces a policy, says that it is prohibited.
    FilterRejects,
    /// Segments of this size do not arrive; smaller ones do.
    LargeSegmentsLost { bytes: u32, from_pod: bool },
}

impl Reason {
    /// Whether it only says that an endpoint fails, which a fact about that endpoint makes more precise.
    pub fn is_about_endpoint(&self) -> bool {
        matches!(
            self,
            Reason::NotListening(_)
                | Reason::OneOfEndpoints(_)
                | Reason::ForwardedToGone
                | Reason::PeerGone
        )
    }
}

/// The fix.
#[derive(Clone, Debug)]
pub(super) enum Fix {
    /// Set the cluster's domain.
    SetClusterDomain(DnsName),
    /// Use this name.
    UseName(String),
    /// Try again after this many seconds.
    RetryIn(u32),
    /// Use one of these ports.
    UsePort(Vec<PortName>),
    /// Test one of these ports instead.
    TestPort(Vec<PortName>),
    /// Check the pods of this Service.
    CheckPods(ObjectName),
    /// Check this endpoint, which failed; `only`: none of the others that were used did.
    CheckEndpoint { endpoint: Who, only: bool },
    /// Check why the node forwards to this endpoint, which the EndpointSlices do not list as ready.
    CheckStaleEndpoint(Who),
    /// Check this pod.
    CheckPod(ObjectName),
    /// Check the DNS server and its logs.
    CheckServer(Server),
    /// Allow it in that NetworkPolicy.
    AllowInPolicy(ObjectName, Governs),
    /// Have all endpoints serve.
    UseAllEndpoints(Local),
    /// Add the pod's address to the source ranges.
    AddSourceRange,
    /// Give a port of the containers this name, or use its number.
    NameTargetPort(Arc<str>),
    /// List the port in the EndpointSlices.
    ListPort,
    /// Connect to the pod itself, or let it reach itself.
    Hairpin,
    /// Use a Service with endpoints for an address.
    UseEndpoints,
    /// Correct the target of the ExternalName Service.
    CorrectTarget(ObjectName),
    /// Publish addresses that are not ready, if peers need them.
    PublishNotReady,
    /// Use this name, or remove the search domain.
    RemoveSearchDomain(String),
    /// Set br_netfilter up, on this node.
    CheckBridgeNetfilter(Option<Arc<str>>),
    /// Limit answers over UDP to this many bytes.
    LowerBufferSize(u16),
    /// Check where this server and the pod forward to.
    CheckForward(Server),
    /// Use the cluster's DNS.
    ClusterFirst,
    /// Give an inventory.
    GiveInventory,
    /// Try the query without EDNS.
    TestWithoutEdns,
    /// Repair this nameserver, or remove it from the list.
    RepairNameserver(Server),
    /// Check the spelling.
    CheckSpelling,
    /// Lower the pod's MTU to this many bytes.
    LowerMtu(u32),
    /// Have the resolver open a socket for each query.
    SingleRequestReopen,
    /// Use names with a trailing dot.
    TrailingDot,
    /// Test these endpoints of `all` by themselves.
    Probe { names: Vec<ObjectName>, all: usize },
    /// Send keepalives more often than the connection was idle for.
    Keepalive,
    /// Have the node translate replies on its bridge.
    BridgeNetfilter,
    /// Check which protocol the other end expects.
    CheckProtocol,
    /// Limit how long a connection may be silent.
    UserTimeout,
    /// Compare the MTU of the pod with the network's.
    CheckMtu,
    /// Raise the maximum of entries there.
    RaiseConntrackMax,
    /// Check the connection tracking of the pod's node.
    CheckConntrack,
    /// Check the firewall rules of the pod's node.
    CheckNodeFirewall,
    /// Find the filter whose answer this address sent.
    CheckFilter(AddressHolder),
    /// Check the program at the other end.
    CheckAccept,
    /// Check the endpoints of this Service, and what the node knows of them.
    CheckEndpoints(ObjectName),
    /// Check the routes to the destination.
    CheckRoutes,
}
