//! What a node's agent cannot see, as a list of phrases, so that missing output is not mistaken for missing
//! traffic.
//!
//! Owns the evidence: objects of the cluster, and traffic that was seen. Each phrase names what is invisible,
//! why, and the interfaces or pods concerned. Never guesses: without evidence there is no entry. Pure: events
//! come in through [`BlindSpots::observe`], and [`BlindSpots::list`] combines them with the index and the
//! one-way interfaces. Bounded: a phrase names a few pods or interfaces and counts the rest.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::identity::Index;
use crate::model::cluster::Pod;
use crate::model::connection::TcpState;
use crate::model::event::{Body, Event};
use crate::model::flow::{Direction, Role};
use crate::model::identity::PodIdentity;
use crate::model::units;

mod resolvers;
#[cfg(test)]
mod tests;

/// Pods or interfaces named in one phrase.
const MAX_NAMED: usize = 5;
/// Pods remembered for each kind of encrypted DNS.
const MAX_REMEMBERED: usize = 256;
/// DNS over TLS (RFC 7858) and over QUIC (RFC 9250).
const DOT_PORT: u16 = 853;
/// HTTPS, and so DNS over HTTPS (RFC 8484).
const HTTPS_PORT: u16 = 443;
/// The address on which NodeLocal DNSCache listens by its documentation and in most installations.
const NODE_LOCAL_CACHE: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));

/// The evidence of invisible traffic that was seen so far.
#[derive(Clone, Debug, Default)]
pub struct BlindSpots {
    /// Pods that use DNS over TLS or QUIC.
    dot: PodNames,
    /// Pods that use DNS over HTTPS at a known resolver.
    doh: PodNames,
    /// Whether a pod asked the NodeLocal DNSCache.
    node_local_asked: bool,
}

/// Pods by namespace/name (an unidentified pod by its address), at most [`MAX_REMEMBERED`].
#[derive(Clone, Debug, Default)]
struct PodNames {
    pods: BTreeSet<Arc<str>>,
    /// Whether there were more.
    more: bool,
}

impl PodNames {
    fn add(&mut self, pod: Option<&PodIdentity>, ip: IpAddr) {
        let name = match pod {
            Some(pod) => format!("{}/{}", pod.namespace, pod.name),
            None => ip.to_string(),
        };
        if self.pods.len() < MAX_REMEMBERED {
            self.pods.insert(name.into());
        } else if !self.pods.contains(name.as_str()) {
            self.more = true;
        }
    }

    /// The pods as a phrase; `None` if there are none.
    fn phrase(&self) -> Option<String> {
        let names: Vec<&str> = self.pods.iter().map(|name| &**name).collect();
        name_some(&names, self.more)
    }
}

/// `a, b, c and 4 more`; with `more`, the rest is a lower bound. `None` without names.
fn name_some(names: &[&str], more: bool) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let mut phrase = names[..names.len().min(MAX_NAMED)].join(", ");
    let rest = names.len().saturating_sub(MAX_NAMED);
    if rest > 0 {
        let at_least = if more { "at least " } else { "" };
        phrase.push_str(&format!(" and {at_least}{rest} more"));
    }
    Some(phrase)
}

