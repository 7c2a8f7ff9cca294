//! Kubernetes objects of the API, trimmed to the fields that the model keeps.
//!
//! Owns the translation, and the interning of repeated strings. Never reads a file or calls the API: objects
//! come from the inventory file and, in a cluster, from a watch. Names and domains must be printable, because
//! they end up on terminals.

mod pod;
mod policy;
mod service;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::cluster::{Namespace, Node, ServiceCidr};
use crate::model::dns::DnsName;

/// Why a syntactically valid object is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A field is missing without which the object is useless.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has a value of the wrong form.
    #[error("{field}: {value:?} is not {expected}")]
    Invalid {
        /// The path of the field.
        field: &'static str,
        /// Its value, truncated for display.
        value: String,
        /// The expected form.
        expected: &'static str,
    },
}

impl ObjectError {
    fn invalid(field: &'static str, value: &str, expected: &'static str) -> ObjectError {
        ObjectError::Invalid {
            field,
            value: value.chars().take(64).collect(),
            expected,
        }
    }
}

/// The annotation on a static pod's mirror object with the UID that the kubelet uses for the pod.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// The number of interned strings from which unused ones are dropped.
const MIN_SWEEP: usize = 4096;

type Labels = Vec<(Arc<str>, Arc<str>)>;

/// Trims objects. Equal strings in all objects of one `Trimmer` share their storage. Unused strings are
/// dropped whenever the total has doubled, so that a watch can run indefinitely.
#[derive(Debug, Default)]
pub struct Trimmer {
    interned: HashSet<Arc<str>>,
    /// The number of strings in use at the last sweep.
    used: usize,
}

impl Trimmer {
    /// An empty trimmer.
    pub fn new() -> Trimmer {
        Trimmer::default()
    }

    /// Trims a Node.
    pub fn node(&mut self, node: core::Node) -> Result<Node, ObjectError> {
        let name = self.name(&node.metadata)?;
        let mut ips = Vec::new();
        for listed in node
            .status
            .and_then(|status| status.addresses)
            .into_iter()
            .flatten()
        {
            if matches!(listed.type_.as_str(), "InternalIP" | "ExternalIP") {
                ips.push(address("status.addresses", &listed.address)?);
            }
        }
        let pod_cidrs = node.spec.and_then(|spec| spec.pod_cidrs);
        Ok(Node {
            name,
            ips,
            pod_cidrs: ranges("spec.podCIDRs", pod_cidrs)?,
        })
    }

    /// Trims a Namespace.
    pub fn namespace(&mut self, namespace: core::Namespace) -> Result<Namespace, ObjectError> {
        let name = self.name(&namespace.metadata)?;
        let mut labels = self.labels(namespace.metadata.labels);
        // A hand-written inventory may lack the label that the API server sets.
        if !labels
            .iter()
            .any(|(key, _)| &**key == Namespace::NAME_LABEL)
        {
            labels.push((self.intern(Namespace::NAME_LABEL), name.clone()));
        }
        labels.shrink_to_fit();
        Ok(Namespace { name, labels })
    }

    /// Trims a ServiceCIDR.
    pub fn service_cidr(
        &mut self,
        range: networking::ServiceCIDR,
    ) -> Result<ServiceCidr, ObjectError> {
        let name = self.name(&range.metadata)?;
        let cidrs = range.spec.and_then(|spec| spec.cidrs);
        Ok(ServiceCidr {
            name,
            cidrs: ranges("spec.cidrs", cidrs)?,
        })
    }

    /// A port's name; in the API an only port has an empty name.
    fn port_name(&mut self, name: Option<String>) -> Option<Arc<str>> {
        name.filter(|name| !name.is_empty())
            .map(|name| self.intern(&name))
    }

    fn name(&mut self, metadata: &ObjectMeta) -> Result<Arc<str>, ObjectError> {
        let name = metadata
            .name
            .as_deref()
            .ok_or(ObjectError::Missing("metadata.name"))?;
        self.word("metadata.name", name)
    }

    fn namespaced(&mut self, metadata: &ObjectMeta) -> Result<(Arc<str>, Arc<str>), ObjectError> {
        let name = self.name(metadata)?;
        let namespace = metadata
            .namespace
            .as_deref()
            .ok_or(ObjectError::Missing("metadata.namespace"))?;
        Ok((self.word("metadata.namespace", namespace)?, name))
    }

    fn labels(&mut self, labels: Option<BTreeMap<String, String>>) -> Labels {
        labels
            .into_iter()
            .flatten()
            .map(|(key, value)| (self.intern(&key), self.intern(&value)))
            .collect()
    }

    fn word(&mut self, field: &'static str, value: &str) -> Result<Arc<str>, ObjectError> {
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ObjectError::invalid(field, value, "a name"));
        }
        Ok(self.intern(value))
    }

    fn intern(&mut self, value: &str) -> Arc<str> {
        if let Some(known) = self.interned.get(value) {
            return known.clone();
        }
        if self.interned.len() >= MIN_SWEEP.max(2 * self.used) {
            self.interned.retain(|known| Arc::strong_count(known) > 1);
            self.interned.shrink_to_fit();
            self.used = self.interned.len();
        }
        let new: Arc<str> = value.into();
        self.interned.insert(new.clone());
        new
    }
}

fn address(field: &'static str, value: &str) -> Result<IpAddr, ObjectError> {
    value
        .parse()
        .map_err(|_| ObjectError::invalid(field, value, "an IP address"))
}

fn range(field: &'static str, value: &str) -> Result<IpNet, ObjectError> {
    value
        .parse()
        .map_err(|_| ObjectError::invalid(field, value, "an address range"))
}

fn ranges(field: &'static str, listed: Option<Vec<String>>) -> Result<Vec<IpNet>, ObjectError> {
    let ranges = listed.iter().flatten().map(|listed| range(field, listed));
    ranges.collect()
}

fn port_number(field: &'static str, value: i32) -> Result<u16, ObjectError> {
    u16::try_from(value)
        .map_err(|_| ObjectError::invalid(field, &value.to_string(), "a port number"))
}

fn domain(field: &'static str, value: &str) -> Result<DnsName, ObjectError> {
    // "." is a common way to disable the search path.
    let printable = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    if printable {
        Ok(DnsName::new(value))
    } else {
        Err(ObjectError::invalid(field, value, "a domain name"))
    }
}
