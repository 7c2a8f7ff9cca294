//! The input of the rules: something that a pod did and that may have gone wrong, with everything a rule can
//! ask about it.

use std::sync::Arc;
use std::time::Duration;

use super::attempt;
use super::claim::{Cause, Claim, Summary};
use super::cure::Cure;
use super::fact::{ObjectName, Who};
use super::lookup_evidence::{AskedName, LookupEvidence};
use super::memory::{Memory, NameScope, PodMemory, Share, SlowAnswers, TooBigErrors, WasteWindow};
use super::names;
use super::route::Access;
use super::settings::RuleThresholds;
use super::tally::Record;
use crate::identity::{Index, Owner};
use crate::model::cluster::Service;
use crate::model::connection::{TcpConnection, UdpFlow};
use crate::model::dns::DnsName;
use crate::model::echo::Echo;
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::identity::PodIdentity;
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;

/// Something that a pod did.
#[derive(Debug)]
pub(super) struct Case<'a> {
    /// The time that facts are relative to.
    pub at: Timestamp,
    /// The time of the diagnosis.
    pub now: Timestamp,
    /// When the first evidence was on the wire.
    pub first: Timestamp,
    /// When the last evidence was on the wire.
    pub last: Timestamp,
    /// The rules' thresholds.
    pub thresholds: &'a RuleThresholds,
    /// The pod, which is the client, and the other end.
    pub ends: &'a Ends,
    /// The identities.
    pub index: &'a Index,
    /// What earlier events left,
    pub memory: &'a Memory,
    /// and those of the pod.
    pub own: &'a PodMemory,
    /// The pod in them.
    pub owner: &'a Owner,
    /// The failures of this kind so far, where several make a finding.
    pub share: Share,
    /// A SYN that is unanswered for this long is a timeout.
    pub tcp_timeout: Duration,
    /// Earlier attempts at the same destination.
    pub record: Record,
    /// The ports of DNS servers.
    pub dns_ports: &'a [u16],
    /// What the pod did.
    pub symptom: Symptom<'a>,
}

