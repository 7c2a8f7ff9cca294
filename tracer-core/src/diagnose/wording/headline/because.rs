//! The cause, in a clause.

use super::brief::{Brief, Few};
use crate::diagnose::fact::{Governs, WrongForm};
use crate::diagnose::headline::Reason;
use crate::diagnose::route::Access;
use crate::diagnose::wording::facts::family;
use crate::diagnose::wording::parts::{Asked, Ports, Relative};
use crate::diagnose::wording::sentence;
use crate::model::sentence::Sentence;

pub(super) fn because(reason: &Reason) -> Sentence {
    match reason {
        Reason::InNamespaces(namespaces) => match namespaces.as_slice() {
            [namespace] => sentence!("the Service is in namespace {}", namespace),
            namespaces => sentence!("the Service is in namespaces {}", Few(namespaces)),
        },
        Reason::HeadlessNotReady(service) => {
            sentence!("headless Service {} has no ready pod", service)
        }
        Reason::WrongForm(form) => wrong_form(form),
        Reason::CachedAbsence(service) => sentence!(
            "Service {} exists, but the answer from before it did may be cached",
            service
        ),
        Reason::NoSuchService(name) => {
            sentence!("no namespace has a Service \"{}\"", Asked(name))
        }
        Reason::DanglingAlias(alias) => {
            sentence!("it's an alias for {}, which doesn't exist", Relative(alias))
        }
        Reason::NoSuchExternalName => "the name doesn't exist outside of the cluster".into(),
        Reason::ServesOnly(ports) => sentence!("the Service serves only {}", Ports(ports)),
        Reason::NoReadyEndpoint => "the Service has no ready endpoint".into(),
        Reason::NotListening(port) => {
            sentence!("possibly no process listens on port {}", port)
        }
        Reason::OnlyServicePorts(access, ports) => sentence!(
            "{} forward only Service ports ({})",
            match access {
                Access::ClusterIp => "ClusterIPs",
                Access::Balancer => "load balancers",
                Access::External | Access::NodePort => "such addresses",
            },
            Ports(ports)
        ),
        Reason::NoServiceHasAddress => "no Service has this address".into(),
        Reason::GonePod(pod) => sentence!("the address was pod {}'s, which is gone", pod),
        Reason::NobodyHasAddress => "no pod, Service or node has this address".into(),
        Reason::QueryLost => "one of two simultaneous queries was lost".into(),
        Reason::ServiceMeant(service) => sentence!("Service {} exists", service),
        Reason::NotAsked => "the name itself wasn't asked for".into(),
        Reason::ForwardsInACircle => "the servers forward to each other".into(),
        Reason::NoCandidateExists => "every name that was tried got NXDOMAIN".into(),
        Reason::RepetitionAnswered => "its query got no answer until it was repeated".into(),
        Reason::AnotherServerAnswers { silent, answers } => {
            sentence!("{} is silent, {} answers", silent, Brief(answers))
        }
        Reason::DroppedOnNode { reason, answers } => sentence!(
            "its node dropped {} ({})",
            if *answers { "the answers" } else { "it" },
            reason
        ),
        Reason::FilterRejects => "a filter's answer".into(),
        Reason::NotTranslatedBack(from) => {
            sentence!("its answers come from {}", from)
        }
        Reason::EdnsNotUnderstood => "possibly it doesn't understand EDNS".into(),
        Reason::CacheGetsNoAnswer => "possibly it gets no answer from the cluster's DNS".into(),
        Reason::FragmentsLost => "the answer's later fragments are lost".into(),
        Reason::UpstreamFails => "its upstream servers possibly fail".into(),
        Reason::ServerFails => "it fails for the cluster's own names".into(),
        Reason::PolicyDenies(policy, Governs::Egress) => {
            sentence!("NetworkPolicy {} doesn't allow it", policy)
        }
        Reason::PolicyDenies(policy, Governs::Ingress) => {
            sentence!("NetworkPolicy {} doesn't allow its ingress", policy)
        }
        Reason::PossiblyNoLocalEndpoint(node) => sentence!(
            "possibly as {} has no ready endpoint of it (externalTrafficPolicy Local)",
            node
        ),
        Reason::NoLocalEndpoint(node) => sentence!("{} has no ready endpoint of it", node),
        Reason::OutsideSourceRanges(client) => {
            sentence!("it doesn't admit {}", client)
        }
        Reason::TargetPortUndeclared(name) => {
            sentence!("no container declares its targetPort \"{}\"", name)
        }
        Reason::PortUnlisted => "its EndpointSlices don't list that port".into(),
        Reason::OnlyEndpointIsSelf => "its only endpoint is the pod itself".into(),
        Reason::NoEndpointOfFamily { v4 } => {
            sentence!("the Service has no ready {} endpoint", family(*v4))
        }
        Reason::OtherFamilyWorks { v4 } => sentence!(
            "only {} fails, the Service's {} address works",
            family(!*v4),
            family(*v4)
        ),
        Reason::TargetIsAddress(service) => {
            sentence!("externalName of Service {} is an address", service)
        }
        Reason::TargetMissing(target) => {
            sentence!(
                "it's an alias for {}, which doesn't exist",
                Relative(target)
            )
        }
        Reason::TargetNoAddress(target) => {
            sentence!(
                "it's an alias for {}, which has no address",
                Relative(target)
            )
        }
        Reason::TargetUnresolved(target) => {
            sentence!(
                "it's an alias for {}, which doesn't resolve",
                Relative(target)
            )
        }
        Reason::TargetUseless => "it has no usable externalName".into(),
        Reason::PodNotReady(pod) => sentence!("pod {} isn't ready", pod),
        Reason::PathMtu(mtu, from) => sentence!("{} reports an MTU of {} bytes", from, mtu),
        Reason::OneOfEndpoints(endpoints) => {
            sentence!("possibly 1 of {} endpoints isn't listening", endpoints)
        }
        Reason::ConntrackFull => "its node's conntrack table is full".into(),
        Reason::ChosenIsSelf => "the endpoint chosen is the pod itself".into(),
        Reason::ForwardedToGone => "possibly it leads to an endpoint that is gone".into(),
        Reason::RoutingLoop => "a routing loop (time exceeded)".into(),
        Reason::SynsLost { elsewhere: false } => "the first SYNs are lost".into(),
        Reason::SynsLost { elsewhere: true } => {
            "possibly the node's conntrack table is full".into()
        }
        Reason::NotTranslated(from) => {
            sentence!("the replies come from {}, not translated back", from)
        }
        Reason::OtherProtocolExpected => "possibly it expects TLS or mTLS".into(),
        Reason::ForgottenWhileIdle => "possibly an idle timeout".into(),
        Reason::PeerGone => "the other end is possibly gone".into(),
        Reason::AcceptQueueFull => "its accept queue is possibly full".into(),
        Reason::LargeSegmentsLost { bytes, from_pod } => sentence!(
            "{} bytes {} it don't arrive, smaller segments do",
            bytes,
            if *from_pod { "to" } else { "from" }
        ),
    }
}

