//! The path of one connection, as the agents of both nodes saw it.

use std::sync::Arc;

use super::stretch::{Stretch, Stretches};
use super::time::Timestamp;

/// What both ends together show about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The request arrived, and so did its answer.
    Answered,
    /// The request left the client's interface and did not arrive at the server's; neither kernel dropped it.
    LostBetweenNodes,
    /// As [`Verdict::LostBetweenNodes`], with both pods on one node.
    LostOnNode,
    /// As [`Verdict::LostBetweenNodes`], and a drop on one of the nodes would not have been seen.
    LostBeforePod,
    /// The kernel of the client's node dropped the request.
    DroppedOnClientNode,
    /// The kernel of the server's node dropped the request before the pod.
    DroppedOnServerNode,
    /// The kernel dropped the request in the server's own network namespace.
    DroppedInPod,
    /// The request arrived, and the pod's kernel refused it.
    RefusedByPod,
    /// The refusal came from elsewhere than the pod.
    RefusedBeforePod,
    /// The request arrived, and the pod sent nothing.
    NotAnswered,
    /// The pod's answer left its interface and did not arrive at the client's.
    AnswerLost,
    /// As [`Verdict::AnswerLost`], and a kernel dropped the answer.
    AnswerDropped,
    /// The answer arrived from the endpoint's address instead of the Service's.
    AnswerNotTranslated,
    /// Established, and reset by the client.
    ResetByClient,
    /// Established, and reset by the server's pod.
    ResetByPod,
    /// Established, and both ends received a reset that neither sent.
    ResetOnTheWay,
    /// What happened to the request behind the client's interface is not known.
    ServerHalfUnknown,
    /// What the client received is not known.
    ClientHalfUnknown,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Verdict; 18] = [
        Verdict::Answered,
        Verdict::LostBetweenNodes,
        Verdict::LostOnNode,
        Verdict::LostBeforePod,
        Verdict::DroppedOnClientNode,
        Verdict::DroppedOnServerNode,
        Verdict::DroppedInPod,
        Verdict::RefusedByPod,
        Verdict::RefusedBeforePod,
        Verdict::NotAnswered,
        Verdict::AnswerLost,
        Verdict::AnswerDropped,
        Verdict::AnswerNotTranslated,
        Verdict::ResetByClient,
        Verdict::ResetByPod,
        Verdict::ResetOnTheWay,
        Verdict::ServerHalfUnknown,
        Verdict::ClientHalfUnknown,
    ];

    /// The value in the JSON format.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Answered => "answered",
            Verdict::LostBetweenNodes => "lost-between-nodes",
            Verdict::LostOnNode => "lost-on-node",
            Verdict::LostBeforePod => "lost-before-pod",
            Verdict::DroppedOnClientNode => "dropped-on-client-node",
            Verdict::DroppedOnServerNode => "dropped-on-server-node",
            Verdict::DroppedInPod => "dropped-in-pod",
            Verdict::RefusedByPod => "refused-by-pod",
            Verdict::RefusedBeforePod => "refused-before-pod",
            Verdict::NotAnswered => "not-answered-by-pod",
            Verdict::AnswerLost => "answer-lost",
            Verdict::AnswerDropped => "answer-dropped",
            Verdict::AnswerNotTranslated => "answer-not-translated",
            Verdict::ResetByClient => "reset-by-client",
            Verdict::ResetByPod => "reset-by-pod",
            Verdict::ResetOnTheWay => "reset-on-the-way",
            Verdict::ServerHalfUnknown => "server-half-unknown",
            Verdict::ClientHalfUnknown => "client-half-unknown",
        }
    }

    /// Whether one half is not known.
    pub fn is_partial(self) -> bool {
        matches!(
            self,
            Verdict::ServerHalfUnknown | Verdict::ClientHalfUnknown
        )
    }
}

/// The kind of a place on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A pod.
    Pod,
    /// A node.
    Node,
    /// Between two nodes.
    Network,
}

impl Place {
    /// All kinds.
    pub const ALL: [Place; 3] = [Place::Pod, Place::Node, Place::Network];

    /// The value in the JSON format.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::Pod => "pod",
            Place::Node => "node",
            Place::Network => "network",
        }
    }
}

/// A place on the path, in the order of travel: to the server, and back from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Its kind.
    pub place: Place,
    /// The pod's or node's name, or an address where no name is known.
    pub name: Arc<str>,
    /// Its node, if known.
    pub node: Option<Arc<str>>,
    /// Whether the packet was seen to come as far as this and further; `None` if that is unknown.
    pub seen: Option<bool>,
    /// What happened there; empty for nothing of note.
    pub what: String,
}

/// The path of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// When the client began this attempt, by its node's clock.
    pub time: Timestamp,
    /// What it shows.
    pub verdict: Verdict,
    /// The path in one line.
    pub line: String,
    /// The places on it.
    pub hops: Vec<Hop>,
    /// It rests on a match that is probable only: the client's address was translated on its way.
    pub probable: bool,
}

impl Path {
    /// The parts of the way on which the attempt ended; `None` if it does not show that.
    pub fn ended(&self) -> Option<Stretches> {
        use Stretch::{ClientNode, Network, Pod, Return, ServerNode};
        if self.probable {
            return None;
        }
        Some(match self.verdict {
            Verdict::LostBetweenNodes => Stretches::of(&[Network]),
            Verdict::LostOnNode => Stretches::of(&[ClientNode, ServerNode]),
            // With one node it is that of both, and of an unknown endpoint it may be.
            Verdict::DroppedOnClientNode if self.nodes().count() < 2 => {
                Stretches::of(&[ClientNode, ServerNode])
            }
            Verdict::DroppedOnClientNode => Stretches::of(&[ClientNode]),
            Verdict::DroppedOnServerNode => Stretches::of(&[ServerNode]),
            Verdict::LostBeforePod | Verdict::RefusedBeforePod => {
                Stretches::of(&[ClientNode, Network, ServerNode])
            }
            Verdict::DroppedInPod | Verdict::RefusedByPod | Verdict::NotAnswered => {
                Stretches::of(&[Pod])
            }
            Verdict::AnswerLost | Verdict::AnswerDropped | Verdict::AnswerNotTranslated => {
                Stretches::of(&[Return])
            }
            // A reset says nothing of why its sender sent it.
            Verdict::Answered
            | Verdict::ResetByClient
            | Verdict::ResetByPod
            | Verdict::ResetOnTheWay
            | Verdict::ServerHalfUnknown
            | Verdict::ClientHalfUnknown => return None,
        })
    }

    /// Its nodes, in the order of travel.
    pub fn nodes(&self) -> impl Iterator<Item = &Hop> {
        self.hops.iter().filter(|hop| hop.place == Place::Node)
    }

    /// The server's pod.
    pub fn server(&self) -> Option<&Hop> {
        let mut pods = self.hops.iter().filter(|hop| hop.place == Place::Pod);
        pods.nth(1)
    }

    /// Where it ended, if it is a place on the way.
    pub fn end(&self) -> Option<&Hop> {
        self.hops.iter().find(|hop| hop.seen == Some(false))
    }
}