/// What a pod did, and how it went.
#[derive(Debug)]
pub(super) enum Symptom<'a> {
    /// It looked a name up.
    Lookup(&'a LookupEvidence<'a>),
    /// It opened a TCP connection.
    Tcp(&'a TcpConnection),
    /// It sent UDP packets other than DNS.
    Udp(&'a UdpFlow),
    /// It pinged; with the start of the run, which identifies it.
    Echo(&'a Echo, Timestamp),
    /// A DNS server answered it slowly, for names of this scope.
    SlowAnswer(&'a Exchange, SlowAnswers, NameScope),
    /// Its workload wasted queries within a minute.
    Waste(&'a str, &'a WasteWindow),
    /// It received ICMP errors about packets that are too big.
    TooBig(IcmpError, TooBigErrors),
}

impl<'a> Case<'a> {
    /// The pod, if it is known.
    pub fn pod(&self) -> Option<&'a Arc<PodIdentity>> {
        self.ends.pod.identity.as_ref().ok()
    }

    /// The pod's name, if it is known.
    pub fn pod_name(&self) -> Option<ObjectName> {
        self.pod().map(|pod| ObjectName::from(&**pod))
    }

    /// The pod's name, or its address.
    pub fn who(&self) -> Who {
        Who::from(&self.ends.pod)
    }

    /// What makes the attempt one, though it can have several events: its start and the pod's port.
    pub fn attempt_id(&self) -> Option<(Timestamp, u16)> {
        match self.symptom {
            Symptom::Tcp(connection) => Some((self.first, connection.flow.pod.port())),
            Symptom::Udp(flow) => Some((self.first, flow.flow.pod.port())),
            Symptom::Echo(echo, started) => Some((started, echo.id)),
            _ => None,
        }
    }

    /// Whether the attempt was counted as a failure before: it is about the late answer to a SYN that had
    /// timed out.
    pub fn was_counted(&self) -> bool {
        match self.symptom {
            Symptom::Tcp(connection) => {
                let answered = connection.handshake.or(connection.evidence.late_answer);
                answered.is_some_and(|after| after >= self.tcp_timeout)
                    && attempt::late(connection).is_some()
            }
            _ => false,
        }
    }

    /// The names that a silence or a filter matches: what was looked up, in every form, or the names of the
    /// other end.
    pub fn names(&self) -> Vec<Arc<str>> {
        let relative = |name: &DnsName| Arc::from(name.relative());
        match self.symptom {
            Symptom::Lookup(lookup) => {
                let asked = lookup.asked().map(|asked| Arc::from(asked.name));
                let candidates = lookup.names().into_iter().map(relative);
                let mut names: Vec<Arc<str>> = asked.into_iter().chain(candidates).collect();
                names.dedup();
                names
            }
            Symptom::SlowAnswer(exchange, ..) => {
                let question = exchange.question.iter();
                question.map(|question| relative(&question.name)).collect()
            }
            Symptom::Waste(_, window) => {
                let names = window.names.iter();
                names.map(|(name, _)| Arc::from(name.as_str())).collect()
            }
            Symptom::Tcp(_) | Symptom::Udp(_) | Symptom::Echo(..) | Symptom::TooBig(..) => {
                let peer = &self.ends.peer;
                let service = peer.service.iter().flat_map(|service| {
                    let full = format!("{}.{}", service.name, service.namespace);
                    [Arc::clone(&service.name), full.into()]
                });
                service.chain(peer.names.iter().map(relative)).collect()
            }
        }
    }

    /// The Service that has the address of the other end.
    pub fn service(&self) -> Option<&'a Service> {
        let service = self.ends.peer.service.as_ref()?;
        self.index.service(&service.namespace, &service.name)
    }

    /// The Service whose ClusterIP is the address of the other end; `None` for its external and LoadBalancer
    /// addresses.
    pub fn cluster_ip_of(&self) -> Option<&'a Service> {
        self.service()
            .filter(|service| service.cluster_ips.contains(&self.ends.peer.ip))
    }

    /// Which of its addresses belongs to the Service at the other end, and the Service.
    pub fn service_address(&self) -> Option<(&'a Service, Access)> {
        let service = self.service()?;
        let ip = self.ends.peer.ip;
        let access = if service.cluster_ips.contains(&ip) {
            Access::ClusterIp
        } else if service.balancer.iter().any(|address| address.ip == ip) {
            Access::Balancer
        } else if service.external_ips.contains(&ip) {
            Access::External
        } else {
            Access::NodePort
        };
        Some((service, access))
    }

    /// The lookup, if it ended with this outcome.
    pub fn lookup(&self, outcome: Outcome) -> Option<&'a LookupEvidence<'a>> {
        match self.symptom {
            Symptom::Lookup(lookup) if lookup.event.outcome == outcome => Some(lookup),
            _ => None,
        }
    }

    /// Whether the other end's port is a DNS server's.
    pub fn is_dns_port(&self) -> bool {
        let port = self.ends.peer.port;
        port.is_some_and(|port| self.dns_ports.contains(&port))
    }

    /// Whether the inventory has Services. Without them, no name is known not to be a Service's.
    pub fn knows_services(&self) -> bool {
        self.index.services().next().is_some()
    }

    /// The lookup, if every candidate got NXDOMAIN, and the name asked for.
    ///
    /// `None` if the pod's search list is unknown and the name is in the cluster's domain: other candidates
    /// may follow. `None` if the pod resolves names as its node does: it does not ask the cluster's DNS. It
    /// may be the cluster's DNS, which forwards the questions of others.
    pub fn no_such_name(&self) -> Option<(&'a LookupEvidence<'a>, AskedName<'a>)> {
        let lookup = self.lookup(Outcome::Nxdomain)?;
        if lookup.cut_short || lookup.begun_unnamed {
            return None;
        }
        let asked = lookup.asked()?;
        let expected = names::is_mostly_absent(asked.name);
        if expected || (lookup.resolver.is_none() && self.pod().is_some()) {
            return None;
        }
        let others_may_follow = lookup.resolver.is_none()
            && names::below(asked.name, self.index.cluster_domain()).is_some();
        (!others_may_follow).then_some((lookup, asked))
    }

    /// A claim that a name does not exist. It is cured as soon as the pod finds one of the candidates.
    pub fn no_such_name_claim(&self, lookup: &LookupEvidence<'_>, asked: &str) -> Claim {
        let summary = Summary::NoSuchName {
            asked: asked.to_owned(),
            figures: lookup.figures(),
        };
        Claim::new(Cause::Name(asked.to_owned()), summary)
            .evidence(lookup.evidence())
            .cures(lookup.names().into_iter().cloned().map(Cure::Found))
    }
}
