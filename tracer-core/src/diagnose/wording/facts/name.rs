//! Names and what they stand for.

use std::time::Duration;

use super::super::parts::{Asked, List, Part, Relative};
use super::super::sentence;
use super::{inventory, not_ready};
use crate::diagnose::fact::{
    AddressFamily, HostNames, LeadingServices, NameFact, Place, Tried, WrongForm,
};
use crate::diagnose::search_domains::Origin;
use crate::model::cluster::ServiceKind;
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &NameFact) -> Sentence {
    match fact {
        NameFact::DomainShownByAnswer => "The DNS answered the name of a Service in that domain with the Service's own address. Names are read with that domain from now on.".into(),
        NameFact::Tried(Tried::SearchDomains {
            domains,
            itself: true,
        }) => sentence!(
            "It doesn't exist in any of the search domains ({}) or as a name by itself.",
            joined(domains)
        ),
        NameFact::Tried(Tried::SearchDomains {
            domains,
            itself: false,
        }) => sentence!(
            "It doesn't exist in any of the search domains tried ({}). The name itself was not asked for.",
            joined(domains)
        ),
        NameFact::Tried(Tried::AsIs) => {
            sentence!("It was looked up as it is: no search domain was tried.")
        }
        NameFact::Tried(Tried::Unknown) => {
            sentence!("Whether search domains were tried is not known.")
        }
        NameFact::NotAsked(asked) => {
            sentence!("No query was for \"{}\" itself.", Asked(asked))
        }
        NameFact::FoundByPods(name) => {
            sentence!("{} exists: a pod of this node got a record for it.", name)
        }
        NameFact::SearchDomainFrom {
            domain,
            origin: Origin::Pod,
        } => sentence!(
            "Search domain {} comes from the pod's dnsConfig.",
            Relative(domain)
        ),
        NameFact::SearchDomainFrom { domain, .. } => sentence!(
            "Search domain {} is not one of the cluster's: it comes from the node's resolv.conf, which the kubelet appends to the search domains of every pod.",
            Relative(domain)
        ),
        NameFact::SearchEndCauses => sentence!(
            "Possible cause: the node's resolv.conf has a search domain that the pod's resolver cannot use, such as \".\": musl ends the search there."
        ),
        NameFact::NoServiceIn { namespace, service } => {
            sentence!(
                "There is no Service {}/{}.",
                Asked(namespace),
                Asked(service)
            )
        }
        NameFact::NoServiceAnywhere(service) => {
            sentence!("There is no Service {} in any namespace.", Asked(service))
        }
        NameFact::NoNamespace(namespace) => {
            sentence!("Nor is there a namespace {}.", Asked(namespace))
        }
        NameFact::ServiceElsewhere {
            service,
            kind,
            host,
            place,
            unready,
        } => sentence!(
            "Service {}{} exists{}, {}.{}",
            service,
            match kind {
                ServiceKind::ClusterIp => Sentence::default(),
                ServiceKind::Headless =>
                    sentence!(" (headless: its name stands for its ready pods)"),
                ServiceKind::ExternalName(target) =>
                    sentence!(" (an alias for {})", Relative(target)),
            },
            host.as_deref()
                .map(|host| sentence!(" and has a pod {}", Asked(host))),
            match place {
                Place::OwnNamespace => "in the pod's own namespace",
                Place::OtherNamespace => "in another namespace than the pod",
            },
            unready.then_some(
                " None of its pods is ready, so its name does not exist either until one is."
            )
        ),
        NameFact::SimilarService(service) => {
            sentence!("Service {} has nearly that name.", service)
        }
        NameFact::ServiceUnknown { service, lacking } => sentence!(
            "Whether a Service {} exists, in some namespace, is not known: {}.",
            Asked(service),
            inventory::lacking(*lacking)
        ),
        NameFact::MeaningUnknown(lacking) => sentence!(
            "Whether it is a Service and its namespace is not known: {}.",
            inventory::lacking(*lacking)
        ),
        NameFact::DanglingAlias(alias) => sentence!(
            "It is an alias for {}, and that name does not exist.",
            alias
        ),
        NameFact::OutsideCluster {
            cluster_domain,
            zone,
        } => sentence!(
            "It is not in the cluster's domain {}, and {} answered that it does not exist.",
            Relative(cluster_domain),
            match zone {
                Some(zone) => sentence!("zone {}", zone),
                None => sentence!("the DNS"),
            }
        ),
        NameFact::HeadlessReadinessUnknown(service) => sentence!(
            "Service {} is headless, so its name exists only while one of its pods is ready. Whether one is ready is not known: the inventory has no EndpointSlices.",
            service
        ),
        NameFact::HeadlessNotReady(service, why) => sentence!(
            "Service {} is headless, so its name exists only while one of its pods is ready. {}",
            service,
            not_ready(why)
        ),
        NameFact::HostNotReady {
            host,
            service,
            endpoint,
        } => sentence!(
            "It is the pod {} of the headless Service {}, which is not ready: {}. The name exists only while the pod is ready.",
            Asked(host),
            service,
            endpoint
        ),
        NameFact::HostNoEndpoint { host, service } => sentence!(
            "It is the pod {} of the headless Service {}, which exists and is no endpoint of it. The name exists only while the pod is ready.",
            Asked(host),
            service
        ),
        NameFact::NotReadyLeftOut => sentence!(
            "DNS leaves out pods that are not ready. Pods that have to find each other before they are ready, as those of many StatefulSets do, need publishNotReadyAddresses in the Service's spec."
        ),
        NameFact::ExternalNameIsAddress { service, target } => sentence!(
            "Service {} is of type ExternalName, and its externalName is an address, {}. DNS takes it as a name, and such a name does not exist. For an address use a Service without a selector, and an EndpointSlice that lists it.",
            service,
            Relative(target)
        ),
        NameFact::ExternalNameEmpty(service) => sentence!(
            "Service {} is of type ExternalName and has no externalName.",
            service
        ),
        NameFact::ExternalNameItself(service) => sentence!(
            "Service {} is of type ExternalName, and its externalName is its own name.",
            service
        ),
        NameFact::ExternalNameMissing {
            service,
            target,
            alias,
        } => sentence!(
            "Service {} is of type ExternalName: its name is an alias for {}{}, which does not exist.",
            service,
            Relative(target),
            alias
                .as_ref()
                .map(|alias| sentence!(", and that for {}", Relative(alias)))
        ),
        NameFact::ExternalNameNoAddress { service, target } => sentence!(
            "Service {} is of type ExternalName: its name is an alias for {}, for which the answer has no address.",
            service,
            Relative(target)
        ),
        NameFact::ExternalNameUnresolved { service, target } => sentence!(
            "Service {} is of type ExternalName: its name is an alias for {}. For that name the cluster's DNS has to ask another server. Possible causes: that one fails or does not answer, or the domain itself is broken.",
            service,
            Relative(target)
        ),
        NameFact::ExternalNameIsShort { service, full } => sentence!(
            "An externalName is an absolute name: no search domain is added to it. Service {} exists, and its full name is {}",
            service,
            full
        ),
        NameFact::ServiceExists { service, name } => {
            sentence!("Service {} exists, under the name {}", service, name)
        }
        NameFact::CreatedBefore(ago) => sentence!(
            "It was created {} before the query. Possible cause: a cache still has the answer from before that.",
            ago
        ),
        NameFact::CreatedAfter(later) => sentence!("It was created {} after the query.", later),
        NameFact::CreationUnknown => sentence!(
            "Possible causes: a cache still has the answer from before it was created, or the DNS server does not know it yet."
        ),
        NameFact::NoNegativeTtl => {
            sentence!("The answer does not say how long it may be cached: it has no SOA record.")
        }
        NameFact::NegativeTtlCountedDown { ttl, full } => sentence!(
            "Its SOA record lets a cache keep it for {} more: the cache that answered has counted down to {} s of {} s.",
            Duration::from_secs(u64::from(*ttl)),
            ttl,
            full
        ),
        NameFact::NegativeTtl(ttl) => sentence!(
            "Its SOA record lets a cache keep the answer for {}.",
            Duration::from_secs(u64::from(*ttl))
        ),
        NameFact::WrongForm(form) => wrong_form(form),
        NameFact::NameExists(name) => sentence!("{} exists, without such a record.", name),
        NameFact::NameOfNamespace(namespace) => sentence!(
            "It is the name of namespace {}, which has no address. Its Services have one, under service.{}.",
            Asked(namespace),
            Asked(namespace)
        ),
        NameFact::NameOfService(service, only) => sentence!(
            "It is the name of Service {}{}.",
            service,
            only.map(|family| match family {
                AddressFamily::V4 => " and has IPv4 addresses only",
                AddressFamily::V6 => " and has IPv6 addresses only",
            })
        ),
        NameFact::SearchedFirst(names) => {
            let names: Vec<Sentence> = names
                .iter()
                .map(|name| sentence!("\"{}\"", Asked(name)))
                .collect();
            sentence!(
                "The resolver tries the search domains before the name itself. Most of these queries are for {}.",
                List(&names)
            )
        }
    }
}

