//! The cause and the fix of a finding as its headline states them: a clause each, as data.
//!
//! [`super::wording::headline`] puts them behind the symptom, which it takes from the claim's summary. The
//! facts of a claim explain in sentences; these are for the one line that people see first.

use std::net::IpAddr;
use std::sync::Arc;

use super::fact::{ObjectName, PortName, Server, WrongForm};
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
    OnlyServicePorts(Vec<PortName>),
    /// The address is no Service's.
    NoServiceHasAddress,
    /// The address was that of a pod that is gone.
    GonePod(ObjectName),
    /// No object of the inventory has the address.
    NobodyHasAddress,
    /// Of the queries sent together one was lost.
    QueryLost,
    /// The upstream servers of the DNS server fail.
    UpstreamFails,
    /// The DNS server fails for names of the cluster.
    ServerFails,
    /// The path's MTU in bytes, and who said so.
    PathMtu(u32, IpAddr),
}

/// The fix.
#[derive(Clone, Debug)]
pub(super) enum Fix {
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
    /// Check this pod.
    CheckPod(ObjectName),
    /// Check the DNS server and its logs.
    CheckServer(Server),
    /// Check the spelling.
    CheckSpelling,
    /// Lower the pod's MTU to this many bytes.
    LowerMtu(u32),
    /// Have the resolver open a socket for each query.
    SingleRequestReopen,
    /// Use names with a trailing dot.
    TrailingDot,
}
