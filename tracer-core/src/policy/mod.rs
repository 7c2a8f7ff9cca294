//! What NetworkPolicies (networking.k8s.io/v1) say of a connection: which select its ends, and whether one of
//! them allows it.
//!
//! Owns the evaluation, which is complete for the API: policyTypes, selectors, ipBlocks, ports with ranges and
//! names. Pure: the caller says who the two ends are. It never says what a network plugin does: some enforce no
//! policies, some add their own, and the API leaves some questions to them ([`Doubt`]). Where the answer
//! depends on one of these, or on something that the inventory does not show, it is [`Verdict::Undecided`].
//!
//! Replies to an allowed connection are always allowed, so only its first packet is looked at.

mod rule;

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::cluster::{ContainerPort, NetworkPolicy, PolicyRule};

use self::rule::Match;

/// Labels of a pod or of a namespace.
pub type Labels<'a> = &'a [(Arc<str>, Arc<str>)];

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// Its address; for a pod behind a Service, the pod's.
    pub ip: IpAddr,
    /// Who has the address.
    pub who: Who<'a>,
}

/// Who has an address.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// A pod with its own network.
    Pod(PodView<'a>),
    /// A pod of which no more than the address is known.
    UnknownPod,
    /// A node, or a pod that shares its network. Policies do not select it.
    Node(Option<&'a str>),
    /// Neither a pod nor a node.
    Outside,
    /// The inventory does not show who has it.
    Unknown,
}

/// What policies see of a pod.
#[derive(Clone, Copy, Debug)]
pub struct PodView<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The labels of its namespace; `None` if they are unknown.
    pub namespace_labels: Option<Labels<'a>>,
    /// Its labels.
    pub labels: Labels<'a>,
    /// The ports of its containers, for ports by name.
    pub ports: &'a [ContainerPort],
    /// Its node.
    pub node: Option<&'a str>,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Who opens it.
    pub from: Party<'a>,
    /// Who is to accept it.
    pub to: Party<'a>,
    /// The Service's address that the client used, if it used one. Whether an ipBlock sees it, the API leaves
    /// open.
    pub through: Option<IpAddr>,
    /// TCP, UDP or SCTP.
    pub protocol: &'a str,
    /// The destination's port: that of the pod, not that of the Service.
    pub port: u16,
}

/// What the policies of both ends say.
#[derive(Clone, Debug)]
pub struct Judgement<'a> {
    /// What those of the client's pod say.
    pub egress: Direction<'a>,
    /// What those of the server's pod say.
    pub ingress: Direction<'a>,
}

/// What the policies of one end say.
#[derive(Clone, Debug)]
pub struct Direction<'a> {
    /// The policies that select the pod for this direction. With one of them, what none allows is denied.
    pub selecting: Vec<&'a NetworkPolicy>,
    /// What follows.
    pub verdict: Verdict<'a>,
}

/// Whether policies allow a connection in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No policy selects the pod for this direction, or none can: everything is allowed.
    NotIsolated,
    /// This one allows it.
    Allowed(&'a NetworkPolicy),
    /// The node's own traffic with its pods, and a pod's with itself, is always allowed.
    AlwaysAllowed,
    /// They select the pod, and none allows it.
    Denied,
    /// It depends on this.
    Undecided(Doubt),
}

/// Why policies do not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// An ipBlock contains a pod's or a Service's address. Whether ipBlocks apply to pods, and before or after
    /// the translation of a Service's address, depends on the network plugin.
    BlockOfCluster,
    /// A selector could match a pod on its node's network. Most plugins treat it like its node.
    HostNetwork,
    /// The labels of a namespace are unknown.
    NamespaceLabels,
    /// The pod is unknown, and so its labels or the names of its ports.
    UnknownPod,
    /// The protocol is not one that policies know.
    Protocol,
}

impl Judgement<'_> {
    /// Whether one of the directions denies it.
    pub fn denies(&self) -> bool {
        [&self.egress, &self.ingress]
            .iter()
            .any(|direction| direction.verdict == Verdict::Denied)
    }

    /// Whether neither denies it.
    pub fn allows(&self) -> bool {
        [&self.egress, &self.ingress]
            .iter()
            .all(|direction| direction.allows())
    }
}

impl Direction<'_> {
    /// Whether it is allowed, without a doubt.
    pub fn allows(&self) -> bool {
        matches!(
            self.verdict,
            Verdict::NotIsolated | Verdict::Allowed(_) | Verdict::AlwaysAllowed
        )
    }
}

/// Evaluates all policies of a cluster for a connection.
pub fn judge<'a>(policies: &'a [NetworkPolicy], connection: &Connection<'_>) -> Judgement<'a> {
    let Connection { from, to, .. } = connection;
    let always = is_always_allowed(from, to);
    let egress = direction(policies, from, always, |policy| {
        let rules = policy.egress.as_deref()?;
        Some(any(rules, |rule| {
            rule::allows(rule, policy, to, connection)
        }))
    });
    let ingress = direction(policies, to, always, |policy| {
        let rules = policy.ingress.as_deref()?;
        Some(any(rules, |rule| {
            rule::allows(rule, policy, from, connection)
        }))
    });
    Judgement { egress, ingress }
}

/// One direction: `allows` is `None` for a policy that does not govern it.
fn direction<'a>(
    policies: &'a [NetworkPolicy],
    own: &Party<'_>,
    always: bool,
    allows: impl Fn(&'a NetworkPolicy) -> Option<Match>,
) -> Direction<'a> {
    let selecting: Vec<(&NetworkPolicy, Match)> = match own.who {
        Who::Pod(pod) => policies
            .iter()
            .filter(|policy| *policy.namespace == *pod.namespace && policy.pods.selects(pod.labels))
            .filter_map(|policy| Some((policy, allows(policy)?)))
            .collect(),
        _ => Vec::new(),
    };
    let allowing = selecting.iter().find(|(_, allows)| *allows == Match::Yes);
    let doubt = selecting.iter().find_map(|(_, allows)| match allows {
        Match::Maybe(doubt) => Some(*doubt),
        Match::Yes | Match::No => None,
    });
    // What is known only by its address may be a pod that a policy selects.
    let unknown = matches!(own.who, Who::Unknown | Who::UnknownPod) && !policies.is_empty();
    let verdict = match (selecting.is_empty(), allowing, doubt) {
        _ if always => Verdict::AlwaysAllowed,
        (true, ..) if unknown => Verdict::Undecided(Doubt::UnknownPod),
        (true, ..) => Verdict::NotIsolated,
        (false, Some((policy, _)), _) => Verdict::Allowed(policy),
        (false, None, Some(doubt)) => Verdict::Undecided(doubt),
        (false, None, None) => Verdict::Denied,
    };
    Direction {
        selecting: selecting.into_iter().map(|(policy, _)| policy).collect(),
        verdict,
    }
}

fn any<'a>(rules: &'a [PolicyRule], allows: impl Fn(&'a PolicyRule) -> Match) -> Match {
    rules.iter().map(allows).fold(Match::No, Match::or)
}

/// A pod cannot be isolated from itself, nor from its own node.
fn is_always_allowed(from: &Party<'_>, to: &Party<'_>) -> bool {
    let same_node = |pod: &PodView<'_>, node: Option<&str>| node.is_some() && pod.node == node;
    match (&from.who, &to.who) {
        (Who::Node(node), Who::Pod(pod)) | (Who::Pod(pod), Who::Node(node)) => {
            same_node(pod, *node)
        }
        _ => from.ip == to.ip,
    }
}
