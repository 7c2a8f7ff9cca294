//! The object exists, but a name of this form does not.
//!
//! The Kubernetes DNS-Based Service Discovery specification defines the forms: the name of a Service, its
//! namespace, `svc` and the cluster's domain. In front of that, for a headless Service, the hostname of a
//! pod.

use crate::diagnose::case::Case;
use crate::diagnose::claim::Claim;
use crate::diagnose::command::{Command, PodCommand, Setting};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::{HostNames, LeadingServices, NameFact, ObjectName, WrongForm};
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::lookup_evidence::{AskedName, LookupEvidence, Search};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::{server, services};
use crate::model::cluster::{DnsPolicy, Service, ServiceKind, ServicePort};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-wrong-form",
    severity: Severity::Error,
    finds: "a name of the wrong form for an object that exists",
    means: "The object that the name seems to mean exists, but the cluster's DNS does not serve names of this form: another cluster \
            domain, no svc, no namespace, the namespace in front, a trailing dot, the name of a pod, a pod of a StatefulSet \
            without its Service or with an ordinal that is too large.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN; the Services, their endpoints' hostnames and the pods of the \
               inventory; the cluster's domain, which is an option.",
    cannot_know: "What was meant: the rule compares names. Hostnames of pods that are not endpoints.",
    check,
};

/// A wrong form, and what works instead.
struct Form<'a> {
    wrong: WrongForm,
    /// The hostname in front of the Services' names.
    host: Option<&'a str>,
    /// The Services that may be meant.
    services: Vec<&'a Service>,
    /// The resolver tries no search domain, so only an absolute name works.
    absolute: bool,
    /// What works instead if it is not the name of a Service.
    instead: Vec<Command>,
}

