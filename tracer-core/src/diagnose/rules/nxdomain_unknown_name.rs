//! A name that does not exist, with the similar names that do.

use crate::diagnose::case::Case;
use crate::diagnose::claim::{Cause, Claim};
use crate::diagnose::command::{Command, Kubectl, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::NameFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::lookup_evidence::{AskedName, LookupEvidence, Search};
use crate::diagnose::missing;
use crate::diagnose::names;
use crate::diagnose::rule::Rule;
use crate::diagnose::search_domains;
use crate::identity::Presence;
use crate::model::cluster::{Kind, Service};
use crate::model::dns::DnsName;
use crate::model::finding::Severity;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "nxdomain-unknown-name",
    severity: Severity::Error,
    finds: "a name that does not exist, with similar names that do",
    means: "None of the names that the pod's resolver tried exists. A name in the form of a Service's is compared with the existing \
            Services; those that differ in one or two letters are named.",
    looks_at: "The candidates of a lookup, which all got NXDOMAIN; the Services and namespaces of the inventory. Names of other \
               domains are not compared with Services.",
    cannot_know: "What was meant. Without an inventory, whether a Service with that or a similar name exists. Without the pod's \
                  search list, whether the resolver had more candidates: then the rule is silent about names in the cluster's \
                  domain. The rule is silent about pods that resolve names as their node does (dnsPolicy Default, as CoreDNS \
                  itself): they may forward the questions of others, whose findings have the names. It is silent about a name outside of \
                  the cluster that no query carried, and about names that programs ask for although most do not exist: of addresses \
                  (PTR), gRPC's settings (_grpc_config, _grpclb._tcp), DNS-SD's domains.",
    check,
};

/// At most this many similar names are offered.
const MAX_SIMILAR: usize = 3;

fn check(case: &Case<'_>) -> Option<Claim> {
    let (lookup, asked) = case.no_such_name()?;
    let mut exchanges = lookup.exchanges().iter();
    if let Some(alias) = exchanges.find_map(|exchange| exchange.alias.as_ref()) {
        let claim = case
            .no_such_name_claim(lookup, asked.name)
            .because(Reason::DanglingAlias(alias.clone()))
            .why(NameFact::DanglingAlias(alias.clone()))
            .command(PodCommand::Nslookup {
                name: alias.clone(),
                qtype: None,
                server: None,
            });
        return Some(claim);
    }
    let no_inventory = !case.knows_services() && lookup.names().len() > 1;
    if is_external(case, asked) {
        // A resolver that stops its search leaves open whether the name itself exists (musl stops at an empty
        // candidate, BusyBox's nslookup asks for search domains only).
        if !lookup.asked_for(asked.name) {
            return None;
        }
        return Some(external(case, lookup, asked));
    }
    let mut claim = case
        .no_such_name_claim(lookup, asked.name)
        .why(NameFact::Tried(lookup.tried()));
    if no_inventory {
        claim = claim
            .because(Reason::NoCandidateExists)
            .fix(Fix::GiveInventory);
    }
    let Some((name, namespace)) = meant(case, asked) else {
        return Some(claim);
    };
    if !case.knows_services() {
        claim = claim.why(NameFact::ServiceUnknown {
            service: name.to_owned(),
            lacking: missing::lacking_in(case, Kind::Service),
        });
        return Some(missing::investigate(case, Kind::Service, claim));
    }
    if !case.index.services_named(name).is_empty() {
        // The Service exists, so this rule does not explain the failure.
        return None;
    }
    claim = claim
        .because(Reason::NoSuchService(name.to_owned()))
        .fix(Fix::CheckSpelling)
        .why(NameFact::NoServiceAnywhere(name.to_owned()));
    if let Some(namespace) = namespace
        && case.index.has_namespace(namespace) == Presence::No
    {
        claim = claim.why(NameFact::NoNamespace(namespace.to_owned()));
    }
    let domain = case.index.cluster_domain();
    for service in similar(case, name, namespace) {
        let short = names::shortest(None, service, lookup.resolver.as_deref(), domain);
        claim = claim
            .why(NameFact::SimilarService(service.into()))
            .command(Command::UseName(short))
            .cure(Cure::Found(names::full(None, service, domain)));
    }
    Some(match claim.name_to_use().map(str::to_owned) {
        Some(name) => claim
            .fix(Fix::UseName(name.clone()))
            .command(PodCommand::Getent(name)),
        None => claim.command(list_services(case, namespace)),
    })
}

/// Lists the Services of the namespace that was meant.
fn list_services(case: &Case<'_>, namespace: Option<&str>) -> Kubectl {
    let own = case.pod().map(|pod| &*pod.namespace);
    match namespace.or(own) {
        // If namespaces are unknown, this is any text that the pod asked for.
        Some(namespace) if case.index.has_namespace(namespace) != Presence::No => {
            Kubectl::ServicesIn(namespace.to_owned())
        }
        _ => Kubectl::AllServices,
    }
}

