//! The fix, in a clause.

use super::brief::MAX_ITEMS;
use crate::diagnose::fact::{AddressHolder, Local, ServerKind};
use crate::diagnose::headline::Fix;
use crate::diagnose::wording::parts::{Asked, Count, List, Ports, Relative};
use crate::diagnose::wording::sentence;
use crate::model::sentence::Sentence;

/// The fix in a clause.
pub(in crate::diagnose) fn fix(fix: &Fix) -> Sentence {
    match fix {
        Fix::SetClusterDomain(domain) => sentence!("set --cluster-domain {}", Relative(domain)),
        Fix::UseName(name) => sentence!("use {}", Asked(name)),
        Fix::RetryIn(seconds) => sentence!("try again in {}", Count((*seconds).into(), "second")),
        Fix::UsePort(ports) => sentence!("use {}", Ports(ports)),
        Fix::TestPort(ports) => sentence!("test {} instead", Ports(ports)),
        Fix::CheckPods(service) => sentence!("check the pods of Service {}", service),
        Fix::CheckPod(pod) => sentence!("check pod {}", pod),
        Fix::AllowInPolicy(policy, _) => sentence!("allow it in NetworkPolicy {}", policy),
        Fix::UseAllEndpoints(Local::Internal) => "set internalTrafficPolicy to Cluster".into(),
        Fix::UseAllEndpoints(Local::NodePort | Local::External) => {
            "set externalTrafficPolicy to Cluster".into()
        }
        Fix::AddSourceRange => "add the pods' addresses to its loadBalancerSourceRanges".into(),
        Fix::NameTargetPort(name) => {
            sentence!("name a container port \"{}\" or use its number", name)
        }
        Fix::ListPort => "list it in the EndpointSlices".into(),
        Fix::Hairpin => "use localhost or enable hairpin mode".into(),
        Fix::UseEndpoints => "use a Service with an EndpointSlice".into(),
        Fix::CorrectTarget(service) => sentence!("correct the externalName of {}", service),
        Fix::PublishNotReady => "set publishNotReadyAddresses if peers need it earlier".into(),
        Fix::CheckServer(server) => match &server.kind {
            ServerKind::Object(object) => sentence!("check the logs of {}", object),
            ServerKind::NodeCache { named: true } => "check the logs of NodeLocal DNSCache".into(),
            ServerKind::NodeCache { named: false } => "check the cache on the pod's node".into(),
            ServerKind::Node(node) => sentence!("check the DNS server on node {}", node),
            ServerKind::Other => sentence!("check DNS server {}", server.ip),
        },
        Fix::CheckForward(server) => {
            sentence!("check where the pod and {} forward to", server.ip)
        }
        Fix::ClusterFirst => "set dnsPolicy: ClusterFirst".into(),
        Fix::GiveInventory => "give an inventory to learn why".into(),
        Fix::RepairNameserver(server) => {
            sentence!("repair {} or remove it from the list", server.ip)
        }
        Fix::RemoveSearchDomain(name) => {
            sentence!("use {} or remove that domain", Asked(name))
        }
        Fix::TestWithoutEdns => "test it without EDNS".into(),
        Fix::CheckBridgeNetfilter(node) => match node {
            Some(node) => sentence!("check br_netfilter on {}", node),
            None => "check how replies are routed back".into(),
        },
        Fix::LowerBufferSize(size) => sentence!("limit EDNS answers to {} bytes", size),
        Fix::CheckEndpoint { endpoint, only } => match only {
            true => sentence!("check {}: only it fails", endpoint),
            false => sentence!("check endpoint {}", endpoint),
        },
        Fix::CheckStaleEndpoint(endpoint) => sentence!(
            "check why the node forwards to {}, no ready endpoint",
            endpoint
        ),
        Fix::CheckSpelling => "check the spelling".into(),
        Fix::LowerMtu(mtu) => sentence!("lower the pod's MTU to {}", mtu),
        Fix::SingleRequestReopen => "set the resolver option single-request-reopen".into(),
        Fix::TrailingDot => "end full names with a dot".into(),
        Fix::Probe { names, all } => {
            let shown = &names[..names.len().min(MAX_ITEMS)];
            match all - shown.len() {
                0 => sentence!("probe {}", List(shown)),
                more => sentence!("probe {} and {} more", List(shown), more),
            }
        }
        Fix::Keepalive => "use shorter keepalives".into(),
        Fix::BridgeNetfilter => "check bridge-nf-call-iptables".into(),
        Fix::CheckProtocol => "check what it expects".into(),
        Fix::UserTimeout => "set keepalives or TCP_USER_TIMEOUT".into(),
        Fix::CheckMtu => "compare the MTUs of pod, node and overlay".into(),
        Fix::RaiseConntrackMax => "raise nf_conntrack_max there".into(),
        Fix::CheckConntrack => "check nf_conntrack there".into(),
        Fix::CheckNodeFirewall => "check that node's firewall".into(),
        Fix::CheckFilter(holder) => match holder {
            AddressHolder::OwnNode(node) | AddressHolder::OtherNode(node) => {
                sentence!("check the firewall of {}", node)
            }
            AddressHolder::Pod(pod) => sentence!("check the filter at pod {}", pod),
            _ => "find the filter on the way".into(),
        },
        Fix::CheckAccept => "check its load".into(),
        Fix::CheckEndpoints(service) => {
            sentence!("check the EndpointSlices of {} and kube-proxy", service)
        }
        Fix::CheckRoutes => "check the routes to it".into(),
    }
}
