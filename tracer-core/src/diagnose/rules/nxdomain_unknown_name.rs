//! A name that exists nowhere, as far as can be told: with the names near it, if there are any.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Claim, Cure};
use crate::diagnose::looked::{AskedName, How, Looked};
use crate::diagnose::missing;
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::words;
use crate::identity::Presence;
use crate::model::cluster::{Kind, Service};
use crate::model::dns::DnsName;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-unknown-name",
    severity: Severity::Error,
    finds: "a name that exists nowhere; with the names near it",
    means: "No name that the pod's resolver tried exists. A name of the cluster's form is compared with the Services that there \
            are, and those that differ in one or two letters are named.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN; the Services and namespaces of the inventory. Names of other \
               domains are not compared with Services.",
    cannot_know: "What was meant. Without an inventory, whether there is a Service of that name, or nearly; and of names in the \
                  cluster's domain whether the resolver had more to try, so then nothing is said of those. \
                  Of a pod that resolves as its node does (dnsPolicy Default, as CoreDNS itself) nothing is said: it may pass on \
                  what others asked for, and those are told of.",
    check,
};

/// So many near names are given.
const NEAR: usize = 3;

fn check(case: &Case<'_>) -> Option<Claim> {
    let (looked, asked) = case.no_such_name()?;
    // Most addresses have no name, and everybody knows: logs ask for it.
    if asked.name.ends_with(".arpa") {
        return None;
    }
    if let Some(alias) = looked.seen.iter().find_map(|seen| seen.alias.as_ref()) {
        let claim = case.looked_up(looked, asked.name).why(format!(
            "It is an alias, in the end for {alias}, and that name does not exist."
        ));
        return Some(
            claim.remedy(case.in_pod(&format!("nslookup {}", names::quoted(alias.as_str())))),
        );
    }
    if is_external(case, asked) {
        return Some(external(case, looked, asked));
    }
    let mut claim = case.looked_up(looked, asked.name).why(looked.tried());
    let Some(service) = meant(case, asked) else {
        return Some(claim);
    };
    let (name, namespace) = service;
    if !case.knows_services() {
        let lacks = missing::lack_of(case, Kind::Service);
        claim = claim.why(format!(
            "Whether a Service {name} exists, in some namespace, is not known: {lacks}."
        ));
        return Some(missing::look(case, Kind::Service, claim));
    }
    if !case.index.services_named(name).is_empty() {
        // There is, and what went wrong cannot be told.
        return None;
    }
    claim = claim.why(format!("There is no Service {name} in any namespace."));
    if let Some(namespace) = namespace
        && case.index.has_namespace(namespace) == Presence::No
    {
        claim = claim.why(format!("Nor is there a namespace {namespace}."));
    }
    let domain = case.index.cluster_domain();
    let near = near(case, name, namespace);
    for service in &near {
        let short = names::shortest(None, service, looked.resolver.as_ref(), domain);
        claim = claim
            .why(format!(
                "Service {} has nearly that name.",
                words::name_of(service)
            ))
            .remedy(short)
            .cure(Cure::Found(names::full(None, service, domain)));
    }
    if let Some(name) = claim.remedies.first() {
        let again = case.in_pod(&format!("getent hosts {name}"));
        claim = claim.remedy(again);
    } else {
        claim = claim.remedy(match namespace.or(case.pod().map(|pod| &*pod.namespace)) {
            Some(namespace) if case.index.has_namespace(namespace) != Presence::No => {
                // Where namespaces are not known, that is whatever the pod asked for.
                format!("kubectl -n {} get services", names::quoted(namespace))
            }
            _ => "kubectl get services -A".to_owned(),
        });
    }
    Some(claim)
}

/// The Service's name, and its namespace if one was given.
fn meant<'a>(case: &Case<'a>, asked: AskedName<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let domain = case.index.cluster_domain();
    // A single label is a Service's, also where it was looked up as it is.
    let asked = match asked.name.contains('.') {
        true => asked,
        false => AskedName {
            how: How::Unknown,
            ..asked
        },
    };
    let meanings = names::meanings(asked, domain);
    let meaning = meanings.first()?;
    Some((meaning.service, meaning.namespace))
}