impl<'a> Form<'a> {
    fn new(service: &'a Service, wrong: WrongForm) -> Form<'a> {
        Form {
            wrong,
            host: None,
            services: vec![service],
            absolute: false,
            instead: Vec::new(),
        }
    }
}

fn check(case: &Case<'_>) -> Option<Claim> {
    if let Some(claim) = node_resolver(case) {
        return Some(claim);
    }
    let (lookup, asked) = case.no_such_name()?;
    let own = case.pod()?.namespace.as_ref();
    let resolver = lookup.resolver.as_deref()?;
    let form = absolute(case, asked, own, resolver.ndots)
        .or_else(|| wrong_domain(case, asked))
        .or_else(|| without_svc(case, asked, own))
        .or_else(|| swapped(case, asked))
        .or_else(|| pod_name(case, asked, own))
        .or_else(|| port(case, asked, own))?;
    Some(claim(case, lookup, asked, form))
}

/// A Service's name, from a pod that resolves names as its node does (dnsPolicy: Default): the node's servers
/// do not know the cluster's names. A DNS server of the cluster forwards the questions of others.
fn node_resolver(case: &Case<'_>) -> Option<Claim> {
    let lookup = case.lookup(Outcome::Nxdomain)?;
    let pod = case.index.pod_object(case.pod()?)?;
    if pod.dns.policy != DnsPolicy::Default
        || lookup.cut_short
        || server::in_cluster(case)
        || server::is_one(case)
    {
        return None;
    }
    // The node's search domains are not known, so the first name may have one of them behind it.
    let asked = lookup.asked()?;
    let domain = case.index.cluster_domain();
    let full = names::below(asked.name, domain).is_some();
    let meant = AskedName {
        search: Search::Searched,
        ..asked
    };
    // Without a search list, a single label is any host.
    let service = (full || asked.name.contains('.'))
        .then(|| names::service(case.index, meant, &pod.namespace))??;
    let wrong = WrongForm::NodeResolver(service.into());
    let claim = case
        .no_such_name_claim(lookup, asked.name)
        .because(Reason::WrongForm(wrong.clone()))
        .fix(Fix::ClusterFirst)
        .why(NameFact::WrongForm(wrong))
        .command(Setting::ClusterFirst)
        .cure(Cure::Found(names::full(None, service, domain)));
    Some(claim)
}

fn claim(
    case: &Case<'_>,
    lookup: &LookupEvidence<'_>,
    asked: AskedName<'_>,
    form: Form<'_>,
) -> Claim {
    let domain = case.index.cluster_domain();
    let resolver = lookup.resolver.as_deref().filter(|_| !form.absolute);
    let mut claim = case
        .no_such_name_claim(lookup, asked.name)
        .because(Reason::WrongForm(form.wrong.clone()))
        .why(NameFact::WrongForm(form.wrong));
    for service in form.services {
        let name = names::shortest(form.host, service, resolver, domain);
        claim = claim
            .command(Command::UseName(name))
            .cure(Cure::Found(names::full(form.host, service, domain)));
    }
    let claim = match claim.name_to_use().map(str::to_owned) {
        Some(name) => claim
            .fix(Fix::UseName(name.clone()))
            .command(PodCommand::Getent(name)),
        None => claim,
    };
    claim.commands(form.instead)
}

/// A short name with a trailing dot, or from a program that does not use the search list.
fn absolute<'a>(case: &Case<'a>, asked: AskedName<'a>, own: &str, ndots: u8) -> Option<Form<'a>> {
    if asked.search != Search::Absolute {
        return None;
    }
    let short = AskedName {
        search: Search::Searched,
        ..asked
    };
    let domain = case.index.cluster_domain();
    let service = names::service(case.index, short, own)?;
    // A full name is right in this respect.
    if names::below(asked.name, domain).is_some() {
        return None;
    }
    let dots = asked.name.matches('.').count();
    let wrong = WrongForm::Absolute {
        service: service.into(),
        full: names::full(None, service, domain),
        ndots: (usize::from(ndots) <= dots).then_some(ndots),
    };
    Some(Form {
        absolute: true,
        ..Form::new(service, wrong)
    })
}

/// `name.namespace.svc.` and a domain that is not the cluster's.
fn wrong_domain<'a>(case: &Case<'a>, asked: AskedName<'a>) -> Option<Form<'a>> {
    let domain = case.index.cluster_domain();
    if names::below(asked.name, domain).is_some() {
        return None;
    }
    let (head, other) = asked.name.split_once(".svc.")?;
    let mut labels = head.rsplit('.');
    let (namespace, name) = (labels.next()?, labels.next()?);
    let service = case.index.service(namespace, name)?;
    let wrong = WrongForm::ClusterDomain {
        service: service.into(),
        cluster_domain: domain.clone(),
        other: other.to_owned(),
    };
    Some(Form::new(service, wrong))
}

/// `name.namespace.cluster.local`, `name.svc`, `name.cluster.local`.
fn without_svc<'a>(case: &Case<'a>, asked: AskedName<'a>, own: &str) -> Option<Form<'a>> {
    let domain = case.index.cluster_domain();
    let head = names::below(asked.name, domain);
    let labels: Vec<&str> = head.unwrap_or(asked.name).split('.').collect();
    match (labels.as_slice(), head.is_some()) {
        ([name, "svc"], _) | ([name], true) => {
            let mut services = case.index.services_named(name);
            // The pod's own namespace first: the short name would have meant it.
            services.sort_by_key(|service| &*service.namespace != own);
            let all = services
                .iter()
                .map(|&service| ObjectName::from(service))
                .collect();
            (!services.is_empty()).then(|| Form {
                wrong: WrongForm::NoNamespace {
                    cluster_domain: domain.clone(),
                    services: all,
                },
                host: None,
                services,
                absolute: false,
                instead: Vec::new(),
            })
        }
        ([name, namespace], true) => {
            let service = case.index.service(namespace, name)?;
            Some(Form::new(service, WrongForm::NoSvc(service.into())))
        }
        _ => None,
    }
}

/// `namespace.name`.
fn swapped<'a>(case: &Case<'a>, asked: AskedName<'a>) -> Option<Form<'a>> {
    let domain = case.index.cluster_domain();
    let short = AskedName {
        search: Search::Searched,
        ..asked
    };
    let meaning = names::meanings(short, domain)
        .into_iter()
        .find(|meaning| meaning.host.is_none())?;
    let service = case.index.service(meaning.service, meaning.namespace?)?;
    Some(Form::new(service, WrongForm::Swapped(service.into())))
}

/// The name of a pod, which is not in DNS, or the hostname of a pod of a headless Service.
fn pod_name<'a>(case: &Case<'a>, asked: AskedName<'a>, own: &str) -> Option<Form<'a>> {
    let domain = case.index.cluster_domain();
    let head = names::below(asked.name, domain).unwrap_or(asked.name);
    let labels: Vec<&str> = head.split('.').collect();
    let (&host, rest) = labels.split_first()?;
    // `db-7.db`, `db-7.db.namespace`: the Service has no such pod.
    let below = match rest {
        [service] => case.index.service(own, service),
        [service, namespace] | [service, namespace, "svc"] => {
            case.index.service(namespace, service)
        }
        _ => None,
    };
    if let Some(service) = below {
        return Some(no_such_host(case, service, host));
    }
    let namespace = match rest {
        [] => None,
        [namespace] | [namespace, "pod" | "svc"] => Some(*namespace),
        _ => return None,
    };
    without_service(case, host, namespace.unwrap_or(own))
        .or_else(|| plain_pod(case, host, namespace))
}

/// `db-0`, which needs the name of its Service behind it.
fn without_service<'a>(case: &Case<'a>, host: &'a str, namespace: &str) -> Option<Form<'a>> {
    let services = case.index.services_in(namespace);
    let headless = services.filter(|service| service.kind == ServiceKind::Headless);
    let mut governing: Vec<&Service> = headless
        .filter(|service| names::has_host(case.index, service, host))
        .collect();
    governing.sort_by(|a, b| a.name.cmp(&b.name));
    let service = ObjectName::from(*governing.first()?);
    Some(Form {
        wrong: WrongForm::HostWithoutService {
            host: host.to_owned(),
            service,
        },
        host: Some(host),
        services: governing,
        absolute: false,
        instead: Vec::new(),
    })
}

/// The name of a pod that has no name in DNS.
fn plain_pod<'a>(case: &Case<'a>, host: &'a str, namespace: Option<&str>) -> Option<Form<'a>> {
    let mut pods = case.index.pods_named(host);
    let pod = pods.find(|pod| namespace.is_none_or(|namespace| &*pod.namespace == namespace))?;
    let ip = *case.index.pod_object(pod)?.ips.first()?;
    let mut services: Vec<&Service> = case
        .index
        .services_in(&pod.namespace)
        .filter(|service| {
            let endpoints = services::ready(case.index, service);
            endpoints.iter().any(|endpoint| endpoint.ip == ip)
        })
        .collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let leading = services
        .iter()
        .map(|&service| ObjectName::from(service))
        .collect();
    let instead = if services.is_empty() {
        vec![Command::UseAddress(ip)]
    } else {
        Vec::new()
    };
    Some(Form {
        wrong: WrongForm::PodName {
            pod: ObjectName::from(&**pod),
            ip,
            services: LeadingServices(leading),
        },
        host: None,
        services,
        absolute: false,
        instead,
    })
}

/// A name below a Service that has no pod with this hostname.
fn no_such_host<'a>(case: &Case<'a>, service: &'a Service, host: &str) -> Form<'a> {
    if service.kind != ServiceKind::Headless {
        let wrong = WrongForm::HostOfOrdinaryService(service.into());
        return Form::new(service, wrong);
    }
    let hosts = if case.index.knows_endpoints() {
        let endpoints = case.index.endpoints(&service.namespace, &service.name);
        let mut hosts: Vec<_> = endpoints
            .iter()
            .filter_map(|endpoint| endpoint.hostname.clone())
            .collect();
        hosts.sort_unstable();
        HostNames::Known(hosts)
    } else {
        HostNames::Unknown
    };
    let wrong = WrongForm::NoSuchHost {
        host: host.to_owned(),
        service: service.into(),
        hosts,
    };
    Form::new(service, wrong)
}

/// `_http._tcp.name.namespace` for a Service without a port of that name.
fn port<'a>(case: &Case<'a>, asked: AskedName<'a>, own: &str) -> Option<Form<'a>> {
    let (port, rest) = asked.name.strip_prefix('_')?.split_once("._")?;
    let (protocol, rest) = rest.split_once('.')?;
    let inner = AskedName {
        name: rest,
        ..asked
    };
    let service = names::service(case.index, inner, own)?;
    let named = |listed: &ServicePort| {
        listed.name.as_deref() == Some(port) && listed.protocol.eq_ignore_ascii_case(protocol)
    };
    if service.ports.iter().any(named) {
        return None;
    }
    let ports: Vec<String> = service
        .ports
        .iter()
        .filter_map(|port| {
            let protocol = port.protocol.to_ascii_lowercase();
            Some(format!("_{}._{protocol}", port.name.as_ref()?))
        })
        .collect();
    let instead = ports
        .iter()
        .map(|name| Command::UseName(format!("{name}.{rest}")))
        .collect();
    Some(Form {
        wrong: WrongForm::NoSuchPort {
            service: service.into(),
            port: port.to_owned(),
            protocol: protocol.to_owned(),
            ports,
        },
        host: None,
        services: Vec::new(),
        absolute: false,
        instead,
    })
}
