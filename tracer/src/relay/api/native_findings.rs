//! `findings` in the relay's own form, for `tracer diagnose`: past ones from the store, so that no agent is asked;
//! new ones from the agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use tracer_core::view::filter::{EventType, Filter};

use super::native;
use super::options;
use super::request::Asked;
use super::status::Failure;
use super::streams::Wanted;
use crate::relay::findings::Findings;
use crate::relay::findings::store::Kept;
use crate::stream::event::{to_wire, unix_clock, unix_ns};
use crate::stream::proto::observe_response::Message;
use crate::stream::proto::relayed_response::Message as Relayed;
use crate::stream::{filter, proto};

/// What a request wants, which is findings and nothing else.
///
/// # Errors
/// If a parameter makes no sense.
pub fn wanted(asked: &Asked) -> Result<Wanted, Failure> {
    let mut wanted = options::wanted(asked)?;
    wanted.filter.types = vec![EventType::Finding];
    wanted.request.filter = Some(filter::to_wire(&wanted.filter));
    Ok(wanted)
}

/// Answers a list.
///
/// # Errors
/// If a parameter makes no sense.
pub fn list(findings: &Findings, asked: &Asked) -> Result<Body, Failure> {
    let wanted = wanted(asked)?;
    let filter = Filter::from(wanted.filter);
    let fits = |kept: &Kept| {
        filter.matches(&kept.event)
            && (wanted.nodes.is_empty() || wanted.nodes.iter().any(|glob| glob.matches(&kept.node)))
    };
    let page = findings.page(wanted.namespace.as_deref(), None, usize::MAX, fits);
    let mut nodes: BTreeMap<&Arc<str>, Vec<&Kept>> = BTreeMap::new();
    for kept in &page.items {
        nodes.entry(&kept.node).or_default().push(kept);
    }
    let mut messages = Vec::new();
    for (node, mut kept) in nodes {
        kept.sort_by_key(|kept| kept.event.time);
        let response = |message| proto::RelayedResponse {
            node: node.to_string(),
            message: Some(Relayed::Response(proto::ObserveResponse {
                message: Some(message),
            })),
        };
        let now_unix_ns = unix_ns(jiff::Timestamp::now());
        messages.push(response(Message::Node(proto::NodeInfo {
            node: node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now_unix_ns,
            ..proto::NodeInfo::default()
        })));
        messages.extend(kept.into_iter().map(|kept| {
            response(Message::Event(proto::EmittedEvent {
                event: Some(to_wire(&kept.event, &unix_clock)),
                emitted_unix_ns: unix_ns(unix_clock(kept.event.time)),
                sequence: 0,
            }))
        }));
        messages.push(response(Message::Mark(proto::Mark {
            reached_unix_ns: now_unix_ns,
            position: None,
            history_ended: true,
        })));
    }
    Ok(native::body(futures::stream::iter(messages)))
}
