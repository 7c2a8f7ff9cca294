//! Names and what they stand for.

use std::time::Duration;

use super::super::parts::{Asked, List, Part, Relative};
use super::super::sentence;
use super::{inventory, not_ready};
use crate::diagnose::fact::{
    AddressFamily, HostNames, LeadingServices, NameFact, Place, Tried, WrongForm,
};
use crate::model::cluster::ServiceKind;
use crate::model::sentence::Sentence;

pub(super) fn sentence(fact: &NameFact) -> Sentence {
    match fact {
        NameFact::Tried(Tried::SearchDomains(domains)) => sentence!(
            "None of its search domains has that name: {}; nor is it a name by itself.",
            joined(domains)
        ),
        NameFact::Tried(Tried::AsIs) => {
            sentence!("It was looked up as it is: no search domain was tried.")
        }
        NameFact::Tried(Tried::Unknown) => {
            sentence!("Whether search domains were tried is not known.")
        }
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
            "Whether Service and namespace are meant by it is not known: {}.",
            inventory::lacking(*lacking)
        ),
        NameFact::DanglingAlias(alias) => sentence!(
            "It is an alias, in the end for {}, and that name does not exist.",
            alias
        ),
        NameFact::OutsideCluster {
            cluster_domain,
            zone,
        } => sentence!(
            "It is not in the cluster's domain {}, and the {} says that it does not exist.",
            Relative(cluster_domain),
            match zone {
                Some(zone) => sentence!("zone {}", zone),
                None => sentence!("DNS"),
            }
        ),
        NameFact::HeadlessReadinessUnknown(service) => sentence!(
            "Service {} is headless, so its name exists only while one of its pods is ready. Whether one is, is not known: the inventory holds no EndpointSlices.",
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
            target,
            alias
                .as_ref()
                .map(|alias| sentence!(", and that for {}", alias))
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
            "It came {} before it was asked for. Possible cause: an answer from before that is remembered by a cache.",
            ago
        ),
        NameFact::CreatedAfter(later) => sentence!("It came {} after it was asked for.", later),
        NameFact::CreationUnknown => sentence!(
            "Possible causes: an answer from before it was made is remembered by a cache, or the DNS server has not heard of it."
        ),
        NameFact::NoNegativeTtl => sentence!(
            "The answer does not say how long it may be remembered: it holds no SOA record."
        ),
        NameFact::NegativeTtlCountedDown { ttl, full } => sentence!(
            "By its SOA record it may be remembered for {} more, as of one that a cache counts down: {} s of {} s.",
            Duration::from_secs(u64::from(*ttl)),
            ttl,
            full
        ),
        NameFact::NegativeTtl(ttl) => sentence!(
            "By its SOA record the answer may be remembered for {}.",
            Duration::from_secs(u64::from(*ttl))
        ),
        NameFact::WrongForm(form) => wrong_form(form),
        NameFact::NameExists(name) => sentence!("{} exists, without such a record.", name),
        NameFact::NameOfNamespace(namespace) => sentence!(
            "It is the name of namespace {}, which has no address: a Service of it has, as service.{}.",
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
                "Each name is tried behind the search domains first. Most of it for {}.",
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
        WrongForm::Absolute { service, full } => sentence!(
            "It was looked up as an absolute name: with a dot at its end, or by a program that does not use the search domains. So it did not lead to Service {}, whose absolute name is {}",
            service,
            full
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
            "{} is a pod of the headless Service {}, and has its name only in front of the Service's.",
            Asked(host),
            service
        ),
        WrongForm::PodName { pod, ip, services } => sentence!(
            "{} is a pod, at {}. A pod is not in DNS by its name: a Service is, and below a headless Service its pods with a hostname. {}",
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
                HostNames::Unknown =>
                    sentence!("Which it has is not known: the inventory holds no EndpointSlices."),
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
        0 => sentence!("No Service leads to it."),
        1 => sentence!("Service {} leads to it.", List(services)),
        _ => sentence!("Services {} lead to it.", List(services)),
    }
}