/// The name of the Service that was meant, and its namespace if there was one.
fn meant<'a>(case: &Case<'a>, asked: AskedName<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let domain = case.index.cluster_domain();
    // A single label means a Service even if it was looked up as an absolute name.
    let asked = if asked.name.contains('.') {
        asked
    } else {
        AskedName {
            search: Search::Unknown,
            ..asked
        }
    };
    let meanings = names::meanings(asked, domain);
    let meaning = meanings.first()?;
    Some((meaning.service, meaning.namespace))
}

/// Whether the name is outside of the cluster's domain.
fn is_external(case: &Case<'_>, asked: AskedName<'_>) -> bool {
    if names::below(asked.name, case.index.cluster_domain()).is_some() {
        return false;
    }
    let labels: Vec<&str> = asked.name.split('.').collect();
    match labels.as_slice() {
        [_] => false,
        [.., "svc"] => false,
        [.., last] => {
            case.index.has_namespace(last) != Presence::Yes && !has_similar_namespace(case, last)
        }
        [] => false,
    }
}

fn external(case: &Case<'_>, lookup: &LookupEvidence<'_>, asked: AskedName<'_>) -> Claim {
    let name = DnsName::new(asked.name);
    let mut exchanges = lookup.exchanges().iter();
    let exchange = exchanges.rfind(|exchange| exchange.name == name);
    let mut claim = case
        .no_such_name_claim(lookup, asked.name)
        .severity(Severity::Warning)
        .command(PodCommand::Nslookup {
            name,
            qtype: None,
            server: None,
        });
    // `service.namespace` and `pod.service.namespace` have the same form.
    if !case.knows_services() && may_be_service(case, asked) {
        let lacking = missing::lacking_in(case, Kind::Service);
        claim = claim.why(NameFact::MeaningUnknown(lacking));
        claim = missing::investigate(case, Kind::Service, claim);
        if lookup.names().len() > 1 {
            claim = claim
                .because(Reason::NoCandidateExists)
                .fix(Fix::GiveInventory);
        }
    } else {
        // Programs ask for hosts that are gone all the time.
        claim = claim
            .once(Severity::Info)
            .because(Reason::NoSuchExternalName);
    }
    let zone = exchange.and_then(|exchange| exchange.zone.clone());
    // One finding for all names that a registered zone does not have; not for those of a top-level domain.
    if let Some(zone) = &zone
        && zone.relative().contains('.')
    {
        claim.cause = Cause::Zone(zone.clone());
    }
    claim.why(NameFact::OutsideCluster {
        cluster_domain: case.index.cluster_domain().clone(),
        zone,
    })
}

/// Whether the name has the form of a Service's, and not that of a public name.
fn may_be_service(case: &Case<'_>, asked: AskedName<'_>) -> bool {
    let asked = AskedName {
        search: Search::Searched,
        ..asked
    };
    let two_labels = asked.name.matches('.').count() == 1;
    !names::meanings(asked, case.index.cluster_domain()).is_empty()
        && (two_labels || !search_domains::looks_public(asked.name))
}

/// Services whose name differs in a letter or two. Those of the namespace asked for, or else of the pod's
/// own, come first.
fn similar<'a>(case: &Case<'a>, name: &str, namespace: Option<&str>) -> Vec<&'a Service> {
    let own = case.pod().map(|pod| &*pod.namespace);
    let home = namespace.or(own);
    let mut similar: Vec<(usize, bool, &Service)> = case
        .index
        .services()
        .filter_map(|service| {
            let distance = distance(name, &service.name)?;
            Some((distance, Some(&*service.namespace) != home, service))
        })
        .collect();
    similar.sort_by(|a, b| {
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
    similar
        .into_iter()
        .take(MAX_SIMILAR)
        .map(|(_, _, service)| service)
        .collect()
}

fn has_similar_namespace(case: &Case<'_>, name: &str) -> bool {
    case.index
        .namespaces()
        .any(|namespace| distance(name, namespace).is_some())
}

/// The edit distance of two similar names: at most two letters, in short names one.
fn distance(asked: &str, known: &str) -> Option<usize> {
    let most = match asked.len().min(known.len()) {
        0..=2 => return None,
        3..=5 => 1,
        _ => 2,
    };
    if asked.len().abs_diff(known.len()) > most {
        return None;
    }
    // One edit changes at most two members of the set of letters. Each name that does not exist is compared
    // with all Services: this comparison takes a few nanoseconds, the edit distance a microsecond.
    if (letters(asked) ^ letters(known)).count_ones() as usize > 2 * most {
        return None;
    }
    let distance = strsim::osa_distance(asked, known);
    (distance <= most).then_some(distance)
}

/// The set of letters of a name, as bits.
fn letters(name: &str) -> u128 {
    name.bytes().fold(0, |set, byte| set | 1 << (byte % 128))
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn similar_names_differ_in_two_letters_or_one_if_short() {
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