fn wrong_form(form: &WrongForm) -> Sentence {
    match form {
        WrongForm::Absolute {
            ndots: Some(ndots), ..
        } => sentence!("possibly due to ndots:{}", ndots),
        WrongForm::Absolute { .. } => "a name with a trailing dot isn't searched for".into(),
        WrongForm::NodeResolver(_) => "the pod asks its node's nameservers".into(),
        WrongForm::ClusterDomain { cluster_domain, .. } => {
            sentence!("the cluster's domain is {}", Relative(cluster_domain))
        }
        WrongForm::NoNamespace { .. } => "the namespace is missing".into(),
        WrongForm::NoSvc(_) => "\"svc\" is missing".into(),
        WrongForm::Swapped(_) => "Service and namespace are swapped".into(),
        WrongForm::HostWithoutService { service, .. } => {
            sentence!("the name of its headless Service {} is missing", service)
        }
        WrongForm::PodName { .. } => "pods have no name in DNS".into(),
        WrongForm::HostOfOrdinaryService(service) => {
            sentence!("Service {} isn't headless", service)
        }
        WrongForm::NoSuchHost { service, .. } => {
            sentence!("headless Service {} has no such pod", service)
        }
        WrongForm::NoSuchPort { service, .. } => {
            sentence!("Service {} has no such named port", service)
        }
    }
}
