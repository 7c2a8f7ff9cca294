//! NetworkPolicies (networking.k8s.io/v1), with all that their rules say.

use std::sync::Arc;

use ipnet::IpNet;

/// A NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Namespace. It governs pods of this namespace only.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// The pods it governs.
    pub pods: LabelSelector,
    /// What it allows to its pods; `None` if it does not govern traffic to them. Without a rule it allows
    /// nothing.
    pub ingress: Option<Vec<PolicyRule>>,
    /// What it allows from its pods; `None` if it does not govern traffic from them.
    pub egress: Option<Vec<PolicyRule>>,
}

/// A rule: traffic with one of these peers, at one of these ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// Sources of an ingress rule, destinations of an egress rule; empty means any.
    pub peers: Vec<Peer>,
    /// Destination ports; empty means any port of any protocol.
    pub ports: Vec<PolicyPort>,
}

/// The peers that an entry of a rule allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods.
    Pods {
        /// Of all pods of the namespaces, those with these labels; `None` means all.
        pods: Option<LabelSelector>,
        /// The namespaces with these labels; `None` means the policy's own.
        namespaces: Option<LabelSelector>,
    },
    /// Addresses.
    Block {
        /// The range.
        cidr: IpNet,
        /// Ranges inside it that are not allowed.
        except: Vec<IpNet>,
    },
}

/// A port that a rule allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPort {
    /// TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// The port.
    pub port: PortSpec,
}

/// The port numbers that an entry of a rule allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PortSpec {
    /// All of them.
    #[default]
    Any,
    /// From the first to the last; with an `endPort` these differ.
    Range(u16, u16),
    /// The port with this name in the destination pod's containers.
    Named(Arc<str>),
}

/// A label selector: all its requirements must hold. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// `matchLabels`.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// `matchExpressions`.
    pub expressions: Vec<Expression>,
}

/// A requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// The label's key.
    pub key: Arc<str>,
    /// How the label relates to the values.
    pub operator: Operator,
    /// The values; none for `Exists` and `DoesNotExist`.
    pub values: Vec<Arc<str>>,
}

/// The operator of an [`Expression`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there, with one of the values.
    In,
    /// The label is missing, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether it selects an object with these labels.
    pub fn selects(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        self.labels.iter().all(|label| labels.contains(label))
            && self.expressions.iter().all(|one| one.holds(labels))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.expressions.is_empty()
    }
}

impl Expression {
    fn holds(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        let label = labels.iter().find(|(key, _)| *key == self.key);
        let listed = label.is_some_and(|(_, value)| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}
