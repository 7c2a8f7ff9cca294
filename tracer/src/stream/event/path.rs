//! Paths on the wire.

use super::{timestamp, wall};
use crate::stream::proto;
use tracer_core::model::path::{Hop, Path, Place, Verdict};
use tracer_core::view::WallClock;

pub(super) fn to_wire(path: &Path, clock: &dyn WallClock) -> proto::Path {
    let hop = |hop: &Hop| proto::Hop {
        place: hop.place.as_str().to_owned(),
        name: hop.name.to_string(),
        node: hop.node.as_ref().map(ToString::to_string),
        seen: hop.seen,
        what: hop.what.clone(),
    };
    proto::Path {
        verdict: path.verdict.as_str().to_owned(),
        line: path.line.clone(),
        hops: path.hops.iter().map(hop).collect(),
        time_unix_ns: wall(clock, path.time),
        probable: path.probable,
    }
}

/// `None` for a verdict or a place of a later version: a path without them says something else.
pub(super) fn from_wire(wire: proto::Path) -> Option<Path> {
    let hop = |hop: proto::Hop| {
        Some(Hop {
            place: Place::ALL
                .into_iter()
                .find(|place| place.as_str() == hop.place)?,
            name: hop.name.into(),
            node: hop.node.map(Into::into),
            seen: hop.seen,
            what: hop.what,
        })
    };
    Some(Path {
        time: timestamp(wire.time_unix_ns),
        verdict: Verdict::ALL
            .into_iter()
            .find(|verdict| verdict.as_str() == wire.verdict)?,
        line: wire.line,
        hops: wire.hops.into_iter().map(hop).collect::<Option<_>>()?,
        probable: wire.probable,
    })
}
