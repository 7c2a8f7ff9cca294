//! Facts about a name and what it stands for.

use std::sync::Arc;
use std::time::Duration;

use super::{EndpointPlace, Lacking, NotReady, ObjectName};
use crate::diagnose::search_domains::Origin;
use crate::model::cluster::ServiceKind;
use crate::model::dns::DnsName;

/// Fields of type `String` are names, or parts of names, as the application asked for them.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum NameFact {
    /// An answer with the address of a Service showed the cluster's domain.
    DomainShownByAnswer,
    /// What the resolver tried.
    Tried(Tried),
    /// No query was for the name itself.
    NotAsked(String),
    /// Some pod found the name.
    FoundByPods(DnsName),
    /// Where a search domain comes from.
    SearchDomainFrom { domain: DnsName, origin: Origin },
    /// Why a search may end before the name itself.
    SearchEndCauses,
    /// The namespace has no such Service.
    NoServiceIn { namespace: String, service: String },
    /// No namespace has such a Service.
    NoServiceAnywhere(String),
    /// No such namespace exists.
    NoNamespace(String),
    /// A Service of that name exists in this place.
    ServiceElsewhere {
        service: ObjectName,
        kind: ServiceKind,
        /// The pod of it that the name means.
        host: Option<String>,
        place: Place,
        /// It is headless and has no ready pod.
        unready: bool,
    },
    /// The Service's name differs in a letter or two.
    SimilarService(ObjectName),
    /// The inventory does not show whether such a Service exists.
    ServiceUnknown { service: String, lacking: Lacking },
    /// The inventory does not show whether the name means a Service and its namespace.
    MeaningUnknown(Lacking),
    /// The name is an alias for one that does not exist.
    DanglingAlias(DnsName),
    /// The name is outside of the cluster's domain, and the DNS (this zone of it) denies it.
    OutsideCluster {
        cluster_domain: DnsName,
        zone: Option<DnsName>,
    },
    /// The Service is headless, and the inventory does not show whether it has a ready pod.
    HeadlessReadinessUnknown(ObjectName),
    /// The Service is headless and has no ready pod.
    HeadlessNotReady(ObjectName, NotReady),
    /// The pod of a headless Service is not ready.
    HostNotReady {
        host: String,
        service: ObjectName,
        endpoint: EndpointPlace,
    },
    /// The pod of a headless Service exists and is no endpoint yet.
    HostNoEndpoint { host: String, service: ObjectName },
    /// DNS leaves out pods that are not ready unless the Service says otherwise.
    NotReadyLeftOut,
    /// The target of an ExternalName Service is an address.
    ExternalNameIsAddress {
        service: ObjectName,
        target: DnsName,
    },
    /// An ExternalName Service has no target.
    ExternalNameEmpty(ObjectName),
    /// An ExternalName Service is an alias for itself.
    ExternalNameItself(ObjectName),
    /// The target of an ExternalName Service, or what that is an alias for, does not exist.
    ExternalNameMissing {
        service: ObjectName,
        target: DnsName,
        alias: Option<DnsName>,
    },
    /// The target of an ExternalName Service has no address.
    ExternalNameNoAddress {
        service: ObjectName,
        target: DnsName,
    },
    /// The server has to ask another one for the target of an ExternalName Service.
    ExternalNameUnresolved {
        service: ObjectName,
        target: DnsName,
    },
    /// The target is a Service's short name.
    ExternalNameIsShort { service: ObjectName, full: DnsName },
    /// The Service exists under this name.
    ServiceExists { service: ObjectName, name: DnsName },
    /// The Service was created this long before the question.
    CreatedBefore(Duration),
    /// The Service was created this long after the question.
    CreatedAfter(Duration),
    /// The Service is older than the inventory.
    CreationUnknown,
    /// The answer has no SOA record.
    NoNegativeTtl,
    /// A cache may keep the answer for `ttl` of the zone's `full` seconds.
    NegativeTtlCountedDown { ttl: u32, full: u32 },
    /// A cache may keep the answer for this many seconds.
    NegativeTtl(u32),
    /// The name's form is wrong.
    WrongForm(WrongForm),
    /// The name exists, without a record of the type asked for.
    NameExists(DnsName),
    /// The name is that of a namespace.
    NameOfNamespace(String),
    /// The name is that of a Service, which has addresses of one family only.
    NameOfService(ObjectName, Option<AddressFamily>),
    /// Search domains come first; most queries without success were for these names.
    SearchedFirst(Vec<String>),
}

/// What the resolver tried for a name.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum Tried {
    /// These search domains, and perhaps the name itself.
    SearchDomains { domains: Vec<String>, itself: bool },
    /// The name itself, and no search domain.
    AsIs,
    /// The wire does not show it.
    Unknown,
}

/// Where a Service is, seen from the pod.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnose) enum Place {
    OwnNamespace,
    OtherNamespace,
}

/// The only family of a Service's addresses.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnose) enum AddressFamily {
    V4,
    V6,
}

/// How the form of a name is wrong.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum WrongForm {
    /// A short name was looked up as an absolute one.
    Absolute {
        service: ObjectName,
        full: DnsName,
        /// The pod's `ndots`, if the name has that many dots: resolvers ask for it as it is first, and musl only so.
        ndots: Option<u8>,
    },
    /// The pod resolves names as its node does.
    NodeResolver(ObjectName),
    /// The name has another cluster domain.
    ClusterDomain {
        service: ObjectName,
        cluster_domain: DnsName,
        other: String,
    },
    /// The namespace is missing. These Services have the name.
    NoNamespace {
        cluster_domain: DnsName,
        services: Vec<ObjectName>,
    },
    /// `svc` is missing.
    NoSvc(ObjectName),
    /// Namespace and name are swapped.
    Swapped(ObjectName),
    /// A pod of a headless Service without the Service's name.
    HostWithoutService { host: String, service: ObjectName },
    /// A pod's name.
    PodName {
        pod: ObjectName,
        ip: std::net::IpAddr,
        services: LeadingServices,
    },
    /// A name below that of a Service that is not headless.
    HostOfOrdinaryService(ObjectName),
    /// The headless Service has no such pod.
    NoSuchHost {
        host: String,
        service: ObjectName,
        hosts: HostNames,
    },
    /// The Service has no such named port; it has these, as `_name._protocol`.
    NoSuchPort {
        service: ObjectName,
        port: String,
        protocol: String,
        ports: Vec<String>,
    },
}

/// The Services that select a pod.
#[derive(Clone, Debug)]
pub(in crate::diagnose) struct LeadingServices(pub Vec<ObjectName>);

/// The hostnames of a headless Service's pods.
#[derive(Clone, Debug)]
pub(in crate::diagnose) enum HostNames {
    /// The inventory has no EndpointSlices.
    Unknown,
    /// These, or none.
    Known(Vec<Arc<str>>),
}
