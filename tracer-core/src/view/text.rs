//! Events as text for people: one line each; a lookup or a finding is a block of lines.
//!
//! Owns the columns: time, pod, mark, subject, kind, verdict, then the fields of each type. A column grows
//! with the events shown so far, up to a limit, and never shrinks, so lines stay aligned without knowledge of
//! the events to come. Nothing from the wire reaches the terminal unescaped
//! ([`safe`](crate::model::printable::safe)). It does not choose events ([`super::filter`]).
//!
//! Marks: `?` the pod queries, `→` the pod connects or pings, `←` a peer queries, connects to or pings the
//! pod, `!` a finding, an ICMP error or a loss. Verdicts: `✓` worked, `✗` failed, `·` neither.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Encode, EncodeError, WallClock};
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
mod wrap;

use self::line::Columns;
use self::paint::{Painter, styles};

pub use self::findings::FindingBlocks;
pub use self::paint::{Color, use_color};
pub use self::wrap::wrap;

#[cfg(test)]
mod tests;

/// Unknown addresses that get an explanation. The limit bounds memory.
const MAX_NOTES: usize = 1024;
/// A finding's sentences in the stream break at this width: with the columns in front of them they end at
/// about 130.
const MAX_SENTENCE: usize = 84;
/// Sentences keep this width on a terminal too narrow for the columns in front of them.
const MIN_SENTENCE: usize = 40;

/// How text is written.
#[derive(Clone, Debug)]
pub struct TextSettings {
    /// Show node, workload, ports, identifiers, bytes, and answers with their TTL.
    pub wide: bool,
    /// Use colour.
    pub color: bool,
    /// Columns of the terminal, to break sentences at; `None` without a terminal. Lines of columns are never
    /// broken.
    pub width: Option<usize>,
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
}

impl Text {
    /// An encoder that has shown nothing yet.
    pub fn new(settings: TextSettings) -> Text {
        Text {
            settings,
            columns: Columns::default(),
            explained: HashSet::new(),
            node: None,
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

    /// The width of a finding's sentences in the subject column.
    fn sentence_width(&self) -> usize {
        match self.settings.width {
            Some(width) => width
                .saturating_sub(self.columns.subject_start())
                .clamp(MIN_SENTENCE, MAX_SENTENCE),
            None => MAX_SENTENCE,
        }
    }
}

impl Encode for Text {
    fn set_node(&mut self, node: &Arc<str>) {
        self.node = Some(Arc::clone(node));
    }

    fn encode(
        &mut self,
        event: &Event,
        clock: &dyn WallClock,
        out: &mut String,
    ) -> Result<(), EncodeError> {
        let painter = Painter::new(self.settings.color);
        if let Some(ends) = &event.ends {
            self.explain(&ends.pod, painter, out);
        }
        let ends = event.ends.as_ref();
        let pod = match ends {
            Some(ends) => names::pod(&ends.pod),
            None => match &self.node {
                Some(node) => format!("tracer on {node}"),
                None => "tracer".to_owned(),
            },
        };
        self.columns.fit_pod(&pod);
        let mut rows = match &event.body {
            Body::Dns(exchange, _) => dns::exchange(exchange, ends, self.settings.wide),
            Body::Lookup(lookup) => lookup::lookup(lookup, ends, self.settings.wide),
            Body::Tcp(connection) => vec![flows::tcp(connection, ends)],
            Body::Udp(flow) => vec![flows::udp(flow, ends)],
            Body::Echo(echo) => vec![flows::echo(echo, ends)],
            Body::IcmpError(error) => vec![icmp::row(error)],
            Body::Finding(finding) => {
                report::finding(finding, self.settings.wide, self.sentence_width())
            }
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
        self.columns.fit_rows(&rows);
        let mut head = String::with_capacity(160);
        // Writing to a String does not fail.
        let _ = write!(head, "{}", time.strftime("%H:%M:%S%.3f"));
        for (index, row) in rows.iter().enumerate() {
            let first = (index == 0).then_some((head.as_str(), pod.as_str()));
            self.columns.write(first, row, painter, out);
        }
        Ok(())
    }
}
