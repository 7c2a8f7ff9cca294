//! What was meant exists, but not under a name of that form.
//!
//! The forms that the cluster's DNS serves are those of the Kubernetes DNS-Based Service Discovery specification: a Service's
//! name, its namespace, `svc` and the cluster's domain; in front of that, below a headless Service, a pod's hostname.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::looked::{AskedName, How, Looked};
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::{services, words};
use crate::model::cluster::{Service, ServiceKind, ServicePort};
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-wrong-form",
    severity: Severity::Error,
    finds: "what is meant exists, but not under a name of that form",
    means: "What the name seems to mean exists, but the name does not have the form under which the cluster's DNS serves it: \
            another cluster domain, no svc, no namespace, the namespace in front, a trailing dot, the name of a pod, a pod of \
            a StatefulSet without its Service or beyond its number.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN; the Services, their endpoints' hostnames and the pods of the \
               inventory; the cluster's domain, which is an option.",
    cannot_know: "What was meant: it compares names. Hostnames of pods that are no endpoint.",
    check,
};

/// What is wrong with the form, and the Service that may be meant.
struct Form<'a> {
    wrong: String,
    host: Option<&'a str>,
    services: Vec<&'a Service>,
    /// No search domain will be tried: only the absolute name works.
    absolute: bool,
    /// What works where it is no Service's name.
    instead: Vec<String>,
}

