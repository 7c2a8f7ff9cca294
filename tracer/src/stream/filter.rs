//! Converts filters to the wire format and back. Patterns are sent as the user wrote them.
//!
//! The client also applies its filter to the events it receives, so an agent that ignores a part of it sends
//! too many events, never too few.

use std::str::FromStr;
use std::time::Duration;

use super::event::{role_from_wire, role_to_wire};
use super::proto;
use tracer_core::model::dns::RecordType;
use tracer_core::view::filter::{Detail, EventType, FilterConfig};

/// A part of a filter that is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter {option}: {value:?}: {why}")]
pub struct FilterError {
    option: &'static str,
    value: String,
    why: String,
}

/// Converts a filter to the wire format.
pub fn to_wire(filter: &FilterConfig) -> proto::Filter {
    fn to_strings<T: ToString>(patterns: &[T]) -> Vec<String> {
        patterns.iter().map(ToString::to_string).collect()
    }
    proto::Filter {
        namespaces: to_strings(&filter.namespaces),
        pods: to_strings(&filter.pods),
        containers: to_strings(&filter.containers),
        comms: to_strings(&filter.comms),
        types: filter
            .types
            .iter()
            .map(|kind| kind.as_str().to_owned())
            .collect(),
        direction: role_to_wire(filter.direction),
        peers: to_strings(&filter.peers),
        ports: filter.ports.iter().copied().map(u32::from).collect(),
        names: to_strings(&filter.names),
        qtypes: filter
            .qtypes
            .iter()
            .map(|qtype| u32::from(u16::from(*qtype)))
            .collect(),
        rcodes: filter
            .rcodes
            .iter()
            .map(|rcode| u32::from(u16::from(*rcode)))
            .collect(),
        outcomes: filter.outcomes.clone(),
        slow_ns: filter
            .slow
            .map(|slow| u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX)),
        failed: filter.failed,
        digest: filter.detail == Detail::Digest,
        both_sides: filter.both_sides,
    }
}

/// Converts a filter from the wire format.
pub fn from_wire(wire: proto::Filter) -> Result<FilterConfig, FilterError> {
    Ok(FilterConfig {
        namespaces: patterns("namespaces", &wire.namespaces)?,
        pods: patterns("pods", &wire.pods)?,
        containers: patterns("containers", &wire.containers)?,
        comms: patterns("comms", &wire.comms)?,
        types: wire
            .types
            .iter()
            .map(|word| {
                EventType::ALL
                    .into_iter()
                    .find(|kind| kind.as_str() == word)
                    .ok_or_else(|| FilterError {
                        option: "types",
                        value: word.clone(),
                        why: "this agent has no such type of event".to_owned(),
                    })
            })
            .collect::<Result<_, _>>()?,
        direction: role_from_wire(wire.direction).map_err(|error| FilterError {
            option: "direction",
            value: wire.direction.to_string(),
            why: error.to_string(),
        })?,
        peers: patterns("peers", &wire.peers)?,
        ports: numbers("ports", &wire.ports)?,
        names: patterns("names", &wire.names)?,
        qtypes: numbers("qtypes", &wire.qtypes)?
            .into_iter()
            .map(RecordType::from)
            .collect(),
        rcodes: numbers("rcodes", &wire.rcodes)?
            .into_iter()
            .map(Into::into)
            .collect(),
        outcomes: wire.outcomes,
        slow: wire.slow_ns.map(Duration::from_nanos),
        failed: wire.failed,
        detail: if wire.digest {
            Detail::Digest
        } else {
            Detail::All
        },
        both_sides: wire.both_sides,
    })
}

fn patterns<T>(option: &'static str, values: &[String]) -> Result<Vec<T>, FilterError>
where
    T: FromStr,
    T::Err: ToString,
{
    values
        .iter()
        .map(|value| {
            value.parse().map_err(|error: T::Err| FilterError {
                option,
                value: value.clone(),
                why: error.to_string(),
            })
        })
        .collect()
}

fn numbers(option: &'static str, values: &[u32]) -> Result<Vec<u16>, FilterError> {
    values
        .iter()
        .map(|number| {
            u16::try_from(*number).map_err(|_| FilterError {
                option,
                value: number.to_string(),
                why: "the maximum is 65535".to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::model::dns::ResponseCode;
    use tracer_core::model::flow::Role;

    #[test]
    fn a_filter_survives_the_round_trip() {
        let filter = FilterConfig {
            namespaces: vec!["shop*".parse().expect("a pattern")],
            pods: vec![
                "web-?".parse().expect("a pattern"),
                "shop/web".parse().expect("a pattern"),
                "10.1.2.3".parse().expect("an address"),
            ],
            containers: vec!["istio-*".parse().expect("a pattern")],
            comms: vec!["curl".parse().expect("a pattern")],
            types: EventType::ALL.to_vec(),
            direction: Some(Role::Server),
            peers: vec![
                "10.0.0.0/8".parse().expect("a range"),
                "fd00::1".parse().expect("an address"),
                "kube-system/kube-dns".parse().expect("a name"),
            ],
            ports: vec![80, 65_535],
            names: vec!["*.example.com.".parse().expect("a name")],
            qtypes: vec![RecordType::AAAA, RecordType::from(65_280)],
            rcodes: vec![ResponseCode::NXDomain],
            outcomes: vec!["timeout".to_owned()],
            slow: Some(Duration::from_millis(50)),
            failed: true,
            detail: Detail::Digest,
            both_sides: true,
        };
        assert_eq!(from_wire(to_wire(&filter)), Ok(filter));
        let empty = FilterConfig::default();
        assert_eq!(from_wire(to_wire(&empty)), Ok(empty));
    }

    #[test]
    fn an_invalid_value_is_named_in_the_error() {
        for (wire, expected) in [
            (
                proto::Filter {
                    types: vec!["quic".to_owned()],
                    ..proto::Filter::default()
                },
                "quic",
            ),
            (
                proto::Filter {
                    ports: vec![70_000],
                    ..proto::Filter::default()
                },
                "70000",
            ),
            (
                proto::Filter {
                    peers: vec!["10.0.0.0/99".to_owned()],
                    ..proto::Filter::default()
                },
                "10.0.0.0/99",
            ),
        ] {
            let error = from_wire(wire).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
