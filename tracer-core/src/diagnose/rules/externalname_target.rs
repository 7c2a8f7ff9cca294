//! A Service of type ExternalName whose target cannot be resolved.

use std::net::IpAddr;

use crate::diagnose::case::{Case, Symptom};
use crate::diagnose::claim::{Cause, Claim, Summary};
use crate::diagnose::command::{Kubectl, PodCommand};
use crate::diagnose::cure::Cure;
use crate::diagnose::fact::NameFact;
use crate::diagnose::headline::{Fix, Reason};
use crate::diagnose::lookup_evidence::{AskedName, LookupEvidence, Search};
use crate::diagnose::rule::Rule;
use crate::diagnose::{names, server};
use crate::identity::Index;
use crate::model::cluster::{Service, ServiceKind};
use crate::model::dns::{DnsName, RecordType};
use crate::model::exchange::Outcome;
use crate::model::finding::Severity;
use crate::model::lookup::Step;

pub(in crate::diagnose) static RULE: Rule = Rule {
    id: "externalname-target",
    severity: Severity::Error,
    finds: "a Service of type ExternalName whose target does not resolve",
    means: "The name is that of a Service of type ExternalName, an alias for its externalName. That is an address, which DNS \
            takes as a name; or empty; or the Service's own name; or a name that does not exist or does not resolve, such as a \
            Service's short name: no search domain is added to it.",
    looks_at: "Lookups that failed, among whose candidates is the full name of such a Service; the Service's externalName; the \
               aliases in the answers.",
    cannot_know: "What the externalName should be.",
    check,
};

/// What is wrong with a target.
enum Fault {
    Address,
    Empty,
    Itself,
    /// It does not exist: the last alias of the answer.
    Missing(DnsName),
    /// It has no address.
    NoAddress,
    /// The server failed, which has to ask another one for it.
    Unresolved,
}

fn check(case: &Case<'_>) -> Option<Claim> {
    let Symptom::Lookup(lookup) = case.symptom else {
        return None;
    };
    if lookup.cut_short || lookup.begun_unnamed {
        return None;
    }
    let asked = lookup.asked()?;
    let own = &*case.pod()?.namespace;
    let domain = case.index.cluster_domain();
    let (service, target) = names::meanings(asked, domain)
        .into_iter()
        .filter(|meaning| meaning.host.is_none())
        .find_map(|meaning| {
            let namespace = meaning.namespace.unwrap_or(own);
            external_name(case.index.service(namespace, meaning.service)?)
        })?;
    let full = names::full(None, service, domain);
    let step = lookup.event.steps.iter().find(|step| step.name == full)?;
    let fault = fault(lookup, step, &full, target, domain)?;
    let claim = claim(case, lookup, asked, service, target, &fault)?.cure(Cure::Found(full));
    Some(match fault {
        // It may be meant for other types.
        Fault::NoAddress => claim.severity(Severity::Warning),
        _ => claim,
    })
}

fn external_name(service: &Service) -> Option<(&Service, &DnsName)> {
    match &service.kind {
        ServiceKind::ExternalName(target) => Some((service, target)),
        ServiceKind::ClusterIp | ServiceKind::Headless => None,
    }
}

fn fault(
    lookup: &LookupEvidence<'_>,
    step: &Step,
    full: &DnsName,
    target: &DnsName,
    domain: &DnsName,
) -> Option<Fault> {
    if target.as_str() == "." {
        return Some(Fault::Empty);
    }
    if target == full {
        return Some(Fault::Itself);
    }
    if target.relative().parse::<IpAddr>().is_ok() {
        return Some(Fault::Address);
    }
    match step.outcome {
        Some(Outcome::Nxdomain) => {}
        // Many names have no IPv6 address.
        Some(Outcome::Nodata)
            if lookup.event.outcome == Outcome::Nodata
                && lookup.event.qtypes.contains(&RecordType::A) =>
        {
            let mut exchanges = lookup.exchanges().iter();
            let aliased = exchanges.any(|one| one.name == *full && one.alias.is_some());
            return aliased.then_some(Fault::NoAddress);
        }
        // The cluster's DNS would know its own name.
        Some(Outcome::Servfail) if target.below(domain).is_none() => {
            return Some(Fault::Unresolved);
        }
        _ => return None,
    }
    // Without an alias in the answer the DNS does not know the Service: another fault.
    let mut exchanges = lookup.exchanges().iter().filter(|one| one.name == *full);
    exchanges
        .find_map(|one| one.alias.clone())
        .map(Fault::Missing)
}

