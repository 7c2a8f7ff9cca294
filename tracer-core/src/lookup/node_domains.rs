//! The search domains of each node's own resolv.conf, learned from the wire.
//!
//! The kubelet puts them behind the cluster's on the search list of every pod that uses the cluster's DNS, and no object
//! tells them. They are learned from lookups whose candidates before and after them leave no other reading: what was asked,
//! with something else behind it, in the very place where the node's domains stand.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::dns::DnsName;

/// So many nodes are kept; an agent has one, a capture file may have been merged.
const MAX_NODES: usize = 1_024;
/// So many domains of a node: the kubelet takes 32 search domains in all.
const MAX_DOMAINS: usize = 32;

/// What a lookup showed of its node's domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The domains, in order.
    pub domains: Vec<DnsName>,
    /// A candidate that stands behind them followed: there are no others.
    pub complete: bool,
}

/// Of each node.
#[derive(Debug, Default)]
pub struct NodeDomains {
    /// By the node's name; where a pod's node is not known, of all such pods together.
    of: HashMap<Option<Arc<str>>, Seen>,
}

impl NodeDomains {
    /// The domains that were seen, and whether they are all.
    pub fn of(&self, node: Option<&Arc<str>>) -> (&[DnsName], bool) {
        self.of
            .get(&node.cloned())
            .map_or((&[], false), |seen| (&seen.domains, seen.complete))
    }

    /// Takes in what a lookup showed. Says whether it had to be left out because there are too many nodes.
    pub fn learn(&mut self, node: Option<&Arc<str>>, mut seen: Seen) -> bool {
        seen.domains.truncate(MAX_DOMAINS);
        let full = self.of.len() >= MAX_NODES;
        match self.of.get_mut(&node.cloned()) {
            // The latest whole list is the one that counts: the node's resolv.conf can change.
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
            None => drop(self.of.insert(node.cloned(), seen)),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(domains: &[&str], complete: bool) -> Seen {
        Seen {
            domains: domains.iter().map(|domain| DnsName::new(domain)).collect(),
            complete,
        }
    }

    fn told(nodes: &NodeDomains, node: &str) -> (Vec<String>, bool) {
        let (domains, complete) = nodes.of(Some(&node.into()));
        (domains.iter().map(ToString::to_string).collect(), complete)
    }

    #[test]
    fn a_whole_list_replaces_what_was_known_and_a_part_adds_to_it() {
        let mut nodes = NodeDomains::default();
        let node = Some(Arc::from("a"));
        nodes.learn(node.as_ref(), seen(&["one.test"], false));
        assert_eq!(told(&nodes, "a"), (vec!["one.test.".to_owned()], false));
        assert_eq!(told(&nodes, "b"), (vec![], false), "another node");
        nodes.learn(node.as_ref(), seen(&["two.test"], true));
        assert_eq!(told(&nodes, "a"), (vec!["two.test.".to_owned()], true));
        nodes.learn(node.as_ref(), seen(&["two.test"], false));
        assert_eq!(told(&nodes, "a"), (vec!["two.test.".to_owned()], true));
        nodes.learn(node.as_ref(), seen(&[], true));
        assert_eq!(told(&nodes, "a"), (vec![], true));
    }

    #[test]
    fn nodes_and_domains_are_bounded() {
        let mut nodes = NodeDomains::default();
        let many: Vec<String> = (0..100).map(|number| format!("{number}.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(!nodes.learn(None, seen(&many, true)));
        assert_eq!(nodes.of(None).0.len(), MAX_DOMAINS);
        for number in 1..MAX_NODES {
            let node = Arc::from(format!("node-{number}"));
            assert!(!nodes.learn(Some(&node), seen(&["a.test"], true)));
        }
        assert!(nodes.learn(Some(&Arc::from("one more")), seen(&["a.test"], true)));
    }
}
