//! Which parts of the way to a server's pod and back the words of a claim are about.
//!
//! Most are about none in particular: what was seen, what the inventory has. The others are causes that the path of the
//! attempt can rule out ([`super::settled`]), as "check the pod" for what never came to it.

use super::command::{Command, Kubectl, PodCommand};
use super::fact::{ConnectionFact, Fact, FlowFact, Governs, PathFact, PolicyFact, ServerFact};
use super::headline::{Fix, Reason};
use crate::model::stretch::Stretch::{ClientNode, Network, Pod, Return, ServerNode};
use crate::model::stretch::Stretches;

const ON_CLIENT_NODE: Stretches = Stretches::of(&[ClientNode]);
const ON_NODES: Stretches = Stretches::of(&[ClientNode, ServerNode]);
const BETWEEN_NODES: Stretches = Stretches::of(&[Network]);
const BEFORE_POD: Stretches = Stretches::of(&[ClientNode, Network, ServerNode]);
const IN_POD: Stretches = Stretches::of(&[Pod]);
const NOT_IN_POD: Stretches = Stretches::of(&[ClientNode, Network, ServerNode, Return]);
/// A plugin can apply a policy about what a pod receives in the pod, or at its interface behind the probes.
const INGRESS: Stretches = Stretches::of(&[ClientNode, ServerNode, Pod]);
const CLIENT_RULES: Stretches = Stretches::of(&[ClientNode, Return]);

fn policy(governs: Governs) -> Stretches {
    match governs {
        Governs::Egress => ON_NODES,
        Governs::Ingress => INGRESS,
    }
}

/// The parts that a fact is about.
pub(super) fn fact(fact: &Fact) -> Stretches {
    match fact {
        Fact::Connection(fact) => match fact {
            // Beyond the client's node the path shows it.
            ConnectionFact::WhichEndpoint(_) => ON_CLIENT_NODE,
            ConnectionFact::TwoNodes(..) => Stretches::of(&[Network, Return]),
            ConnectionFact::PodNotListening(_)
            | ConnectionFact::ResetByEndpoint
            | ConnectionFact::TargetPort { .. }
            | ConnectionFact::DeclaredPorts { .. }
            | ConnectionFact::UndeclaredBy { .. } => IN_POD,
            _ => Stretches::NONE,
        },
        Fact::Flow(fact) => match fact {
            FlowFact::SynLossBetweenNodes => BETWEEN_NODES,
            FlowFact::SynLossOnNodes => ON_NODES,
            FlowFact::ConntrackFull(_) => ON_CLIENT_NODE,
            FlowFact::UdpEndpointGone => BEFORE_POD,
            FlowFact::UdpServerSilent => IN_POD,
            _ => Stretches::NONE,
        },
        Fact::Path(PathFact::PossiblyDropped) => ON_CLIENT_NODE,
        Fact::Policy(fact) => match fact {
            PolicyFact::Deny(denial) => policy(denial.governs),
            PolicyFact::Open { governs, .. } => policy(*governs),
            PolicyFact::AllowServicePort { .. } => INGRESS,
            _ => Stretches::NONE,
        },
        Fact::Server(ServerFact::LossOnTheWay) => NOT_IN_POD,
        Fact::Server(ServerFact::LossAtServer) => IN_POD,
        _ => Stretches::NONE,
    }
}

/// The parts that the cause in a headline is about.
pub(super) fn reason(reason: &Reason) -> Stretches {
    match reason {
        Reason::NotListening(_) | Reason::OneOfEndpoints(_) | Reason::AcceptQueueFull => IN_POD,
        Reason::PeerGone => BEFORE_POD,
        Reason::SynsLost { elsewhere: true } => ON_CLIENT_NODE,
        Reason::PolicyDenies(_, governs) => policy(*governs),
        _ => Stretches::NONE,
    }
}

/// The parts that a fix is about.
pub(super) fn fix(fix: &Fix) -> Stretches {
    match fix {
        Fix::CheckPod(_)
        | Fix::CheckPods(_)
        | Fix::CheckEndpoint { .. }
        | Fix::CheckServer(_)
        | Fix::CheckAccept => IN_POD,
        // Which endpoint it was is visible beyond the client's node.
        Fix::CheckConntrack | Fix::Probe { .. } => ON_CLIENT_NODE,
        Fix::CheckNodeFirewall => CLIENT_RULES,
        Fix::AllowInPolicy(_, governs) => policy(*governs),
        _ => Stretches::NONE,
    }
}

/// The parts that a command looks at.
pub(super) fn command(command: &Command) -> Stretches {
    match command {
        Command::InPod(PodCommand::Ping(_)) => NOT_IN_POD,
        Command::ConntrackFailures | Command::ConntrackTable => ON_NODES,
        Command::NodeRules => CLIENT_RULES,
        Command::ChecksumOffload => Stretches::of(&[Network, Return]),
        Command::Kubectl(Kubectl::Sockets(_) | Kubectl::TargetPorts(_)) => IN_POD,
        Command::Kubectl(Kubectl::DescribePolicy(_)) => INGRESS,
        _ => Stretches::NONE,
    }
}
