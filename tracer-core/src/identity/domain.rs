//! The cluster's domain: the setting, until the cluster's own DNS shows another one.

use std::net::IpAddr;

use super::Index;
use crate::model::dns::{DnsName, RecordType};
use crate::model::event::Ends;
use crate::model::exchange::Exchange;
use crate::model::time::Timestamp;

/// What answers have shown about the cluster's domain.
#[derive(Debug, Default)]
pub(super) struct Domain {
    /// A name in it led to its Service.
    confirmed: bool,
    /// The setting that was wrong, and when that was seen.
    replaced: Option<(DnsName, Timestamp)>,
}

impl Index {
    /// The domain that the settings have and the cluster's DNS does not, and when that was seen.
    pub fn replaced_domain(&self) -> Option<(&DnsName, Timestamp)> {
        let (domain, at) = self.domain.replaced.as_ref()?;
        Some((domain, *at))
    }

    /// Learns the domain from an answer in which `service.namespace.svc.DOMAIN` has that Service's own
    /// address. Only an authoritative answer of a Service in kube-system counts: any pod can ask a server of
    /// its own, or a domain of its own through the cluster's DNS, and one pod changes nothing for the others.
    /// Where the cluster has several domains, the first one seen stays.
    pub(super) fn learn_domain(
        &mut self,
        at: Timestamp,
        ends: &Ends,
        name: &DnsName,
        exchange: &Exchange,
    ) {
        let flags = exchange.details.flags.as_ref();
        let server = ends.peer.service.as_ref();
        if self.domain.confirmed
            || flags.is_none_or(|flags| !flags.authoritative)
            || server.is_none_or(|server| &*server.namespace != "kube-system")
        {
            return;
        }
        let mut labels = name.relative().splitn(4, '.');
        let (Some(service), Some(namespace), Some("svc"), Some(domain)) =
            (labels.next(), labels.next(), labels.next(), labels.next())
        else {
            return;
        };
        let Some(service) = self.service(namespace, service) else {
            return;
        };
        let own = exchange
            .answers
            .iter()
            .filter(|record| matches!(record.rtype, RecordType::A | RecordType::AAAA))
            .filter_map(|record| record.data.parse::<IpAddr>().ok())
            .any(|ip| service.cluster_ips.contains(&ip));
        if !own {
            return;
        }
        self.domain.confirmed = true;
        let domain = DnsName::new(domain);
        if domain != self.settings.cluster_domain {
            let before = std::mem::replace(&mut self.settings.cluster_domain, domain);
            self.domain.replaced = Some((before, at));
            self.pods.forget_resolvers();
        }
    }
}
