//! Commands that a finding offers, with typed parts; [`super::wording`] writes them.

use std::net::IpAddr;
use std::sync::Arc;

use super::fact::{EndpointPlace, ObjectName, Selector};
use crate::model::cluster::Kind;
use crate::model::dns::{DnsName, RecordType};

/// Something to copy: a command, a name to use, a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// A name to use instead.
    UseName(String),
    /// An address to use instead, for as long as its pod lives.
    UseAddress(IpAddr),
    /// A setting of the pod.
    Setting(Setting),
    /// Runs in the case's pod.
    InPod(PodCommand),
    /// The same, after this many seconds.
    InPodAfter(u32, PodCommand),
    /// Runs kubectl.
    Kubectl(Kubectl),
    /// Shows the hairpin mode of the bridge ports of this node.
    HairpinMode(Arc<str>),
    /// Shows the insertion failures of the node's connection tracking.
    ConntrackFailures,
    /// Shows whether bridged packets are translated, on this node.
    BridgeNetfilter(Option<Arc<str>>),
    /// Shows the rules of the node's firewall that drop packets, with their counters.
    NodeRules,
    /// Shows the rules of a node's firewall that reject packets, with their counters; `None`: of the nodes on the way.
    RejectRules(Option<Arc<str>>),
    /// Shows whether the node's connection tracking is full.
    ConntrackTable,
    /// Shows the entries of the node's connection tracking for a destination, over UDP.
    ConntrackFlows(IpAddr, u16),
    /// Shows the checksum offload of the overlay's device.
    ChecksumOffload,
    /// Shows the route to an address, on the pod's node.
    RouteOnNode(IpAddr),
    /// Shows the listening sockets of a node's port.
    SocketsOnNode(Arc<str>, u16),
    /// Shows what the agents receive from the API server.
    AgentStatus,
    /// Writes an inventory file.
    MakeInventory,
}

impl From<PodCommand> for Command {
    fn from(command: PodCommand) -> Command {
        Command::InPod(command)
    }
}

impl From<Kubectl> for Command {
    fn from(command: Kubectl) -> Command {
        Command::Kubectl(command)
    }
}

impl From<Setting> for Command {
    fn from(setting: Setting) -> Command {
        Command::Setting(setting)
    }
}

/// A part of a pod's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// glibc opens another socket for the second query of a pair.
    SingleRequestReopen,
    /// The pod uses the cluster's DNS.
    ClusterFirst,
    /// Names with this many dots are tried as they are first.
    Ndots(usize),
    /// All endpoints serve the ClusterIP.
    InternalTrafficCluster,
    /// All endpoints serve what comes from outside.
    ExternalTrafficCluster,
    /// A headless Service's names include pods that are not ready.
    PublishNotReady,
}

/// A command to run in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodCommand {
    /// Looks a name up as applications do.
    Getent(String),
    /// Asks the DNS for a name.
    Nslookup {
        name: DnsName,
        qtype: Option<RecordType>,
        server: Option<IpAddr>,
    },
    /// Asks the server that did not answer once more.
    NslookupAgain { name: DnsName, server: IpAddr },
    /// Shows the search domains.
    ShowResolvConf,
    /// Asks for a name of this domain that is not defined.
    NslookupWildcard(DnsName),
    /// Asks one endpoint of a DNS Service for a name.
    NslookupEndpoint {
        name: DnsName,
        server: EndpointPlace,
    },
    /// Asks the server of a Service for a name that every cluster has.
    NslookupKubernetes(IpAddr),
    /// Asks over TCP.
    DigTcp { name: DnsName, server: IpAddr },
    /// Asks for an answer of at most this many bytes over UDP.
    DigBufferSize {
        name: DnsName,
        server: IpAddr,
        size: u16,
    },
    /// Asks without EDNS.
    DigWithoutEdns { name: DnsName, server: IpAddr },
    /// Opens a TCP connection.
    ConnectTcp {
        ip: IpAddr,
        port: u16,
        endpoint: Option<EndpointPlace>,
    },
    /// Pings an address.
    Ping(IpAddr),
    /// Pings an endpoint.
    PingEndpoint(EndpointPlace),
    /// Pings with the largest payload that fits the path.
    PingSize { to: IpAddr, size: u32 },
    /// Pings with packets of this MTU.
    PingMtu { to: IpAddr, size: u32, mtu: u32 },
    /// Shows the interface's MTU.
    ShowMtu,
    /// Shows the connections with an address, with their timers.
    Connections(IpAddr),
    /// Shows the way to an address hop by hop.
    Trace(IpAddr),
    /// Speaks TLS with an address.
    TalkTls { ip: IpAddr, port: u16 },
}

/// A kubectl command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kubectl {
    /// Shows a Service.
    Service(ObjectName),
    /// Shows the target ports of a Service.
    TargetPorts(ObjectName),
    /// Shows the ports that the containers of selected pods declare.
    ContainerPorts(Arc<str>, Selector),
    /// Shows the source ranges of a Service's load balancer.
    SourceRanges(ObjectName),
    /// Shows the target of an ExternalName Service.
    ExternalName(ObjectName),
    /// Lists the Services of a namespace, named as the application asked for it.
    ServicesIn(String),
    /// Lists all Services.
    AllServices,
    /// Finds the Service with this address.
    ServiceWithAddress(IpAddr),
    /// Finds the pod with this address.
    PodWithAddress(IpAddr),
    /// Lists the EndpointSlices of a Service.
    EndpointSlices(ObjectName),
    /// Lists the pods that a selector matches.
    SelectedPods(Arc<str>, Selector),
    /// Lists the labels of all pods of a namespace.
    PodLabels(Arc<str>),
    /// Describes a pod.
    DescribePod(ObjectName),
    /// Shows the listening sockets of a pod.
    Sockets(ObjectName),
    /// Opens a TCP connection from a new pod.
    ConnectFromNewPod(IpAddr, u16),
    /// Shows what the pods that a selector matches consume.
    TopPods(Arc<str>, Selector),
    /// Shows the logs of the pods that a selector matches.
    SelectedLogs(Arc<str>, Selector),
    /// Shows the logs of a pod.
    PodLogs(ObjectName),
    /// Shows the logs of the cluster's DNS, under its usual label.
    ClusterDnsLogs,
    /// Shows the Corefile of CoreDNS.
    Corefile,
    /// Describes a NetworkPolicy.
    DescribePolicy(ObjectName),
    /// Checks the permission to list a kind.
    CanList(Kind),
    /// Lists the objects of a kind.
    List(Kind),
    /// Checks the API server's health.
    ServerHealth,
}
