//! What is put before the rules: something that a pod did and that may have gone wrong, with all that can be asked about it.

use std::sync::Arc;

use super::claim::{Claim, Cure};
use super::looked::{AskedName, Looked};
use super::memory::{Memory, Pace, Spent, Told};
use super::settings::RuleThresholds;
use super::{names, words};
use crate::identity::Index;
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
    /// The moment that sentences are about.
    pub at: Timestamp,
    /// When it is looked at.
    pub now: Timestamp,
    /// When its first evidence was on the wire.
    pub first: Timestamp,
    /// When its last was.
    pub last: Timestamp,
    /// From when on rules speak.
    pub thresholds: &'a RuleThresholds,
    /// The pod, which is the client, and the other end.
    pub ends: &'a Ends,
    /// Who is who.
    pub index: &'a Index,
    /// What was seen before.
    pub memory: &'a Memory,
    /// DNS is what has one of these ports.
    pub dns_ports: &'a [u16],
    /// What it did.
    pub symptom: Symptom<'a>,
}

/// What a pod did, and how that went.
#[derive(Debug)]
pub(super) enum Symptom<'a> {
    /// It looked a name up.
    Lookup(&'a Looked<'a>),
    /// It opened a TCP connection.
    Tcp(&'a TcpConnection),
    /// It sent UDP packets other than DNS.
    Udp(&'a UdpFlow),
    /// It pinged; with the run's beginning, which tells it from others.
    Echo(&'a Echo, Timestamp),
    /// A DNS server answered it, at that pace; of names of the cluster, or others.
    Paced(&'a Exchange, Pace, bool),
    /// The queries of its workload that were in vain within a minute.
    Wasteful(&'a str, &'a Spent),
    /// It was told that its packets to an address are too big, so often by now.
    TooBig(IcmpError, Told),
}

impl<'a> Case<'a> {
    /// The pod, where it is known.
    pub fn pod(&self) -> Option<&'a Arc<PodIdentity>> {
        self.ends.pod.identity.as_ref().ok()
    }

    /// The pod as a sentence begins with it: `namespace/name`, or its address.
    pub fn who(&self) -> String {
        words::who(self.ends)
    }

    /// A command to be run in the pod, ready to be copied. For a pod that is not known the bare command.
    pub fn in_pod(&self, command: &str) -> String {
        match self.pod() {
            Some(pod) => format!(
                "kubectl -n {} exec {} -- {command}",
                pod.namespace, pod.name
            ),
            None => command.to_owned(),
        }
    }

    /// Names that it is about: what was looked up, in whatever form, or what the other end is called.
    pub fn names(&self) -> Vec<Arc<str>> {
        let relative = |name: &DnsName| Arc::from(name.relative());
        match self.symptom {
            Symptom::Lookup(looked) => {
                let asked = looked.asked().map(|asked| Arc::from(asked.name));
                let candidates = looked.names().into_iter().map(relative);
                let mut names: Vec<Arc<str>> = asked.into_iter().chain(candidates).collect();
                names.dedup();
                names
            }
            Symptom::Paced(exchange, ..) => {
                let question = exchange.question.iter();
                question.map(|question| relative(&question.name)).collect()
            }
            Symptom::Wasteful(_, spent) => {
                let names = spent.names.iter();
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

    /// The Service that the other end is.
    pub fn service(&self) -> Option<&'a Service> {
        let service = self.ends.peer.service.as_ref()?;
        self.index.service(&service.namespace, &service.name)
    }

    /// The Service whose ClusterIP the other end is; none for an external or LoadBalancer address of one.
    pub fn cluster_ip_of(&self) -> Option<&'a Service> {
        self.service()
            .filter(|service| service.cluster_ips.contains(&self.ends.peer.ip))
    }

    /// A lookup that got this.
    pub fn lookup(&self, outcome: Outcome) -> Option<&'a Looked<'a>> {
        match self.symptom {
            Symptom::Lookup(looked) if looked.lookup.outcome == outcome => Some(looked),
            _ => None,
        }
    }

    /// Whether the other end is a DNS server by its port.
    pub fn to_dns_port(&self) -> bool {
        let port = self.ends.peer.port;
        port.is_some_and(|port| self.dns_ports.contains(&port))
    }

    /// Whether the inventory has Services: without them no name can be said not to be one's.
    pub fn knows_services(&self) -> bool {
        self.index.services().next().is_some()
    }

    /// A lookup whose every candidate got NXDOMAIN, and what was asked for. Of a pod whose search list is not known no name
    /// of the cluster's domain: it may be a candidate, with others to come. Of a pod that resolves as its node does none at
    /// all: it does not ask the cluster's DNS, and it may be the cluster's DNS, which forwards what others asked for.
    pub fn no_such_name(&self) -> Option<(&'a Looked<'a>, AskedName<'a>)> {
        let Symptom::Lookup(looked) = self.symptom else {
            return None;
        };
        let asked = looked.asked()?;
        if looked.resolver.is_none() && self.pod().is_some() {
            return None;
        }
        let may_go_on = looked.resolver.is_none()
            && names::below(asked.name, self.index.cluster_domain()).is_some();
        let all = looked.lookup.outcome == Outcome::Nxdomain
            && !looked.cut_short
            && !looked.begun_unnamed;
        (all && !may_go_on).then_some((looked, asked))
    }

    /// The claim's beginning for a lookup that got NXDOMAIN. It is cured when any of the names that were tried is found.
    pub fn looked_up(&self, looked: &Looked<'_>, asked: &str) -> Claim {
        let summary = format!(
            "{} looked up \"{asked}\": NXDOMAIN ({})",
            self.who(),
            looked.figures()
        );
        Claim::new(asked, summary)
            .evidence(looked.evidence())
            .cures(looked.names().into_iter().cloned().map(Cure::Found))
    }
}
