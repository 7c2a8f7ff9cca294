//! The path of the latest attempt that failed, from its pod to the server's and back.

use serde::Serialize;

use super::Input;
use super::attempts::Moment;
use crate::model::event::Event;
use crate::model::path::{Hop, Path};

/// An attempt that failed, and the path that the agents of both nodes show of it.
#[derive(Clone, Copy, Debug)]
pub struct Followed<'a> {
    /// The attempt: one of the events of the input.
    pub attempt: &'a Event,
    /// Its path.
    pub path: &'a Path,
}

/// The path of an attempt.
#[derive(Clone, Debug, Serialize)]
pub struct PathFacts {
    /// When the attempt was made.
    pub time: Moment,
    /// The path in one line.
    pub line: String,
    /// What it shows.
    pub verdict: &'static str,
    /// It rests on a match that is probable only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub probable: bool,
    /// Its places, to the server and back.
    pub hops: Vec<HopFacts>,
}

/// A place on a path.
#[derive(Clone, Debug, Serialize)]
pub struct HopFacts {
    /// `pod`, `node` or `network`.
    pub place: &'static str,
    /// The pod's or node's name, or an address.
    pub name: String,
    /// Its node, if known.
    pub node: Option<String>,
    /// Whether the packet was seen to come this far and further; `None` if that is unknown.
    pub seen: Option<bool>,
    /// What happened there.
    pub what: String,
}

impl From<&Hop> for HopFacts {
    fn from(hop: &Hop) -> HopFacts {
        HopFacts {
            place: hop.place.as_str(),
            name: hop.name.to_string(),
            node: hop.node.as_ref().map(ToString::to_string),
            seen: hop.seen,
            what: hop.what.clone(),
        }
    }
}

/// The path that is known.
pub(super) fn facts(input: &Input<'_>) -> Option<PathFacts> {
    let Followed { path, .. } = input.followed?;
    Some(PathFacts {
        time: Moment::new(input, path.time),
        line: path.line.clone(),
        verdict: path.verdict.as_str(),
        probable: path.probable,
        hops: path.hops.iter().map(HopFacts::from).collect(),
    })
}
