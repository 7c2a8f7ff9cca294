//! Trims NetworkPolicies. Keeps everything that their rules say: a policy is evaluated.

use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ObjectError, Trimmer, port_number, range, ranges};
use crate::model::cluster::{
    Expression, LabelSelector, NetworkPolicy, Operator, Peer, PolicyPort, PolicyRule, PortSpec,
};

impl Trimmer {
    /// Trims a NetworkPolicy.
    pub fn policy(
        &mut self,
        policy: networking::NetworkPolicy,
    ) -> Result<NetworkPolicy, ObjectError> {
        let (namespace, name) = self.namespaced(&policy.metadata)?;
        let spec = policy.spec.unwrap_or_default();
        let governs = |direction: &str, by_default: bool| match &spec.policy_types {
            Some(types) if !types.is_empty() => types.iter().any(|listed| listed == direction),
            // The API's default: always ingress, and egress if there are egress rules.
            _ => by_default,
        };
        let has_egress_rules = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        let (ingress, egress) = (
            governs("Ingress", true),
            governs("Egress", has_egress_rules),
        );
        let mut ingress_rules = Vec::new();
        for rule in spec.ingress.into_iter().flatten() {
            ingress_rules.push(self.rule(rule.from, rule.ports)?);
        }
        let mut egress_rules = Vec::new();
        for rule in spec.egress.into_iter().flatten() {
            egress_rules.push(self.rule(rule.to, rule.ports)?);
        }
        Ok(NetworkPolicy {
            namespace,
            name,
            pods: self.selector(spec.pod_selector.unwrap_or_default())?,
            // Rules of a direction that the policy does not govern have no effect.
            ingress: ingress.then_some(ingress_rules),
            egress: egress.then_some(egress_rules),
        })
    }

    fn rule(
        &mut self,
        peers: Option<Vec<networking::NetworkPolicyPeer>>,
        ports: Option<Vec<networking::NetworkPolicyPort>>,
    ) -> Result<PolicyRule, ObjectError> {
        let mut rule = PolicyRule::default();
        for peer in peers.into_iter().flatten() {
            rule.peers.push(self.peer(peer)?);
        }
        for port in ports.into_iter().flatten() {
            rule.ports.push(self.policy_port(port)?);
        }
        Ok(rule)
    }

    fn peer(&mut self, peer: networking::NetworkPolicyPeer) -> Result<Peer, ObjectError> {
        // The API server refuses a block beside selectors.
        if let Some(block) = peer.ip_block {
            return Ok(Peer::Block {
                cidr: range("ipBlock.cidr", &block.cidr)?,
                except: ranges("ipBlock.except", block.except)?,
            });
        }
        if peer.pod_selector.is_none() && peer.namespace_selector.is_none() {
            return Err(ObjectError::Missing(
                "podSelector, namespaceSelector or ipBlock",
            ));
        }
        let pods = peer.pod_selector.map(|selector| self.selector(selector));
        let namespaces = peer
            .namespace_selector
            .map(|selector| self.selector(selector));
        Ok(Peer::Pods {
            pods: pods.transpose()?,
            namespaces: namespaces.transpose()?,
        })
    }

    fn policy_port(
        &mut self,
        port: networking::NetworkPolicyPort,
    ) -> Result<PolicyPort, ObjectError> {
        let number = |number| port_number("ports.port", number);
        Ok(PolicyPort {
            protocol: self.intern(port.protocol.as_deref().unwrap_or("TCP")),
            port: match port.port {
                None => PortSpec::Any,
                Some(IntOrString::Int(first)) => {
                    let last = port.end_port.unwrap_or(first);
                    PortSpec::Range(number(first)?, port_number("ports.endPort", last)?)
                }
                Some(IntOrString::String(name)) => PortSpec::Named(self.word("ports.port", &name)?),
            },
        })
    }

    fn selector(&mut self, selector: meta::LabelSelector) -> Result<LabelSelector, ObjectError> {
        let mut expressions = Vec::new();
        for listed in selector.match_expressions.into_iter().flatten() {
            let operator = match listed.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(ObjectError::invalid(
                        "matchExpressions.operator",
                        other,
                        "an operator",
                    ));
                }
            };
            let values = listed.values.into_iter().flatten();
            expressions.push(Expression {
                key: self.intern(&listed.key),
                operator,
                values: values.map(|value| self.intern(&value)).collect(),
            });
        }
        Ok(LabelSelector {
            labels: self.labels(selector.match_labels),
            expressions,
        })
    }
}
