//! The headline: symptom, cause and fix in one line.

use super::facts::family;
use super::parts::address;
use super::parts::{Asked, Count, List, Part, Plain, Ports, Relative};
use super::rest::rest;
use super::sentence;
use crate::diagnose::attempt::Failure;
use crate::diagnose::claim::Summary;
use crate::diagnose::fact::{
    Destination, DestinationKind, Governs, Local, ObjectName, Server, ServerKind, Who, WrongForm,
};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::route::Access;
use crate::diagnose::search_domains::Caught;
use crate::diagnose::tally::Tally;
use crate::model::sentence::Sentence;

/// The most characters of a headline: what the note of a Kubernetes Event and a line of a terminal can show.
pub(in crate::diagnose) const MAX_HEADLINE: usize = 160;
/// Items of a list in a headline.
const MAX_ITEMS: usize = 3;

/// The most characters of a pod's name where the line is too long.
const MAX_POD: usize = 32;

/// Symptom, cause and fix. Where they do not fit, the pod's name is shortened, which the finding has elsewhere;
/// then the cause is left out, which it explains below; then the fix.
pub(in crate::diagnose) fn headline(
    who: &Who,
    summary: &Summary,
    tally: &Tally,
    reason: Option<&Reason>,
    fix: Option<&Fix>,
) -> Sentence {
    let long = symptom(who, summary, tally);
    let short = symptom(&shortened(who), summary, tally);
    let reason = reason.map(because);
    let fix = fix.map(self::fix);
    let with = |symptom: &Sentence, reason: Option<&Sentence>, fix: Option<&Sentence>| {
        let mut line = symptom.clone();
        for (between, clause) in [(": ", reason), ("; ", fix)] {
            if let Some(clause) = clause {
                line.push_words(between);
                line.append(clause.clone());
            }
        }
        (line.chars() <= MAX_HEADLINE).then_some(line)
    };
    let (reason, fix) = (reason.as_ref(), fix.as_ref());
    [(reason, fix), (None, fix), (reason, None)]
        .into_iter()
        .flat_map(|(reason, fix)| [(&long, reason, fix), (&short, reason, fix)])
        .find_map(|(symptom, reason, fix)| with(symptom, reason, fix))
        .unwrap_or_else(|| short.clone().clipped(MAX_HEADLINE))
}

/// The pod, its name cut in the middle: the end distinguishes replicas.
pub(super) fn shortened(who: &Who) -> Who {
    let Who::Pod(pod) = who else {
        return who.clone();
    };
    let length = pod.name.chars().count();
    if length <= MAX_POD {
        return who.clone();
    }
    let (start, end) = (MAX_POD / 2, MAX_POD - MAX_POD / 2 - 1);
    let first = pod.name.chars().take(start);
    let last = pod.name.chars().skip(length - end);
    let name: String = first.chain(['…']).chain(last).collect();
    Who::Pod(ObjectName {
        namespace: std::sync::Arc::clone(&pod.namespace),
        name: name.into(),
    })
}

/// The headline of a resolved finding.
pub(in crate::diagnose) fn resolved(how: &Sentence) -> Sentence {
    sentence!("resolved: {}", how).clipped(MAX_HEADLINE)
}

