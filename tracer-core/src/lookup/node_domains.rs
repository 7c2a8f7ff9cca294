//! The search domains of each node's own resolv.conf, learned from the wire.
//!
//! The kubelet appends them to the cluster's in the search list of every pod that uses the cluster's DNS, and
//! no object shows them. They are learned from lookups in which the candidates before and after leave no
//! other reading: the asked name with another suffix, at the position of the node's domains.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::dns::DnsName;

/// Nodes kept: an agent has one, but a capture file may have been merged.
const MAX_NODES: usize = 1_024;
/// Domains kept per node: the kubelet takes 32 search domains in all.
const MAX_DOMAINS: usize = 32;

/// The node's search domains that one lookup showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenDomains {
    /// The domains, in order.
    pub domains: Vec<DnsName>,
    /// Whether they are all: a candidate that comes after them in the list followed.
    pub complete: bool,
}

/// The learned search domains of every node.
#[derive(Debug, Default)]
pub struct NodeDomains {
    /// By node name; all pods whose node is unknown share one entry.
    by_node: HashMap<Option<Arc<str>>, SeenDomains>,
}

impl NodeDomains {
    /// The domains seen on this node, and whether they are all.
    pub fn for_node(&self, node: Option<&Arc<str>>) -> (&[DnsName], bool) {
        self.by_node
            .get(&node.cloned())
            .map_or((&[], false), |seen| (&seen.domains, seen.complete))
    }

    /// Adds what a lookup showed. Returns whether it was dropped because there are too many nodes.
    pub fn learn(&mut self, node: Option<&Arc<str>>, mut seen: SeenDomains) -> bool {
        seen.domains.truncate(MAX_DOMAINS);
        let full = self.by_node.len() >= MAX_NODES;
        match self.by_node.get_mut(&node.cloned()) {
            // The latest complete list wins: the node's resolv.conf can change.
            Some(known) if seen.complete => *known = seen,
            Some(known) => {
                for domain in seen.domains {
                    if !known.domains.contains(&domain) && known.domains.len() < MAX_DOMAINS {
                        known.domains.push(domain);
                        known.complete = false;
                    }
                }
            }
            None if seen.domains.is_empty() && !seen.complete => {}
            None if full => return true,
            None => drop(self.by_node.insert(node.cloned(), seen)),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(domains: &[&str], complete: bool) -> SeenDomains {
        SeenDomains {
            domains: domains.iter().map(|domain| DnsName::new(domain)).collect(),
            complete,
        }
    }

    fn learned(nodes: &NodeDomains, node: &str) -> (Vec<String>, bool) {
        let (domains, complete) = nodes.for_node(Some(&node.into()));
        (domains.iter().map(ToString::to_string).collect(), complete)
    }

    #[test]
    fn a_whole_list_replaces_what_was_known_and_a_part_adds_to_it() {
        let mut nodes = NodeDomains::default();
        let node = Some(Arc::from("a"));
        nodes.learn(node.as_ref(), seen(&["one.test"], false));
        assert_eq!(learned(&nodes, "a"), (vec!["one.test.".to_owned()], false));
        assert_eq!(learned(&nodes, "b"), (vec![], false), "another node");
        nodes.learn(node.as_ref(), seen(&["two.test"], true));
        assert_eq!(learned(&nodes, "a"), (vec!["two.test.".to_owned()], true));
        nodes.learn(node.as_ref(), seen(&["two.test"], false));
        assert_eq!(learned(&nodes, "a"), (vec!["two.test.".to_owned()], true));
        nodes.learn(node.as_ref(), seen(&[], true));
        assert_eq!(learned(&nodes, "a"), (vec![], true));
    }

    #[test]
    fn nodes_and_domains_are_bounded() {
        let mut nodes = NodeDomains::default();
        let many: Vec<String> = (0..100).map(|number| format!("{number}.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(!nodes.learn(None, seen(&many, true)));
        assert_eq!(nodes.for_node(None).0.len(), MAX_DOMAINS);
        for number in 1..MAX_NODES {
            let node = Arc::from(format!("node-{number}"));
            assert!(!nodes.learn(Some(&node), seen(&["a.test"], true)));
        }
        assert!(nodes.learn(Some(&Arc::from("one more")), seen(&["a.test"], true)));
    }
}