/// `a, b, c`, each of them a name.
fn joined(names: &[String]) -> Sentence {
    let mut sentence = Sentence::default();
    for (number, name) in names.iter().enumerate() {
        if number > 0 {
            sentence.push_words(", ");
        }
        Asked(name).add_to(&mut sentence);
    }
    sentence
}

fn wrong_form(form: &WrongForm) -> Sentence {
    match form {
        WrongForm::Absolute {
            service,
            full,
            ndots: Some(ndots),
        } => sentence!(
            "It was looked up as it is, without the search domains: with a dot at its end, or because with ndots:{} in the pod's resolv.conf some resolvers, such as musl's (Alpine), search only for names with fewer dots. So it was not found as Service {}, whose absolute name is {}",
            ndots,
            service,
            full
        ),
        WrongForm::Absolute { service, full, .. } => sentence!(
            "It was looked up as an absolute name: with a dot at its end, or by a program that does not use the search domains. So it was not found as Service {}, whose absolute name is {}",
            service,
            full
        ),
        WrongForm::NodeResolver(service) => sentence!(
            "Service {} exists, but the pod does not ask the cluster's DNS: with dnsPolicy Default it uses its node's nameservers, which do not know the cluster's names.",
            service
        ),
        WrongForm::ClusterDomain {
            service,
            cluster_domain,
            other,
        } => sentence!(
            "Service {} exists, but the cluster's domain is {}, not {}.",
            service,
            Relative(cluster_domain),
            Asked(other)
        ),
        WrongForm::NoNamespace {
            cluster_domain,
            services,
        } => sentence!(
            "The namespace is missing: a whole name is name.namespace.svc.{}. {}{}.",
            Relative(cluster_domain),
            match services.len() {
                1 => "There is Service ",
                _ => "There are Services ",
            },
            List(services)
        ),
        WrongForm::NoSvc(service) => sentence!(
            "Service {} exists, but \"svc\" is missing between its namespace and the cluster's domain.",
            service
        ),
        WrongForm::Swapped(service) => sentence!(
            "Service {} exists: its name comes first and its namespace second, not the other way round.",
            service
        ),
        WrongForm::HostWithoutService { host, service } => sentence!(
            "{} is a pod of the headless Service {}: its DNS name is its hostname in front of the Service's name.",
            Asked(host),
            service
        ),
        WrongForm::PodName { pod, ip, services } => sentence!(
            "{} is a pod, at {}. The name of a pod is not in DNS: only Services are, and below a headless Service its pods with a hostname. {}",
            pod,
            ip,
            leading(services)
        ),
        WrongForm::HostOfOrdinaryService(service) => sentence!(
            "Service {} is not headless: its pods have no names below its own.",
            service
        ),
        WrongForm::NoSuchHost {
            host,
            service,
            hosts,
        } => sentence!(
            "The headless Service {} has no pod {}. {}",
            service,
            Asked(host),
            match hosts {
                HostNames::Unknown => sentence!(
                    "Which pods it has is not known: the inventory has no EndpointSlices."
                ),
                HostNames::Known(hosts) if hosts.is_empty() => sentence!(
                    "None of its pods has a hostname (spec.hostname and spec.subdomain, which a StatefulSet sets)."
                ),
                HostNames::Known(hosts) => sentence!("It has {}.", List(hosts)),
            }
        ),
        WrongForm::NoSuchPort {
            service,
            port,
            protocol,
            ports,
        } => {
            let names: Vec<Asked<'_>> = ports.iter().map(|port| Asked(port)).collect();
            sentence!(
                "Service {} has no port _{}._{}: {}.",
                service,
                Asked(port),
                Asked(protocol),
                if names.is_empty() {
                    sentence!("none of its ports has a name")
                } else {
                    sentence!("it has {}", List(&names))
                }
            )
        }
    }
}

fn leading(services: &LeadingServices) -> Sentence {
    let LeadingServices(services) = services;
    match services.len() {
        0 => sentence!("No Service selects it."),
        1 => sentence!("Service {} selects it.", List(services)),
        _ => sentence!("Services {} select it.", List(services)),
    }
}
