//! Events as text for people: one line each; a lookup is a block of lines.
//!
//! Owns the columns: time, pod, type, subject, result, then the details of each type. A column grows with the
//! events shown so far, up to a limit, and never shrinks, so lines stay aligned without knowledge of the
//! events to come. A line longer than the terminal breaks at a space. Nothing from the wire reaches the
//! terminal unescaped ([`safe`](crate::model::printable::safe)). It does not choose events
//! ([`super::filter`]).
//!
//! The time is the moment at which the event was decided, so it never runs backwards; an event that began
//! clearly earlier also shows its start. `→` the pod connects or pings, `←` a peer connects to or pings the
//! pod. Results: `✓` worked, `✗` failed, `!` worked badly, `·` neither.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Encode, EncodeError, WallClock};
use crate::model::event::{Body, Event};
use crate::model::identity::{PodEnd, UnknownReason};
use crate::model::time::Timestamp;

mod dns;
mod dns_health;
mod dropped;
mod findings;
mod flows;
mod icmp;
mod line;
mod lookup;
mod names;
mod one_line;
mod paint;
mod report;
mod table;
pub mod units;
mod wide;
mod wrap;

use self::line::{Columns, Row};
pub(crate) use self::paint::{Painter, styles};

pub(super) use self::dns_health::DnsText;
pub use self::findings::FindingBlocks;
pub use self::one_line::one_line;
pub use self::paint::{Color, use_color};
pub use self::table::FindingTable;
pub use self::wrap::wrap;

#[cfg(test)]
mod tests;

/// Unknown addresses that get an explanation. The limit bounds memory.
const MAX_NOTES: usize = 1024;
/// An event that began longer than this before it was decided shows when it began. The wait for a further
/// query of a lookup is shorter.
const MAX_DELAY: Duration = Duration::from_millis(300);
/// Why more is not known about an incomplete event.
const INCOMPLETE: &str = "records lost";

/// How text is written.
#[derive(Clone, Debug)]
pub struct TextSettings {
    /// Show node, workload, ports, identifiers, bytes, and answers with their TTL.
    pub wide: bool,
    /// Use colour.
    pub color: bool,
    /// Columns of the terminal, to break lines at; `None` without a terminal.
    pub width: Option<usize>,
    /// Begin with the names of the columns.
    pub header: bool,
    /// The time zone of all times.
    pub time_zone: TimeZone,
}

/// The text encoder.
#[derive(Debug)]
pub struct Text {
    settings: TextSettings,
    columns: Columns,
    explained: HashSet<(Option<IpAddr>, UnknownReason)>,
    /// The node of the events that come now, if they come from several nodes.
    node: Option<Arc<str>>,
    /// When the event that comes now was decided.
    decided: Option<Timestamp>,
    header_due: bool,
    /// The last time that was shown, milliseconds since 1970, and its text: under load dozens of events share
    /// one.
    latest: (Option<i64>, String),
}

impl Text {
    /// An encoder that has shown nothing yet.
    pub fn new(settings: TextSettings) -> Text {
        Text {
            columns: Columns::new(settings.width),
            header_due: settings.header,
            settings,
            explained: HashSet::new(),
            node: None,
            decided: None,
            latest: (None, String::new()),
        }
    }

    /// Explains, once for each address, why a pod is shown by its address.
    fn explain(&mut self, pod: &PodEnd, painter: Painter, out: &mut String) {
        let Err(reason) = pod.identity else { return };
        // Without an inventory every pod is unknown, and one explanation is enough.
        let (key, whose) = match reason {
            UnknownReason::NoInventory => (None, "pods are".to_owned()),
            _ => (Some(pod.ip), format!("{} is", pod.ip)),
        };
        if self.explained.len() < MAX_NOTES && self.explained.insert((key, reason)) {
            let note = format!("{:14}{whose} shown by address: {}", "", reason.as_str());
            painter.put(out, &note, styles::FAINT);
            out.push('\n');
        }
    }

    fn time(&mut self, at: Timestamp, clock: &dyn WallClock) -> String {
        let wall = clock.wall(at);
        let millisecond = wall.as_millisecond();
        if self.latest.0 != Some(millisecond) {
            let local = wall.to_zoned(self.settings.time_zone.clone());
            let text = local.strftime("%H:%M:%S%.3f").to_string();
            self.latest = (Some(millisecond), text);
        }
        self.latest.1.clone()
    }
}

impl Encode for Text {
    fn set_node(&mut self, node: &Arc<str>) {
        self.node = Some(Arc::clone(node));
    }

    fn set_decided(&mut self, at: Timestamp) {
        self.decided = Some(at);
    }

    fn encode(
        &mut self,
        event: &Event,
        clock: &dyn WallClock,
        out: &mut String,
    ) -> Result<(), EncodeError> {
        let painter = Painter::new(self.settings.color);
        let ends = event.ends.as_ref();
        let pod = whose(event, self.node.as_deref());
        self.columns.fit_pod(&pod);
        let mut rows = rows(event, self.settings.wide);
        let decided = self.decided.unwrap_or(event.time).max(event.time);
        if let Some(head) = rows.first_mut() {
            if decided.since(event.time) > MAX_DELAY && head.sentence.is_none() {
                add_start(head, &self.time(event.time, clock));
            }
            if self.settings.wide {
                wide::add(head, event);
            }
        }
        self.columns.fit_rows(&rows);
        if std::mem::take(&mut self.header_due) {
            self.columns.header(painter, out);
        }
        if let Some(ends) = ends {
            self.explain(&ends.pod, painter, out);
        }
        let time = self.time(decided, clock);
        for (index, row) in rows.iter().enumerate() {
            let first = (index == 0).then_some((time.as_str(), pod.as_str()));
            self.columns.write(first, row, painter, out);
        }
        Ok(())
    }
}

/// The event's lines.
fn rows(event: &Event, wide: bool) -> Vec<Row> {
    let ends = event.ends.as_ref();
    match &event.body {
        Body::Dns(exchange, _) => dns::exchange(exchange, ends, event.incomplete, wide),
        Body::Lookup(lookup) => lookup::lookup(lookup, ends, event.incomplete, wide),
        Body::Tcp(connection) => vec![flows::tcp(connection, ends, event.incomplete)],
        Body::Udp(flow) => vec![flows::udp(flow, ends, event.incomplete)],
        Body::Echo(echo) => vec![flows::echo(echo, ends)],
        Body::IcmpError(error) => vec![icmp::row(error)],
        Body::Drop(drop) => vec![dropped::row(drop, ends)],
        Body::Finding(finding) => vec![report::finding(finding)],
        Body::Lost(loss) => vec![report::lost(loss)],
    }
}

/// The pod that the event is about; for a loss, the tracer.
fn whose(event: &Event, node: Option<&str>) -> String {
    match (&event.ends, node) {
        (Some(ends), _) => names::pod(&ends.pod),
        (None, Some(node)) => format!("tracer on {node}"),
        (None, None) => "tracer".to_owned(),
    }
}

/// Adds when the event began.
fn add_start(row: &mut Row, time: &str) {
    if !row.detail.is_empty() {
        row.detail.push_str(", ");
    }
    row.detail.push_str("began ");
    row.detail.push_str(time);
}
