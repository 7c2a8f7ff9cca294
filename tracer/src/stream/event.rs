//! Converts events to the wire format and back.
//!
//! Times on the wire are wall time, which the agent computes once. A client's timestamps are nanoseconds
//! since 1970, so its clock is [`unix_clock`]. A message from another version can have values that this one
//! does not know: an unknown enum value makes the event [`Unreadable`], an unknown field is ignored.

use std::sync::Arc;
use std::time::Duration;

use super::proto;
use crate::intern::intern;
use tracer_core::model::event::{Body, Event};
use tracer_core::model::finding::{Finding, State};
use tracer_core::model::loss::Loss;
use tracer_core::model::sentence::Sentence;
use tracer_core::model::time::Timestamp;
use tracer_core::view::WallClock;

mod dns;
mod ends;
mod flows;
mod path;
mod stretches;
mod words;

use self::words::WireEnum;

/// Why a message cannot be read as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A part that every version sends is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A part has an enum value, number or address that this version does not know.
    #[error("{0} has a value that this version does not know")]
    Unknown(&'static str),
}

/// The clock of events from the wire.
pub fn unix_clock(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or(jiff::Timestamp::MAX)
}

/// Converts a time to nanoseconds since 1970.
pub fn unix_ns(time: jiff::Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// Converts a time from the wire to a timestamp of [`unix_clock`].
pub fn timestamp(unix_ns: i64) -> Timestamp {
    Timestamp(u64::try_from(unix_ns).unwrap_or(0))
}

fn wall(clock: &dyn WallClock, at: Timestamp) -> i64 {
    unix_ns(clock.wall(at))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn small<T: TryFrom<u32>>(number: u32, what: &'static str) -> Result<T, Unreadable> {
    T::try_from(number).map_err(|_| Unreadable::Unknown(what))
}

/// Converts an event to the wire format.
pub fn to_wire(event: &Event, clock: &dyn WallClock) -> proto::Event {
    use proto::event::Body as Wire;
    let body = match &event.body {
        Body::Dns(exchange, place) => {
            Wire::Dns(dns::exchange_to_wire(exchange, place.as_ref(), clock))
        }
        Body::Lookup(lookup) => Wire::Lookup(dns::lookup_to_wire(lookup, clock)),
        Body::Tcp(connection) => Wire::Tcp(flows::tcp_to_wire(connection, clock)),
        Body::Udp(flow) => Wire::Udp(flows::udp_to_wire(flow, clock)),
        Body::Echo(echo) => Wire::Echo(flows::echo_to_wire(echo, clock)),
        Body::IcmpError(error) => Wire::IcmpError(flows::icmp_to_wire(error)),
        Body::Drop(dropped) => Wire::Drop(flows::drop_to_wire(dropped)),
        Body::Finding(finding) => Wire::Finding(finding_to_wire(finding, clock)),
        Body::Lost(loss) => Wire::Lost(loss_to_wire(loss)),
    };
    proto::Event {
        time_unix_ns: wall(clock, event.time),
        ends: event.ends.as_ref().map(ends::to_wire),
        incomplete: event.incomplete,
        body: Some(body),
    }
}

/// Converts an event from the wire format. Its clock is [`unix_clock`].
pub fn from_wire(wire: proto::Event) -> Result<Event, Unreadable> {
    use proto::event::Body as Wire;
    let body = match wire.body.ok_or(Unreadable::Missing("the body"))? {
        Wire::Dns(dns) => {
            let (exchange, place) = dns::exchange_from_wire(dns)?;
            Body::Dns(Arc::new(exchange), place)
        }
        Wire::Lookup(lookup) => Body::Lookup(Box::new(dns::lookup_from_wire(lookup)?)),
        Wire::Tcp(connection) => Body::Tcp(Box::new(flows::tcp_from_wire(connection)?)),
        Wire::Udp(flow) => Body::Udp(Box::new(flows::udp_from_wire(flow)?)),
        Wire::Echo(echo) => Body::Echo(Box::new(flows::echo_from_wire(echo)?)),
        Wire::IcmpError(error) => Body::IcmpError(Box::new(flows::icmp_from_wire(&error)?)),
        Wire::Drop(dropped) => Body::Drop(Box::new(flows::drop_from_wire(dropped)?)),
        Wire::Finding(finding) => Body::Finding(Box::new(finding_from_wire(finding)?)),
        Wire::Lost(loss) => Body::Lost(loss_from_wire(&loss)?),
    };
    Ok(Event {
        time: timestamp(wire.time_unix_ns),
        ends: wire.ends.map(ends::from_wire).transpose()?,
        incomplete: wire.incomplete,
        body,
    })
}

fn finding_to_wire(finding: &Finding, clock: &dyn WallClock) -> proto::Finding {
    proto::Finding {
        id: finding.id.clone(),
        rule: finding.rule.to_owned(),
        severity: finding.severity.to_wire(),
        resolved: finding.is_resolved(),
        intermittent: finding.state == State::Intermittent,
        of: finding.of,
        headline: finding.headline.to_string(),
        fix: finding.fix.as_ref().map(Sentence::to_string),
        cause: finding.cause.clone(),
        first_unix_ns: wall(clock, finding.first),
        last_unix_ns: wall(clock, finding.last),
        count: finding.count,
        summary: finding.summary.to_string(),
        why: Sentence::lines(&finding.why),
        r#try: finding.remedies.iter().map(Sentence::to_string).collect(),
        evidence: finding.evidence.iter().map(Sentence::to_string).collect(),
        was: finding.was.as_ref().map(Sentence::to_string),
        names: finding.names.iter().map(|name| name.to_string()).collect(),
        path: (finding.path.as_deref()).map(|path| path::to_wire(path, clock)),
        symptom: finding.symptom.as_ref().map(Sentence::to_string),
        stretches: stretches::to_wire(finding),
    }
}

/// The sentences of a text, one per line.
fn sentences(text: &str) -> Vec<Sentence> {
    let lines = text.split('\n').filter(|line| !line.is_empty());
    lines.map(|line| line.to_owned().into()).collect()
}

fn finding_from_wire(wire: proto::Finding) -> Result<Finding, Unreadable> {
    let mut finding = Finding {
        id: wire.id,
        rule: intern(&wire.rule),
        severity: WireEnum::from_wire(wire.severity)?,
        state: match (wire.resolved, wire.intermittent) {
            (true, _) => State::Resolved,
            (false, true) => State::Intermittent,
            (false, false) => State::Active,
        },
        cause: wire.cause,
        pods: None,
        // An agent of an earlier version sends neither.
        of: wire.of.max(wire.count),
        headline: if wire.headline.is_empty() {
            wire.summary.clone().into()
        } else {
            wire.headline.into()
        },
        fix: wire.fix.map(Sentence::from),
        first: timestamp(wire.first_unix_ns),
        last: timestamp(wire.last_unix_ns),
        count: wire.count,
        summary: wire.summary.into(),
        why: sentences(&wire.why),
        remedies: wire.r#try.into_iter().map(Into::into).collect(),
        evidence: wire.evidence.into_iter().map(Into::into).collect(),
        was: wire.was.map(Into::into),
        names: wire.names.into_iter().map(Into::into).collect(),
        path: wire.path.and_then(path::from_wire).map(Box::new),
        symptom: wire.symptom.map(Sentence::from),
    };
    if let Some(wire) = &wire.stretches {
        stretches::add(&mut finding, wire);
    }
    Ok(finding)
}

/// Converts a loss to the wire format.
pub fn loss_to_wire(loss: &Loss) -> proto::Lost {
    proto::Lost {
        stage: loss.stage.to_wire(),
        reason: loss.reason.to_owned(),
        count: loss.count,
    }
}

/// Converts a loss from the wire format.
pub fn loss_from_wire(wire: &proto::Lost) -> Result<Loss, Unreadable> {
    Ok(Loss {
        stage: WireEnum::from_wire(wire.stage)?,
        reason: intern(&wire.reason),
        count: wire.count,
    })
}

/// Converts a pod's identity to the wire format.
pub fn pod_to_wire(pod: &tracer_core::model::identity::PodIdentity) -> proto::Pod {
    ends::pod_to_wire(pod)
}

/// Converts packet and byte totals to the wire format.
pub fn totals_to_wire(totals: tracer_core::model::flow::FlowTotals) -> proto::Totals {
    flows::totals_to_wire(totals)
}

/// Converts a role to the wire format; 0 for none.
pub fn role_to_wire(role: Option<tracer_core::model::flow::Role>) -> i32 {
    role.map_or(0, WireEnum::to_wire)
}

/// Converts a role from the wire format; `None` for 0.
pub fn role_from_wire(wire: i32) -> Result<Option<tracer_core::model::flow::Role>, Unreadable> {
    (wire != 0).then(|| WireEnum::from_wire(wire)).transpose()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use tracer_core::view::gallery;

    #[test]
    fn every_event_survives_the_round_trip() {
        for (name, event) in gallery::all() {
            let encoded = to_wire(&event, &unix_clock).encode_to_vec();
            let wire = proto::Event::decode(encoded.as_slice()).expect("a message");
            assert_eq!(from_wire(wire), Ok(event), "{name}");
        }
    }

    #[test]
    fn an_event_with_an_unknown_enum_value_is_unreadable() {
        let (_, event) = gallery::all().swap_remove(0);
        let wire = to_wire(&event, &unix_clock);
        let mut without = wire.clone();
        without.body = None;
        assert_eq!(from_wire(without), Err(Unreadable::Missing("the body")));
        let mut newer = wire;
        if let Some(ends) = &mut newer.ends {
            ends.role = 77;
        }
        assert_eq!(from_wire(newer), Err(Unreadable::Unknown("the role")));
    }
}