impl<'a> Form<'a> {
    fn of(service: &'a Service, wrong: impl Into<String>) -> Form<'a> {
        Form {
            wrong: wrong.into(),
            host: None,
            services: vec![service],
            absolute: false,
            instead: Vec::new(),
        }
    }
}

fn check(case: &Case<'_>) -> Option<Claim> {
    let (looked, asked) = case.no_such_name()?;
    let own = case.pod()?.namespace.as_ref();
    looked.resolver.as_ref()?;
    let form = absolute(case, asked, own)
        .or_else(|| wrong_domain(case, asked))
        .or_else(|| without_svc(case, asked, own))
        .or_else(|| swapped(case, asked))
        .or_else(|| of_a_pod(case, asked, own))
        .or_else(|| port(case, asked, own))?;
    Some(claim(case, looked, asked, form))
}

fn claim(case: &Case<'_>, looked: &Looked<'_>, asked: AskedName<'_>, form: Form<'_>) -> Claim {
    let domain = case.index.cluster_domain();
    let resolver = looked.resolver.as_ref().filter(|_| !form.absolute);
    let mut claim = case.looked_up(looked, asked.name).why(form.wrong);
    for service in form.services {
        let name = names::shortest(form.host, service, resolver, domain);
        claim = claim
            .remedy(name)
            .cure(Cure::Found(names::full(form.host, service, domain)));
    }
    let claim = match claim.remedies.first() {
        Some(name) => {
            let again = case.in_pod(&format!("getent hosts {name}"));
            claim.remedy(again)
        }
        None => claim,
    };
    form.instead.into_iter().fold(claim, Claim::remedy)
}

/// With a trailing dot, or by a program that does not use the search list, and so without the rest of the name.
fn absolute<'a>(case: &Case<'a>, asked: AskedName<'a>, own: &str) -> Option<Form<'a>> {
    if asked.how != How::Absolute {
        return None;
    }
    let short = AskedName {
        how: How::Searched,
        ..asked
    };
    let domain = case.index.cluster_domain();
    let service = names::service(case.index, short, own)?;
    // The name is whole: something else is wrong.
    if names::below(asked.name, domain).is_some() {
        return None;
    }
    Some(Form {
        wrong: format!(
            "It was looked up as an absolute name: with a dot at its end, or by a program that does not use the search domains. \
             So it did not lead to Service {}, whose absolute name is {}",
            words::name_of(service),
            names::full(None, service, domain)
        ),
        host: None,
        services: vec![service],
        absolute: true,
        instead: Vec::new(),
    })
}

/// `name.namespace.svc.` and then another domain than the cluster's.
fn wrong_domain<'a>(case: &Case<'a>, asked: AskedName<'a>) -> Option<Form<'a>> {
    let domain = case.index.cluster_domain();
    if names::below(asked.name, domain).is_some() {
        return None;
    }
    let (head, other) = asked.name.split_once(".svc.")?;
    let mut labels = head.rsplit('.');
    let (namespace, name) = (labels.next()?, labels.next()?);
    let service = case.index.service(namespace, name)?;
    Some(Form::of(
        service,
        format!(
            "Service {} exists, but the cluster's domain is {}, not {other}.",
            words::name_of(service),
            domain.relative()
        ),
    ))
}

/// `name.namespace.cluster.local`, `name.svc`, `name.cluster.local`.
fn without_svc<'a>(case: &Case<'a>, asked: AskedName<'a>, own: &str) -> Option<Form<'a>> {
    let domain = case.index.cluster_domain();
    let head = names::below(asked.name, domain);
    let labels: Vec<&str> = head.unwrap_or(asked.name).split('.').collect();
    match (labels.as_slice(), head.is_some()) {
        ([name, "svc"], _) | ([name], true) => {
            let mut services = case.index.services_named(name);
            // The pod's own namespace first: that is what the short name would have meant.
            services.sort_by_key(|service| &*service.namespace != own);
            let all: Vec<String> = services
                .iter()
                .map(|&service| words::name_of(service))
                .collect();
            (!services.is_empty()).then(|| Form {
                wrong: format!(
                    "The namespace is missing: a whole name is name.namespace.svc.{}. {} {}.",
                    domain.relative(),
                    match all.len() {
                        1 => "There is Service",
                        _ => "There are Services",
                    },
                    words::list(&all)
                ),
                host: None,
                services,
                absolute: false,
                instead: Vec::new(),
            })
        }
        ([name, namespace], true) => {
            let service = case.index.service(namespace, name)?;
            Some(Form::of(
                service,
                format!(
                    "Service {} exists, but \"svc\" is missing between its namespace and the cluster's domain.",
                    words::name_of(service)
                ),
            ))
        }
        _ => None,
    }
}

/// `namespace.name`.
fn swapped<'a>(case: &Case<'a>, asked: AskedName<'a>) -> Option<Form<'a>> {
    let domain = case.index.cluster_domain();
    let short = AskedName {
        how: How::Searched,
        ..asked
    };
    let meaning = names::meanings(short, domain)
        .into_iter()
        .find(|meaning| meaning.host.is_none())?;
    let service = case.index.service(meaning.service, meaning.namespace?)?;
    Some(Form::of(
        service,
        format!(
            "Service {} exists: its name comes first and its namespace second, not the other way round.",
            words::name_of(service)
        ),
    ))
}

/// The name of a pod, which is none in DNS; or the hostname of one below a headless Service.
fn of_a_pod<'a>(case: &Case<'a>, asked: AskedName<'a>, own: &str) -> Option<Form<'a>> {
    let domain = case.index.cluster_domain();
    let head = names::below(asked.name, domain).unwrap_or(asked.name);
    let labels: Vec<&str> = head.split('.').collect();
    let (&host, rest) = labels.split_first()?;
    // `db-7.db`, `db-7.db.namespace`: a pod of a Service that has no such pod.
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
    // `db-0`, which needs its Service behind it.
    let in_namespace = namespace.unwrap_or(own);
    let headless = case.index.services().filter(|service| {
        service.kind == ServiceKind::Headless && &*service.namespace == in_namespace
    });
    let mut governing: Vec<&Service> = headless
        .filter(|service| names::has_host(case.index, service, host))
        .collect();
    governing.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(service) = governing.first() {
        return Some(Form {
            wrong: format!(
                "{host} is a pod of the headless Service {}, and has its name only in front of the Service's.",
                words::name_of(service)
            ),
            host: Some(host),
            services: governing,
            absolute: false,
            instead: Vec::new(),
        });
    }
    let mut pods = case.index.pods_named(host);
    let pod = pods.find(|pod| namespace.is_none_or(|namespace| &*pod.namespace == namespace))?;
    let ip = case.index.pod_object(pod)?.ips.first()?;
    let mut services: Vec<&Service> = case
        .index
        .services()
        .filter(|service| service.namespace == pod.namespace)
        .filter(|service| {
            let endpoints = services::ready(case.index, service);
            endpoints.iter().any(|endpoint| endpoint.ip == *ip)
        })
        .collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let all: Vec<String> = services
        .iter()
        .map(|&service| words::name_of(service))
        .collect();
    let (leads, instead) = match all.len() {
        0 => (
            "No Service leads to it.".to_owned(),
            vec![format!(
                "{ip}   # its address, for as long as the pod lives"
            )],
        ),
        1 => (
            format!("Service {} leads to it.", words::list(&all)),
            Vec::new(),
        ),
        _ => (
            format!("Services {} lead to it.", words::list(&all)),
            Vec::new(),
        ),
    };
    Some(Form {
        wrong: format!(
            "{}/{} is a pod, at {ip}. A pod is not in DNS by its name: a Service is, and below a headless Service its pods with a hostname. {leads}",
            pod.namespace, pod.name
        ),
        host: None,
        services,
        absolute: false,
        instead,
    })
}

/// A name below a Service that has no pod of that hostname.
fn no_such_host<'a>(case: &Case<'a>, service: &'a Service, host: &str) -> Form<'a> {
    if service.kind != ServiceKind::Headless {
        return Form::of(
            service,
            format!(
                "Service {} is not headless: its pods have no names below its own.",
                words::name_of(service)
            ),
        );
    }
    let endpoints = case.index.endpoints(&service.namespace, &service.name);
    let mut hosts: Vec<&str> = endpoints
        .iter()
        .filter_map(|endpoint| endpoint.hostname.as_deref())
        .collect();
    hosts.sort_unstable();
    let has = if !case.index.knows_endpoints() {
        "Which it has is not known: the inventory holds no EndpointSlices.".to_owned()
    } else if hosts.is_empty() {
        "None of its pods has a hostname (spec.hostname and spec.subdomain, which a StatefulSet sets).".to_owned()
    } else {
        format!("It has {}.", words::list(&hosts))
    };
    Form::of(
        service,
        format!(
            "The headless Service {} has no pod {host}. {has}",
            words::name_of(service)
        ),
    )
}

/// `_http._tcp.name.namespace` of a Service without a port of that name.
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
    let names: Vec<String> = service
        .ports
        .iter()
        .filter_map(|port| {
            Some(format!(
                "_{}._{}",
                port.name.as_ref()?,
                port.protocol.to_ascii_lowercase()
            ))
        })
        .collect();
    let instead = names.iter().map(|name| format!("{name}.{rest}")).collect();
    let has = if names.is_empty() {
        "none of its ports has a name".to_owned()
    } else {
        format!("it has {}", words::list(&names))
    };
    Some(Form {
        wrong: format!(
            "Service {} has no port _{port}._{protocol}: {has}.",
            words::name_of(service)
        ),
        host: None,
        services: Vec::new(),
        absolute: false,
        instead,
    })
}
