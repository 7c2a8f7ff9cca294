//! What a command asks of its output: form, filter and limits.

use std::io;
use std::sync::Arc;

use super::dns_screen::{DnsForm, DnsScreen};
use super::filter::{Detail, Filter, FilterConfig};
use super::json::Json;
use super::sink::Sink;
use super::text::{FindingBlocks, FindingTable, Text, TextSettings};
use super::writer::LineWriter;
use super::{Encode, WallClock};

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// Text with every detail.
    Wide,
    /// JSON lines for programs.
    Json,
    /// A report as a table, a line for each finding.
    Table,
}

/// What is shown, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputSettings {
    /// The form of the output.
    pub format: Format,
    /// Colour the text.
    pub color: bool,
    /// Columns of the terminal; `None` without a terminal.
    pub width: Option<usize>,
    /// Begin with the names of the columns.
    pub header: bool,
    /// Which events to show; [`OutputSettings::sink`] chooses the [`Detail`].
    pub filter: FilterConfig,
    /// Show at most this many events.
    pub count: Option<u64>,
    /// Show only events that began at this time or later.
    pub since: Option<jiff::Timestamp>,
    /// Show only this many events, the latest; [`Sink::end`] writes them.
    pub last: Option<usize>,
    /// Show only findings, each once; [`Sink::end`] writes them.
    pub report: bool,
    /// Show the health of DNS instead of events; [`Sink::end`] writes it.
    pub dns: Option<DnsSettings>,
}

/// How the health of DNS is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Rows of a table, at most; `None` for as many as fit a usual terminal, in JSON for all.
    pub top: Option<usize>,
}

/// Rows of a table that a screen of 40 lines has room for.
const USUAL_TOP: usize = 7;

impl OutputSettings {
    /// The filter for this form of the output.
    pub fn filter(&self) -> FilterConfig {
        let detail = match self.format {
            // A report counts events that it does not show.
            Format::Text if !self.report && self.dns.is_none() => Detail::Digest,
            Format::Text | Format::Wide | Format::Json | Format::Table => Detail::All,
        };
        FilterConfig {
            detail,
            ..self.filter.clone()
        }
    }

    /// A sink that writes the events of `node` to `out`. Text has local times.
    pub fn sink<W: io::Write>(
        &self,
        node: &Arc<str>,
        clock: Box<dyn WallClock + Send>,
        out: W,
    ) -> Sink<W> {
        let filter = Filter::from(self.filter());
        let encoder = self.encoder(node);
        let mut sink = Sink::new(filter, encoder, clock, LineWriter::new(out), self.count);
        if let Some(since) = self.since {
            sink.show_since(since);
        }
        if let Some(last) = self.last {
            sink.show_last(last);
        }
        if self.report {
            sink.show_report();
        }
        if let Some(dns) = self.dns {
            sink.show_dns(DnsScreen::new(self.dns_form(dns)));
        }
        sink
    }

    fn dns_form(&self, dns: DnsSettings) -> DnsForm {
        match self.format {
            Format::Json => DnsForm::Json { top: dns.top },
            Format::Text | Format::Wide | Format::Table => DnsForm::Text {
                settings: self.text(),
                top: dns.top.unwrap_or(USUAL_TOP),
            },
        }
    }

    fn encoder(&self, node: &Arc<str>) -> Box<dyn Encode + Send> {
        if self.format == Format::Json {
            return Box::new(Json::new(node.clone()));
        }
        let settings = self.text();
        match self.report {
            true if self.format == Format::Table => Box::new(FindingTable::new(settings)),
            true => Box::new(FindingBlocks::new(settings)),
            false => Box::new(Text::new(settings)),
        }
    }

    fn text(&self) -> TextSettings {
        TextSettings {
            wide: self.format == Format::Wide,
            color: self.color,
            width: self.width,
            header: self.header,
            time_zone: jiff::tz::TimeZone::system(),
        }
    }
}