pub(super) fn symptom(who: &Who, summary: &Summary, tally: &Tally) -> Sentence {
    let some = tally.attempts > tally.failures && tally.attempts > 1;
    let share =
        |noun: &'static str| sentence!("{} of {}", tally.failures, Count(tally.attempts, noun));
    match summary {
        Summary::NoSuchName { asked, .. } => {
            sentence!("{} can't resolve \"{}\"", who, Asked(asked))
        }
        Summary::NoSuchType { asked, types, .. } => sentence!(
            "{} looked up \"{}\": the name has no {} record",
            who,
            Asked(asked),
            List(types)
        ),
        Summary::TypeFails {
            name,
            qtype,
            outcome,
            ..
        } => sentence!(
            "{}: {} of {} fails ({}) while A is answered",
            who,
            qtype,
            Relative(name),
            outcome
        ),
        Summary::QueriesRejected { server, .. } => {
            sentence!("{} can't reach DNS server {}", who, Brief(server))
        }
        Summary::ServerRefusesTcp(server) => {
            sentence!(
                "{} can't connect to DNS server {} over TCP",
                who,
                Brief(server)
            )
        }
        Summary::Race { waited, asked, .. } if !some => {
            sentence!("{} waited {} for \"{}\"", who, waited, Asked(asked))
        }
        Summary::Race { server, waited, .. } => sentence!(
            "{}: {} at DNS server {} waited {}",
            who,
            share("lookup"),
            Brief(server),
            waited
        ),
        Summary::SearchDomain {
            asked,
            domain,
            caught,
        } => match caught {
            Caught::Answered(_) => sentence!(
                "{}: search domain {} answers \"{}\"",
                who,
                Relative(domain),
                Asked(asked)
            ),
            Caught::Ended => sentence!(
                "{} can't resolve \"{}\": the search ended after domain {}",
                who,
                Asked(asked),
                Relative(domain)
            ),
            Caught::Waited(waited) => sentence!(
                "{} waited {} for \"{}\": search domain {} doesn't answer",
                who,
                waited,
                Asked(asked),
                Relative(domain)
            ),
            Caught::Empty | Caught::Failed(_) => sentence!(
                "{} can't resolve \"{}\": search domain {} ended the search",
                who,
                Asked(asked),
                Relative(domain)
            ),
        },
        Summary::Loop {
            name,
            server,
            times,
            ..
        } => sentence!(
            "{}: its question for {} to DNS server {} came back {}",
            who,
            Relative(name),
            Brief(server),
            Count(*times, "time")
        ),
        Summary::Retried { waited, asked, .. } if !some => {
            sentence!("{} waited {} for \"{}\"", who, waited, Asked(asked))
        }
        Summary::Retried { waited, server, .. } => sentence!(
            "{}: {} at DNS server {} waited, the last one {}",
            who,
            share("lookup"),
            Brief(server),
            waited
        ),
        Summary::RepliesFromElsewhere { asked, server, .. } => sentence!(
            "{} can't resolve \"{}\" at DNS server {}",
            who,
            Asked(asked),
            Brief(server)
        ),
        Summary::NotUnderstood {
            asked,
            server,
            rcode,
            ..
        } => sentence!(
            "{} can't resolve \"{}\": {} from DNS server {}",
            who,
            Asked(asked),
            rcode,
            Brief(server)
        ),
        Summary::FragmentsLost { asked, server, .. } => sentence!(
            "{} can't resolve \"{}\" at DNS server {}",
            who,
            Asked(asked),
            Brief(server)
        ),
        Summary::Servfail { asked, server, .. }
        | Summary::Refused { asked, server, .. }
        | Summary::NoAnswer { asked, server, .. } => {
            let outcome = match summary {
                Summary::Servfail { .. } => "SERVFAIL",
                Summary::Refused { .. } => "REFUSED",
                _ => "no answer",
            };
            if some {
                sentence!(
                    "{}: {} at DNS server {} got {}",
                    who,
                    share("lookup"),
                    Brief(server),
                    outcome
                )
            } else {
                sentence!(
                    "{} can't resolve \"{}\": {} from DNS server {}",
                    who,
                    Asked(asked),
                    outcome,
                    Brief(server)
                )
            }
        }
        Summary::Truncated { asked, server, .. } => sentence!(
            "{} can't resolve \"{}\": the answer of DNS server {} is truncated and TCP fails",
            who,
            Asked(asked),
            Brief(server)
        ),
        Summary::SlowServer {
            server, latency, ..
        } => sentence!(
            "{} waited {} for DNS server {}",
            who,
            latency,
            Brief(server)
        ),
        Summary::OtherClusterDomain { domain, configured } => sentence!(
            "{}: the cluster's domain is {}, not {}",
            who,
            Relative(domain),
            Relative(configured)
        ),
        Summary::Rest(latest) => rest(who, latest, tally.failures),
        Summary::SearchPathWaste {
            workload,
            wasted,
            queries,
            ..
        } => sentence!(
            "{}: {} of {} DNS queries are for names that don't exist",
            Plain(workload.clone()),
            wasted,
            queries
        ),
        Summary::CannotReach {
            protocol,
            failure,
            destination,
            ..
        } => {
            let destination = Short(destination);
            match (*protocol, failure, some) {
                ("TCP", _, true) => sentence!(
                    "{}: {} to {} {}",
                    who,
                    share("connection"),
                    destination,
                    match failure {
                        Failure::Reset => "are refused",
                        Failure::Rejected(_) => "are rejected by ICMP",
                        Failure::Silent | Failure::Late(_) => "got no answer in time",
                    }
                ),
                ("TCP", _, false) => sentence!(
                    "{} can't connect to {} ({})",
                    who,
                    destination,
                    failed(failure)
                ),
                (_, Failure::Silent, _) => {
                    sentence!("{} gets no answer from {} over UDP", who, destination)
                }
                _ => sentence!(
                    "{} can't reach {} over UDP ({})",
                    who,
                    destination,
                    failed(failure)
                ),
            }
        }
        Summary::ConnectedSlowly {
            destination,
            waited,
            ..
        } if !some => sentence!(
            "{} waited {} to connect to {}",
            who,
            waited,
            Short(destination)
        ),
        Summary::ConnectedSlowly {
            destination,
            waited,
            ..
        } => sentence!(
            "{}: {} to {} were slow ({})",
            who,
            share("connection"),
            Short(destination),
            waited
        ),
        Summary::RepliesFromOther {
            syn_ack: true,
            destination,
            ..
        } => sentence!("{} can't connect to {}", who, Short(destination)),
        Summary::RepliesFromOther { destination, .. } => {
            sentence!("{} gets no valid reply from {}", who, Short(destination))
        }
        Summary::ResetAfterData { destination, .. } => sentence!(
            "{}: {} to {} are reset after the first data",
            who,
            share("connection"),
            Short(destination)
        ),
        Summary::ResetAfterIdle { destination, idle } => sentence!(
            "{}: a connection to {} was reset after {} idle",
            who,
            Short(destination),
            idle
        ),
        Summary::Stalled {
            destination, span, ..
        } => sentence!(
            "{} gets no answer on its connection to {} for {}",
            who,
            Short(destination),
            span
        ),
        Summary::SynAckRepeated { destination, .. } => sentence!(
            "{}: {} is slow to accept connections",
            who,
            Short(destination)
        ),
        Summary::LargeLost { destination, .. } => {
            sentence!("{}: its connection to {} hangs", who, Short(destination))
        }
        Summary::UdpUnanswered { destination, .. } => sentence!(
            "{} gets no answer any more from {} over UDP",
            who,
            Short(destination)
        ),
        Summary::PingedClusterIp {
            ip,
            access,
            service,
            sent,
            received,
            ..
        } => sentence!(
            "{} pinged {} {} (Service {}): {} sent, {} received",
            who,
            address(*access),
            ip,
            service,
            sent,
            received
        ),
        Summary::PingUnanswered { ip, sent } | Summary::PingedServiceRange { ip, sent } => {
            sentence!("{} pinged {}: {} sent, 0 received", who, ip, sent)
        }
        Summary::PacketsTooBig { to, .. } => sentence!(
            "{} sends packets to {} that are too big for the path",
            who,
            to
        ),
    }
}