fn claim(
    case: &Case<'_>,
    lookup: &LookupEvidence<'_>,
    asked: AskedName<'_>,
    service: &Service,
    target: &DnsName,
    fault: &Fault,
) -> Option<Claim> {
    let name = service.into();
    let (reason, fix, fact) = match fault {
        Fault::Address => (
            Reason::TargetIsAddress(service.into()),
            Fix::UseEndpoints,
            NameFact::ExternalNameIsAddress {
                service: name,
                target: target.clone(),
            },
        ),
        Fault::Empty => (
            Reason::TargetUseless,
            Fix::CorrectTarget(service.into()),
            NameFact::ExternalNameEmpty(name),
        ),
        Fault::Itself => (
            Reason::TargetUseless,
            Fix::CorrectTarget(service.into()),
            NameFact::ExternalNameItself(name),
        ),
        Fault::Missing(alias) => (
            Reason::TargetMissing(alias.clone()),
            Fix::CorrectTarget(service.into()),
            NameFact::ExternalNameMissing {
                service: name,
                target: target.clone(),
                alias: (alias != target).then(|| alias.clone()),
            },
        ),
        Fault::NoAddress => (
            Reason::TargetNoAddress(target.clone()),
            Fix::CorrectTarget(service.into()),
            NameFact::ExternalNameNoAddress {
                service: name,
                target: target.clone(),
            },
        ),
        Fault::Unresolved => (
            Reason::TargetUnresolved(target.clone()),
            Fix::CheckServer(server::named(case)),
            NameFact::ExternalNameUnresolved {
                service: name,
                target: target.clone(),
            },
        ),
    };
    let mut claim = Claim::new(
        Cause::Name(asked.name.to_owned()),
        summary(case, lookup, asked)?,
    )
    .evidence(lookup.evidence())
    .because(reason)
    .fix(fix)
    .why(fact);
    if matches!(
        fault,
        Fault::Missing(_) | Fault::NoAddress | Fault::Unresolved
    ) {
        let short = short_name(case.index, service, target);
        let is_short = short.is_some();
        if let Some(meant) = short {
            claim = claim.why(NameFact::ExternalNameIsShort {
                full: names::full(None, meant, case.index.cluster_domain()),
                service: meant.into(),
            });
        }
        if !is_short {
            claim = claim.command(PodCommand::Nslookup {
                name: target.clone(),
                qtype: None,
                server: None,
            });
        }
    }
    Some(claim.command(Kubectl::ExternalName(service.into())))
}

/// The Service that a target means as a pod would write it.
fn short_name<'a>(index: &'a Index, service: &Service, target: &DnsName) -> Option<&'a Service> {
    let written = AskedName {
        name: target.relative(),
        search: Search::Searched,
    };
    names::service(index, written, &service.namespace)
        .filter(|meant| meant.namespace != service.namespace || meant.name != service.name)
}

fn summary(case: &Case<'_>, lookup: &LookupEvidence<'_>, asked: AskedName<'_>) -> Option<Summary> {
    let (asked, figures) = (asked.name.to_owned(), lookup.figures());
    let server = || server::named(case);
    Some(match lookup.event.outcome {
        Outcome::Nxdomain => Summary::NoSuchName { asked, figures },
        Outcome::Nodata => Summary::NoSuchType {
            asked,
            types: lookup.event.qtypes.clone(),
            figures,
        },
        Outcome::Servfail => Summary::Servfail {
            asked,
            server: server(),
            figures,
        },
        Outcome::Refused => Summary::Refused {
            asked,
            server: server(),
            figures,
        },
        _ => return None,
    })
}
