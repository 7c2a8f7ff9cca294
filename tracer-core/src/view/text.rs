//! Events as text for people: one line each, a lookup and a finding as one block.
//!
//! Owns the columns: time, pod, mark, subject, kind, verdict, then what differs by type. Columns grow with what was shown so
//! far, up to a limit, and never shrink, so lines stay aligned without knowing what comes. Nothing from the wire reaches the
//! terminal raw ([`safe`]). It does not choose events ([`super::filter`]).
//!
//! Marks: `?` the pod asks, `→` the pod connects or pings, `←` the pod is asked, connected to or pinged, `!` a finding, an
//! ICMP error or a loss. Verdicts: `✓` worked, `✗` failed, `·` neither.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Encode, WallClock};
use crate::model::event::{Body, Event};
use crate::model::identity::{PodEnd, UnknownReason};

mod dns;
mod findings;
mod flows;
mod icmp;
mod line;
mod lookup;
mod names;
mod paint;
mod report;
pub mod units;
mod wide;

use self::line::Columns;
use self::paint::{Painter, styles};

pub use self::findings::FindingBlocks;
pub use self::paint::{Color, use_color};

#[cfg(test)]
mod tests;

/// How many unknown addresses are explained before it stops repeating itself.
const NOTES: usize = 1024;

/// How text is written.
#[derive(Clone, Debug)]
pub struct TextSettings {
    /// With node, workload, ports, identifiers, bytes, and answers with their TTL.
    pub wide: bool,
    /// With colour.
    pub color: bool,
    /// Times are local to it.
    pub time_zone: TimeZone,
}

/// The text encoder.
#[derive(Debug)]
pub struct Text {
    settings: TextSettings,
    columns: Columns,
    explained: HashSet<(Option<IpAddr>, UnknownReason)>,
    /// Where events come from, where they come from several nodes.
    node: Option<Arc<str>>,
}

impl Text {
    /// With nothing shown yet.
    pub fn new(settings: TextSettings) -> Text {
        Text {
            settings,
            columns: Columns::default(),
            explained: HashSet::new(),
            node: None,
        }
    }

    /// Says once why a pod is shown by its address.
    fn explain(&mut self, pod: &PodEnd, painter: Painter, out: &mut String) {
        let Err(reason) = pod.identity else { return };
        // Without any inventory every pod is unknown, and once is enough.
        let (key, whose) = match reason {
            UnknownReason::NoInventory => (None, "pods are".to_owned()),
            _ => (Some(pod.ip), format!("{} is", pod.ip)),
        };
        if self.explained.len() < NOTES && self.explained.insert((key, reason)) {
            let note = format!("{:14}{whose} shown by address: {}", "", reason.as_str());
            painter.put(out, &note, styles::FAINT);
            out.push('\n');
        }
    }
}

impl Encode for Text {
    fn of_node(&mut self, node: &Arc<str>) {
        self.node = Some(Arc::clone(node));
    }

    fn encode(&mut self, event: &Event, clock: &dyn WallClock, out: &mut String) {
        let painter = Painter::new(self.settings.color);
        if let Some(ends) = &event.ends {
            self.explain(&ends.pod, painter, out);
        }
        let ends = event.ends.as_ref();
        let mut rows = match &event.body {
            Body::Dns(exchange, _) => dns::exchange(exchange, ends, self.settings.wide),
            Body::Lookup(lookup) => lookup::lookup(lookup, ends, self.settings.wide),
            Body::Tcp(connection) => vec![flows::tcp(connection, ends)],
            Body::Udp(flow) => vec![flows::udp(flow, ends)],
            Body::Echo(echo) => vec![flows::echo(echo, ends)],
            Body::IcmpError(error) => vec![icmp::row(error)],
            Body::Finding(finding) => report::finding(finding, self.settings.wide),
            Body::Lost(loss) => vec![report::lost(loss)],
        };
        if self.settings.wide
            && let Some(head) = rows.first_mut()
        {
            wide::add(head, event);
        }
        let time = clock
            .wall(event.time)
            .to_zoned(self.settings.time_zone.clone());
        let who = match ends {
            Some(ends) => names::pod(&ends.pod),
            None => match &self.node {
                Some(node) => format!("tracer on {node}"),
                None => "tracer".to_owned(),
            },
        };
        self.columns.fit(&who, &rows);
        let mut head = String::with_capacity(160);
        // Writing to a String does not fail.
        let _ = write!(head, "{}", time.strftime("%H:%M:%S%.3f"));
        for (index, row) in rows.iter().enumerate() {
            let first = (index == 0).then_some((head.as_str(), who.as_str()));
            self.columns.write(first, row, painter, out);
        }
    }
}