/// How an attempt failed.
fn failed(failure: &Failure) -> Sentence {
    match failure {
        Failure::Reset => "refused".into(),
        Failure::Rejected(error) => sentence!("{}", error),
        Failure::Silent => "no answer".into(),
        Failure::Late(late) => sentence!("no answer for {}", late.after()),
    }
}

fn because(reason: &Reason) -> Sentence {
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
        Fix::AllowInPolicy(policy) => sentence!("allow it in NetworkPolicy {}", policy),
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
        Fix::CheckConntrack => "check nf_conntrack there".into(),
        Fix::CheckAccept => "check its load".into(),
        Fix::CheckEndpoints(service) => {
            sentence!("check the EndpointSlices of {} and kube-proxy", service)
        }
        Fix::CheckRoutes => "check the routes to it".into(),
    }
}

/// A DNS server as a headline names it: by its object, or by its address.
struct Brief<'a>(&'a Server);

impl Part for Brief<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        let Server { kind, ip } = self.0;
        match kind {
            ServerKind::Object(object) => object.add_to(sentence),
            ServerKind::NodeCache { named: true } => sentence.push_words("NodeLocal DNSCache"),
            ServerKind::NodeCache { named: false } | ServerKind::Node(_) | ServerKind::Other => {
                ip.add_to(sentence);
            }
        }
    }
}

/// The first items of a list.
struct Few<'a, T>(&'a [T]);

impl<T: Part> Part for Few<'_, T> {
    fn add_to(&self, sentence: &mut Sentence) {
        let shown = &self.0[..self.0.len().min(MAX_ITEMS)];
        let more = self.0.len() - shown.len();
        if more == 0 {
            return List(shown).add_to(sentence);
        }
        for item in shown {
            item.add_to(sentence);
            sentence.push_words(", ");
        }
        sentence.push_words(format!("{more} more"));
    }
}

/// `Service shop/api:8080`.
struct Short<'a>(&'a Destination);

impl Part for Short<'_> {
    fn add_to(&self, sentence: &mut Sentence) {
        let Destination { kind, ip, port } = self.0;
        match kind {
            DestinationKind::Service(service) => sentence!("Service {}:{}", service, port),
            DestinationKind::NodePort(service, node) => {
                sentence!("node port {}:{} of Service {}", node, port, service)
            }
            DestinationKind::Pod(pod) => sentence!("pod {}:{}", pod, port),
            DestinationKind::Node(node) => sentence!("node {}:{}", node, port),
            DestinationKind::Name(name) => sentence!("{}:{}", Relative(name), port),
            DestinationKind::Unknown => sentence!("{}", std::net::SocketAddr::new(*ip, *port)),
        }
        .add_to(sentence);
    }
}