/// Whether it is a name of another domain than the cluster's.
fn is_external(case: &Case<'_>, asked: AskedName<'_>) -> bool {
    if names::below(asked.name, case.index.cluster_domain()).is_some() {
        return false;
    }
    let labels: Vec<&str> = asked.name.split('.').collect();
    match labels.as_slice() {
        [_] => false,
        [.., "svc"] => false,
        [.., last] => {
            case.index.has_namespace(last) != Presence::Yes && !near_namespace(case, last)
        }
        [] => false,
    }
}

fn external(case: &Case<'_>, looked: &Looked<'_>, asked: AskedName<'_>) -> Claim {
    let last = DnsName::new(asked.name);
    let seen = looked.seen.iter().rfind(|seen| seen.name == last);
    let again = format!("nslookup {}", names::quoted(last.as_str()));
    let mut claim = case
        .looked_up(looked, asked.name)
        .of_severity(Severity::Warning)
        .remedy(case.in_pod(&again));
    if !case.knows_services() && asked.name.matches('.').count() == 1 {
        // `service.namespace` looks the same.
        claim = claim.why(format!(
            "Whether Service and namespace are meant by it is not known: {}.",
            missing::lack_of(case, Kind::Service)
        ));
        claim = missing::look(case, Kind::Service, claim);
    }
    let domain = case.index.cluster_domain().relative();
    let Some(zone) = seen.and_then(|seen| seen.zone.as_ref()) else {
        return claim.why(format!(
            "It is not in the cluster's domain {domain}, and the DNS says that it does not exist."
        ));
    };
    // A zone that is somebody's own, not a top-level domain: one finding for all names that it does not have.
    if zone.relative().contains('.') {
        claim.cause = format!("*.{}", zone.relative());
    }
    claim.why(format!(
        "It is not in the cluster's domain {domain}, and the zone {zone} says that it does not exist."
    ))
}

/// Services whose name differs in a letter or two; those of the namespace that was named, or of the pod's own, first.
fn near<'a>(case: &Case<'a>, name: &str, namespace: Option<&str>) -> Vec<&'a Service> {
    let own = case.pod().map(|pod| &*pod.namespace);
    let home = namespace.or(own);
    let mut near: Vec<(usize, bool, &Service)> = case
        .index
        .services()
        .filter_map(|service| {
            let distance = distance(name, &service.name)?;
            Some((distance, Some(&*service.namespace) != home, service))
        })
        .collect();
    near.sort_by(|a, b| {
        let key = |(distance, away, service): &(usize, bool, &'a Service)| {
            (
                *distance,
                *away,
                service.namespace.clone(),
                service.name.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    near.into_iter()
        .take(NEAR)
        .map(|(_, _, service)| service)
        .collect()
}

fn near_namespace(case: &Case<'_>, name: &str) -> bool {
    case.index
        .namespaces()
        .any(|namespace| distance(name, namespace).is_some())
}

/// Between names that are near enough for one to be meant with the other: two letters, in short names one.
fn distance(asked: &str, known: &str) -> Option<usize> {
    let most = match asked.len().min(known.len()) {
        0..=2 => return None,
        3..=5 => 1,
        _ => 2,
    };
    if asked.len().abs_diff(known.len()) > most {
        return None;
    }
    // A letter that is put in, left out or another one changes two of the set at the most. Each name that does not exist is
    // compared with all Services: this takes a few nanoseconds, the distance a microsecond.
    if (letters(asked) ^ letters(known)).count_ones() as usize > 2 * most {
        return None;
    }
    let distance = strsim::osa_distance(asked, known);
    (distance <= most).then_some(distance)
}

/// Which letters a name has.
fn letters(name: &str) -> u128 {
    name.bytes().fold(0, |set, byte| set | 1 << (byte % 128))
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn near_is_a_letter_or_two_and_in_short_names_one() {
        assert_eq!(
            distance("clusterip-ngnix-ds", "clusterip-nginx-ds"),
            Some(1)
        );
        assert_eq!(distance("postgress", "postgres"), Some(1));
        assert_eq!(distance("web", "wbe"), Some(1));
        assert_eq!(distance("web", "app"), None);
        assert_eq!(distance("no-such-service", "kubernetes"), None);
        assert_eq!(distance("com", "dev"), None);
        assert_eq!(distance("a", "b"), None);
        assert_eq!(distance("grey-cat", "gray-bat"), Some(2));
        assert_eq!(distance("grey-cat", "gray-bit"), None);
    }
}