impl BlindSpots {
    /// Takes note of an event that is evidence of invisible traffic.
    pub fn observe(&mut self, event: &Event) {
        let Some(ends) = event.ends.as_ref().filter(|ends| ends.role == Role::Client) else {
            return;
        };
        let pod = ends.pod.identity.as_ref().ok().map(|pod| &**pod);
        match &event.body {
            Body::Dns(..) if ends.peer.ip == NODE_LOCAL_CACHE => self.node_local_asked = true,
            // Only an established connection can carry a lookup.
            Body::Tcp(connection)
                if matches!(
                    connection.state,
                    TcpState::Established | TcpState::Closed | TcpState::Idle
                ) =>
            {
                match ends.peer.port {
                    Some(DOT_PORT) => self.dot.add(pod, ends.pod.ip),
                    Some(HTTPS_PORT) if resolvers::contains(ends.peer.ip) => {
                        self.doh.add(pod, ends.pod.ip);
                    }
                    _ => {}
                }
            }
            // DNS over QUIC, and HTTP/3 to a resolver.
            Body::Udp(_) => match ends.peer.port {
                Some(DOT_PORT) => self.dot.add(pod, ends.pod.ip),
                Some(HTTPS_PORT) if resolvers::contains(ends.peer.ip) => {
                    self.doh.add(pod, ends.pod.ip);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// The blind spots of `node`, one phrase each. `one_way` lists interfaces by name with their invisible
    /// direction.
    pub fn list(&self, index: &Index, node: &str, one_way: &[(&str, Direction)]) -> Vec<String> {
        let here: Vec<&Pod> = index
            .pods()
            .filter(|pod| pod.node.as_deref() == Some(node) && !pod.terminated)
            .collect();
        one_way_interfaces(one_way)
            .into_iter()
            .chain(host_network_pods(&here, index.traces_node()))
            .chain(
                self.node_local_cache(&here)
                    .filter(|_| !index.traces_node()),
            )
            .chain(self.encrypted_dns())
            .collect()
    }

    fn node_local_cache(&self, pods: &[&Pod]) -> Option<String> {
        let cache = pods.iter().find(|pod| is_node_local_dns(pod));
        let evidence = cache
            .map(|pod| format!("{}/{} runs here", pod.namespace, pod.name))
            .or_else(|| {
                let asked = self.node_local_asked;
                asked.then(|| format!("pods ask {NODE_LOCAL_CACHE}"))
            })?;
        Some(format!(
            "queries from NodeLocal DNSCache to DNS servers on other nodes ({evidence}); queries from pods to the cache \
             are visible"
        ))
    }

    fn encrypted_dns(&self) -> impl Iterator<Item = String> {
        let over_tls = self.dot.phrase().map(|pods| {
            format!(
                "names looked up with DNS over TLS or QUIC (port 853): only the connections are visible ({pods})"
            )
        });
        let over_https = self.doh.phrase().map(|pods| {
            format!(
                "names looked up with DNS over HTTPS at public resolvers: only the connections are visible ({pods})"
            )
        });
        over_tls.into_iter().chain(over_https)
    }
}

fn one_way_interfaces(one_way: &[(&str, Direction)]) -> Vec<String> {
    let phrase = |direction: Direction, word: &str| {
        let unseen = one_way.iter().filter(|(_, unseen)| *unseen == direction);
        let names: Vec<&str> = unseen.map(|(name, _)| *name).collect();
        let names = name_some(&names, false)?;
        Some(format!(
            "packets {word} the pods behind {names}: the network plugin bypasses the interface (possibly with \
             bpf_redirect_peer), so silence there proves nothing"
        ))
    };
    let directions = [(Direction::ToPod, "to"), (Direction::FromPod, "from")];
    directions
        .into_iter()
        .filter_map(|(direction, word)| phrase(direction, word))
        .collect()
}

fn host_network_pods(pods: &[&Pod], node_traced: bool) -> Option<String> {
    let on_host = pods.iter().filter(|pod| pod.host_network);
    let mut names: Vec<String> = on_host
        .map(|pod| format!("{}/{}", pod.namespace, pod.name))
        .collect();
    names.sort();
    let count = units::count(names.len() as u64, "pod");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let names = name_some(&names, false)?;
    if node_traced {
        return Some(format!(
            "connections to {count} with hostNetwork, and their traffic among each other: what they ask other hosts and \
             pods is visible ({names})"
        ));
    }
    Some(format!(
        "traffic of {count} with hostNetwork: they use the node's own interfaces, which are not traced ({names})"
    ))
}

/// Whether a pod is a NodeLocal DNSCache, by the labels of its manifest or by its DaemonSet.
fn is_node_local_dns(pod: &Pod) -> bool {
    let workload = pod.workload.as_ref().map(|workload| &*workload.name);
    let label = pod.labels.iter().any(|(key, value)| {
        matches!(&**key, "k8s-app" | "app.kubernetes.io/name") && is_cache_name(value)
    });
    label || workload.is_some_and(is_cache_name) || pod.name.starts_with("node-local-dns-")
}

fn is_cache_name(name: &str) -> bool {
    matches!(name, "node-local-dns" | "nodelocaldns")
}
